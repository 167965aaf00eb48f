//! What a node keeps secret from whoever reads its disk, and the codes that only it can compute.
//!
//! One 256-bit storage key per node and mesh is the root; HKDF-SHA256 (RFC 5869) gives a child for each job, so that no
//! key does two.

use std::fmt;

use hkdf::Hkdf;
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::aead::{self, NONCE, TAG};
use crate::error::{Error, Result};
use crate::host::HostKey;
use crate::id::{ChangeId, ClientMessageId, Fingerprint, MeshId, Name, NodeId, WireId};
use crate::mac::{Secret, Transcript, first, hmac, same};
use crate::membership::{LogHead, Roster};
use crate::priority::Priority;
use crate::sealing::ReceiptSecret;

/// Bytes of a time in front of a wire id.
const MADE_AT: usize = 6;
/// Length of the code in front of a kept roster, in bytes.
const CODE: usize = 32;

/// The root of what one node encrypts at rest in one mesh.
pub struct StorageKey(Secret);

impl StorageKey {
    /// Length in bytes.
    pub const SIZE: usize = 32;

    /// A fresh key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut key = Zeroizing::new([0; Self::SIZE]);
        rng.fill_bytes(&mut *key);
        Self(key)
    }

    /// Takes the 32 bytes of the identity file.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// Reveals the key, to write it to the identity file.
    pub fn reveal(&self) -> &[u8; Self::SIZE] {
        &self.0
    }

    /// Derives the key for each job.
    pub fn keys(&self) -> StorageKeys {
        StorageKeys {
            rest: self.child(b"waxwing at rest v1"),
            fingerprint: self.child(b"waxwing fingerprint v1"),
            id: self.child(b"waxwing wire id v1"),
            receipt: self.child(b"waxwing receipt v1"),
            host: self.child(b"waxwing host v1"),
            hedge: self.child(b"waxwing hedge v1"),
            roster: self.child(b"waxwing roster v1"),
        }
    }

    #[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8,160 bytes (RFC 5869, 2.3)")]
    fn child(&self, label: &[u8]) -> Secret {
        let mut child = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &*self.0).expand(label, &mut *child).expect("32 bytes");
        child
    }
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StorageKey(secret)")
    }
}

/// The children of a [`StorageKey`], one per job.
pub struct StorageKeys {
    rest: Secret,
    fingerprint: Secret,
    id: Secret,
    receipt: Secret,
    host: Secret,
    hedge: Secret,
    roster: Secret,
}

impl StorageKeys {
    /// Encrypts a value for one place of the database: XChaCha20-Poly1305, a random nonce in front, the place as
    /// associated data, so that a value cannot be moved to another row or column. 40 bytes longer than the value.
    pub fn seal(&self, rng: &mut impl CryptoRng, place: Place<'_>, value: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        rng.fill_bytes(&mut nonce);
        let mut out = Vec::with_capacity(NONCE + value.len() + TAG);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(value);
        let tag = aead::seal(&self.rest, &nonce, place.transcript().as_bytes(), &mut out[NONCE..]);
        out.extend_from_slice(&tag);
        out
    }

