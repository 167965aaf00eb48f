//! A second implementation, as short as can be and written from the documentation. It seals whatever it is given: with it a
//! member does what the first implementation does not let it.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use rand_core::Rng as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use waxwing_crypto::space::{Frame, Operation, Stands, digest};
use waxwing_crypto::{KeyId, MeshId, SpaceId};

use super::actors::{EPOCH, MESH, Scene, state};
use super::support::Seeded;

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// HKDF (RFC 5869) without salt, to 32 bytes.
fn hkdf(key: &[u8; 32], info: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    Hkdf::<Sha256>::new(None, key).expand(&info.concat(), &mut out).unwrap();
    out
}

/// A label and an empty field, then each field, all with 4 bytes of length before them.
fn fields(label: &[u8], fields: &[&[u8]]) -> Vec<u8> {
    let mut out = [label, &[0; 4]].concat();
    for field in fields {
        out.extend((field.len() as u32).to_be_bytes());
        out.extend(*field);
    }
    out
}

/// What a broker sees of names.
pub(crate) fn ids(mesh: MeshId, space: &str, key: &str) -> (SpaceId, KeyId) {
    let naming = hkdf(state(1).reveal(), &[b"waxwing naming v1\0", mesh.as_bytes()]);
    let (space_name, key_name) = (space.as_bytes(), key.as_bytes());
    (
        SpaceId::from_bytes(hmac(&naming, &[&fields(b"waxwing space id v1", &[space_name])])),
        KeyId::from_bytes(hmac(&naming, &[&fields(b"waxwing key id v1", &[space_name, key_name])])),
    )
}

/// Where a record is sealed for.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) mesh: MeshId,
    pub(crate) space: SpaceId,
    pub(crate) epoch: u64,
    pub(crate) frame: Frame,
}

impl Target {
    pub(crate) fn of(scene: &Scene, frame: Frame) -> Self {
        Self { mesh: MESH, space: scene.space.id(), epoch: EPOCH, frame }
    }

    fn key(&self, label: &[u8]) -> [u8; 32] {
        hkdf(state(self.epoch).reveal(), &[label, self.mesh.as_bytes(), self.space.as_bytes()])
    }

    /// What seals every record of the space and epoch.
    pub(crate) fn record_key(&self) -> [u8; 32] {
        self.key(b"waxwing record key v1\0")
    }

    /// What a record is bound to.
    pub(crate) fn aad(&self) -> Vec<u8> {
        let operation = match self.frame.operation {
            Operation::Put => 0,
            Operation::Append => 1,
            Operation::Delete => 2,
        };
        let stands = match self.frame.stands {
            Stands::Shared => 0,
            Stands::Own => 1,
            Stands::Appended => 2,
        };
        fields(
            b"waxwing record v1",
            &[
                self.mesh.as_bytes(),
                self.space.as_bytes(),
                self.frame.key.as_bytes(),
                &self.epoch.to_be_bytes(),
                &[operation],
                &[stands],
                self.frame.writer.as_bytes(),
            ],
        )
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&self.record_key().into())
    }

    /// Seals what is padded already.
    pub(crate) fn seal_padded(&self, nonce: [u8; 24], padded: &[u8]) -> Vec<u8> {
        let payload = Payload { msg: padded, aad: &self.aad() };
        let text = self.cipher().encrypt(&XNonce::from(nonce), payload).unwrap();
        [&self.epoch.to_be_bytes()[..], &nonce, &text].concat()
    }

    /// Seals any content.
    pub(crate) fn seal(&self, content: &[u8]) -> Vec<u8> {
        let mut padded = [&(content.len() as u32).to_be_bytes()[..], content].concat();
        padded.resize(padme(padded.len()), 0);
        self.seal_padded([0x24; 24], &padded)
    }

    /// What is inside, padded.
    pub(crate) fn open(&self, sealed: &[u8]) -> Vec<u8> {
        let payload = Payload { msg: &sealed[32..], aad: &self.aad() };
        self.cipher().decrypt(&XNonce::try_from(&sealed[8..32]).unwrap(), payload).unwrap()
    }

    /// The signed value inside.
    pub(crate) fn content(&self, sealed: &[u8]) -> Vec<u8> {
        let padded = self.open(sealed);
        let (length, rest) = padded.split_first_chunk().unwrap();
        let (content, zeros) = rest.split_at(u32::from_be_bytes(*length) as usize);
        assert!(padded.len() == padme(4 + content.len()) && zeros.iter().all(|byte| *byte == 0));
        content.to_vec()
    }
}

