//! Sealing of records, and opening.

use std::fmt;

use bytes::Bytes;
use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::name::{KeyName, SpaceName};
use super::naming::NamingKey;
use super::opened::Opened;
use super::statement::{self, Operation, Place, Stands, Statement};
use crate::aead::{self, NONCE, TAG};
use crate::codec;
use crate::error::{Error, Result};
use crate::id::{KeyId, MeshId, NodeId, SpaceId};
use crate::keys::{Purpose, Signed, SigningKey};
use crate::mac::{Secret, Transcript, first, hmac};
use crate::sealing::padding;
use crate::state_key::{StateKey, StateKeys};

/// Largest sealed record, in bytes.
pub const SEALED_MAX: usize = 320 * 1024;

/// Length of the epoch in front of a sealed record, in bytes.
const EPOCH: usize = 8;

/// The epoch whose key opens a record, as its bytes say: to wait for that key where it is not held yet.
///
/// # Errors
/// `Malformed` for what is too short to be a record.
pub fn epoch_of(sealed: &[u8]) -> Result<u64> {
    let (epoch, rest) = sealed.split_first_chunk::<EPOCH>().ok_or(Error::Malformed("record"))?;
    if rest.len() < NONCE + TAG { Err(Error::Malformed("record")) } else { Ok(u64::from_be_bytes(*epoch)) }
}

/// What a sealed record is recognised by: the first 16 bytes of SHA-256 over a label and its bytes.
pub fn digest(sealed: &[u8]) -> [u8; 16] {
    first(&Sha256::new_with_prefix(b"waxwing record digest v1\0").chain_update(sealed).finalize().into())
}

/// What a broker says of a record beside its bytes. Bound to them: a record opens for no other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Frame {
    /// Under which key.
    pub key: KeyId,
    /// What the change did that brought it.
    pub operation: Operation,
    /// How it stands there; of a tombstone, how that stood which it took away.
    pub stands: Stands,
    /// Who wrote it.
    pub writer: NodeId,
}

/// A space as its members know it.
#[derive(Clone)]
pub struct Space {
    mesh: MeshId,
    naming: NamingKey,
    name: SpaceName,
    id: SpaceId,
}

impl Space {
    /// The space of this name.
    pub fn new(mesh: MeshId, naming: &NamingKey, name: SpaceName) -> Self {
        Self { mesh, naming: naming.clone(), id: naming.space(&name), name }
    }

    /// Its name.
    pub fn name(&self) -> &SpaceName {
        &self.name
    }

    /// What a broker sees of its name.
    pub fn id(&self) -> SpaceId {
        self.id
    }

    /// What a broker sees of the name of one of its keys.
    pub fn key(&self, name: &KeyName) -> KeyId {
        self.naming.key(&self.name, name)
    }

    /// Signs a statement and seals it under an epoch's key. About 22 µs.
    ///
    /// # Errors
    /// `NoKey` if that epoch's key is not held, `TooLarge` for a value of more than [`VALUE_MAX`](super::VALUE_MAX) bytes,
    /// `Malformed` for a statement whose parts do not go together.
    pub fn seal(
        &self,
        statement: &Statement,
        epoch: u64,
        keys: &StateKeys,
        signing: &SigningKey,
        rng: &mut impl CryptoRng,
    ) -> Result<Bytes> {
        let keys = RecordKeys::of(self.mesh, self.id, keys.get(epoch).ok_or(Error::NoKey)?);
        let place = Place { mesh: self.mesh, space: self.id, key: self.key(&statement.name), epoch };
        let signed = Signed::new(signing, Purpose::Record, statement::encode(place, statement)?);
        let bytes = rmp_serde::to_vec_named(&signed).map_err(|_| Error::Malformed("record"))?;
        let mut text = padding::pad(&bytes);
        let Statement { operation, stands, writer, .. } = *statement;
        let aad = aad(&place, &Frame { key: place.key, operation, stands, writer });
        let nonce = keys.nonce(rng, aad.as_bytes(), &text);
        let tag = aead::seal(&keys.record, &nonce, aad.as_bytes(), &mut text);
        Ok([&epoch.to_be_bytes()[..], &nonce, &text, &tag].concat().into())
    }

    /// Opens a record that a broker says is one of this space: see [`Opener::open`], which costs less for several.
    ///
    /// # Errors
    /// As there.
    pub fn open(&self, sealed: &[u8], frame: &Frame, keys: &StateKeys) -> Result<Opened> {
        self.opener(keys).open(sealed, frame)
    }

