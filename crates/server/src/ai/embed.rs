//! Sentence embeddings: all-MiniLM-L6-v2 (int8), carried inside the binary and run on the CPU.
//!
//! Model and vocabulary are checked against their hashes before use. A sequence is embedded alone,
//! never in a padded batch: with dynamic int8 ranges a neighbour would change the result.

mod asset {
    pub(super) static MODEL: &[u8] = include_bytes!("../../../../assets/minilm/model.onnx");
    pub(super) static VOCABULARY: &str = include_str!("../../../../assets/minilm/vocab.txt");
    pub(super) const MODEL_SHA256: &str = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6";
    pub(super) const VOCABULARY_SHA256: &str = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3";
}

use std::sync::Arc;

use rten::{Model, NodeId, RunOptions, ThreadPool};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, Tensor};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::wordpiece::{IncompleteVocabulary, WordPiece};
use super::{AiFailure, checkpoint};

/// Tokens of one sequence, without the two signs around it: what the model was trained on.
pub(super) const SEQUENCE_TOKENS: usize = 126;

/// The name that usage rows carry.
pub(super) const MODEL_NAME: &str = "all-MiniLM-L6-v2-int8";

/// A vector of length 1; the dot product of two is their cosine.
pub(super) type Embedding = Vec<f32>;

