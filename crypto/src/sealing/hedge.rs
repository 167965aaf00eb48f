//! Hedging: what a random source that repeats, or that somebody else knows, is worth nothing against.

use std::convert::Infallible;

use rand_core::{CryptoRng, TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use crate::mac::{Secret, hmac};

/// A random source whose output is HMAC-SHA256(hedge key, OS random ‖ info ‖ block number).
pub(super) struct HedgedRng {
    seed: Secret,
    block: u64,
}

impl HedgedRng {
    pub(super) fn new(rng: &mut impl CryptoRng, hedge: &[u8; 32], info: &[u8]) -> Self {
        let mut random = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *random);
        Self { seed: Zeroizing::new(hmac(hedge, &[&*random, info])), block: 0 }
    }
}

impl TryRng for HedgedRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(32) {
            let block = Zeroizing::new(hmac(&*self.seed, &[&self.block.to_be_bytes()]));
            chunk.copy_from_slice(&block[..chunk.len()]);
            self.block += 1;
        }
        Ok(())
    }
}

impl TryCryptoRng for HedgedRng {}

#[cfg(test)]
mod tests {
    use rand_core::Rng as _;

    use super::*;

    /// A random source that says the same again and again, as that of a machine set back to a snapshot does.
    struct Stuck;

    impl TryRng for Stuck {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(7)
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            Ok(7)
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
            out.fill(7);
            Ok(())
        }
    }

    impl TryCryptoRng for Stuck {}

    fn output(hedge: u8, info: &[u8]) -> [u8; 100] {
        let mut out = [0; 100];
        HedgedRng::new(&mut Stuck, &[hedge; 32], info).fill_bytes(&mut out);
        out
    }

    #[test]
    fn a_stuck_source_still_gives_different_bytes_for_different_uses_and_nodes() {
        assert_eq!(output(1, b"a"), output(1, b"a"), "nothing else goes in");
        assert_ne!(output(1, b"a"), output(1, b"b"));
        assert_ne!(output(1, b"a"), output(2, b"a"), "whoever knows the source lacks the hedge key");
    }

    #[test]
    fn no_block_comes_twice() {
        let out = output(1, b"a");
        assert!(out.iter().any(|byte| *byte != 7));
        let blocks: Vec<_> = out.chunks(32).collect();
        assert!(blocks[0] != blocks[1] && blocks[1] != blocks[2] && blocks[2][..4] != *blocks[3]);
        let mut rng = HedgedRng::new(&mut Stuck, &[1; 32], b"a");
        assert_ne!(rng.next_u64(), rng.next_u64());
        assert_ne!(rng.next_u32(), rng.next_u32());
    }
}
