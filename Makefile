# The two commands that a newcomer needs: `make demo` and `make test`.

.PHONY: demo test quick bench bench-redis eval soak mutants check cron-oracle

demo: ## set up, build, and run one job of each type on a server of its own
	@scripts/setup demo
	cargo build --profile demo -p launchkit
	target/demo/launchkit demo

test: ## set up and run every test
	@scripts/setup test
	@scripts/test

quick: ## the inner loop: the queue on both stores, and the service in process
	cargo test -p launchkit-queue
	cargo test -p launchkit --lib

bench: ## measure the queue and the service; docs/benchmarks.md says on what machine
	cargo bench --profile demo -p launchkit-queue --bench queue
	cargo bench --profile demo -p launchkit --bench http

bench-redis: ## measure the store on Redis beside BullMQ (12 minutes); crates/testkit/benches/redis/main.rs says what can be chosen
	@scripts/setup bench
	cargo bench --profile demo -p launchkit-testkit --bench redis

eval: ## measure the local processors on public data sets
	scripts/eval

soak: ## some hours of kills, faults, histories, simulations, garbage, and ten million jobs; docs/guarantees.md says how far each has been taken
	KILL_ROUNDS=340 cargo test -p launchkit --test kills every_accepted -- --nocapture
	DISK_KILLS=1000 cargo test -p launchkit-testkit --test disk killed -- --nocapture
	FAULT_SECONDS=3600 cargo test -p launchkit-queue --test faults long -- --nocapture
	FLAT_JOBS=10000000 cargo test -p launchkit-queue --test flat -- --nocapture
	MODEL_RUNS=1000 cargo test -p launchkit-queue --test model -- --nocapture
	HISTORY_ROUNDS=1000 cargo test -p launchkit-queue --test histories -- --nocapture
	SIM_SEEDS=100000 cargo test -p launchkit-queue --test sim -- --nocapture
	GARBAGE_SEEDS=300 cargo test -p launchkit-queue --all-features --test redis_foreign garbage
	FUZZ_SECONDS=60 cargo test -p launchkit-queue --test fuzz -- --nocapture

mutants: ## change single places of the engine and say which changes no test sees (an hour or two); docs/mutants.md has the reasons
	@scripts/mutants

check: ## what must be clean before a commit
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

cron-oracle: ## next times of cron patterns by cron-parser, for the unit tests to be compared with; needs node and npm
	scripts/cron-oracle
