#![allow(missing_docs)]
mod redis {
    launchkit_testkit::conformance!(launchkit_testkit::RedisHarness);
}
