//! HMAC-SHA256 (RFC 2104), and the one way this crate turns several fields into bytes that both ends rebuild.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A 256-bit secret that does one job. Wiped when dropped; printed as its type.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// HMAC-SHA256 over the parts, one after another.
#[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104, 2)")]
pub(crate) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any key length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// The first `N` bytes of a digest. `N` is at most 32.
pub(crate) fn first<const N: usize>(digest: &[u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&digest[..N]);
    out
}

/// Compares codes without telling by the time taken where they differ.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Bytes for a MAC, a signature or associated data: a label, then each field with its length before it (4 bytes, big
/// endian), so that no two different lists of fields make the same bytes. Never from a serializer: these bytes are
/// not sent, both ends build them.
pub(crate) struct Transcript(Vec<u8>);

/// Most transcripts are no longer than this.
const LONG: usize = 256;

impl Transcript {
    /// Starts with a label that names the purpose and the version.
    pub(crate) fn new(label: &'static [u8]) -> Self {
        let mut bytes = Vec::with_capacity(LONG);
        bytes.extend_from_slice(label);
        Self(bytes).field(&[])
    }

    /// Adds one field.
    #[must_use]
    pub(crate) fn field(mut self, bytes: &[u8]) -> Self {
        // Every field is bounded far below 4 GiB where it is parsed.
        self.0.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds a field that may be absent: absent and empty are different.
    #[must_use]
    pub(crate) fn optional(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            None => self.field(&[0]),
            Some(bytes) => self.field(&[1]).field(bytes),
        }
    }

    /// Adds a number, 8 bytes, big endian.
    #[must_use]
    pub(crate) fn number(self, number: u64) -> Self {
        self.field(&number.to_be_bytes())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_matches_the_published_vector() {
        let code = hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(data_encoding::HEXLOWER.encode(&code), expected);
    }

    #[test]
    fn moving_a_byte_between_fields_changes_the_transcript() {
        let a = Transcript::new(b"t").field(b"ab").field(b"c");
        let b = Transcript::new(b"t").field(b"a").field(b"bc");
        assert_ne!(a.as_bytes(), b.as_bytes());
        let (none, empty) = (Transcript::new(b"t").optional(None), Transcript::new(b"t").optional(Some(b"")));
        assert_ne!(none.as_bytes(), empty.as_bytes());
    }
}
