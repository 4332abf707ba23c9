//! How long to wait before an attempt is repeated.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// No wait is longer than a year, whatever base and attempt.
pub const MAX_BACKOFF: Duration = Duration::from_secs(365 * 24 * 3600);

/// The wait between two attempts, by BullMQ's rules.
///
/// `jitter` j in \[0, 1\] draws the wait evenly from \[(1 − j)·d, d\].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Backoff {
    /// At once.
    #[default]
    None,
    /// The same wait each time.
    Fixed {
        /// The wait, in whole milliseconds.
        #[serde(with = "millis")]
        delay: Duration,
        /// The share of the wait that is drawn.
        #[serde(default, skip_serializing_if = "is_zero")]
        jitter: f64,
    },
    /// The base after the first failure, and twice as long after each further one.
    Exponential {
        /// The base, in whole milliseconds.
        #[serde(with = "millis")]
        delay: Duration,
        /// The share of the wait that is drawn.
        #[serde(default, skip_serializing_if = "is_zero")]
        jitter: f64,
    },
}

impl Backoff {
    /// The same wait each time, without jitter.
    pub const fn fixed(delay: Duration) -> Self {
        Backoff::Fixed { delay, jitter: 0.0 }
    }

    /// `base` · 2^(k−1) after the k-th failure, without jitter.
    pub const fn exponential(base: Duration) -> Self {
        Backoff::Exponential { delay: base, jitter: 0.0 }
    }

    /// The same backoff with jitter; values outside \[0, 1\] are refused when the job is added.
    pub fn with_jitter(self, share: f64) -> Self {
        match self {
            Backoff::None => Backoff::None,
            Backoff::Fixed { delay, .. } => Backoff::Fixed { delay, jitter: share },
            Backoff::Exponential { delay, .. } => Backoff::Exponential { delay, jitter: share },
        }
    }

    /// The wait after the `attempt`-th failed attempt (1-based), at most [`MAX_BACKOFF`].
    /// `draw` in [0, 1) decides the jitter.
    pub fn delay(&self, attempt: u32, draw: f64) -> Duration {
        let (longest, jitter) = match *self {
            Backoff::None => return Duration::ZERO,
            Backoff::Fixed { delay, jitter } => (delay.as_millis() as f64, jitter),
            Backoff::Exponential { delay, jitter } => {
                let doublings = attempt.saturating_sub(1).min(64) as i32;
                (delay.as_millis() as f64 * 2f64.powi(doublings), jitter)
            }
        };
        let longest = longest.min(MAX_BACKOFF.as_millis() as f64);
        let jitter = jitter.clamp(0.0, 1.0);
        let wait = longest * (1.0 - jitter) + draw * longest * jitter;
        Duration::from_millis(wait as u64)
    }

    pub(crate) fn jitter(&self) -> f64 {
        match *self {
            Backoff::None => 0.0,
            Backoff::Fixed { jitter, .. } | Backoff::Exponential { jitter, .. } => jitter,
        }
    }
}

fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

/// Durations as whole milliseconds.
pub(crate) mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Ok(Duration::from_millis(u64::deserialize(from)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_doubles_and_is_clamped() {
        let backoff = Backoff::exponential(Duration::from_secs(2));
        let waits: Vec<_> = (1..=4).map(|k| backoff.delay(k, 0.0).as_secs()).collect();
        assert_eq!(waits, [2, 4, 8, 16]);
        assert_eq!(backoff.delay(u32::MAX, 0.0), MAX_BACKOFF);
        assert_eq!(Backoff::fixed(Duration::MAX).delay(1, 0.0), MAX_BACKOFF);
    }

    #[test]
    fn jitter_draws_between_the_share_left_and_the_whole() {
        let backoff = Backoff::fixed(Duration::from_millis(1000)).with_jitter(0.4);
        assert_eq!(backoff.delay(1, 0.0).as_millis(), 600);
        assert_eq!(backoff.delay(1, 0.5).as_millis(), 800);
        let top = backoff.delay(1, 0.999_999).as_millis();
        assert!((999..=1000).contains(&top), "{top}");
    }

    #[test]
    fn stored_form_is_bullmqs() {
        let text = serde_json::to_string(&Backoff::exponential(Duration::from_secs(2))).unwrap();
        assert_eq!(text, r#"{"type":"exponential","delay":2000}"#);
        let (text, half) =
            (r#"{"type":"fixed","delay":5,"jitter":0.5}"#, Backoff::fixed(Duration::from_millis(5)).with_jitter(0.5));
        assert_eq!(serde_json::from_str::<Backoff>(text).unwrap(), half);
        assert_eq!(serde_json::to_string(&half).unwrap(), text);
    }
}
