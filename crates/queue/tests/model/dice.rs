//! Dice, and what they have said about a whole history.

use std::ops::{Deref, DerefMut};

use launchkit_queue::Rate;

use super::plan::rate;

pub(crate) struct Dice {
    dice: launchkit_testkit::Dice,
    /// Whether jobs have priorities, and then none goes to the front: of several in front of one class no order is promised.
    pub(crate) classes: bool,
    /// The workers' own rate, and then the queues have none: workers whose rates differ interfere.
    pub(crate) rate: Option<Rate>,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Self { dice: launchkit_testkit::Dice::new(seed), classes: seed % 2 == 1, rate: None };
        dice.rate = (dice.roll(4) == 0).then(|| rate(&mut dice));
        dice
    }

    /// Milliseconds between two steps: mostly few, sometimes a lock's, sometimes minutes.
    pub(crate) fn time(&mut self) -> u64 {
        match self.roll(30) {
            0 => 31_000,
            1 => 61_000 + self.roll(200_000),
            2..=5 => 1 + self.roll(1_500),
            _ => 1 + self.roll(30),
        }
    }
}

impl Deref for Dice {
    type Target = launchkit_testkit::Dice;

    fn deref(&self) -> &Self::Target {
        &self.dice
    }
}

impl DerefMut for Dice {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.dice
    }
}
