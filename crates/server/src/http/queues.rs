//! What administrators see of a queue and do to it, over the seam of the queue library.

use std::time::Duration;

use launchkit_queue::backend::{Backend, Control, Edit, EditAll, Info, Sweep, SweepWhat};
use launchkit_queue::{JobId, QueueName, State, StoreError, Timestamp};
use serde::Serialize;

use crate::problem::{Code, Problem};

/// Jobs that one sweep step removes at most; the seam's own bound is larger.
const STEP: u32 = 500;

/// The queue of AI jobs.
pub const AI_JOBS: &str = "ai-jobs";
/// The queue of outbound webhooks.
pub const WEBHOOKS: &str = "webhooks";
