//! One function per kind of bytes that comes from outside: none may panic on any bytes, and what is read must mean the
//! same when it is written and read again. Used by the fuzzer, and by protocol/tests/corpus.rs through its path.

use std::fmt::Debug;
use std::sync::LazyLock;

use bytes::Bytes;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use waxwing_crypto::membership::{InviteSeed, InviteToken, RecoverySecret, Roster, SignedEntry};
use waxwing_crypto::sealing::{Envelope, Header, Opening, Parties, PrekeyId, PrekeySecret, ReceivingSession};
use waxwing_crypto::space::{Frame, KeyName, NamingKey, Space, SpaceName, digest, epoch_of, verify_all};
use waxwing_crypto::state_key::{KeyListHead, ProvenSlot, StateKeys};
use waxwing_crypto::{
    AccessToken, ClientMessageId, CreationToken, Digest, MeshId, Name, NodeId, Priority, Purpose, SealingKey,
    SessionId, Signature, Signed, SigningKey, Timestamp, WireId,
};
use waxwing_protocol::api;
use waxwing_protocol::link::{
    DecodeError, FoundKeys, Frame as LinkFrame, Hello, Keys, ToBroker, ToBrokerLogin, ToNode, ToNodeLogin,
    decode, encode,
};
use waxwing_protocol::{Address, BrokerUrl, RegistrationId, TopicName, TopicPattern};

/// A target: any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 14] = [
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
    ("plaintext", plaintext),
    ("api", api),
    ("address", address),
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

/// What a member seals as a message: any bytes in a box that opens.
pub fn plaintext(bytes: &[u8]) {
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

/// What an app posts to its node: each body of the local API. What is read means the same when it is written and read again.
pub fn api(bytes: &[u8]) {
    for body in BODIES {
        body(bytes);
    }
}

fn body<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return };
    let Ok(written) = serde_json::to_value(&read) else { return };
    let again = serde_json::from_value::<T>(written.clone()).and_then(serde_json::to_value);
    assert!(again.is_ok_and(|again| again == written), "{written}");
}

/// Every body that is parsed of what an app has written.
const BODIES: [Target; 36] = [
    body::<api::AbandonRequest>,
    body::<api::AbortRequest>,
    body::<api::AckRequest>,
    body::<api::AcquireRequest>,
    body::<api::BatchRequest>,
    body::<api::BrokerRequest>,
    body::<api::CallRequest>,
    body::<api::CancelRequest>,
    body::<api::ClaimRequest>,
    body::<api::CompleteRequest>,
    body::<api::CreateRequest>,
    body::<api::GrantRequest>,
    body::<api::InviteRequest>,
    body::<api::JoinRequest>,
    body::<api::KvPut>,
    body::<api::LeaveRequest>,
    body::<api::PeerRequest>,
    body::<api::ProfileRequest>,
    body::<api::PublishRequest>,
    body::<api::RecoverRequest>,
    body::<api::Registration>,
    body::<api::ReleaseRequest>,
    body::<api::RenewRequest>,
    body::<api::ReplyRequest>,
    body::<api::RequeueRequest>,
    body::<api::ResumeRequest>,
    body::<api::RetentionRequest>,
    body::<api::RevokeInviteRequest>,
    body::<api::RevokeLeaseRequest>,
    body::<api::RevokeRequest>,
    body::<api::RotateRequest>,
    body::<api::SendRequest>,
    body::<api::SubscribeRequest>,
    body::<api::TokenRequest>,
    body::<api::TopicAckRequest>,
    body::<api::UnsubscribeRequest>,
];

/// What a person or an app names: an address, a broker, a topic, a token, a space and a key.
pub fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    again::<Address>(text);
    again::<BrokerUrl>(text);
    again::<TopicName>(text);
    again::<TopicPattern>(text);
    again::<SpaceName>(text);
    again::<KeyName>(text);
    let _ = text.parse::<AccessToken>();
    let _ = text.parse::<CreationToken>();
    let _ = text.parse::<RegistrationId>();
}

/// What is read is the same when it is written and read again.
fn again<T: std::str::FromStr + ToString + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        assert!(written.parse::<T>().is_ok_and(|again| again == value), "{written}");
    }
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

/// As what is sealed is padded.
fn padded(content: &[u8]) -> Vec<u8> {
    let mut padded = [&(content.len() as u32).to_be_bytes()[..], content].concat();
    let exponent = padded.len().ilog2();
    let step = 1 << (exponent - exponent.ilog2() - 1);
    padded.resize(padded.len().next_multiple_of(step), 0);
    padded
}

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
        let padded = padded(content);
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
