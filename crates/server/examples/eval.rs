//! Measures the local processors on cases, one JSON object a line: `make eval`. Prints, per data set, the share of right
//! answers (CLASSIFY, SENTIMENT; a neutral answer counts as wrong) or the mean ROUGE-1 F (SUMMARIZE, and texts that are
//! GIVEN to be compared with).
#![allow(clippy::unwrap_used, clippy::expect_used)] // a measurement that cannot go on should say so and stop

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use launchkit::ai::{Ai, AiConfig, JobType};
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

#[derive(Deserialize)]
struct Case {
    set: String,
    #[serde(rename = "type")]
    kind: String,
    input: Value,
    expected: String,
}

#[derive(Default)]
struct Sum {
    cases: u32,
    score: f64,
    time: Duration,
}

#[tokio::main]
async fn main() {
    let path = std::env::args().nth(1).expect("a file of cases");
    let ai = Ai::new(AiConfig::default());
    let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let begun = Instant::now();
        let score = score(&ai, &case).await;
        let sum = sums.entry((case.kind, case.set)).or_default();
        sum.cases += 1;
        sum.score += score;
        sum.time += begun.elapsed();
    }
    println!("{:<10} {:<40} {:>6} {:>7} {:>9}", "type", "data set", "cases", "score", "ms/case");
    for ((kind, set), sum) in sums {
        let cases = f64::from(sum.cases);
        let millis = sum.time.as_secs_f64() * 1e3 / cases;
        println!("{kind:<10} {set:<40} {:>6} {:>7.3} {millis:>9.1}", sum.cases, sum.score / cases);
    }
}

async fn score(ai: &Ai, case: &Case) -> f64 {
    let Ok(kind) = case.kind.parse::<JobType>() else {
        return rouge(case.input["text"].as_str().unwrap(), &case.expected);
    };
    let output = ai.run(kind, &case.input, &CancellationToken::new()).await.unwrap().output;
    let right = |field: &str| f64::from(u8::from(output[field] == case.expected.as_str()));
    match kind {
        JobType::Sentiment => right("sentiment"),
        JobType::Classify => right("classification"),
        _ => rouge(output["summary"].as_str().unwrap(), &case.expected),
    }
}

/// ROUGE-1 F: how many words two texts share, against the lengths of both (Lin, 2004; lower case, no stemming).
fn rouge(text: &str, reference: &str) -> f64 {
    let (ours, theirs) = (words(text), words(reference));
    let shared: u32 = ours.iter().map(|(word, count)| *count.min(theirs.get(word).unwrap_or(&0))).sum();
    let all = ours.values().sum::<u32>() + theirs.values().sum::<u32>();
    if all == 0 { 0.0 } else { 2.0 * f64::from(shared) / f64::from(all) }
}

fn words(text: &str) -> HashMap<String, u32> {
    let mut counts = HashMap::new();
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}