/// Why the model cannot be used. Nothing but another binary cures it.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The bytes in the binary are not the ones that were reviewed.
    #[error("the {0} in this binary does not have the expected hash")]
    Hash(&'static str),
    /// The runtime refuses the model.
    #[error("the model cannot be loaded")]
    Model(#[source] rten::LoadError),
    /// An input or output is not there.
    #[error("the model has no node of the expected name")]
    Node(#[source] rten::RunError),
    /// The vocabulary is not a BERT vocabulary.
    #[error(transparent)]
    Vocabulary(#[from] IncompleteVocabulary),
}

/// The loaded model.
pub(super) struct Embedder {
    model: Model,
    tokenizer: WordPiece,
    threads: Arc<ThreadPool>,
    inputs: [NodeId; 3],
    output: NodeId,
}

impl Embedder {
    /// Checks and loads the model. `threads` compute for it, beside the callers that wait.
    pub(super) fn load(threads: usize) -> Result<Self, LoadError> {
        check("model", asset::MODEL, asset::MODEL_SHA256)?;
        check("vocabulary", asset::VOCABULARY.as_bytes(), asset::VOCABULARY_SHA256)?;
        let model = Model::load_static_slice(asset::MODEL).map_err(LoadError::Model)?;
        let node = |name| model.node_id(name).map_err(LoadError::Node);
        let inputs = [node("input_ids")?, node("attention_mask")?, node("token_type_ids")?];
        let output = node("last_hidden_state")?;
        let tokenizer = WordPiece::new(asset::VOCABULARY)?;
        let threads = Arc::new(ThreadPool::with_num_threads(threads.max(1)));
        Ok(Embedder { model, tokenizer, threads, inputs, output })
    }

    /// The text's mean over at most `max_sequences` sequences, spread evenly over it; what lies
    /// between them is not read. `None` for a text without a single token.
    pub(super) fn embed(
        &self,
        text: &str,
        max_sequences: usize,
        cancel: &CancellationToken,
    ) -> Result<Option<Embedding>, AiFailure> {
        let ids = self.tokenizer.ids(text);
        let sequences: Vec<&[i32]> = ids.chunks(SEQUENCE_TOKENS).collect();
        let chosen = spread(sequences.len(), max_sequences.max(1));
        let mut sum: Option<Embedding> = None;
        for index in chosen {
            checkpoint(cancel)?;
            let sequence = sequences[index];
            let weight = sequence.len() as f32;
            let embedding = self.sequence(sequence)?;
            let sum = sum.get_or_insert_with(|| vec![0.0; embedding.len()]);
            sum.iter_mut().zip(&embedding).for_each(|(sum, x)| *sum += weight * x);
        }
        Ok(sum.map(unit))
    }

    fn sequence(&self, ids: &[i32]) -> Result<Embedding, AiFailure> {
        let mut all = Vec::with_capacity(ids.len() + 2);
        all.push(self.tokenizer.cls);
        all.extend_from_slice(ids);
        all.push(self.tokenizer.sep);
        let shape = [1, all.len()];
        let mask = Tensor::from_data(&shape, vec![1i32; all.len()]);
        let kinds = Tensor::from_data(&shape, vec![0i32; all.len()]);
        let ids = Tensor::from_data(&shape, all);
        let [ids_node, mask_node, kinds_node] = self.inputs;
        let inputs =
            vec![(ids_node, ids.view().into()), (mask_node, mask.view().into()), (kinds_node, kinds.view().into())];
        let options = RunOptions::default().with_thread_pool(Some(self.threads.clone()));
        let [states] = self.model.run_n(inputs, [self.output], Some(options)).map_err(failed)?;
        let states: NdTensor<f32, 3> = states.try_into().map_err(failed)?;
        Ok(unit(mean_of_rows(&states)))
    }
}

/// The mean over the tokens of the only sequence.
fn mean_of_rows(states: &NdTensor<f32, 3>) -> Embedding {
    let [_, rows, columns] = states.shape();
    let mut mean = vec![0.0; columns];
    for row in 0..rows {
        for (column, sum) in mean.iter_mut().enumerate() {
            *sum += states[[0, row, column]] / rows as f32;
        }
    }
    mean
}

/// The cosine of two embeddings.
pub(super) fn cosine(a: &Embedding, b: &Embedding) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The direction of the mean of several embeddings; `None` for none.
pub(super) fn centroid(embeddings: impl IntoIterator<Item = Embedding>) -> Option<Embedding> {
    let sum = embeddings.into_iter().reduce(|mut sum, next| {
        sum.iter_mut().zip(next).for_each(|(sum, x)| *sum += x);
        sum
    });
    sum.map(unit)
}

fn unit(mut vector: Embedding) -> Embedding {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    vector
}

/// At most `most` of the indices 0..count, the first and the last among them, evenly spread.
fn spread(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    (0..most).map(|index| index * (count - 1) / (most - 1).max(1)).collect()
}

fn check(name: &'static str, bytes: &[u8], expected: &str) -> Result<(), LoadError> {
    let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if hash == expected { Ok(()) } else { Err(LoadError::Hash(name)) }
}

fn failed(error: impl std::fmt::Display) -> AiFailure {
    tracing::error!(%error, "the embedding model failed");
    AiFailure::passing("model-failed", "The embedding model failed inside.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_are_refused() {
        assert!(check("model", asset::MODEL, asset::MODEL_SHA256).is_ok());
        let one_more: Vec<u8> = asset::MODEL.iter().copied().chain([0]).collect();
        let refused = check("model", &one_more, asset::MODEL_SHA256);
        assert!(matches!(refused, Err(LoadError::Hash("model"))));
    }

    /// Cosines that onnxruntime 1.x gives with the same model file and the reference tokenizer.
    #[test]
    fn cosines_are_those_of_the_reference_runtime() {
        let embedder = Embedder::load(1).unwrap();
        let cancel = CancellationToken::new();
        let embed = |text| embedder.embed(text, 1, &cancel).unwrap().unwrap();
        let first = embed("The stock market fell 3% on Monday.");
        let others = [
            ("Shares dropped at the start of the week.", 0.604089),
            ("The team won the championship in overtime.", 0.041398),
            ("Sports", 0.016815),
            ("Business", 0.101025),
            ("Ünïcödé naïve café — 你好 😀", 0.034655),
        ];
        for (text, expected) in others {
            let ours = cosine(&first, &embed(text));
            assert!((ours - expected).abs() < 1e-4, "{ours} instead of {expected}: {text}");
        }
        assert!(embedder.embed("\u{301}", 1, &cancel).unwrap().is_none());
    }

    #[test]
    fn sequences_are_spread_over_the_text() {
        assert_eq!(spread(3, 16), [0, 1, 2]);
        assert_eq!(spread(0, 16), [0; 0]);
        assert_eq!(spread(100, 4), [0, 33, 66, 99]);
        assert_eq!(spread(100, 1), [0]);
    }
}
