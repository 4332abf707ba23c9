//! A job queue with BullMQ's semantics over interchangeable stores.
