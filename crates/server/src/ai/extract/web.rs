//! URL, EMAIL, HASHTAG, MENTION.

use linkify::{LinkFinder, LinkKind};

use super::cursor::Cursor;
use super::{EntityType, Found};

const MAX_TAG: usize = 140;
const MAX_HANDLE: usize = 64;

/// Web and mail addresses. A host without a scheme counts only after "www.".
pub(super) fn links(text: &str) -> Vec<Found> {
    let mut finder = LinkFinder::new();
    finder.url_must_have_scheme(false);
    let links = finder.links(text).filter_map(|link| {
        let (kind, confidence, value) = match link.kind() {
            LinkKind::Email => (EntityType::Email, 0.97, mail_value(link.as_str())),
            _ => {
                let (confidence, value) = web_value(link.as_str())?;
                (EntityType::Url, confidence, value)
            }
        };
        let (start, end) = (link.start(), link.end());
        Some(Found { kind, start, end, confidence, value: Some(value), shown: None })
    });
    links.collect()
}

/// Host names have no case; what stands before the "@" may.
fn mail_value(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((user, host)) => format!("{user}@{}", host.to_lowercase()),
        None => address.to_owned(),
    }
}

fn web_value(address: &str) -> Option<(f64, String)> {
    let begins = |with: &str| address.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    if ["https://", "http://", "ftp://"].into_iter().any(begins) {
        Some((0.99, address.to_owned()))
    } else if begins("www.") && address.len() > "www.".len() {
        Some((0.9, format!("http://{address}")))
    } else {
        None
    }
}

pub(super) fn hashtag(mut cursor: Cursor<'_>) -> Option<Found> {
    let glued = cursor.before().is_some_and(|c| c.is_alphanumeric() || matches!(c, '&' | '#' | '/'));
    cursor.eat(|c| c == '#' && !glued)?;
    let tag = cursor.run(MAX_TAG, |c| c.is_alphanumeric() || c == '_');
    if !tag.chars().any(char::is_alphabetic) || !cursor.at_word_end() {
        return None;
    }
    Some(cursor.found(EntityType::Hashtag, 0.95, Some(tag.to_owned())))
}

pub(super) fn mention(mut cursor: Cursor<'_>) -> Option<Found> {
    let glued = cursor.before().is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '@' | '_'));
    cursor.eat(|c| c == '@' && !glued)?;
    let handle = cursor.run(MAX_HANDLE, |c| c.is_ascii_alphanumeric() || c == '_');
    let other = cursor.peek().is_some_and(|c| c.is_alphanumeric() || c == '@');
    if !handle.bytes().any(|b| b.is_ascii_alphabetic()) || other {
        return None;
    }
    Some(cursor.found(EntityType::Mention, 0.9, Some(handle.to_owned())))
}
