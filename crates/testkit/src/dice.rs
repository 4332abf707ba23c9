//! Numbers that look random and are the same for a seed, in every run and on every machine.

/// Knuth's linear congruential generator (MMIX), of which the upper half is used.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a seed; seeds that stand next to each other have little in common.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Dice of their own, that fall as these say.
    pub fn fork(&mut self) -> Self {
        Self::new(self.roll(1 << 30))
    }

    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// The same as a size.
    pub fn size(&mut self, sides: usize) -> usize {
        usize::try_from(self.roll(sides as u64)).expect("small")
    }

    /// The same as a small number.
    pub fn number(&mut self, sides: u32) -> u32 {
        u32::try_from(self.roll(u64::from(sides))).expect("small")
    }

    /// One time out of so many.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.roll(times) == 0
    }

    /// One of several.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.size(of.len())]
    }
}
