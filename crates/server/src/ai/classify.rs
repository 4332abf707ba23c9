//! CLASSIFY: how near a text is to each label, by the embedding model.
//!
//! A label stands for a sentence that names it or, where the caller gave examples, for their centroid.
//! Sentence and constants were chosen on small public sets (Reuters acq/crude, four genres of the VADER
//! texts, forty headlines): with this sentence 1.00, 0.64 and 0.93 are right, with the bare label 0.99,
//! 0.59 and 0.88.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::embed::{Embedder, Embedding, MODEL_NAME, centroid, cosine};
use super::{AiFailure, ClassifyInput, Draft, checkpoint};

/// A text is read in at most so many sequences of 126 tokens, spread evenly over it.
const TEXT_SEQUENCES: usize = 16;
/// An example's first sequence stands for it.
const EXAMPLE_SEQUENCES: usize = 1;
/// Cosines are divided by this before the softmax.
const TEMPERATURE: f32 = 0.04;
/// With several labels allowed, a label fits from this cosine on.
const FITS_FROM: f32 = 0.12;
/// Labels whose embeddings are kept between jobs.
const REMEMBERED_LABELS: usize = 1024;

/// The model, once it was needed.
pub(super) struct Loaded {
    embedder: Result<Embedder, String>,
    labels: Mutex<HashMap<String, Embedding>>,
}

impl Loaded {
    fn load(threads: usize) -> Self {
        let embedder = Embedder::load(threads).map_err(|error| {
            tracing::error!(%error, "the embedding model cannot be used");
            error.to_string()
        });
        Loaded { embedder, labels: Mutex::default() }
    }

    fn embedder(&self) -> Result<&Embedder, AiFailure> {
        self.embedder
            .as_ref()
            .map_err(|error| AiFailure::fatal("model-unavailable", format!("Classification: {error}.")))
    }

    /// The embedding of a label itself. Two threads may compute the same one; either is right.
    fn label(&self, label: &str, cancel: &CancellationToken) -> Result<Option<Embedding>, AiFailure> {
        let known = || self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(embedding) = known().get(label) {
            return Ok(Some(embedding.clone()));
        }
        let sentence = format!("This is about {label}.");
        let embedding = self.embedder()?.embed(&sentence, EXAMPLE_SEQUENCES, cancel)?;
        if let Some(embedding) = &embedding {
            let mut labels = known();
            if labels.len() >= REMEMBERED_LABELS {
                labels.clear();
            }
            labels.insert(label.to_owned(), embedding.clone());
        }
        Ok(embedding)
    }
}

pub(super) fn run(
    input: &ClassifyInput,
    model: &OnceLock<Loaded>,
    threads: usize,
    cancel: &CancellationToken,
) -> Result<Draft, AiFailure> {
    let model = model.get_or_init(|| Loaded::load(threads));
    let labels = input.labels();
    let text = model.embedder()?.embed(&input.text, TEXT_SEQUENCES, cancel)?;
    let mut nearness = Vec::with_capacity(labels.len());
    for label in &labels {
        let target = target(input, label, model, cancel)?;
        // A text or label without a token (only invisible signs) is near to nothing.
        let pair = text.as_ref().zip(target.as_ref());
        nearness.push(pair.map_or(0.0, |(text, target)| cosine(text, target)));
    }
    checkpoint(cancel)?;
    Ok(draft(&labels, &nearness, input.multi_label == Some(true)))
}

/// What a label stands for.
fn target(
    input: &ClassifyInput,
    label: &str,
    model: &Loaded,
    cancel: &CancellationToken,
) -> Result<Option<Embedding>, AiFailure> {
    let examples = input.examples.as_ref().and_then(|examples| examples.get(label));
    let Some(examples) = examples else {
        return model.label(label, cancel);
    };
    let embedder = model.embedder()?;
    let mut embeddings = Vec::with_capacity(examples.len());
    for example in examples {
        embeddings.extend(embedder.embed(example, EXAMPLE_SEQUENCES, cancel)?);
    }
    Ok(centroid(embeddings))
}

fn draft(labels: &[&str], nearness: &[f32], multi_label: bool) -> Draft {
    let scores = if multi_label { logistic(nearness) } else { softmax(nearness) };
    let scored = labels.iter().zip(&scores);
    // The first of equals, so that the same input always has the same answer.
    let best = scored.clone().reduce(|best, next| if next.1 > best.1 { next } else { best });
    let (classification, confidence) = best.map_or(("", 0.0), |(label, score)| (*label, *score));
    let by_label: Map<String, Value> =
        scored.clone().map(|(label, score)| ((*label).to_owned(), json!(score))).collect();
    let mut output = json!({
        "classification": classification,
        "confidence": confidence,
        "scores": by_label,
        "categories": labels,
        "method": if multi_label { "embedding-logistic" } else { "embedding-softmax" },
    });
    if multi_label {
        let fitting: Vec<&str> = scored.filter(|(_, s)| **s >= 0.5).map(|(label, _)| *label).collect();
        output["labels"] = json!(fitting);
    }
    Draft { output, written: vec![classification.to_owned()], model: MODEL_NAME.to_owned() }
}

fn softmax(nearness: &[f32]) -> Vec<f64> {
    let highest = nearness.iter().copied().fold(f32::MIN, f32::max);
    let weights: Vec<f64> = nearness.iter().map(|x| f64::from((x - highest) / TEMPERATURE).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| rounded(weight / sum)).collect()
}

fn logistic(nearness: &[f32]) -> Vec<f64> {
    let score = |x: &f32| 1.0 / (1.0 + f64::from((FITS_FROM - x) / TEMPERATURE).exp());
    nearness.iter().map(|x| rounded(score(x))).collect()
}

fn rounded(number: f64) -> f64 {
    (number * 10_000.0).round() / 10_000.0
}
