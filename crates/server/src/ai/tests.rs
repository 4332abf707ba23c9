//! The processors through their front: every job type answers, and no text of the permitted length
//! breaks one, slows one down out of proportion, or makes an answer out of proportion.

use std::time::Duration;

use launchkit_testkit::on_processor;
use serde_json::json;

use super::*;

async fn run(ai: &Ai, job: JobType, input: Value) -> Result<Answer, AiFailure> {
    ai.run(job, &input, &CancellationToken::new()).await
}

#[test]
fn names_of_job_types_are_exact() {
    for kind in JobType::ALL {
        assert_eq!(kind.as_str().parse(), Ok(kind));
    }
    assert_eq!("summarize".parse::<JobType>(), Err(UnknownJobType));
}

#[tokio::test]
async fn each_local_type_answers_with_its_fields_and_usage() {
    let ai = Ai::new(AiConfig::default());
    let text = "I love the new phone from Acme! It costs $299 and ships on 2024-05-01.";
    let expected = [
        (JobType::Summarize, vec!["summary", "originalLength", "summaryLength", "language", "method"]),
        (JobType::Classify, vec!["classification", "confidence", "scores", "categories", "method"]),
        (JobType::Sentiment, vec!["sentiment", "score", "magnitude", "method"]),
        (JobType::Extract, vec!["entities", "count", "method"]),
    ];
    for (job, fields) in expected {
        let answer = run(&ai, job, json!({ "text": text })).await.unwrap();
        let output = answer.output.as_object().unwrap();
        let missing: Vec<_> = fields.iter().filter(|field| !output.contains_key(**field)).collect();
        assert!(missing.is_empty() && output.len() == fields.len(), "{job}: {output:?}");
        let usage = answer.usage;
        assert!(usage.input_tokens >= 20 && usage.output_tokens >= 1, "{job}: {usage:?}");
        assert_eq!((usage.provider.as_str(), usage.cost_micros), ("local", 0));
    }
    let sentiment = run(&ai, JobType::Sentiment, json!({ "text": text })).await.unwrap();
    assert_eq!(sentiment.output["sentiment"], "positive");
    let text = "Engineers trained a neural network to write code";
    let class = run(&ai, JobType::Classify, json!({ "text": text })).await.unwrap();
    assert_eq!(class.output["classification"], "Technology");
}

#[tokio::test]
async fn examples_and_several_labels_decide_a_class() {
    let ai = Ai::new(AiConfig::default());
    let input = json!({
        "text": "claim your free prize by clicking here",
        "examples": {
            "x": ["you won a free gift, click the link", "cheap pills online"],
            "y": ["see you at lunch", "the meeting moved to five o'clock"],
        },
    });
    let output = run(&ai, JobType::Classify, input).await.unwrap().output;
    assert_eq!(output["classification"], "x");
    assert!(output["confidence"].as_f64().unwrap() > 0.9);
    let input = json!({
        "text": "The bank's share price fell after the football club missed its loan payment.",
        "categories": ["banking", "football", "gardening"],
        "multiLabel": true,
    });
    let output = run(&ai, JobType::Classify, input).await.unwrap().output;
    assert_eq!(output["labels"], json!(["banking", "football"]));
}

#[tokio::test]
async fn a_stored_input_that_is_wrong_is_a_final_failure() {
    let ai = Ai::new(AiConfig::default());
    for input in [json!({"text": " "}), json!([]), json!({"text": "x", "y": 1})] {
        let failure = run(&ai, JobType::Summarize, input).await.unwrap_err();
        assert_eq!((failure.code, failure.retryable), ("invalid-input", false));
    }
}

#[tokio::test]
async fn a_canceled_job_ends_though_all_threads_are_busy() {
    let ai = Ai::new(AiConfig { threads: 1, queue: 1, ..AiConfig::default() });
    let (release, gate) = std::sync::mpsc::channel::<()>();
    let blocker = ai.shared.pool.run(move || gate.recv().is_ok());
    let cancel = CancellationToken::new();
    let input = json!({"text": "x"});
    let job = async {
        let ended = ai.run(JobType::Sentiment, &input, &cancel).await;
        release.send(()).unwrap();
        ended
    };
    let canceling = async { cancel.cancel() };
    let (ended, blocked, ()) = tokio::join!(job, blocker, canceling);
    assert_eq!(ended.unwrap_err().code, "canceled");
    assert!(blocked.unwrap());
}

#[tokio::test]
async fn a_panic_in_a_processor_is_a_failure_that_may_pass() {
    let ai = Ai::new(AiConfig { threads: 1, ..AiConfig::default() });
    let cancel = CancellationToken::new();
    let failure = ai.compute(&cancel, || -> Result<(), AiFailure> { panic!("a secret") }).await;
    let failure = failure.unwrap_err();
    assert_eq!((failure.code, failure.retryable), ("processor-panic", true));
    assert!(!failure.message.contains("secret"));
    assert!(run(&ai, JobType::Sentiment, json!({"text": "fine"})).await.is_ok());
}

