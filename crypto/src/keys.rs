//! Secrets and public keys. A secret is wiped when dropped, prints as its type's name, cannot be serialized, and is
//! revealed by one named method. A public key that exists has been validated.

use std::fmt;

use ed25519_dalek::Signer as _;
use hpke::{Deserializable as _, Kem as _, Serializable as _, kem::XWing};
use rand_core::CryptoRng;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::id::{Digest, NodeId};
use crate::low_order::contributes;

/// What a signature is for. Every signature covers this domain string, which ends in NUL, followed by the exact
/// bytes sent, so that one made for one purpose is worth nothing for another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// An entry of the membership log.
    Membership,
    /// A published prekey.
    Prekey,
    /// The opening of a session.
    Opening,
    /// A recipient's refusal of an envelope.
    Nack,
    /// An answer to a broker's login challenge.
    Login,
    /// A record of a space.
    Record,
}

impl Purpose {
    pub(crate) const fn domain(self) -> &'static [u8] {
        match self {
            Self::Membership => b"waxwing membership v1\0",
            Self::Prekey => b"waxwing prekey v1\0",
            Self::Opening => b"waxwing opening v1\0",
            Self::Nack => b"waxwing nack v1\0",
            Self::Login => b"waxwing login v1\0",
            Self::Record => b"waxwing record v1\0",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Membership => "entry",
            Self::Prekey => "prekey",
            Self::Opening => "opening",
            Self::Nack => "nack",
            Self::Login => "login",
            Self::Record => "record",
        }
    }

    fn message(self, bytes: &[u8]) -> Vec<u8> {
        [self.domain(), bytes].concat()
    }
}

/// An Ed25519 secret key: one node's voice in one mesh, an invite's, or a founder's recovery key.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// Length of the seed, in bytes.
    pub const SEED_SIZE: usize = 32;

    /// A fresh key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; Self::SEED_SIZE]);
        rng.fill_bytes(&mut *seed);
        Self::from_seed(&seed)
    }

    /// The key that this seed stands for (RFC 8032, 5.1.5).
    pub fn from_seed(seed: &[u8; Self::SEED_SIZE]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reveals the seed, to write it to the identity file or into an invite token.
    pub fn reveal_seed(&self) -> Zeroizing<[u8; Self::SEED_SIZE]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn public(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Signs `bytes` for one purpose.
    pub fn sign(&self, purpose: Purpose, bytes: &[u8]) -> Signature {
        Signature(self.0.sign(&purpose.message(bytes)).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(secret)")
    }
}

/// An Ed25519 public key: a canonical point of large order.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Length in bytes.
    pub const SIZE: usize = 32;

    /// Accepts 32 bytes that are a public key.
    ///
    /// # Errors
    /// `Malformed` for anything that is not a canonical point, or is one of small order: such a key would verify
    /// signatures its owner never made.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bytes: &[u8; Self::SIZE] = bytes.try_into().map_err(|_| Error::Malformed("signing key"))?;
        let key =
            ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| Error::Malformed("signing key"))?;
        // Decompression accepts non-canonical encodings of y; the round trip refuses them.
        let canonical = key.to_edwards().compress().as_bytes() == bytes;
        if key.is_weak() || !canonical { Err(Error::Malformed("signing key")) } else { Ok(Self(key)) }
    }

    /// The key as it travels.
    pub fn as_bytes(&self) -> &[u8; Self::SIZE] {
        self.0.as_bytes()
    }

    /// Checks a signature made by [`SigningKey::sign`] for the same purpose over the same bytes. Strict: canonical
    /// scalars and points only, no cofactor (`verify_strict`).
    ///
    /// # Errors
    /// `BadSignature` if it does not hold.
    pub fn verify(&self, purpose: Purpose, bytes: &[u8], signature: &Signature) -> Result<()> {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        self.0
            .verify_strict(&purpose.message(bytes), &signature)
            .map_err(|_| Error::BadSignature(purpose.name()))
    }

    /// The key as a point.
    pub(crate) fn point(&self) -> curve25519_dalek::EdwardsPoint {
        self.0.to_edwards()
    }

    /// The id of the node whose *first* signing key this is.
    pub fn node_id(&self) -> NodeId {
        let digest =
            Sha256::new().chain_update(b"waxwing node id v1\0").chain_update(self.as_bytes()).finalize();
        let mut id = [0; NodeId::SIZE];
        id.copy_from_slice(&digest[..NodeId::SIZE]);
        NodeId::from_bytes(id)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", data_encoding::HEXLOWER.encode(self.as_bytes()))
    }
}

/// An Ed25519 signature, 64 bytes. Says nothing until verified.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Length in bytes.
    pub const SIZE: usize = 64;

    /// The signature as it travels.
    pub const fn as_bytes(&self) -> &[u8; Self::SIZE] {
        &self.0
    }

    /// Accepts exactly 64 bytes.
    ///
    /// # Errors
    /// `Malformed` for any other length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        bytes.try_into().map(Self).map_err(|_| Error::Malformed("signature"))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature")
    }
}

