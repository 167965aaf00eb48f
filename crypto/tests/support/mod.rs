//! What golden vectors need: a random source that is none, and the files they are kept in.

use std::convert::Infallible;
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use rand_core::{TryCryptoRng, TryRng};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// As the vectors are written.
pub(crate) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// As the vectors are read.
pub(crate) fn bytes(hex: &Value) -> Vec<u8> {
    HEXLOWER.decode(hex.as_str().unwrap().as_bytes()).unwrap()
}

/// Compares with the file, or writes it; either way, what is in the file now. Every vector in it is text, so equal
/// values mean equal bytes, whatever order the keys are in.
pub(crate) fn golden(file: &str, vector: &Value) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    if std::env::var_os("WAXWING_BLESS").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(vector).unwrap() + "\n").unwrap();
    }
    let kept: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert!(kept == *vector, "{file} differs from what is made now:\n{vector:#}");
    kept
}

/// SHA-256 of a seed and a counter: random to look at, and the same each time.
pub(crate) struct Seeded {
    seed: u8,
    count: u64,
}

impl Seeded {
    /// One of 256.
    pub(crate) fn new(seed: u8) -> Self {
        Self { seed, count: 0 }
    }
}

impl TryRng for Seeded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut word = [0; 4];
        self.try_fill_bytes(&mut word)?;
        Ok(u32::from_be_bytes(word))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut word = [0; 8];
        self.try_fill_bytes(&mut word)?;
        Ok(u64::from_be_bytes(word))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        for chunk in dst.chunks_mut(32) {
            self.count += 1;
            let block =
                Sha256::new().chain_update([self.seed]).chain_update(self.count.to_be_bytes()).finalize();
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Seeded {}