/// Padmé as its paper defines it.
fn padme(length: usize) -> usize {
    let e = (length as f64).log2().floor();
    let s = e.log2().floor() + 1.0;
    let step = 2_f64.powf(e - s);
    ((length as f64 / step).ceil() * step) as usize
}

#[derive(Deserialize)]
struct SignedValue {
    #[serde(with = "serde_bytes")]
    b: Vec<u8>,
    #[serde(with = "serde_bytes")]
    s: Vec<u8>,
}

#[test]
fn names_become_what_the_documentation_says() {
    let scene = Scene::new();
    let expected = ids(MESH, "team", "plan");
    assert_eq!((scene.space.id(), scene.space.key(&super::actors::key_name("plan"))), expected);
}

#[test]
fn a_record_is_what_the_documentation_says() {
    let scene = Scene::new();
    let statement = scene.full();
    let sealed = scene.seal(&statement);
    let target = Target::of(&scene, scene.frame(&statement));
    assert_eq!(sealed[..8], EPOCH.to_be_bytes());
    let padded = target.open(&sealed);

    let mut random = [0; 32];
    Seeded::new(5).fill_bytes(&mut random);
    let nonce = hmac(&target.key(b"waxwing record nonce v1\0"), &[&random, &target.aad(), &padded]);
    assert_eq!(sealed[8..32], nonce[..24]);

    let signed: SignedValue = rmp_serde::from_slice(&target.content(&sealed)).unwrap();
    let message = [b"waxwing record v1\0", &signed.b[..]].concat();
    let key = ed25519_dalek::VerifyingKey::from_bytes(scene.alpha.public().as_bytes()).unwrap();
    let signature = ed25519_dalek::Signature::from_slice(&signed.s).unwrap();
    assert!(key.verify_strict(&message, &signature).is_ok());
    check_inside(&scene, &rmp_serde::from_slice(&signed.b).unwrap());
    assert_eq!(digest(&sealed), Sha256::digest([b"waxwing record digest v1\0", &sealed[..]].concat())[..16]);
}

/// The map that is signed, as another implementation would read it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inside {
    v: u8,
    mesh: MeshId,
    space: SpaceId,
    key: KeyId,
    epoch: u64,
    op: String,
    st: String,
    #[serde(with = "serde_bytes")]
    id: Vec<u8>,
    #[serde(with = "serde_bytes")]
    by: Vec<u8>,
    r#if: If,
    ttl: u64,
    bound: u64,
    ver: u64,
    ctr: u64,
    log: u64,
    #[serde(with = "serde_bytes")]
    life: Vec<u8>,
    seen: SeenInside,
    at: u64,
    name: String,
    app: String,
    #[serde(with = "serde_bytes")]
    val: Vec<u8>,
}

#[derive(Deserialize)]
struct If {
    seq: u64,
}

#[derive(Deserialize)]
struct SeenInside {
    seq: u64,
    #[serde(with = "serde_bytes")]
    dig: Vec<u8>,
}

fn check_inside(scene: &Scene, inside: &Inside) {
    assert_eq!((inside.v, inside.mesh, inside.epoch), (1, MESH, EPOCH));
    assert_eq!((inside.space, inside.key), ids(MESH, "team", "plan"));
    let texts = [&inside.op, &inside.st, &inside.name, &inside.app];
    assert_eq!(texts, ["put", "shared", "plan", "ci"]);
    assert_eq!((&inside.id[..], &inside.by[..]), (&[0xc1; 16][..], &scene.alpha_id().as_bytes()[..]));
    let numbers = [inside.r#if.seq, inside.ttl, inside.bound, inside.ver, inside.ctr, inside.log, inside.at];
    assert_eq!(numbers, [7 << 20, 60_000, 45_000, 4, 9, 3, 1_800_000_000_000]);
    assert_eq!(inside.life, [0x11; 16]);
    assert_eq!((inside.seen.seq, &inside.seen.dig[..]), ((7 << 20) + 5, &[0xd9; 16][..]));
    assert_eq!(inside.val, b"hello");
}
