//! One function per kind of bytes that comes from outside: none may panic on any bytes, and what is read must mean the
//! same when it is written and read again. Used by the fuzzer, and by protocol/tests/corpus.rs through its path.

use std::fmt::Debug;
use std::sync::LazyLock;

use bytes::Bytes;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use waxwing_crypto::membership::{InviteSeed, InviteToken, RecoverySecret, Roster, SignedEntry};
use waxwing_crypto::sealing::{Envelope, Header, Opening, Parties, PrekeyId, PrekeySecret};
use waxwing_crypto::space::{Frame, NamingKey, Space, digest, epoch_of, verify_all};
use waxwing_crypto::state_key::{KeyListHead, ProvenSlot, StateKeys};
use waxwing_crypto::{
    ClientMessageId, Digest, MeshId, Name, NodeId, Priority, Purpose, SealingKey, Signature, Signed,
    SigningKey, Timestamp, WireId,
};
use waxwing_protocol::link::{
    DecodeError, FoundKeys, Frame as LinkFrame, Hello, Keys, ToBroker, ToBrokerLogin, ToNode, ToNodeLogin,
    decode, encode,
};

/// A target: any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 11] = [
    ("to_broker", to_broker),
    ("to_node", to_node),
    ("to_broker_login", to_broker_login),
    ("to_node_login", to_node_login),
    ("hello", hello),
    ("entry", entry),
    ("envelope", envelope),
    ("opening", opening),
    ("key_slot", key_slot),
    ("record", record),
    ("token", token),
];

/// A frame from a node, after login.
pub fn to_broker(bytes: &[u8]) {
    frame::<ToBroker>(bytes);
}

/// A frame from a broker, after login.
pub fn to_node(bytes: &[u8]) {
    frame::<ToNode>(bytes);
}

/// A frame from somebody who has not logged in.
pub fn to_broker_login(bytes: &[u8]) {
    frame::<ToBrokerLogin>(bytes);
}

/// A frame from a broker, before login.
pub fn to_node_login(bytes: &[u8]) {
    frame::<ToNodeLogin>(bytes);
}

fn frame<F: LinkFrame + Debug + PartialEq>(bytes: &[u8]) {
    let Ok(frame) = decode::<F>(bytes) else { return };
    match encode(&frame) {
        Ok(again) => assert_eq!(decode::<F>(&again).as_ref(), Ok(&frame)),
        // Fields that may be left out are written.
        Err(err) => assert_eq!(err, DecodeError::TooLarge),
    }
}

/// What a stranger signs. Nobody has checked the signature yet when it is looked into.
pub fn hello(bytes: &[u8]) {
    let signed = unsigned(bytes);
    let Ok(hello) = Hello::peek(&signed) else { return };
    let _ = (hello.nonce(), hello.url(), hello.mesh());
    assert!(Hello::verify(&signed, &key(1).public()).is_err());
    if let Ok(again) = hello.sign(&key(1)) {
        assert_eq!(Hello::peek(&again).as_ref(), Ok(&hello));
        assert!(Hello::verify(&again, &key(1).public()).is_ok());
    }
}

/// An entry of the membership log: as it is, and as those would sign it who may, at the end of a log.
pub fn entry(bytes: &[u8]) {
    let signed = SignedEntry { bytes: Bytes::copy_from_slice(bytes), signatures: vec![no_signature(); 2] };
    let Ok(entry) = signed.parse() else { return };
    assert!(Roster::genesis(&signed).is_err());
    let (founder, alpha) = (key(1), key(2));
    let (invite, recovery) =
        (InviteSeed::from_bytes(&[5; 32]).signing_key(), RecoverySecret::from_bytes(&[6; 32]).signing_key());
    for roster in LOGS.iter() {
        let next = roster.entry(entry.at, entry.body.clone());
        for keys in [&[&founder][..], &[&alpha], &[&recovery], &[&invite, &alpha], &[&alpha, &founder]] {
            let signed = next.sign(keys);
            let mut grown = roster.clone();
            if grown.apply(&signed).is_ok() {
                assert_eq!(grown.head().seq, roster.head().seq + 1);
                assert_eq!(Roster::restore(&grown.snapshot()).as_ref(), Ok(&grown));
            } else {
                assert_eq!(&grown, roster, "an entry that is refused changes nothing");
            }
        }
    }
}

