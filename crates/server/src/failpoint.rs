//! Deaths at named steps of the protocol between database and queue, so that the kill tests reach each of them.
//!
//! Without the feature `failpoints`, which only this crate's own tests switch on, a point is nothing.

/// A step that a test can make the process die at, as by `kill -9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// Jobs are committed; nobody has been answered.
    Created,
    /// Rows are read; the queue does not have them yet.
    Dispatching,
    /// The queue has the rows' jobs; the database does not know.
    Dispatched,
    /// The queue gave jobs out; the database does not know.
    Beginning,
    /// Runs are in the books; no handler has started.
    Begun,
    /// Handlers have ended; the database does not know.
    Ending,
    /// Ends are in the books; the queue does not know.
    Ended,
    /// A cancel is committed; the queue does not know.
    Canceled,
    /// A retry is committed; the queue does not know.
    Retried,
}

impl Point {
    /// Every point, in the order of the protocol.
    pub const ALL: [Point; 9] = [
        Point::Created,
        Point::Dispatching,
        Point::Dispatched,
        Point::Beginning,
        Point::Begun,
        Point::Ending,
        Point::Ended,
        Point::Canceled,
        Point::Retried,
    ];
}

/// The variable that names a point and how often it is passed before the process dies there: `Created:5`.
pub const VARIABLE: &str = "LAUNCHKIT_FAILPOINT";

/// Passes a point.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn pass(_: Point) {}

/// Passes a point, or dies there if the environment says so.
#[cfg(feature = "failpoints")]
pub fn pass(point: Point) {
    use std::sync::atomic::{AtomicU64, Ordering};
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let Ok(wish) = std::env::var(VARIABLE) else { return };
    let Some((name, times)) = wish.split_once(':') else { return };
    if name == format!("{point:?}") && PASSED.fetch_add(1, Ordering::Relaxed).to_string() == times {
        std::process::abort();
    }
}
