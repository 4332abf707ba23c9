//! What is random of a worker: its id, the spread of its looks and of its backoffs.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub(super) struct Dice(Mutex<StdRng>);

impl Dice {
    /// Dice that fall the same way for the same seed; without one, as nobody can tell.
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self(Mutex::new(seed.map_or_else(|| StdRng::from_seed(rand::random()), StdRng::seed_from_u64)))
    }

    pub(super) fn id(&self) -> String {
        format!("{:032x}", self.throw(|dice| dice.random::<u128>()))
    }

    /// A number from 0 to 1.
    pub(super) fn draw(&self) -> f64 {
        self.throw(|dice| dice.random())
    }

    /// A time about as long as this one, so that many workers do not look at the same moment.
    pub(super) fn about(&self, time: Duration) -> Duration {
        time.mul_f64(0.9 + 0.2 * self.draw())
    }

    fn throw<T>(&self, throw: impl FnOnce(&mut StdRng) -> T) -> T {
        throw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
