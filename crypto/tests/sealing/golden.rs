//! Bytes that must never change, made from fixed seeds and compared with what is kept in tests/vectors/.
//!
//! `WAXWING_BLESS=1 cargo test -p waxwing-crypto --test sealing golden` writes the files anew. A change here means that
//! nodes of two versions can no longer read each other, or a node its own disk.

use serde_json::{Value, json};
use waxwing_crypto::membership::LogHead;
use waxwing_crypto::sealing::{Envelope, Kind, Nack, NackReason, Plaintext, Prekey, PrekeySecret};
use waxwing_crypto::storage::{Place, Request, StorageKey, canonical_json};
use waxwing_crypto::{
    ClientMessageId, Digest, Fingerprint, Name, Priority, Receipt, SealingKey, Signature, Signed,
};

use super::actors::{LOG, NOW, Pair};
use super::reference::full;
use super::support::{Seeded, bytes, golden, hex};

fn signed(signed: &Signed) -> Value {
    json!({ "bytes": hex(&signed.bytes), "signature": hex(signed.signature.as_bytes()) })
}

fn read(vector: &Value) -> Signed {
    let signature = Signature::from_bytes(&bytes(&vector["signature"])).unwrap();
    Signed { bytes: bytes(&vector["bytes"]).into(), signature }
}

/// One of each kind for somebody who waits.
fn live() -> impl Iterator<Item = Plaintext> {
    let live = Kind::ALL.into_iter().filter(|kind| kind.is_live());
    live.map(|kind| Plaintext { kind, counter: 0, void: Vec::new(), ..full() })
}

#[test]
fn a_conversation_is_as_it_was() {
    let pair = Pair::new();
    let (prekey, secret) =
        Prekey::mint(&mut Seeded::new(3), &pair.recipient.signing, pair.recipient.node, None, NOW).unwrap();
    let (mut session, opening, received) = pair.session(4);
    let header = pair.header(6);
    let first = session.seal(&mut Seeded::new(5), &header, &full(), NOW, true).unwrap();
    let later = session.seal(&mut Seeded::new(6), &header, &full(), NOW, false).unwrap();
    let live: Vec<_> = live()
        .map(|text| {
            let sealed = session.seal(&mut Seeded::new(7), &header, &text, NOW, false).unwrap();
            json!({ "kind": text.kind.as_str(), "envelope": hex(&sealed.encode().unwrap()) })
        })
        .collect();
    let receipt = full().receipt_secret.receipt(&header.id);
    let vector = json!({
        "mesh": pair.parties.mesh,
        "sender": { "seed": hex(&[1; 32]), "storage": hex(&[1; 32]), "node": pair.parties.from },
        "recipient": { "seed": hex(&[2; 32]), "node": pair.parties.to },
        "now": NOW,
        "log": { "seq": LOG.seq, "hash": LOG.hash },
        "prekey": { "seed": hex(&*secret.reveal_seed()), "number": secret.id().as_u64(), "signed": signed(&prekey) },
        "opening": signed(&opening),
        "session": { "id": received.id(), "stored": hex(&received.reveal().unwrap()) },
        "header": { "id": header.id, "priority": header.priority, "expires": header.expires },
        "first_envelope": hex(&first.encode().unwrap()),
        "later_envelope": hex(&later.encode().unwrap()),
        "live": live,
        "receipt_secret": hex(&[0x5e; 16]),
        "receipt": receipt,
    });
    let kept = golden("conversation.json", &vector);
    check_conversation(&pair, &kept);
}

