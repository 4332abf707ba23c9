//! Ids in the manner of cuid: `c`, 8 characters of time, 4 of a counter, 12 random; 25 characters of base 36.
//!
//! They sort by the time they were made, so that a database appends them instead of scattering them over its index, and a
//! span of time is a span of ids. The counter keeps the order within one millisecond of one process; the random part makes
//! them unique and not guessable from one another.

use std::sync::{Mutex, PoisonError};

use rand::RngExt as _;

/// Makes ids; one for each open database.
#[derive(Default)]
pub(crate) struct Ids {
    last: Mutex<(i64, u32)>,
}

const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const LENGTH: usize = 25;
/// 36⁸ ms after the epoch is in the year 2059.
const LATEST: i64 = 36_i64.pow(8) - 1;
const COUNTS: u32 = 36_u32.pow(4);

impl Ids {
    /// A new id made at `now`.
    pub(crate) fn make(&self, now: i64) -> String {
        let count = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = if last.0 == now { (now, (last.1 + 1) % COUNTS) } else { (now, 0) };
            last.1
        };
        let mut id = String::with_capacity(LENGTH);
        id.push('c');
        push(&mut id, now.clamp(0, LATEST) as u64, 8);
        push(&mut id, u64::from(count), 4);
        random(&mut id, 12);
        id
    }
}

/// The smallest id that can have been made at `at` or later.
pub(crate) fn first_at(at: i64) -> String {
    let mut id = String::with_capacity(9);
    if at > LATEST {
        // After every id: no base-36 digit sorts after `z`, and this is longer.
        id.push('d');
        return id;
    }
    id.push('c');
    push(&mut id, at.max(0) as u64, 8);
    id
}

/// Whether the text has the form of an id; what has not cannot be in the database.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == LENGTH && text.starts_with('c') && text.bytes().all(|byte| DIGITS.contains(&byte))
}

/// Appends `length` random characters of base 36 (5.17 bits each).
pub(crate) fn random(to: &mut String, length: usize) {
    let mut random = rand::rng();
    for _ in 0..length {
        to.push(char::from(DIGITS[random.random_range(0..DIGITS.len())]));
    }
}

fn push(to: &mut String, mut number: u64, width: usize) {
    let mut digits = [b'0'; 8];
    for place in (0..width).rev() {
        digits[place] = DIGITS[(number % 36) as usize];
        number /= 36;
    }
    to.extend(digits[..width].iter().map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_and_sort_by_time_then_by_making() {
        let ids = Ids::default();
        let mut made = Vec::new();
        for now in [1, 1_700_000_000_000, 1_700_000_000_000, 1_700_000_000_001] {
            for _ in 0..2_000 {
                made.push(ids.make(now));
            }
        }
        assert!(made.iter().all(|id| is_id(id)), "{:?}", made.first());
        assert!(made.is_sorted());
        let mut unique = made.clone();
        unique.dedup();
        assert_eq!(unique.len(), made.len());
    }

    #[test]
    fn a_span_of_time_is_a_span_of_ids() {
        let ids = Ids::default();
        let at = 1_700_000_000_000;
        assert!(ids.make(at - 1) < first_at(at));
        assert!(ids.make(at) >= first_at(at));
        assert!(ids.make(LATEST) < first_at(i64::MAX));
        assert!(ids.make(0) >= first_at(i64::MIN));
    }

    #[test]
    fn what_is_no_id_is_told() {
        for text in ["", "c", "clx", "C000000000000000000000000", "c00000000000000000000000é"] {
            assert!(!is_id(text), "{text}");
        }
    }
}
