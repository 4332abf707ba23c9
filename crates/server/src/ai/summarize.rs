//! Placeholder of the first commit: answers a clear failure until its room is built.

use tokio_util::sync::CancellationToken;

use super::{AiFailure, Draft, SummarizeInput};

pub(super) fn run(_input: &SummarizeInput, _cancel: &CancellationToken) -> Result<Draft, AiFailure> {
    Err(AiFailure::fatal("not-built", "This processor is not built yet."))
}
