//! Every conformance case on every store.
#![allow(missing_docs)]

mod memory {
    launchkit_testkit::conformance!(launchkit_testkit::MemoryHarness);
}

mod sqlite {
    launchkit_testkit::conformance!(launchkit_testkit::SqliteHarness);
}
