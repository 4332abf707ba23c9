//! Which pair is chosen, and how the program is treated. A small script stands in for Apertium; the
//! real one is used where it is installed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

const NASTY: &str = " [a]{b}^c$@d\\e/f<g>*h [[t:b:1]]x[[/]]\n\n\t~#+ ünï 😀\n";

fn input(text: &str, from: Option<&str>, to: &str) -> TranslateInput {
    TranslateInput { text: text.to_owned(), to: to.to_owned(), from: from.map(str::to_owned) }
}

fn pairs(modes: &[&str]) -> Vec<Pair> {
    modes.iter().filter_map(|mode| Pair::read(mode)).collect()
}

fn double(limit: Duration) -> Translator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apertium-double");
    let config = AiConfig { apertium: Some(path), translations: 1, translation_timeout: limit, ..AiConfig::default() };
    Translator::new(&config)
}

async fn translated(
    translator: &Translator,
    text: &str,
    to: &str,
    cancel: &CancellationToken,
) -> Result<String, AiFailure> {
    let pairs = translator.pairs(cancel).await?;
    let draft = translator.run(plan(input(text, Some("en"), to), &pairs)?, cancel).await?;
    Ok(draft.output["translation"].as_str().unwrap().to_owned())
}

#[test]
fn the_pair_is_chosen_by_language_then_region() {
    let all = pairs(&["eng-spa", "spa-eng", "spa-eng_US", "oci-cat", "README", "a-b-c", "es-pt_BR"]);
    let mode = |from, to| plan(input("x", Some(from), to), &all).map(|plan| plan.pair.mode);
    assert_eq!(mode("en", "es").unwrap(), "eng-spa");
    assert_eq!(mode("eng", "es-MX").unwrap(), "eng-spa");
    assert_eq!(mode("es", "en").unwrap(), "spa-eng");
    assert_eq!(mode("es", "en-us").unwrap(), "spa-eng_US");
    assert_eq!(mode("es", "pt").unwrap(), "es-pt_BR");
    assert_eq!(mode("oc", "ca").unwrap(), "oci-cat");
    let missing = mode("en", "fr").unwrap_err();
    assert_eq!((missing.code, missing.retryable), ("translation-unavailable", false));
    assert!(missing.message.contains("eng-spa, spa-eng"), "{}", missing.message);
    assert_eq!(mode("en", "en-GB").unwrap_err().code, "same-language");
    let brazilian = plan(input("x", Some("es"), "pt"), &all).unwrap();
    assert_eq!(brazilian.pair.target(), "pt-BR");
}

#[test]
fn the_source_is_detected_when_absent() {
    let all = pairs(&["eng-spa", "cat-spa"]);
    let source = |text, to| plan(input(text, None, to), &all).map(|plan| plan.pair.from);
    assert_eq!(source("How are you?", "es").unwrap(), "en");
    assert_eq!(source("Aquest és el llibre que tinc.", "es").unwrap(), "ca");
    assert_eq!(source("¿Qué es esto? No lo sé.", "es").unwrap_err().code, "same-language");
    let french = source("Le chat est sur la table avec nous.", "es").unwrap_err();
    assert_eq!(french.code, "translation-unavailable");
    assert_eq!(source("12345", "es").unwrap_err().code, "language-undetermined");
}

#[tokio::test]
async fn without_the_program_the_failure_is_final_and_says_what_to_install() {
    let apertium = Some(PathBuf::from("/nonexistent/apertium"));
    let translator = Translator::new(&AiConfig { apertium, ..AiConfig::default() });
    let failure = translator.pairs(&CancellationToken::new()).await.unwrap_err();
    assert_eq!((failure.code, failure.retryable), ("translation-unavailable", false));
    assert!(failure.message.contains("apt-get install apertium apertium-eng-spa"));
}

