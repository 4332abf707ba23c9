//! API keys as text: `lk_live_<public prefix>_<secret>`.
//!
//! Only the hash is stored. The secret part has 190 random bits, so one round of SHA-256 is enough:
//! there is nothing to guess that a slow hash would protect.

use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const PUBLIC: usize = 12;
const SECRET: usize = 32;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Whether a key is for real work or for trying things out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `lk_live_…`
    Live,
    /// `lk_test_…`
    Test,
}

impl Mode {
    fn head(self) -> &'static str {
        match self {
            Mode::Live => "lk_live_",
            Mode::Test => "lk_test_",
        }
    }
}

/// A key that has just been made. The text is shown once.
#[derive(Debug)]
pub struct NewKey {
    /// The whole key.
    pub text: SecretString,
    /// What lists show and what finds the row: `lk_live_<public prefix>`.
    pub prefix: String,
    /// What is stored.
    pub hash: String,
}

/// Makes a key.
pub fn make(mode: Mode) -> NewKey {
    let prefix = format!("{}{}", mode.head(), random(PUBLIC));
    let text = SecretString::from(format!("{prefix}_{}", random(SECRET)));
    let hash = hash(text.expose_secret());
    NewKey { text, prefix, hash }
}

/// The public prefix of something that has the shape of a key.
pub fn prefix(text: &str) -> Option<&str> {
    let head = [Mode::Live, Mode::Test].into_iter().map(Mode::head).find(|head| text.starts_with(head))?;
    let (public, secret) = text[head.len()..].split_once('_')?;
    let plain = |part: &str, length| part.len() == length && part.bytes().all(|b| b.is_ascii_alphanumeric());
    (plain(public, PUBLIC) && plain(secret, SECRET)).then(|| &text[..head.len() + PUBLIC])
}

/// The stored form of a key: SHA-256 in hexadecimal digits.
pub fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether `text` is the key with this hash, in a time that does not depend on where they differ.
pub fn matches(text: &str, stored_hash: &str) -> bool {
    hash(text).as_bytes().ct_eq(stored_hash.as_bytes()).into()
}

fn random(length: usize) -> String {
    let mut source = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[source.random_range(0..ALPHABET.len())])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_has_its_prefix_and_matches_only_itself() {
        let (one, other) = (make(Mode::Live), make(Mode::Test));
        assert_eq!(prefix(one.text.expose_secret()), Some(one.prefix.as_str()));
        assert!(one.prefix.starts_with("lk_live_") && other.prefix.starts_with("lk_test_"));
        assert!(matches(one.text.expose_secret(), &one.hash));
        assert!(!matches(other.text.expose_secret(), &one.hash));
        assert!(!matches(&one.hash, &one.hash));
        assert!(!format!("{one:?}").contains(one.text.expose_secret()));
    }

    #[test]
    fn other_shapes_are_no_keys() {
        let good = make(Mode::Live).text.expose_secret().to_owned();
        for bad in ["", "lk_live_", "lk_live_a_b", &good[1..], &good[..good.len() - 1], &format!("{good}x"), &good.replace("live", "dead"), &good.replace('_', "é")] {
            assert_eq!(prefix(bad), None, "{bad}");
        }
    }
}
