//! What may be sent as input of the five job types, and one fault per thing that may not.
//!
//! The same check runs when a job is accepted and again before it is done. It never changes a value:
//! a typed input serializes to exactly the JSON object that it came from.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    Categories, ClassifyInput, EntityType, ExtractInput, Input, JobType, SentimentInput, SummarizeInput, TranslateInput,
};

/// The longest text, in characters (Unicode scalar values).
pub const MAX_TEXT_CHARS: usize = 200_000;

const MAX_FAULTS: usize = 100;
const MAX_LABEL_CHARS: usize = 200;
const LABELS: std::ops::RangeInclusive<usize> = 2..=50;
const MAX_EXAMPLES: usize = 16;
const MAX_EXAMPLE_CHARS: usize = 10_000;
const SENTENCES: std::ops::RangeInclusive<u64> = 1..=20;

/// One thing that is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// JSON Pointer, relative to the input object, e.g. `/text`.
    pub pointer: String,
    /// A sentence.
    pub message: String,
}

/// Checks an input object strictly. At most 100 faults are listed; with none the typed input is
/// answered.
pub fn check(job: JobType, input: &Map<String, Value>) -> Result<Input, Vec<Fault>> {
    let mut fields = Fields { input, faults: Vec::new() };
    let typed = match job {
        JobType::Summarize => fields.summarize().map(Input::Summarize),
        JobType::Classify => fields.classify().map(Input::Classify),
        JobType::Sentiment => fields.sentiment().map(Input::Sentiment),
        JobType::Translate => fields.translate().map(Input::Translate),
        JobType::Extract => fields.extract().map(Input::Extract),
    };
    match typed {
        Some(typed) if fields.faults.is_empty() => Ok(typed),
        _ => Err(fields.faults),
    }
}

/// Reads fields and gathers faults. A reader answers `None` only after it has noted a fault.
struct Fields<'a> {
    input: &'a Map<String, Value>,
    faults: Vec<Fault>,
}

