//! Numbers that look random and are the same in every run.

use launchkit_queue::Rate;

use super::plan::rate;

pub(crate) struct Dice {
    state: u64,
    /// Whether jobs have priorities, and then none goes to the front: of several in front of one class no order is promised.
    pub(crate) classes: bool,
    /// The workers' own rate, and then the queues have none: workers whose rates differ interfere.
    pub(crate) rate: Option<Rate>,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), classes: seed % 2 == 1, rate: None };
        dice.rate = (dice.roll(4) == 0).then(|| rate(&mut dice));
        dice
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % sides
    }

    pub(crate) fn size(&mut self, sides: usize) -> usize {
        usize::try_from(self.roll(sides as u64)).expect("small")
    }

    pub(crate) fn number(&mut self, sides: u32) -> u32 {
        u32::try_from(self.roll(u64::from(sides))).expect("small")
    }

    /// One time out of so many.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.roll(times) == 0
    }

    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.size(of.len())]
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