    /// Decrypts what [`StorageKeys::seal`] made for the same place.
    ///
    /// # Errors
    /// `DoesNotOpen` for another place, another key, or a changed byte.
    pub fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (nonce, text) = sealed.split_first_chunk().ok_or(Error::DoesNotOpen)?;
        let mut text = Zeroizing::new(text.to_vec());
        aead::open(&self.rest, nonce, place.transcript().as_bytes(), &mut text)?;
        Ok(text)
    }

    /// What a broker sees of a client message id: HMAC-SHA256, first 16 bytes. Of an id that says when it was made these are 10 bytes,
    /// behind 6 of that time, in milliseconds and big endian: what is sent together is then kept together by whoever keeps an index of
    /// these ids, and a message that is accepted or looked for does not take a page of its own, anywhere in that index.
    pub fn wire_id(&self, id: &ClientMessageId) -> WireId {
        let code = hmac(&*self.id, &[id.as_str().as_bytes()]);
        let Some(made_at) = id.made_at() else { return WireId::from_bytes(first(&code)) };
        let mut wire = [0; 16];
        let (time, rest) = wire.split_at_mut(MADE_AT);
        time.copy_from_slice(&made_at.as_millis().to_be_bytes()[8 - MADE_AT..]);
        rest.copy_from_slice(&code[..16 - MADE_AT]);
        WireId::from_bytes(wire)
    }

    /// What the change of a space is called that an app wants made under an id of its own: the same for the same id, of no meaning to
    /// whoever sees it. `what` names the kind of change and what it is about.
    pub fn change_id(&self, what: &[&str], app: Option<&Name>, id: &ClientMessageId) -> ChangeId {
        let input = Transcript::new(b"waxwing change id v1")
            .optional(app.map(|app| app.as_str().as_bytes()))
            .field(id.as_str().as_bytes());
        let input = what.iter().fold(input, |input, what| input.field(what.as_bytes()));
        ChangeId::from_bytes(first(&hmac(&*self.id, &[input.as_bytes()])))
    }

    /// The digest that tells a retry of a request from an id used twice. Keyed, so that nobody who reads the database
    /// can test guesses of the body.
    pub fn fingerprint(&self, request: &Request<'_>) -> Fingerprint {
        Fingerprint::from_bytes(hmac(&*self.fingerprint, &[request.transcript().as_bytes()]))
    }

    /// What the broker gets of a fingerprint: bound to the message's id, so that equal messages look different.
    pub fn broker_fingerprint(&self, id: &ClientMessageId, fingerprint: &Fingerprint) -> Fingerprint {
        let input = Transcript::new(b"waxwing broker fingerprint v1")
            .field(id.as_str().as_bytes())
            .field(fingerprint.as_bytes());
        Fingerprint::from_bytes(hmac(&*self.fingerprint, &[input.as_bytes()]))
    }

    /// The secret that travels inside a message and comes back as its receipt. The same for every seal of a message,
    /// recomputable at any time, and different if recipient, id or content differ.
    pub fn receipt_secret(
        &self,
        recipient: &NodeId,
        id: &ClientMessageId,
        fp: &Fingerprint,
    ) -> ReceiptSecret {
        let input = Transcript::new(b"waxwing receipt secret v1")
            .field(recipient.as_bytes())
            .field(id.as_str().as_bytes())
            .field(fp.as_bytes());
        ReceiptSecret::from_bytes(first(&hmac(&*self.receipt, &[input.as_bytes()])))
    }

    /// A roster for safe keeping: its snapshot, with a code in front that stands for the mesh and the end of its log.
    pub fn keep_roster(&self, roster: &Roster) -> Vec<u8> {
        let snapshot = roster.snapshot();
        [&self.roster_code(roster.mesh(), roster.head(), &snapshot)[..], &snapshot].concat()
    }

    /// The roster that [`StorageKeys::keep_roster`] made of this mesh's log, which ended there.
    ///
    /// # Errors
    /// `DoesNotOpen` for another mesh or place, another key, or a changed byte; `Malformed` for a snapshot of another version.
    pub fn kept_roster(&self, mesh: MeshId, head: LogHead, kept: &[u8]) -> Result<Roster> {
        let (code, snapshot) = kept.split_at_checked(CODE).ok_or(Error::DoesNotOpen)?;
        if !same(code, &self.roster_code(mesh, head, snapshot)) {
            return Err(Error::DoesNotOpen);
        }
        Roster::restore(snapshot)
    }

    fn roster_code(&self, mesh: MeshId, head: LogHead, snapshot: &[u8]) -> [u8; CODE] {
        // Of a fixed length, so what follows it needs none.
        let place = Transcript::new(b"waxwing kept roster v1")
            .field(mesh.as_bytes())
            .number(head.seq)
            .field(head.hash.as_bytes());
        hmac(&*self.roster, &[place.as_bytes(), snapshot])
    }

    /// The key of the host record's digests.
    pub fn host_key(&self) -> HostKey {
        HostKey::from_bytes(*self.host)
    }

    /// The key that hedges a weak random source when sessions are opened.
    pub(crate) fn hedge(&self) -> &[u8; 32] {
        &self.hedge
    }
}

impl fmt::Debug for StorageKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StorageKeys(secret)")
    }
}

/// Where in the database a sealed value belongs.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Table name.
    pub table: &'static str,
    /// Column name.
    pub column: &'static str,
    /// The row's key, as bytes that do not change while the row lives.
    pub row: &'a [u8],
}

impl Place<'_> {
    fn transcript(&self) -> Transcript {
        Transcript::new(b"waxwing at rest v1")
            .field(self.table.as_bytes())
            .field(self.column.as_bytes())
            .field(self.row)
    }
}

/// What makes a request to send the same request: everything the recipient would see, and its lane. Computed once,
/// when the request is accepted, and never again.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Message kind: `message`.
    pub kind: &'static str,
    /// Calling app, if it named itself.
    pub from_app: Option<&'a Name>,
    /// Resolved recipient node.
    pub to: NodeId,
    /// Recipient app, or the default mailbox.
    pub to_app: Option<&'a Name>,
    /// Message that this one answers.
    pub reply_to: Option<&'a ClientMessageId>,
    /// Thread.
    pub thread: Option<&'a str>,
    /// Priority.
    pub priority: Priority,
    /// Content type.
    pub content_type: &'a str,
    /// Metadata as canonical JSON (RFC 8785); empty when absent.
    pub meta: &'a [u8],
    /// Body.
    pub body: &'a [u8],
}

impl Request<'_> {
    fn transcript(&self) -> Transcript {
        Transcript::new(b"waxwing request fingerprint v1")
            .number(1)
            .field(self.kind.as_bytes())
            .optional(self.from_app.map(|app| app.as_str().as_bytes()))
            .field(self.to.as_bytes())
            .optional(self.to_app.map(|app| app.as_str().as_bytes()))
            .optional(self.reply_to.map(|id| id.as_str().as_bytes()))
            .optional(self.thread.map(str::as_bytes))
            .number(u64::from(self.priority.as_u8()))
            .field(self.content_type.as_bytes())
            .field(self.meta)
            .field(&Sha256::digest(self.body))
    }
}

/// Metadata in the form that fingerprints are computed over: RFC 8785 canonical JSON.
///
/// # Errors
/// `Malformed` for a value that JSON cannot carry exactly (a number that is not finite).
pub fn canonical_json(value: &serde_json::Value) -> Result<Vec<u8>> {
    serde_json_canonicalizer::to_vec(value).map_err(|_| Error::Malformed("metadata"))
}