#[tokio::test]
async fn the_text_goes_in_and_out_unchanged_and_secrets_stay_here() {
    let translator = double(Duration::from_secs(60));
    let cancel = CancellationToken::new();
    assert_eq!(translated(&translator, NASTY, "es", &cancel).await.unwrap(), NASTY);
    // More than any pipe holds, so that feeding and reading must overlap.
    let long = NASTY.repeat(20_000);
    assert_eq!(translated(&translator, &long, "es", &cancel).await.unwrap(), long);
    let seen = translated(&translator, "x", "fr", &cancel).await.unwrap();
    let known = [
        "PATH",
        "HOME",
        "LD_LIBRARY_PATH",
        "LC_ALL",
        "APERTIUM_PATH",
        "APERTIUM_DATADIR",
        "PWD",
        "OLDPWD",
        "_",
        "SHLVL",
    ];
    let names = seen.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    let foreign: Vec<_> = names.filter(|name| !known.contains(name)).collect();
    assert!(seen.contains("LC_ALL=C.UTF-8") && foreign.is_empty(), "{foreign:?}");
}

#[tokio::test]
async fn a_program_that_fails_or_never_ends_its_output_is_a_failure() {
    let translator = double(Duration::from_secs(60));
    let cancel = CancellationToken::new();
    let failed = translated(&translator, "x", "it", &cancel).await.unwrap_err();
    assert_eq!((failed.code, failed.retryable), ("translation-failed", true));
    let endless = translated(&translator, "x", "pt", &cancel).await.unwrap_err();
    assert_eq!((endless.code, endless.retryable), ("translation-failed", false));
}

#[tokio::test]
async fn a_slow_program_is_killed_at_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let translator = double(Duration::from_secs(2));
    let cancel = CancellationToken::new();
    let late = translated(&translator, file.to_str().unwrap(), "ca", &cancel).await.unwrap_err();
    assert_eq!((late.code, late.retryable), ("translation-timeout", true));
    assert_gone(&file).await;
}

#[tokio::test]
async fn a_canceled_job_takes_the_program_and_its_children_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let translator = double(Duration::from_secs(600));
    let cancel = CancellationToken::new();
    let canceling = async {
        exists(&file).await;
        cancel.cancel();
    };
    let running = translated(&translator, file.to_str().unwrap(), "ca", &cancel);
    let (ended, ()) = tokio::join!(running, canceling);
    assert_eq!(ended.unwrap_err().code, "canceled");
    assert_gone(&file).await;
}

#[tokio::test]
async fn a_dropped_job_takes_the_program_with_it_and_frees_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let translator = double(Duration::from_secs(600));
    let cancel = CancellationToken::new();
    tokio::select! {
        _ = translated(&translator, file.to_str().unwrap(), "ca", &cancel) => panic!("it hangs"),
        () = exists(&file) => {}
    }
    assert_eq!(translated(&translator, "next", "es", &cancel).await.unwrap(), "next");
    assert_gone(&file).await;
}

/// With Apertium: a translation. Without: the failure that says so.
#[tokio::test]
async fn the_real_program_translates_where_it_is_installed() {
    let path = std::env::var_os("LAUNCHKIT_TEST_APERTIUM").map(PathBuf::from);
    let translator = Translator::new(&AiConfig { apertium: path, ..AiConfig::default() });
    let cancel = CancellationToken::new();
    let text = "The house is red. [ ] { } ^ $ @ \\ / < > * zzyzx";
    match translator.pairs(&cancel).await {
        Ok(pairs) if pairs.iter().any(|pair| pair.mode == "eng-spa") => {
            let plan = plan(input(text, None, "es"), &pairs).unwrap();
            let output = translator.run(plan, &cancel).await.unwrap().output;
            assert_eq!(output["translation"], "La casa es roja. [ ] { } ^ $ @ \\ / < > * zzyzx");
        }
        Ok(pairs) => {
            let failure = plan(input(text, None, "es"), &pairs).unwrap_err();
            assert_eq!(failure.code, "translation-unavailable");
        }
        Err(failure) => assert_eq!(failure.code, "translation-unavailable"),
    }
}

async fn exists(file: &Path) {
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The process whose number stands in the file has ended, or does so now.
async fn assert_gone(file: &Path) {
    let number = std::fs::read_to_string(file).unwrap();
    let status = PathBuf::from(format!("/proc/{}/stat", number.trim()));
    let gone = async {
        while std::fs::read_to_string(&status).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
}
