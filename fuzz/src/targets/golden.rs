//! The vectors, and what the targets make of them.

use bytes::Bytes;
use waxwing_crypto::{Signature, Signed, SigningKey};

/// A file of vectors.
#[expect(clippy::expect_used, reason = "the vectors are JSON")]
pub fn golden(name: &str) -> serde_json::Value {
    let text = match name {
        "membership.json" => include_str!("../../../crypto/tests/vectors/membership.json"),
        "key_list.json" => include_str!("../../../crypto/tests/vectors/key_list.json"),
        "space.json" => include_str!("../../../crypto/tests/vectors/space.json"),
        "conversation.json" => include_str!("../../../crypto/tests/vectors/conversation.json"),
        _ => "null",
    };
    serde_json::from_str(text).expect("JSON")
}

/// Bytes as the vectors have them.
pub fn hex(text: &serde_json::Value) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or_default() as u8;
    let text = text.as_str().unwrap_or_default().as_bytes();
    text.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// As what is sealed is padded.
pub(super) fn padded(content: &[u8]) -> Vec<u8> {
    let mut padded = [&(content.len() as u32).to_be_bytes()[..], content].concat();
    let exponent = padded.len().ilog2();
    let step = 1 << (exponent - exponent.ilog2() - 1);
    padded.resize(padded.len().next_multiple_of(step), 0);
    padded
}

pub(super) fn unsigned(bytes: &[u8]) -> Signed {
    Signed { bytes: Bytes::copy_from_slice(bytes), signature: no_signature() }
}

#[expect(clippy::expect_used, reason = "64 bytes are a signature")]
pub(super) fn no_signature() -> Signature {
    Signature::from_bytes(&[0; 64]).expect("64 bytes")
}

pub(super) fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}