/// Texts of `length` characters that have brought text tools down.
fn hostile(length: usize) -> Vec<(&'static str, String)> {
    let repeated = |unit: &str| -> String { unit.chars().cycle().take(length).collect() };
    let units = [
        ("one word", "a"),
        ("digits", "1"),
        ("punctuation", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
        ("full stops", "."),
        ("newlines after a letter", "\n"),
        ("emoji", "😀"),
        ("joined emoji", "👩\u{200D}"),
        ("flags", "🇪"),
        ("ideographs", "漢字仮名交文章例"),
        ("half addresses", "a.b@"),
        ("half links", "www."),
        ("schemes", "http://"),
        ("slashes", "http://a/"),
        ("right to left", "שלום עולם "),
        ("marks", "\u{0301}\u{0323}"),
        ("one sentence", "word and word "),
        ("tiny sentences", "A. "),
        ("tiny lines", "x\n"),
        ("other tiny sentences", "Ab! "),
        ("distinct capitals", "Abc De Fgh of "),
        ("colons", "1:"),
        ("dotted digits", "1."),
        ("dashed digits", "1-2 "),
        ("plus digits", "+1 "),
        ("hex", "a:"),
        ("amounts", "$1,"),
        ("dates", "1/1/"),
        ("months", "May 1 "),
        ("brackets", "(["),
        ("quotes", "\"' "),
        ("but", "good but bad "),
        ("negations", "never so not very good!? "),
        ("shouting", "GOOD bad "),
        ("dotted capitals", "İ"),
        ("ligatures", "ﷺ"),
        ("hangul", "각"),
        ("tags", "#a@b "),
        ("tabs", "\t\u{A0}x"),
        ("control", "\u{1}\u{202E}a"),
    ];
    let mut texts: Vec<_> = units.map(|(name, unit)| (name, repeated(unit))).into();
    texts[4].1.replace_range(0..1, "x");
    texts.push(("spaces and a letter", " ".repeat(length - 1) + "x"));
    // Every word and every sentence another.
    let mut distinct = (0..length / 6).map(|n| format!("w{n}. ")).collect::<String>();
    distinct.truncate(length);
    texts.push(("distinct sentences", distinct));
    texts
}

#[test]
fn no_text_of_full_length_breaks_or_stalls_a_summary() {
    works_in_bounds(JobType::Summarize);
}

#[test]
fn no_text_of_full_length_breaks_or_stalls_a_sentiment() {
    works_in_bounds(JobType::Sentiment);
}

#[test]
fn no_text_of_full_length_breaks_or_stalls_an_extraction() {
    works_in_bounds(JobType::Extract);
}

/// At the full length a job ends in its bounds. Growth is judged between a quarter of the length and the whole: linear work
/// grows about fourfold, quadratic work sixteenfold. What disturbs a measure (a host that lets its guest wait, neighbours in the
/// caches) only adds to it, so work that grows too fast is too slow in each of three.
fn works_in_bounds(job: JobType) {
    const GROWTH: u32 = 10;
    /// Below this a run says nothing about growth.
    const NOISE: Duration = Duration::from_millis(100);
    let short = hostile(MAX_TEXT_CHARS / 4);
    let mut total = Duration::ZERO;
    for ((name, whole), (_, quarter)) in hostile(MAX_TEXT_CHARS).into_iter().zip(short) {
        let (answer, time) = worked(job, &whole);
        total += time;
        let size = answer.output.to_string().len();
        assert!(size < 20 * MAX_TEXT_CHARS, "{job} of {name}: {size} bytes");
        assert!(time < Duration::from_secs(5), "{job} of {name}: {time:?}");
        if time > NOISE {
            let grows = |time: Duration| time >= worked(job, &quarter).1 * GROWTH;
            let again = || grows(worked(job, &whole).1);
            assert!(!(grows(time) && again() && again()), "{job} of {name} grows faster than its text: {time:?}");
        }
    }
    assert!(total > NOISE, "the measure does not move: {total:?}");
}

/// The answer, computed on this thread, and the time that the thread was on a processor for it.
fn worked(job: JobType, text: &str) -> (Answer, Duration) {
    let token = CancellationToken::new();
    let input = typed(job, &json!({ "text": text })).unwrap();
    let start = on_processor();
    let draft = match &input {
        Input::Summarize(input) => summarize::run(input, &token),
        Input::Sentiment(input) => sentiment::run(input, &token),
        Input::Extract(input) => extract::run(input, &token),
        _ => panic!("{job} does not compute here alone"),
    };
    let answer = answer(input.texts(), draft.unwrap(), &token).unwrap();
    (answer, on_processor() - start)
}

/// The model sees sixteen sequences at most, whatever the text; the tokenizer sees all of it.
#[tokio::test]
async fn no_text_of_full_length_stalls_the_model() {
    let ai = Ai::new(AiConfig::default());
    let vocabulary = include_str!("../../../../assets/minilm/vocab.txt");
    let tokenizer = wordpiece::WordPiece::new(vocabulary).unwrap();
    for (name, text) in hostile(MAX_TEXT_CHARS) {
        let start = on_processor();
        let ids = tokenizer.ids(&text);
        assert!(ids.len() <= 20 * MAX_TEXT_CHARS, "{name}: {}", ids.len());
        assert!(on_processor() - start < Duration::from_secs(5), "{name}");
        if matches!(name, "one word" | "marks" | "ideographs") {
            let answer = run(&ai, JobType::Classify, json!({ "text": text })).await.unwrap();
            assert!(answer.output["scores"].as_object().is_some_and(|scores| scores.len() == 5));
        }
    }
}
