//! A second implementation, as short as can be and written from the documentation, of everything that two ends must
//! compute alike. HPKE's key schedule is that of RFC 9180, 5.1, over the X-Wing secret; its X-Wing is the one that
//! `published` checks.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use hpke::kem::XWing;
use hpke::{Deserializable as _, Kem};
use rand_core::Rng as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use waxwing_crypto::sealing::{CounterRange, Envelope, Header, Opening, Plaintext};
use waxwing_crypto::{NodeId, Signed};

use super::actors::{NOW, Pair, plaintext};
use super::support::Seeded;

/// X-Wing, HKDF-SHA256, ChaCha20-Poly1305 (RFC 9180, 7).
const SUITE: [u8; 10] = *b"HPKE\x64\x7a\x00\x01\x00\x03";

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// LabeledExtract of RFC 9180, 4.
fn extract(salt: &[u8], label: &[u8], ikm: &[u8]) -> [u8; 32] {
    hmac(if salt.is_empty() { &[0; 32] } else { salt }, &[b"HPKE-v1", &SUITE, label, ikm])
}

/// LabeledExpand of RFC 9180, 4, to 32 bytes.
fn expand(prk: &[u8; 32], label: &[u8], info: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    let parts: [&[u8]; 5] = [&32_u16.to_be_bytes(), b"HPKE-v1", &SUITE, label, info];
    Hkdf::<Sha256>::from_prk(prk).unwrap().expand_multi_info(&parts, &mut out).unwrap();
    out
}

