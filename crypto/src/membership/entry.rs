//! One entry of the log: the bytes that are signed, hashed and sent, and what they say.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::{Digest as _, Sha256};

use crate::codec;
use crate::error::{Error, Result};
use crate::id::{Digest, MeshId, Timestamp};
use crate::keys::{Purpose, Signature, SigningKey, VerifyingKey};
use crate::membership::Body;

/// Longest entry, in bytes. An invite with as many state keys as there may be takes about 44 KiB.
pub const MAX_ENTRY: usize = 64 * 1024;

/// Most keys that sign one entry: a join and a key rotation have two.
const MAX_SIGNERS: usize = 2;

/// A place in a log: how long it is, and which log it is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LogHead {
    /// Number of the entry; the genesis is 1.
    pub seq: u64,
    /// The entry's hash, which covers all before it.
    pub hash: Digest,
}

/// An entry as it travels and is kept: the exact bytes, and the signatures over them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SignedEntry {
    /// An [`Entry`] in MessagePack.
    #[serde(rename = "b")]
    pub bytes: Bytes,
    /// One or two, in the order of [`Entry::signers`].
    #[serde(rename = "s")]
    pub signatures: Vec<Signature>,
}

impl SignedEntry {
    /// What the next entry's `prev` must be: SHA-256 over a domain string and the bytes. The signatures are left out,
    /// since the bytes name the keys that made them: equal hashes mean equal effects, and one key cannot make two
    /// entries of one.
    pub fn hash(&self) -> Digest {
        let digest = Sha256::new().chain_update(b"waxwing entry v1\0").chain_update(&self.bytes).finalize();
        Digest::from_bytes(digest.into())
    }

    /// Reads the bytes, without looking at the signatures.
    ///
    /// # Errors
    /// `TooLarge` above [`MAX_ENTRY`]; `Malformed` for anything that is not exactly one entry.
    pub fn parse(&self) -> Result<Entry> {
        if self.bytes.len() > MAX_ENTRY {
            return Err(Error::TooLarge("entry"));
        }
        codec::exactly(&self.bytes, "entry")
    }

    /// Reads the bytes and checks that each key they name has signed them. Whether those are the right keys is for
    /// the roster to say.
    ///
    /// # Errors
    /// As [`SignedEntry::parse`]; `Malformed` if there is not one signature per signer; `BadSignature` if one does
    /// not hold.
    pub(crate) fn verify(&self) -> Result<Verified> {
        let entry = self.parse()?;
        if self.signatures.len() != entry.signers.len() {
            return Err(Error::Malformed("entry"));
        }
        for (key, signature) in entry.signers.iter().zip(&self.signatures) {
            key.verify(Purpose::Membership, &self.bytes, signature)?;
        }
        Ok(Verified { hash: self.hash(), entry })
    }
}

/// An entry that the keys it names have signed. Only [`SignedEntry::verify`] makes one.
pub(crate) struct Verified {
    hash: Digest,
    entry: Entry,
}

impl Verified {
    pub(crate) fn into_parts(self) -> (Digest, Entry) {
        (self.hash, self.entry)
    }
}

/// What an entry says. Nothing in it is to be believed before [`Roster::apply`](super::Roster::apply) has accepted it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The mesh it is for. Zero in the genesis, whose own hash gives the id.
    pub mesh: MeshId,
    /// Its number; the genesis is 1.
    pub seq: u64,
    /// The hash of the entry before it. Zero in the genesis.
    pub prev: Digest,
    /// When it was made: the later of its predecessor's time and the broker's clock.
    pub at: Timestamp,
    /// The keys that sign it: one or two, empty until [`Entry::sign`]. Named here so that an entry's bytes alone say
    /// who acted, and a signature can be checked before anything is looked up.
    #[serde(deserialize_with = "one_or_two")]
    pub signers: Vec<VerifyingKey>,
    /// What it does.
    pub body: Body,
}

impl Entry {
    /// Names these keys as signers, encodes the entry and signs it with each, in order. [`Body`] says who must sign
    /// what: for a join the invite's key, then the member's; for a rotation the current key, then the new one.
    #[expect(
        clippy::expect_used,
        reason = "plain structs into memory; no map key or length can fail to encode"
    )]
    pub fn sign(&self, keys: &[&SigningKey]) -> SignedEntry {
        let signers = keys.iter().map(|key| key.public()).collect();
        let bytes = rmp_serde::to_vec_named(&Self { signers, ..self.clone() }).expect("encodes");
        let signatures = keys.iter().map(|key| key.sign(Purpose::Membership, &bytes)).collect();
        SignedEntry { bytes: bytes.into(), signatures }
    }
}

/// Reads at most [`MAX_SIGNERS`] keys: a key costs about 10 µs to check, and an entry has room for 1,900.
fn one_or_two<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<VerifyingKey>, D::Error> {
    struct Visitor;

    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Vec<VerifyingKey>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one or two keys")
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut keys = Vec::with_capacity(MAX_SIGNERS);
            while let Some(key) = seq.next_element()? {
                keys.push(key);
                if keys.len() > MAX_SIGNERS {
                    return Err(de::Error::invalid_length(keys.len(), &self));
                }
            }
            if keys.is_empty() { Err(de::Error::invalid_length(0, &self)) } else { Ok(keys) }
        }
    }

    deserializer.deserialize_seq(Visitor)
}
