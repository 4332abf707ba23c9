//! EXTRACT: addresses, dates, amounts, numbers and names, each with its place in the text.
//!
//! Rules look at a bounded stretch from each place where a word may begin, so the work is linear in
//! the text. Where findings overlap the stronger rule stays. What a rule can verify (check digits,
//! calendar, address syntax) it verifies; how sure it is stands in `confidence`.

mod amount;
mod code;
mod cursor;
mod moment;
mod name;
mod web;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{AiFailure, Draft, EntityType, ExtractInput, checkpoint};
use cursor::Cursor;

/// Entities in one answer; `truncated` says when there were more.
const MAX_ENTITIES: usize = 5_000;

/// What a rule saw, by byte offsets.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    kind: EntityType,
    start: usize,
    end: usize,
    confidence: f64,
    /// The normal form, where there is one.
    value: Option<String>,
    /// Stands in the answer instead of the text itself, where that must not be shown.
    shown: Option<String>,
}

/// A rule looks from the cursor's place on, never further than a fixed number of characters.
type Rule = fn(Cursor<'_>) -> Option<Found>;

const RULES: &[Rule] = &[
    code::iban,
    code::card,
    code::ip,
    moment::date,
    amount::money,
    amount::percent,
    moment::time,
    code::phone,
    web::hashtag,
    web::mention,
];

pub(super) fn run(input: &ExtractInput, cancel: &CancellationToken) -> Result<Draft, AiFailure> {
    let found = search(&input.text, cancel)?;
    let wanted = |found: &Found| input.types.as_ref().is_none_or(|types| types.contains(&found.kind));
    let mut found: Vec<Found> = found.into_iter().filter(wanted).collect();
    let truncated = found.len() > MAX_ENTITIES;
    found.truncate(MAX_ENTITIES);
    let entities = described(&input.text, &found);
    let written = entities.iter().filter_map(|entity| entity["text"].as_str());
    let written = written.map(str::to_owned).collect();
    let mut output = json!({ "count": entities.len(), "entities": entities, "method": "rules" });
    if truncated {
        output["truncated"] = json!(true);
    }
    Ok(Draft { output, written, model: "rules".to_owned() })
}

/// Everything that was found, without overlaps, by place.
fn search(text: &str, cancel: &CancellationToken) -> Result<Vec<Found>, AiFailure> {
    let mut candidates = web::links(text);
    for rule in RULES {
        checkpoint(cancel)?;
        candidates.extend(apply(*rule, text));
    }
    checkpoint(cancel)?;
    candidates.extend(name::names(text));
    Ok(without_overlaps(candidates))
}

/// Every finding of one rule, from the left, each after the end of the one before.
fn apply(rule: Rule, text: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let mut free_from = 0;
    let mut before = ' ';
    for (start, c) in text.char_indices() {
        // "2024-01-15T10:30" is two findings.
        let inside_word = c.is_alphanumeric() && before.is_alphanumeric() && before != 'T';
        let may_begin = c.is_ascii_graphic() || amount::begins(c);
        if start >= free_from
            && may_begin
            && !inside_word
            && let Some(hit) = rule(Cursor::new(text, start))
        {
            free_from = hit.end;
            found.push(hit);
        }
        before = c;
    }
    found
}

/// The stronger rule first, then the earlier place, then the longer stretch.
fn without_overlaps(mut candidates: Vec<Found>) -> Vec<Found> {
    candidates.sort_by_key(|found| (strength(found.kind), found.start, usize::MAX - found.end));
    let mut taken: BTreeMap<usize, Found> = BTreeMap::new();
    for found in candidates {
        // Taken stretches do not overlap, so the last that begins before our end decides.
        let last = taken.range(..found.end).next_back();
        if last.is_none_or(|(_, other)| other.end <= found.start) {
            taken.insert(found.start, found);
        }
    }
    taken.into_values().collect()
}

/// Lower is stronger: what carries its own proof goes before what only looks right.
fn strength(kind: EntityType) -> usize {
    use EntityType::*;
    const ORDER: [EntityType; 13] =
        [Url, Email, Iban, Card, Ip, Date, Money, Percent, Time, Phone, Hashtag, Mention, Name];
    ORDER.iter().position(|other| *other == kind).unwrap_or(ORDER.len())
}

/// The entities as they are answered: offsets in characters.
fn described(text: &str, found: &[Found]) -> Vec<Value> {
    let (mut byte, mut character) = (0, 0);
    let mut place = |at: usize| {
        character += text[byte..at].chars().count();
        byte = at;
        character
    };
    found
        .iter()
        .map(|found| {
            let shown = found.shown.as_deref().unwrap_or(&text[found.start..found.end]);
            let mut entity = json!({
                "type": found.kind.as_str(),
                "text": shown,
                "start": place(found.start),
                "end": place(found.end),
                "confidence": found.confidence,
            });
            if let Some(value) = &found.value {
                entity["value"] = json!(value);
            }
            entity
        })
        .collect()
}

#[cfg(test)]
mod tests;
