//! What travels between two nodes: envelopes, openings of sessions, and what is sealed in them.

use std::sync::LazyLock;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::Deserialize;
use waxwing_crypto::sealing::{
    Envelope, Header, Opening, Parties, PrekeyId, PrekeySecret, ReceivingSession, Refusal,
};
use waxwing_crypto::{MeshId, Priority, Purpose, SessionId, Signed, Timestamp, WireId};

use super::golden::{golden, hex, key, padded, unsigned};

/// What a broker delivers as an envelope.
pub fn envelope(bytes: &[u8]) {
    let Ok(envelope) = Envelope::decode(bytes) else { return };
    if let Ok(again) = envelope.encode() {
        assert_eq!(Envelope::decode(&again).as_ref(), Ok(&envelope));
    }
    let Some(signed) = &envelope.opening else { return };
    let _ = Opening::session_id(signed);
    if let Ok(session) = Opening::accept(signed, &PARTIES, &key(1).public(), &PREKEY) {
        let _ = session.open(&HEADER, &envelope);
    }
}

/// What a member signs as the opening of a session.
pub fn opening(bytes: &[u8]) {
    if Opening::peek(&unsigned(bytes)).is_err() {
        return;
    }
    let signed = Signed::new(&key(1), Purpose::Opening, bytes.to_vec());
    let _ = Opening::accept(&signed, &PARTIES, &key(1).public(), &PREKEY);
}

/// What a member seals as a message: any bytes in a box that opens. And what is in one that says no.
pub fn plaintext(bytes: &[u8]) {
    if let Ok(refusal) = Refusal::decode(bytes) {
        assert_eq!(refusal.encode().and_then(|again| Refusal::decode(&again)), Ok(refusal));
    }
    let golden = &*SESSION;
    let sealed =
        |text: &[u8]| golden.cipher.encrypt(&XNonce::from([9; 24]), Payload { msg: text, aad: &golden.aad });
    for text in [bytes, &padded(bytes)] {
        let Ok(sealed) = sealed(text) else { continue };
        let envelope = Envelope { session: golden.id, opening: None, nonce: [9; 24], sealed: sealed.into() };
        let Ok(message) = golden.session.open(&HEADER, &envelope) else { continue };
        assert_eq!(message.counter == 0, message.kind.is_live(), "who is live has no place, and nobody else");
        assert!(
            message.void.iter().all(|range| range.last() < message.counter),
            "what is void comes before it"
        );
    }
}

/// The ends of the golden conversation.
static PARTIES: LazyLock<Parties> = LazyLock::new(|| Parties {
    mesh: MeshId::from_bytes([0x4d; 16]),
    from: key(1).public().node_id(),
    to: key(2).public().node_id(),
});

/// What the golden messages are bound to.
static HEADER: LazyLock<Header> = LazyLock::new(|| Header {
    mesh: PARTIES.mesh,
    from: PARTIES.from,
    to: PARTIES.to,
    id: WireId::from_bytes([6; 16]),
    priority: Priority::Next,
    expires: Timestamp::from_millis(1_800_604_800_000),
});

/// The golden session, and what seals any bytes in it.
struct Session {
    id: SessionId,
    session: ReceivingSession,
    cipher: XChaCha20Poly1305,
    aad: Vec<u8>,
}

/// What of a stored session seals.
#[derive(Deserialize)]
struct Stored {
    #[serde(with = "serde_bytes")]
    message: [u8; 32],
}

#[expect(clippy::expect_used, reason = "the vector is there")]
static SESSION: LazyLock<Session> = LazyLock::new(|| {
    let vector = golden("conversation.json");
    let (stored, id) = (hex(&vector["session"]["stored"]), hex(&vector["session"]["id"]));
    let id = SessionId::from_bytes(id.try_into().expect("16 bytes"));
    let session = ReceivingSession::restore(id, &stored).expect("a session");
    let Stored { message } = rmp_serde::from_slice(&stored).expect("a session");
    let cipher = XChaCha20Poly1305::new_from_slice(&message).expect("32 bytes");
    let mut aad = b"waxwing envelope v1".to_vec();
    for field in [
        &[][..],
        id.as_bytes(),
        HEADER.mesh.as_bytes(),
        HEADER.from.as_bytes(),
        HEADER.to.as_bytes(),
        HEADER.id.as_bytes(),
        &[HEADER.priority.as_u8()],
        &HEADER.expires.as_millis().to_be_bytes(),
    ] {
        aad.extend((field.len() as u32).to_be_bytes());
        aad.extend(field);
    }
    Session { id, session, cipher, aad }
});

/// The texts of the golden messages, without their padding: what the fuzzer starts from.
pub fn golden_texts() -> Vec<Vec<u8>> {
    let (golden, vector) = (&*SESSION, golden("conversation.json"));
    let texts = ["first_envelope", "later_envelope"].into_iter().filter_map(|name| {
        let envelope = Envelope::decode(&hex(&vector[name])).ok()?;
        let box_of_it = Payload { msg: &envelope.sealed, aad: &golden.aad };
        let text = golden.cipher.decrypt(&XNonce::from(envelope.nonce), box_of_it).ok()?;
        let (length, content) = text.split_first_chunk::<4>()?;
        Some(content.get(..u32::from_be_bytes(*length) as usize)?.to_vec())
    });
    texts.collect()
}

/// The prekey that the golden conversation was opened to.
#[expect(clippy::expect_used, reason = "the vector is there")]
static PREKEY: LazyLock<PrekeySecret> = LazyLock::new(|| {
    let prekey = &golden("conversation.json")["prekey"];
    let number = PrekeyId::from_u64(prekey["number"].as_u64().expect("a number"));
    PrekeySecret::from_seed(number, &hex(&prekey["seed"])).expect("a seed")
});
