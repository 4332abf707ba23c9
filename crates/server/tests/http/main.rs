//! The HTTP API through its router, over a real database in a temporary directory and a memory store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod auth;
mod bad_input;
mod idempotency;
mod routes;
mod secrets;
mod shapes;
mod socket;
mod support;