/// What was written then is read now.
fn check_conversation(pair: &Pair, kept: &Value) {
    let number = waxwing_crypto::sealing::PrekeyId::from_u64(kept["prekey"]["number"].as_u64().unwrap());
    let seed: [u8; 32] = bytes(&kept["prekey"]["seed"]).try_into().unwrap();
    let prekey =
        Prekey::verify(&read(&kept["prekey"]["signed"]), pair.parties.to, &pair.recipient.signing.public());
    assert_eq!(prekey.unwrap().key, SealingKey::from_seed(&seed).public().unwrap());
    let secret = PrekeySecret::from_seed(number, &seed).unwrap();
    let signer = pair.sender.signing.public();
    let opening = read(&kept["opening"]);
    let session =
        waxwing_crypto::sealing::Opening::accept(&opening, &pair.parties, &signer, &secret).unwrap();
    assert_eq!(*session.reveal().unwrap(), bytes(&kept["session"]["stored"]));
    for name in ["first_envelope", "later_envelope"] {
        let envelope = Envelope::decode(&bytes(&kept[name])).unwrap();
        assert_eq!(session.open(&pair.header(6), &envelope), Ok(full()), "{name}");
    }
    for (kept, text) in kept["live"].as_array().unwrap().iter().zip(live()) {
        let envelope = Envelope::decode(&bytes(&kept["envelope"])).unwrap();
        assert_eq!(kept["kind"], text.kind.as_str());
        assert_eq!(session.open(&pair.header(6), &envelope), Ok(text));
    }
    let receipt: Receipt = kept["receipt"].as_str().unwrap().parse().unwrap();
    assert!(full().receipt_secret.verify(&pair.header(6).id, &receipt));
}

#[test]
fn nacks_are_as_they_were() {
    let pair = Pair::new();
    let id = pair.header(6).id;
    let log = Some(LogHead { seq: 3, hash: Digest::from_bytes([8; 32]) });
    let nacks =
        [("without a log", NackReason::UnknownSession, None), ("with a log", NackReason::LogMismatch, log)]
            .map(|(name, reason, log)| (name, Nack { to: pair.parties.from, id, seal: 2, reason, log }));
    let vectors: Vec<_> = nacks
        .iter()
        .map(|(name, nack)| json!({ "name": name, "signed": signed(&nack.sign(&pair.recipient.signing).unwrap()) }))
        .collect();
    let kept = golden("nacks.json", &json!({ "seed": hex(&[2; 32]), "nacks": vectors }));
    for (kept, (_, nack)) in kept["nacks"].as_array().unwrap().iter().zip(nacks) {
        let key = pair.recipient.signing.public();
        assert_eq!(Nack::verify(&read(&kept["signed"]), &key, pair.parties.from, id), Ok(nack));
    }
}

#[test]
fn what_is_at_rest_and_the_codes_are_as_they_were() {
    let keys = StorageKey::from_bytes(&[1; 32]).keys();
    let pair = Pair::new();
    let (id, reply): (ClientMessageId, ClientMessageId) = ("m-1".parse().unwrap(), "m-0".parse().unwrap());
    let [from, to]: [Name; 2] = ["ci", "agent"].map(|name| name.parse().unwrap());
    let meta = canonical_json(&json!({ "run": 7, "a": [1.5, null] })).unwrap();
    let plain = Request {
        kind: "message",
        from_app: None,
        to: pair.parties.to,
        to_app: None,
        reply_to: None,
        thread: None,
        priority: Priority::Next,
        content_type: "text/plain",
        meta: b"",
        body: b"hello",
    };
    let full = Request {
        from_app: Some(&from),
        to_app: Some(&to),
        reply_to: Some(&reply),
        thread: Some("deploys"),
        priority: Priority::Now,
        meta: &meta,
        ..plain
    };
    let place = Place { table: "outbox", column: "body", row: b"m-1" };
    let fingerprint: Fingerprint = keys.fingerprint(&full);
    let vector = json!({
        "storage": hex(&[1; 32]),
        "cell": { "table": "outbox", "column": "body", "row": hex(b"m-1"), "value": hex(b"hello"),
            "sealed": hex(&keys.seal(&mut Seeded::new(7), place, b"hello")) },
        "wire_id": keys.wire_id(&id),
        "fingerprint_plain": keys.fingerprint(&plain),
        "fingerprint_full": fingerprint,
        "broker_fingerprint": keys.broker_fingerprint(&id, &fingerprint),
        // Not revealed by itself: what it makes of a wire id.
        "receipt": keys.receipt_secret(&pair.parties.to, &id, &fingerprint).receipt(&keys.wire_id(&id)),
        "meta": String::from_utf8(meta.clone()).unwrap(),
    });
    let kept = golden("storage.json", &vector);
    assert_eq!(&**keys.open(place, &bytes(&kept["cell"]["sealed"])).unwrap(), b"hello");
}
