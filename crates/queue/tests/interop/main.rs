//! BullMQ's own clients beside our store on one Redis: a matrix of feature × direction × peer, and a mixed fleet.
//!
//! A cell is a test, `<theme>::<feature>::<adder>_to_<worker>`. What lies in Redis afterwards is read with a plain client:
//! the events in order with their fields, the job's record, and that nothing is left over. Peers are processes that know
//! BullMQ by its public methods only; what one of them does differently is a row of `odd.rs`, and cells ask those rows.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[macro_use]
mod cell;
mod look;
mod odd;
mod ours;
mod side;

mod adds;
mod dedup;
mod events;
mod fleet;
mod flows;
mod limits;
mod retries;
mod schedulers;
mod work;