impl Fields<'_> {
    fn summarize(&mut self) -> Option<SummarizeInput> {
        self.only(&["text", "maxSentences"]);
        let text = self.text("text");
        let max_sentences = match self.input.get("maxSentences") {
            None => None,
            Some(value) => {
                let number = value.as_u64().filter(|number| SENTENCES.contains(number));
                if number.is_none() {
                    self.fault("/maxSentences", "`maxSentences` must be a whole number from 1 to 20.");
                }
                number
            }
        };
        Some(SummarizeInput { text: text?, max_sentences })
    }

    fn classify(&mut self) -> Option<ClassifyInput> {
        self.only(&["text", "categories", "multiLabel", "examples"]);
        let text = self.text("text");
        let categories = self.categories();
        let multi_label = self.input.get("multiLabel").and_then(|value| {
            let flag = value.as_bool();
            if flag.is_none() {
                self.fault("/multiLabel", "`multiLabel` must be true or false.");
            }
            flag
        });
        let examples = self.examples(categories.as_deref());
        Some(ClassifyInput { text: text?, categories, multi_label, examples })
    }

    fn sentiment(&mut self) -> Option<SentimentInput> {
        self.only(&["text"]);
        Some(SentimentInput { text: self.text("text")? })
    }

    fn translate(&mut self) -> Option<TranslateInput> {
        self.only(&["text", "to", "from"]);
        let text = self.text("text");
        if !self.input.contains_key("to") {
            self.fault("/to", "`to` is required.");
        }
        let to = self.language("to");
        let from = self.language("from");
        Some(TranslateInput { text: text?, to: to?, from })
    }

    fn extract(&mut self) -> Option<ExtractInput> {
        self.only(&["text", "types"]);
        let text = self.text("text");
        let types = self.input.get("types").map(|value| self.entity_types(value));
        Some(ExtractInput { text: text?, types })
    }

    fn fault(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault { pointer: pointer.into(), message: message.into() });
        }
    }

    fn only(&mut self, known: &[&str]) {
        for name in self.input.keys().filter(|name| !known.contains(&name.as_str())) {
            let pointer = format!("/{}", escaped(name));
            self.fault(pointer, format!("Unknown field; known are {}.", known.join(", ")));
        }
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let pointer = format!("/{name}");
        match self.input.get(name) {
            None => {
                self.fault(pointer, format!("`{name}` is required."));
                None
            }
            Some(value) => self.string(value, pointer, MAX_TEXT_CHARS),
        }
    }

    /// A string that says something: not blank, no U+0000, not too long.
    fn string(&mut self, value: &Value, pointer: String, max_chars: usize) -> Option<String> {
        let message = match value {
            Value::String(text) if is_blank(text) => "Must not be empty or blank.".to_owned(),
            Value::String(text) if text.contains('\0') => "Must not contain U+0000.".to_owned(),
            Value::String(text) if longer(text, max_chars) => {
                format!("Must have at most {max_chars} characters.")
            }
            Value::String(text) => return Some(text.clone()),
            _ => "Must be a string.".to_owned(),
        };
        self.fault(pointer, message);
        None
    }

    fn categories(&mut self) -> Option<Categories> {
        let value = self.input.get("categories")?;
        let Value::Array(items) = value else {
            self.fault("/categories", "`categories` must be an array of labels.");
            return None;
        };
        if !LABELS.contains(&items.len()) {
            self.fault("/categories", "`categories` must have 2 to 50 labels.");
            return None;
        }
        let mut seen = BTreeSet::new();
        let mut labels = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let pointer = format!("/categories/{index}");
            if let Some(label) = self.string(item, pointer.clone(), MAX_LABEL_CHARS) {
                if !seen.insert(label.trim().to_owned()) {
                    self.fault(pointer, "This label stands here twice.");
                }
                labels.push(label);
            }
        }
        Some(labels)
    }

    fn examples(&mut self, categories: Option<&[String]>) -> Option<BTreeMap<String, Vec<String>>> {
        let value = self.input.get("examples")?;
        let Value::Object(labels) = value else {
            self.fault("/examples", "`examples` must be an object of label to array of texts.");
            return None;
        };
        let alone = categories.is_none() && !self.input.contains_key("categories");
        if labels.len() > *LABELS.end() || (alone && labels.len() < *LABELS.start()) {
            self.fault("/examples", "`examples` must have 2 to 50 labels.");
            return None;
        }
        let mut all = BTreeMap::new();
        for (label, value) in labels {
            let pointer = format!("/examples/{}", escaped(label));
            let name = Value::String(label.clone());
            self.string(&name, pointer.clone(), MAX_LABEL_CHARS);
            if categories.is_some_and(|known| !known.contains(label)) {
                self.fault(pointer.clone(), "This label is not one of `categories`.");
            }
            all.insert(label.clone(), self.example_texts(value, &pointer));
        }
        Some(all)
    }

    fn example_texts(&mut self, value: &Value, pointer: &str) -> Vec<String> {
        let items = match value {
            Value::Array(items) if (1..=MAX_EXAMPLES).contains(&items.len()) => items,
            _ => {
                self.fault(pointer, "Must be an array of 1 to 16 texts.");
                return Vec::new();
            }
        };
        let texts = items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| self.string(item, format!("{pointer}/{index}"), MAX_EXAMPLE_CHARS));
        texts.collect()
    }

    fn language(&mut self, name: &str) -> Option<String> {
        let value = self.input.get(name)?;
        match value.as_str() {
            Some(tag) if is_language_tag(tag) => Some(tag.to_owned()),
            _ => {
                let message = format!("`{name}` must be a BCP 47 language tag such as \"es\".");
                self.fault(format!("/{name}"), message);
                None
            }
        }
    }

    fn entity_types(&mut self, value: &Value) -> Vec<EntityType> {
        let Value::Array(items) = value else {
            self.fault("/types", "`types` must be an array of type names.");
            return Vec::new();
        };
        if items.is_empty() || items.len() > EntityType::ALL.len() {
            let most = EntityType::ALL.len();
            self.fault("/types", format!("`types` must have 1 to {most} type names."));
            return Vec::new();
        }
        let mut types = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let known = EntityType::ALL.iter().find(|kind| item.as_str() == Some(kind.as_str()));
            let pointer = format!("/types/{index}");
            match known {
                None => {
                    let names: Vec<_> = EntityType::ALL.iter().map(|kind| kind.as_str()).collect();
                    self.fault(pointer, format!("Must be one of {}.", names.join(", ")));
                }
                Some(kind) if types.contains(kind) => {
                    self.fault(pointer, "This type stands here twice.");
                }
                Some(kind) => types.push(*kind),
            }
        }
        types
    }
}

/// Nothing to read: white space, controls and characters without a shape of their own.
fn is_blank(text: &str) -> bool {
    let shapeless = ['\u{200B}', '\u{200C}', '\u{200D}', '\u{2060}', '\u{FEFF}'];
    text.chars().all(|c| c != '\0' && (c.is_whitespace() || c.is_control() || shapeless.contains(&c)))
}

fn longer(text: &str, max_chars: usize) -> bool {
    text.len() > max_chars && text.chars().nth(max_chars).is_some()
}

