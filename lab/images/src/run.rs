//! How many images a run looks at, and what it came to.

use std::env::{var, var_os};

use crate::window::{Choice, Dice, Window};

/// What a run of these images begins with, unless `WAXWING_SEED` says otherwise.
const SEED: u64 = 6;
/// Without `WAXWING_IMAGES`: things done, and images of each sync.
const SAMPLE: (usize, usize) = (48, 3);
/// With it: things done. Of each sync all images are looked at, or a sample if there are too many.
const WHOLE: usize = 120;

/// A run over a sample of the images, or over all.
#[derive(Debug)]
pub struct Run {
    of: &'static str,
    seed: u64,
    whole: bool,
    dice: Dice,
    syncs: u64,
    images: u64,
}

impl Run {
    /// A run over the images of somebody's database, as the environment asks for it.
    #[must_use]
    pub fn of(of: &'static str) -> Self {
        let seed = var("WAXWING_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
        let whole = var_os("WAXWING_IMAGES").is_some();
        Self { of, seed, whole, dice: Dice::new(seed), syncs: 0, images: 0 }
    }

    /// What decides what is done.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// How many things are done.
    #[must_use]
    pub const fn steps(&self) -> usize {
        if self.whole { WHOLE } else { SAMPLE.0 }
    }

    /// The images of a sync to look at.
    pub fn choices(&mut self, window: &Window) -> Vec<Choice> {
        let choices =
            if self.whole { window.all(&mut self.dice) } else { window.some(SAMPLE.1, &mut self.dice) };
        self.syncs += 1;
        self.images += choices.len() as u64;
        println!("WAXWING_SEED={}: sync {}, {} images", self.seed, self.syncs, choices.len());
        choices
    }

    /// Says what it came to: so many acknowledgements were held against every image.
    pub fn ends(&self, acknowledgements: usize) {
        let Self { of, seed, syncs, images, .. } = self;
        println!(
            r#"figures: {{"what": "Crash images of a {of}'s database", "figures": [["syncs of the recording", {syncs}], ["acknowledgements", {acknowledgements}], ["images opened", {images}], ["not as they must be", 0], ["seed", "{seed}"]]}}"#
        );
    }
}