/// KeySchedule in base mode, then Context.Export.
fn export(secret: &[u8], info: &[u8], context: &[u8]) -> [u8; 32] {
    let (psk_id, info) = (extract(b"", b"psk_id_hash", b""), extract(b"", b"info_hash", info));
    let schedule = [&[0][..], &psk_id, &info].concat();
    let exporter = expand(&extract(secret, b"secret", b""), b"exp", &schedule);
    expand(&exporter, b"sec", context)
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

fn info(opening: &Opening) -> Vec<u8> {
    let number = u64::to_be_bytes;
    fields(
        b"waxwing session v1",
        &[
            &[1],
            opening.mesh.as_bytes(),
            opening.from.as_bytes(),
            opening.to.as_bytes(),
            &number(opening.prekey.as_u64()),
            &number(opening.created.as_millis()),
            &number(opening.not_after.as_millis()),
            &number(opening.log.seq),
            opening.log.hash.as_bytes(),
        ],
    )
}

/// The message key and the nonce key of a session.
fn session_keys(pair: &Pair, signed: &Signed) -> [[u8; 32]; 2] {
    let opening = Opening::peek(signed).unwrap();
    let private = <XWing as Kem>::PrivateKey::from_bytes(&*pair.secret.reveal_seed()).unwrap();
    let enc = <XWing as Kem>::EncappedKey::from_bytes(&opening.enc).unwrap();
    let secret = XWing::decap(&private, None, &enc).unwrap();
    [&b"waxwing message key v1"[..], b"waxwing nonce key v1"]
        .map(|label| export(&secret.0, &info(&opening), label))
}

fn aad(session: &[u8; 16], header: &Header) -> Vec<u8> {
    let (priority, expires) = ([header.priority.as_u8()], header.expires.as_millis().to_be_bytes());
    let (mesh, from, to) = (header.mesh.as_bytes(), header.from.as_bytes(), header.to.as_bytes());
    fields(b"waxwing envelope v1", &[session, mesh, from, to, header.id.as_bytes(), &priority, &expires])
}

#[test]
fn a_session_is_hpke_over_x_wing() {
    let pair = Pair::new();
    let (_, opening, received) = pair.session(4);
    let [message, nonce] = session_keys(&pair, &opening);
    let stored = received.reveal().unwrap();
    let holds = |key: &[u8; 32]| stored.windows(32).any(|window| window == key);
    assert!(holds(&message) && holds(&nonce));
    assert_eq!(received.id().as_bytes(), &Sha256::digest(&opening.bytes)[..16]);
}

#[test]
fn the_randomness_of_an_opening_is_hedged() {
    let pair = Pair::new();
    let (_, opening, _) = pair.session(4);
    let opening = Opening::peek(&opening).unwrap();
    let mut hedge = [0; 32];
    Hkdf::<Sha256>::new(None, &[1; 32]).expand(b"waxwing hedge v1", &mut hedge).unwrap();
    let mut random = [0; 32];
    Seeded::new(4).fill_bytes(&mut random);
    let seed = hmac(&hedge, &[&random, &info(&opening)]);
    // 64 bytes are drawn; the second half is the X25519 secret.
    let point =
        x25519_dalek::x25519(hmac(&seed, &[&1_u64.to_be_bytes()]), x25519_dalek::X25519_BASEPOINT_BYTES);
    assert_eq!(opening.enc[1_088..], point);
}

/// The map inside the padding.
#[derive(Deserialize)]
struct Inside {
    id: String,
    ctr: u64,
    void: Vec<(u64, u64)>,
    #[serde(with = "serde_bytes")]
    sec: Vec<u8>,
    from: String,
    to: String,
    kind: String,
    ct: String,
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    #[serde(with = "serde_bytes")]
    meta: Vec<u8>,
    re: String,
    th: String,
    at: u64,
}

/// A message with a value in every field.
pub(crate) fn full() -> Plaintext {
    let ranges = [(1, 3), (7, 7)].map(|(first, last)| CounterRange::new(first, last).unwrap());
    Plaintext {
        counter: 9,
        void: ranges.to_vec(),
        from_app: Some("ci".parse().unwrap()),
        to_app: Some("agent".parse().unwrap()),
        meta: r#"{"run":7}"#.into(),
        reply_to: Some("m-0".parse().unwrap()),
        thread: Some("deploys".into()),
        ..plaintext(b"hello")
    }
}

#[test]
fn an_envelope_is_what_the_documentation_says() {
    let pair = Pair::new();
    let (mut session, opening, _) = pair.session(4);
    let header = pair.header(6);
    let envelope = session.seal(&mut Seeded::new(5), &header, &full(), NOW, false).unwrap();
    let [message, nonce] = session_keys(&pair, &opening);
    let aad = aad(envelope.session.as_bytes(), &header);

    let cipher = XChaCha20Poly1305::new(&message.into());
    let payload = Payload { msg: &envelope.sealed, aad: &aad };
    let padded = cipher.decrypt(&XNonce::from(envelope.nonce), payload).unwrap();

    let mut random = [0; 32];
    Seeded::new(5).fill_bytes(&mut random);
    assert_eq!(envelope.nonce, hmac(&nonce, &[&random, &aad, &padded])[..24]);

    let (length, rest) = padded.split_first_chunk().unwrap();
    let (content, zeros) = rest.split_at(u32::from_be_bytes(*length) as usize);
    assert!(zeros.iter().all(|byte| *byte == 0) && zeros.len() * 8 < padded.len());
    check_inside(&rmp_serde::from_slice(content).unwrap());
}

fn check_inside(inside: &Inside) {
    let texts = [&inside.id, &inside.from, &inside.to, &inside.kind, &inside.ct, &inside.re, &inside.th];
    assert_eq!(texts, ["m-1", "ci", "agent", "message", "text/plain", "m-0", "deploys"]);
    assert_eq!((inside.ctr, &inside.void[..], inside.at), (9, &[(1, 3), (7, 7)][..], NOW.as_millis()));
    assert_eq!((&inside.sec[..], &inside.body[..]), (&[0x5e; 16][..], &b"hello"[..]));
    assert_eq!(inside.meta, br#"{"run":7}"#);
}

#[test]
fn an_envelope_is_a_map_of_short_names() {
    #[derive(Deserialize)]
    struct Outside {
        #[serde(with = "serde_bytes")]
        s: Vec<u8>,
        o: Option<Opened>,
        #[serde(with = "serde_bytes")]
        n: Vec<u8>,
        #[serde(with = "serde_bytes")]
        b: Vec<u8>,
    }
    #[derive(Deserialize)]
    struct Opened {
        #[serde(with = "serde_bytes")]
        b: Vec<u8>,
        #[serde(with = "serde_bytes")]
        s: Vec<u8>,
    }
    let pair = Pair::new();
    let (mut session, opening, _) = pair.session(4);
    let mut seal = |with_opening| -> (Envelope, Outside) {
        let sealed = session.seal(&mut Seeded::new(5), &pair.header(6), &full(), NOW, with_opening).unwrap();
        let outside = rmp_serde::from_slice(&sealed.encode().unwrap()).unwrap();
        (sealed, outside)
    };
    let (envelope, outside) = seal(true);
    assert_eq!((&outside.s[..], &outside.n[..]), (&envelope.session.as_bytes()[..], &envelope.nonce[..]));
    assert_eq!(outside.b, envelope.sealed);
    let opened = outside.o.unwrap();
    assert_eq!((&opened.b[..], &opened.s[..]), (&opening.bytes[..], &opening.signature.as_bytes()[..]));
    assert!(seal(false).1.o.is_none());
}

#[test]
fn a_receipt_and_a_node_id_are_what_the_documentation_says() {
    let pair = Pair::new();
    let id = pair.header(6).id;
    let receipt = plaintext(b"").receipt_secret.receipt(&id);
    assert_eq!(receipt.as_bytes(), &hmac(&[0x5e; 16], &[id.as_bytes()])[..16]);

    let public = pair.sender.signing.public();
    let digest =
        Sha256::new().chain_update(b"waxwing node id v1\0").chain_update(public.as_bytes()).finalize();
    assert_eq!(Ok(pair.sender.node), NodeId::try_from(&digest[..16]));
}