/// An X-Wing secret key (X25519 + ML-KEM-768), kept as its 32-byte seed: opens what was sealed to its public half.
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// Length of the seed, in bytes.
    pub const SEED_SIZE: usize = 32;

    /// A fresh key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; Self::SEED_SIZE]);
        rng.fill_bytes(&mut *seed);
        Self(seed)
    }

    /// The key that this seed stands for.
    pub fn from_seed(seed: &[u8; Self::SEED_SIZE]) -> Self {
        Self(Zeroizing::new(*seed))
    }

    /// Reveals the seed, to store it.
    pub fn reveal_seed(&self) -> Zeroizing<[u8; Self::SEED_SIZE]> {
        self.0.clone()
    }

    /// The public half, 1,216 bytes. Costs a key expansion, about 80 µs.
    pub fn public(&self) -> Result<SealingPublicKey> {
        Ok(SealingPublicKey(Box::new(XWing::sk_to_pk(&self.expand()?))))
    }

    pub(crate) fn expand(&self) -> Result<<XWing as hpke::Kem>::PrivateKey> {
        <XWing as hpke::Kem>::PrivateKey::from_bytes(&*self.0).map_err(|_| Error::Malformed("sealing key"))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(secret)")
    }
}

/// An X-Wing public key.
#[derive(Clone, Eq, PartialEq)]
pub struct SealingPublicKey(Box<<XWing as hpke::Kem>::PublicKey>);

impl SealingPublicKey {
    /// Length in bytes: an ML-KEM-768 encapsulation key and an X25519 point.
    pub const SIZE: usize = 1_216;

    /// Accepts exactly 1,216 bytes that pass ML-KEM's modulus check (FIPS 203, 7.2) and end in an X25519 point that is
    /// not of low order: with such a point a secret would rest on ML-KEM alone.
    ///
    /// # Errors
    /// `Malformed` otherwise.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let malformed = Error::Malformed("sealing key");
        if !ends_in_a_point(bytes) {
            return Err(malformed);
        }
        let key = <XWing as hpke::Kem>::PublicKey::from_bytes(bytes).map_err(|_| malformed)?;
        Ok(Self(Box::new(key)))
    }

    /// The key as it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes().to_vec()
    }

    /// SHA-256 of the key: names it where only who has it must know which one is meant.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(Sha256::digest(self.to_bytes()).into())
    }

    pub(crate) fn kem(&self) -> &<XWing as hpke::Kem>::PublicKey {
        &self.0
    }
}

impl fmt::Debug for SealingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingPublicKey")
    }
}

/// An X-Wing encapsulation, 1,120 bytes: an ML-KEM ciphertext and an X25519 point that is not of low order.
///
/// # Errors
/// `DoesNotOpen` otherwise.
pub(crate) fn encapsulation(bytes: &[u8]) -> Result<<XWing as hpke::Kem>::EncappedKey> {
    if !ends_in_a_point(bytes) {
        return Err(Error::DoesNotOpen);
    }
    <XWing as hpke::Kem>::EncappedKey::from_bytes(bytes).map_err(|_| Error::DoesNotOpen)
}

/// The X25519 half is the last 32 bytes, of a key and of an encapsulation alike.
fn ends_in_a_point(bytes: &[u8]) -> bool {
    bytes.last_chunk::<32>().is_some_and(|point| contributes(point))
}

/// Byte-string serde for the public types above: they travel as MessagePack `bin`.
macro_rules! serde_as_bytes {
    ($name:ident, $bytes:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.$bytes().as_ref())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
                Self::from_bytes(&bytes).map_err(de::Error::custom)
            }
        }
    };
}

serde_as_bytes!(VerifyingKey, as_bytes);
serde_as_bytes!(Signature, as_bytes);
serde_as_bytes!(SealingPublicKey, to_bytes);

/// Signed bytes: they travel exactly as signed, and are parsed only after the signature holds, so no canonical form
/// is needed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Signed {
    /// What was signed.
    #[serde(rename = "b")]
    pub bytes: bytes::Bytes,
    /// Over the purpose's domain string and `bytes`.
    #[serde(rename = "s")]
    pub signature: Signature,
}

impl Signed {
    /// Signs `bytes` for one purpose.
    pub fn new(key: &SigningKey, purpose: Purpose, bytes: Vec<u8>) -> Self {
        Self { signature: key.sign(purpose, &bytes), bytes: bytes.into() }
    }

    /// The bytes, if the signature holds.
    ///
    /// # Errors
    /// `BadSignature` if it does not.
    pub fn verified(&self, key: &VerifyingKey, purpose: Purpose) -> Result<&[u8]> {
        key.verify(purpose, &self.bytes, &self.signature)?;
        Ok(&self.bytes)
    }
}
