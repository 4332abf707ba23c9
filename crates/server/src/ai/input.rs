//! The typed inputs of the five job types. Made only by [`check`](super::check); they serialize to exactly
//! the JSON objects that they were made from.

use std::collections::BTreeMap;

use serde::Serialize;

/// A checked input. Serializes to the object that was sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Input {
    /// For [`JobType::Summarize`](super::JobType::Summarize).
    Summarize(SummarizeInput),
    /// For [`JobType::Classify`](super::JobType::Classify).
    Classify(ClassifyInput),
    /// For [`JobType::Sentiment`](super::JobType::Sentiment).
    Sentiment(SentimentInput),
    /// For [`JobType::Translate`](super::JobType::Translate).
    Translate(TranslateInput),
    /// For [`JobType::Extract`](super::JobType::Extract).
    Extract(ExtractInput),
}

/// A text and how long its summary may be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SummarizeInput {
    /// The text to shorten.
    pub text: String,
    /// 1 to 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sentences: Option<u64>,
}

/// A text and the labels to choose from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassifyInput {
    /// The text to label.
    pub text: String,
    /// 2 to 50 different labels. See [`ClassifyInput::labels`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Categories>,
    /// Whether several labels may fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multi_label: Option<bool>,
    /// Up to 16 texts for each label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub examples: Option<BTreeMap<String, Vec<String>>>,
}

/// The labels in the order in which they were sent.
pub type Categories = Vec<String>;

impl ClassifyInput {
    /// The labels in force: `categories`, else the labels of `examples`, else the five defaults.
    pub fn labels(&self) -> Vec<&str> {
        match (&self.categories, &self.examples) {
            (Some(labels), _) => labels.iter().map(String::as_str).collect(),
            (None, Some(examples)) => examples.keys().map(String::as_str).collect(),
            (None, None) => vec!["Technology", "Business", "Science", "Sports", "Entertainment"],
        }
    }
}

/// A text to rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SentimentInput {
    /// The text to rate.
    pub text: String,
}

/// A text and its languages, as BCP 47 tags.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TranslateInput {
    /// The text to translate.
    pub text: String,
    /// The language wanted.
    pub to: String,
    /// The text's language; detected when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// A text to search, and what for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExtractInput {
    /// The text to search.
    pub text: String,
    /// Only these; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<EntityType>>,
}

macro_rules! entity_types {
    ($($variant:ident $name:literal $meaning:literal,)*) => {
        /// What EXTRACT can find.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum EntityType {
            $(#[doc = $meaning] #[serde(rename = $name)] $variant,)*
        }

        impl EntityType {
            /// Every type.
            pub const ALL: &'static [EntityType] = &[$(EntityType::$variant,)*];

            /// The name on the wire, e.g. `EMAIL`.
            pub fn as_str(self) -> &'static str {
                match self { $(EntityType::$variant => $name,)* }
            }
        }
    };
}

entity_types! {
    Url "URL" "A web address.",
    Email "EMAIL" "A mail address.",
    Phone "PHONE" "A telephone number.",
    Money "MONEY" "An amount with its currency.",
    Percent "PERCENT" "A share of a hundred.",
    Date "DATE" "A day, or a month of a year.",
    Time "TIME" "A time of day.",
    Ip "IP" "An IPv4 or IPv6 address.",
    Iban "IBAN" "A bank account whose check digits are right.",
    Card "CARD" "A payment card number whose check digit is right; never shown whole.",
    Hashtag "HASHTAG" "A `#word`.",
    Mention "MENTION" "An `@name`.",
    Name "NAME" "Capitalised words that may be a name.",
}

impl Input {
    /// The texts that are read, for counting.
    pub(super) fn texts(&self) -> Vec<&str> {
        match self {
            Input::Summarize(input) => vec![&input.text],
            Input::Sentiment(input) => vec![&input.text],
            Input::Translate(input) => vec![&input.text],
            Input::Extract(input) => vec![&input.text],
            Input::Classify(input) => {
                let mut texts = vec![input.text.as_str()];
                texts.extend(input.labels());
                let examples = input.examples.iter().flat_map(BTreeMap::values).flatten();
                texts.extend(examples.map(String::as_str));
                texts
            }
        }
    }
}
