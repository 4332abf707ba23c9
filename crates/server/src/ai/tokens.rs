//! Token counts: the o200k vocabulary, the same for every local processor.

use tokio_util::sync::CancellationToken;

use super::{AiFailure, checkpoint};

/// A text is counted in pieces of at most this many bytes, so that a canceled job stops soon.
const PIECE_BYTES: usize = 64 * 1024;

/// Tokens of all `texts` together. Linear in their length. Texts longer than a piece are cut between
/// words where they have any, so a count may differ by one at a cut.
pub(super) fn count<'a>(texts: impl Iterator<Item = &'a str>, cancel: &CancellationToken) -> Result<u64, AiFailure> {
    let tokenizer = bpe_openai::o200k_base();
    let mut total = 0;
    for text in texts {
        let mut rest = text;
        while !rest.is_empty() {
            checkpoint(cancel)?;
            let (piece, later) = rest.split_at(cut(rest));
            total += tokenizer.count(piece) as u64;
            rest = later;
        }
    }
    Ok(total)
}

/// Where the first piece ends: before the last white space that fits, else at a character boundary.
fn cut(text: &str) -> usize {
    if text.len() <= PIECE_BYTES {
        return text.len();
    }
    let end = text.floor_char_boundary(PIECE_BYTES);
    match text[..end].rfind(char::is_whitespace) {
        Some(space) if space > 0 => space,
        _ => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_counts() {
        let cancel = CancellationToken::new();
        let count = |text| count(std::iter::once(text), &cancel).unwrap();
        assert_eq!(count("hello world"), 2);
        assert_eq!(count(""), 0);
        let long = "hello world ".repeat(20_000);
        let whole = bpe_openai::o200k_base().count(long.as_str()) as u64;
        assert!(count(&long).abs_diff(whole) <= 4);
    }
}
