//! Placeholder of the first commit: answers a clear failure until its room is built.

use tokio_util::sync::CancellationToken;

use super::{AiConfig, AiFailure, Draft, TranslateInput};

pub(super) struct Translator;
pub(super) struct Plan;

pub(super) fn plan(_input: &TranslateInput) -> Result<Plan, AiFailure> {
    Ok(Plan)
}

impl Translator {
    pub(super) fn new(_config: &AiConfig) -> Self {
        Translator
    }
    pub(super) async fn run(&self, _: Plan, _: &CancellationToken) -> Result<Draft, AiFailure> {
        Err(AiFailure::fatal("translation-unavailable", "Translation is not built yet."))
    }
}
