//! What times are divided by: work that no change of ours touches, of the two kinds that the paths are made of, reckoning and moving.

use std::hint::black_box;

/// Bytes that are worked on: more than a first cache has, as frames do.
const BYTES: usize = 128 * 1024;

/// A buffer, worked on again and again.
pub(crate) struct Calibration {
    words: Vec<u64>,
}

impl Calibration {
    pub(crate) fn new() -> Self {
        Self { words: (0..BYTES as u64 / 8).collect() }
    }

    /// Mixes each word with the one before, then moves all of them into a new buffer.
    pub(crate) fn step(&mut self) {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for word in &mut self.words {
            state = (state ^ *word).rotate_left(23).wrapping_mul(0xff51_afd7_ed55_8ccd);
            *word = state;
        }
        self.words = black_box(self.words.clone());
    }
}