    /// Opens records with these state keys.
    pub const fn opener<'a>(&'a self, keys: &'a StateKeys) -> Opener<'a> {
        Opener { space: self, keys, last: None }
    }
}

/// Opens records of one space, one after the other: what a state key makes is made once for those of one epoch.
pub struct Opener<'a> {
    space: &'a Space,
    keys: &'a StateKeys,
    last: Option<(u64, RecordKeys)>,
}

impl Opener<'_> {
    /// Opens a record that a broker says is one of this space. It says who wrote what, and nobody has checked that yet: see
    /// [`Opened`]. About 4 µs.
    ///
    /// # Errors
    /// `NoKey` if the epoch's key is not held: it may come. `DoesNotOpen` if a member sealed it for something else than
    /// `frame`, or a byte was changed. `Elsewhere` if it opens and what is signed inside is for something else: its maker has
    /// taken another's words. `Malformed` and `TooLarge` for what no member of this version seals.
    pub fn open(&mut self, sealed: &[u8], frame: &Frame) -> Result<Opened> {
        if sealed.len() > SEALED_MAX {
            return Err(Error::TooLarge("record"));
        }
        let epoch = epoch_of(sealed)?;
        let Space { mesh, id, .. } = *self.space;
        let keys = match self.last.take() {
            Some((last, keys)) if last == epoch => keys,
            _ => RecordKeys::of(mesh, id, self.keys.get(epoch).ok_or(Error::NoKey)?),
        };
        let (_, keys) = self.last.insert((epoch, keys));
        let place = Place { mesh, space: id, key: frame.key, epoch };
        let (nonce, text) = sealed[EPOCH..].split_first_chunk().ok_or(Error::DoesNotOpen)?;
        let mut text = Zeroizing::new(text.to_vec());
        aead::open(&keys.record, nonce, aad(&place, frame).as_bytes(), &mut text)?;
        let signed: Signed = codec::exactly(padding::unpad(&text)?, "record")?;
        let (said, statement) = statement::decode(&signed.bytes)?;
        let meant = said == place
            && statement.operation == frame.operation
            && statement.stands == frame.stands
            && statement.writer == frame.writer
            && self.space.key(&statement.name) == frame.key;
        if meant { Ok(Opened::new(epoch, signed, statement)) } else { Err(Error::Elsewhere("record")) }
    }
}

impl fmt::Debug for Opener<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({})", self.space.id)
    }
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Space({})", self.id)
    }
}

/// Associated data: a label, and each field with its length.
fn aad(place: &Place, frame: &Frame) -> Transcript {
    Transcript::new(b"waxwing record v1")
        .field(place.mesh.as_bytes())
        .field(place.space.as_bytes())
        .field(place.key.as_bytes())
        .number(place.epoch)
        .field(&[frame.operation.as_u8()])
        .field(&[frame.stands.as_u8()])
        .field(frame.writer.as_bytes())
}

/// What a state key makes for one space.
struct RecordKeys {
    record: Secret,
    nonce: Secret,
}

impl RecordKeys {
    fn of(mesh: MeshId, space: SpaceId, state: &StateKey) -> Self {
        let hkdf = Hkdf::<Sha256>::new(None, state.reveal());
        Self {
            record: child(&hkdf, b"waxwing record key v1\0", mesh, space),
            nonce: child(&hkdf, b"waxwing record nonce v1\0", mesh, space),
        }
    }

    /// HMAC-SHA256(nonce key, OS random ‖ AAD ‖ plaintext), first 24 bytes. A forked machine whose random source repeats
    /// cannot use one nonce for two texts, nor can two members' machines that are forks of one.
    fn nonce(&self, rng: &mut impl CryptoRng, aad: &[u8], text: &[u8]) -> [u8; NONCE] {
        let mut random = [0; 32];
        rng.fill_bytes(&mut random);
        first(&hmac(&*self.nonce, &[&random, aad, text]))
    }
}

#[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8,160 bytes (RFC 5869, 2.3)")]
fn child(hkdf: &Hkdf<Sha256>, label: &[u8], mesh: MeshId, space: SpaceId) -> Secret {
    let mut key = Zeroizing::new([0; 32]);
    hkdf.expand_multi_info(&[label, mesh.as_bytes(), space.as_bytes()], &mut *key).expect("32 bytes");
    key
}
