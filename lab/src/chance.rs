//! Chance that a seed repeats.

/// The next number of a seed: SplitMix64, which is chance enough for choosing whom to kill.
pub fn chance(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Everything that a seed decides, one after the other.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Begins with a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        chance(&mut self.0) % end.max(1)
    }

    /// Another chance, for something that goes on beside this.
    pub fn branch(&mut self) -> Self {
        Self(chance(&mut self.0))
    }
}
