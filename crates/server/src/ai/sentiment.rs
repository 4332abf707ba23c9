//! SENTIMENT: VADER's compound score and what it amounts to.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{AiFailure, Draft, SentimentInput, vader};

/// A compound score at least this far from zero is a side taken (the paper's threshold).
const NEUTRAL_BELOW: f64 = 0.05;

pub(super) fn run(input: &SentimentInput, cancel: &CancellationToken) -> Result<Draft, AiFailure> {
    let score = vader::score(&input.text, cancel)?;
    let sentiment = match score.compound {
        compound if compound >= NEUTRAL_BELOW => "positive",
        compound if compound <= -NEUTRAL_BELOW => "negative",
        _ => "neutral",
    };
    Ok(Draft {
        output: json!({
            "sentiment": sentiment,
            "score": score.compound,
            "magnitude": score.magnitude,
            "method": "vader",
        }),
        written: vec![sentiment.to_owned()],
        model: "vader-3.3.2-lexicon".to_owned(),
    })
}
