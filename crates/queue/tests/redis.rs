//! The conformance cases on Redis and on Valkey.
#![allow(missing_docs)]

mod on_redis {
    launchkit_testkit::conformance!(launchkit_testkit::RedisHarness);
}

mod on_valkey {
    launchkit_testkit::conformance!(launchkit_testkit::ValkeyHarness);
}