/// What a broker delivers as an envelope.
pub fn envelope(bytes: &[u8]) {
    let Ok(envelope) = Envelope::decode(bytes) else { return };
    if let Ok(again) = envelope.encode() {
        assert_eq!(Envelope::decode(&again).as_ref(), Ok(&envelope));
    }
    let Some(signed) = &envelope.opening else { return };
    let _ = Opening::session_id(signed);
    if let Ok(session) = Opening::accept(signed, &PARTIES, &key(1).public(), &PREKEY) {
        let header = Header {
            mesh: PARTIES.mesh,
            from: PARTIES.from,
            to: PARTIES.to,
            id: WireId::from_bytes([6; 16]),
            priority: Priority::Next,
            expires: Timestamp::from_millis(1_800_604_800_000),
        };
        let _ = session.open(&header, &envelope);
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

/// What a broker hands out as a node's slot of a sealed-key list. Only the three true ones belong to the golden list;
/// and whatever an admin has put into a box, opening it ends well.
pub fn key_slot(bytes: &[u8]) {
    let Ok(ToNode::Keys(Keys { found: Some(found), .. })) = decode(bytes) else { return };
    let (list, FoundKeys { head, slot }) = (&*KEY_LIST, *found);
    if slot.verify(list.mesh, &head, &list.root).is_ok() {
        assert!(head == list.head && list.slots.contains(&slot), "proven to be in a list that it is not in");
    }
    if let Ok(keys) = slot.slot.open(list.mesh, &head, &list.reader) {
        assert_eq!(keys.newest().0, head.epoch);
    }
}

/// What a broker hands out as a record of a space, and what a member seals and signs as one. What is read means the same when it is
/// sealed again, and whether it is believed does not rest on how it was checked.
pub fn record(bytes: &[u8]) {
    let golden = &*RECORDS;
    let _ = (epoch_of(bytes), digest(bytes));
    let signed = Signed::new(&key(1), Purpose::Record, bytes.to_vec());
    let Ok(signed) = rmp_serde::to_vec_named(&signed) else { return };
    for (frame, aad, _) in &golden.records {
        let open = |sealed: &[u8]| golden.space.open(sealed, frame, &golden.keys);
        let made = golden.records.iter().any(|(of, _, sealed)| of == frame && sealed == bytes);
        assert_eq!(open(bytes).is_ok(), made, "what was sealed opens, and nothing else");
        for content in [bytes, &signed] {
            let Some(sealed) = golden.seal(content, aad) else { continue };
            let (Ok(one), Ok(other)) = (open(&sealed), open(&sealed)) else { continue };
            let alone = one.verify(&key(1).public());
            let among = verify_all(vec![(other, key(1).public())], &mut UnwrapErr(SysRng));
            assert_eq!(among, std::slice::from_ref(&alone));
            let Ok(said) = alone else { continue };
            let again = golden.space.seal(&said, EPOCH, &golden.keys, &key(1), &mut UnwrapErr(SysRng));
            let again = again.and_then(|again| open(&again)).and_then(|again| again.verify(&key(1).public()));
            assert_eq!(again, Ok(said));
        }
    }
}

/// What a person pastes: an invite token, recovery words, a name, an id.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = text.parse::<InviteToken>() {
        let again: Result<InviteToken, _> = token.reveal().parse();
        assert!(again.is_ok_and(|again| *again.reveal() == *token.reveal()));
    }
    if let Ok(secret) = text.parse::<RecoverySecret>() {
        let again: Result<RecoverySecret, _> = secret.reveal_words().parse();
        assert!(again.is_ok_and(|again| *again.reveal_words() == *secret.reveal_words()));
    }
    same::<Name>(text);
    same::<ClientMessageId>(text);
    same::<NodeId>(text);
    same::<MeshId>(text);
    same::<WireId>(text);
}

/// What is read is the same when it is written and read again, and is written in one way whatever case it came in.
fn same<T: std::str::FromStr + ToString + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        assert!(written.eq_ignore_ascii_case(text), "{written}");
        assert!(written.parse::<T>().is_ok_and(|again| again == value), "{written}");
    }
}

/// The logs that entries are put at the end of: after two joins, and after everything.
static LOGS: LazyLock<Vec<Roster>> = LazyLock::new(|| {
    let entries: Vec<_> =
        golden("membership.json")["entries"].as_array().into_iter().flatten().map(signed_entry).collect();
    [5, entries.len()].iter().filter_map(|end| Roster::replay(&entries[..*end]).ok()).collect()
});

/// The ends of the golden conversation.
static PARTIES: LazyLock<Parties> = LazyLock::new(|| Parties {
    mesh: MeshId::from_bytes([0x4d; 16]),
    from: key(1).public().node_id(),
    to: key(2).public().node_id(),
});

/// The golden list, and the secret that opens its first slot.
struct List {
    mesh: MeshId,
    head: KeyListHead,
    root: Digest,
    slots: Vec<ProvenSlot>,
    reader: SealingKey,
}

