//! The conformance cases on Redis and on Valkey: all but those of groups, which this store refuses by name.
#![allow(missing_docs)]

mod on_redis {
    launchkit_testkit::conformance!(launchkit_testkit::RedisHarness, without groups);
}

mod on_valkey {
    launchkit_testkit::conformance!(launchkit_testkit::ValkeyHarness, without groups);
}