fn is_language_tag(tag: &str) -> bool {
    let mut parts = tag.split('-');
    let primary = parts.next().unwrap_or_default();
    let primary_fits = (2..=3).contains(&primary.len()) && primary.bytes().all(|b| b.is_ascii_alphabetic());
    let part_fits = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    tag.len() <= 35 && primary_fits && parts.all(part_fits)
}

fn escaped(name: &str) -> String {
    let short: String = name.chars().take(MAX_LABEL_CHARS).collect();
    short.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(job: JobType, input: Value) -> Vec<String> {
        let faults = check(job, input.as_object().unwrap()).unwrap_err();
        assert!(faults.iter().all(|fault| fault.message.ends_with('.')));
        faults.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn what_is_accepted_comes_back_unchanged() {
        let inputs = [
            (JobType::Summarize, json!({"text": " a\u{1F600} ", "maxSentences": 20})),
            (JobType::Summarize, json!({"text": "a"})),
            (JobType::Classify, json!({"text": "a"})),
            (
                JobType::Classify,
                json!({"text": "a", "categories": ["b", "a"], "multiLabel": false,
                       "examples": {"a": ["x", "y"]}}),
            ),
            (JobType::Classify, json!({"text": "a", "examples": {"a": ["x"], "b": ["y"]}})),
            (JobType::Sentiment, json!({"text": "x".repeat(200_000)})),
            (JobType::Translate, json!({"text": "a", "to": "pt-BR", "from": "en"})),
            (JobType::Extract, json!({"text": "a", "types": ["URL", "NAME"]})),
        ];
        for (job, input) in inputs {
            let typed = check(job, input.as_object().unwrap()).unwrap();
            assert_eq!(serde_json::to_value(typed).unwrap(), input);
        }
    }

    #[test]
    fn each_fault_has_its_pointer() {
        use JobType::*;
        let many: Vec<_> = (0..51).map(|n| n.to_string()).collect();
        let cases = [
            (Summarize, json!({}), vec!["/text"]),
            (Summarize, json!({"text": null, "maxSentences": 0}), vec!["/text", "/maxSentences"]),
            (Summarize, json!({"text": "a", "maxSentences": 2.5}), vec!["/maxSentences"]),
            (Summarize, json!({"text": "a", "maxSentences": null}), vec!["/maxSentences"]),
            (Sentiment, json!({"text": ""}), vec!["/text"]),
            (Sentiment, json!({"text": " \n\u{200B}\u{FEFF}"}), vec!["/text"]),
            (Sentiment, json!({"text": "a\0b"}), vec!["/text"]),
            (Sentiment, json!({"text": "\u{1F600}".repeat(200_001)}), vec!["/text"]),
            (Sentiment, json!({"text": ["a"], "a/b~c": 1}), vec!["/a~1b~0c", "/text"]),
            (Classify, json!({"text": "a", "categories": "a"}), vec!["/categories"]),
            (Classify, json!({"text": "a", "categories": ["a"]}), vec!["/categories"]),
            (Classify, json!({"text": "a", "categories": many}), vec!["/categories"]),
            (
                Classify,
                json!({"text": "a", "categories": ["a", "b", "a", "", 5], "multiLabel": 1}),
                vec!["/categories/2", "/categories/3", "/categories/4", "/multiLabel"],
            ),
            (Classify, json!({"text": "a", "examples": {"a": ["x"]}}), vec!["/examples"]),
            (
                Classify,
                json!({"text": "a", "categories": ["a", "b"],
                       "examples": {"a": [], "b": ["x", 1], "c": ["x"]}}),
                vec!["/examples/a", "/examples/b/1", "/examples/c"],
            ),
            (Translate, json!({"text": "a"}), vec!["/to"]),
            (Translate, json!({"text": "a", "to": "e", "from": "en_US"}), vec!["/to", "/from"]),
            (Extract, json!({"text": "a", "types": []}), vec!["/types"]),
            (
                Extract,
                json!({"text": "a", "types": ["URL", "url", "URL", 3]}),
                vec!["/types/1", "/types/2", "/types/3"],
            ),
        ];
        for (job, input, expected) in cases {
            assert_eq!(pointers(job, input.clone()), expected, "{job} {input}");
        }
    }

    #[test]
    fn the_list_of_faults_is_bounded() {
        let input: Map<_, _> = (0..5000).map(|n| (n.to_string(), Value::Null)).collect();
        assert_eq!(check(JobType::Sentiment, &input).unwrap_err().len(), MAX_FAULTS);
    }
}
