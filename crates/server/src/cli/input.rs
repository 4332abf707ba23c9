//! A job as the command line describes it: its type, its text, and what belongs to the type.

use std::io::Read;

use clap::Args;
use serde_json::{Map, Value, json};

use super::output::Stop;
use crate::ai::{JobType, MAX_TEXT_CHARS};

/// Longer texts than this are refused without being read to the end.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// A job's type, text, and the fields of its input.
#[derive(Debug, Args)]
pub(super) struct JobArgs {
    /// SUMMARIZE, CLASSIFY, SENTIMENT, TRANSLATE or EXTRACT
    #[arg(value_name = "TYPE", value_parser = job_type)]
    pub(super) kind: JobType,
    /// File with the text, - for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: String,
    /// Text to use instead of a file
    #[arg(long, conflicts_with = "file")]
    text: Option<String>,
    /// SUMMARIZE: sentences at most, 1 to 20
    #[arg(long, value_name = "N")]
    max_sentences: Option<u64>,
    /// CLASSIFY: the labels to choose from
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    categories: Option<Vec<String>>,
    /// CLASSIFY: several labels may fit
    #[arg(long)]
    multi_label: bool,
    /// TRANSLATE: language wanted, like es
    #[arg(long, value_name = "LANG")]
    to: Option<String>,
    /// TRANSLATE: language of the text; detected when not given
    #[arg(long, value_name = "LANG")]
    from: Option<String>,
    /// EXTRACT: only these, like EMAIL,DATE
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    types: Option<Vec<String>>,
}

impl JobArgs {
    /// The input object. What does not fit the type is told by whoever checks it.
    pub(super) fn input(&self) -> Result<Map<String, Value>, Stop> {
        let text = match &self.text {
            Some(text) => text.clone(),
            None => read(&self.file)?,
        };
        let mut input = Map::new();
        input.insert("text".to_owned(), json!(text));
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                input.insert(name.to_owned(), value);
            }
        };
        put("maxSentences", self.max_sentences.map(|n| json!(n)));
        put("categories", self.categories.as_ref().map(|list| json!(list)));
        put("multiLabel", self.multi_label.then_some(Value::Bool(true)));
        put("to", self.to.as_ref().map(|to| json!(to)));
        put("from", self.from.as_ref().map(|from| json!(from)));
        put("types", self.types.as_ref().map(|list| json!(list)));
        Ok(input)
    }
}

/// A text from a file or, with `-`, from standard input.
pub(super) fn read(file: &str) -> Result<String, Stop> {
    let failed = |error: std::io::Error| Stop::Failed(format!("cannot read {file}: {error}"));
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    let mut text = String::new();
    let size = source.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
    if size as u64 > MOST_BYTES {
        return Err(Stop::Failed(format!("{file} is too long: a text may have {MAX_TEXT_CHARS} characters")));
    }
    Ok(text)
}

/// Types are written in capitals everywhere; the command line takes small letters, too.
fn job_type(text: &str) -> Result<JobType, String> {
    text.to_ascii_uppercase().parse().map_err(|error: crate::ai::UnknownJobType| error.to_string())
}