#[expect(clippy::expect_used, reason = "the vector is there")]
static KEY_LIST: LazyLock<List> = LazyLock::new(|| {
    let vector = golden("key_list.json");
    let slots = vector["slots"].as_array().into_iter().flatten();
    List {
        mesh: MeshId::from_bytes([0x4d; 16]),
        head: rmp_serde::from_slice(&hex(&vector["head"])).expect("a head"),
        root: vector["root"].as_str().and_then(|root| root.parse().ok()).expect("a root"),
        slots: slots.map(|slot| rmp_serde::from_slice(&hex(slot)).expect("a slot")).collect(),
        reader: SealingKey::from_seed(&[1; 32]),
    }
});

/// The epoch of the golden records.
const EPOCH: u64 = 2;

/// The golden records, and what seals any content as one of them.
struct Records {
    keys: StateKeys,
    space: Space,
    cipher: XChaCha20Poly1305,
    /// What a broker says of each, what it is bound to, and its bytes.
    records: Vec<(Frame, Vec<u8>, Vec<u8>)>,
}

impl Records {
    fn seal(&self, content: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        let mut padded = [&(content.len() as u32).to_be_bytes()[..], content].concat();
        let exponent = padded.len().ilog2();
        let step = 1 << (exponent - exponent.ilog2() - 1);
        padded.resize(padded.len().next_multiple_of(step), 0);
        let nonce = [9; 24];
        let text = self.cipher.encrypt(&XNonce::from(nonce), Payload { msg: &padded, aad }).ok()?;
        Some([&EPOCH.to_be_bytes()[..], &nonce, &text].concat())
    }
}

#[expect(clippy::expect_used, reason = "the vector is there")]
static RECORDS: LazyLock<Records> = LazyLock::new(|| {
    let vector = golden("space.json");
    let mesh = MeshId::from_bytes([0x4d; 16]);
    let keys = vector["state_keys"].as_array().into_iter().flatten().zip(1_u64..);
    let keys: Vec<_> = keys.flat_map(|(key, epoch)| [&epoch.to_be_bytes()[..], &hex(key)].concat()).collect();
    let keys = StateKeys::from_bytes(&keys).expect("two keys");
    let space = Space::new(mesh, &NamingKey::of(mesh, &keys), "team".parse().expect("a name"));
    let key_id = space.key(&"plan".parse().expect("a name"));
    let record = |record: &serde_json::Value| {
        let frame = Frame {
            key: key_id,
            operation: serde_json::from_value(record["operation"].clone()).expect("an operation"),
            stands: serde_json::from_value(record["stands"].clone()).expect("how it stands"),
            writer: key(1).public().node_id(),
        };
        (frame, hex(&record["aad"]), hex(&record["sealed"]))
    };
    let records = vector["records"].as_array().into_iter().flatten().map(record).collect();
    let cipher = XChaCha20Poly1305::new_from_slice(&hex(&vector["record_key"])).expect("32 bytes");
    Records { keys, space, cipher, records }
});

/// The prekey that the golden conversation was opened to.
#[expect(clippy::expect_used, reason = "the vector is there")]
static PREKEY: LazyLock<PrekeySecret> = LazyLock::new(|| {
    let prekey = &golden("conversation.json")["prekey"];
    let number = PrekeyId::from_u64(prekey["number"].as_u64().expect("a number"));
    PrekeySecret::from_seed(number, &hex(&prekey["seed"])).expect("a seed")
});

/// A file of vectors.
#[expect(clippy::expect_used, reason = "the vectors are JSON")]
pub fn golden(name: &str) -> serde_json::Value {
    let text = match name {
        "membership.json" => include_str!("../../crypto/tests/vectors/membership.json"),
        "key_list.json" => include_str!("../../crypto/tests/vectors/key_list.json"),
        "space.json" => include_str!("../../crypto/tests/vectors/space.json"),
        "conversation.json" => include_str!("../../crypto/tests/vectors/conversation.json"),
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

fn signed_entry(vector: &serde_json::Value) -> SignedEntry {
    let signatures = vector["signatures"].as_array().into_iter().flatten();
    let signatures = signatures.filter_map(|one| Signature::from_bytes(&hex(one)).ok()).collect();
    SignedEntry { bytes: hex(&vector["bytes"]).into(), signatures }
}

fn unsigned(bytes: &[u8]) -> Signed {
    Signed { bytes: Bytes::copy_from_slice(bytes), signature: no_signature() }
}

#[expect(clippy::expect_used, reason = "64 bytes are a signature")]
fn no_signature() -> Signature {
    Signature::from_bytes(&[0; 64]).expect("64 bytes")
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}
