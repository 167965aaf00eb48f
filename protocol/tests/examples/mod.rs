//! One example of every frame and of every form its parts take, from fixed values. What is sealed or signed elsewhere
//! (envelopes, prekeys, entries) is a few bytes here: the codec does not look inside.

mod space;

use std::collections::BTreeSet;
use std::fmt::Debug;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use waxwing_crypto::mark::{MeshPass, StoreSecret};
use waxwing_crypto::membership::{LogHead, SignedEntry};
use waxwing_crypto::sealing::{Nack, NackReason};
use waxwing_crypto::state_key::{
    EarlierKeys, Holder, KeyListHead, ProofPath, ProvenSlot, SealedStateKeys, Slot,
};
use waxwing_crypto::{
    CreationToken, Digest, Fingerprint, MeshId, NodeId, Priority, Purpose, Receipt, Signed, SigningKey,
    SpaceId, Timestamp, WireId,
};
use waxwing_protocol::link::{
    Bye, Challenge, ChangeOutcome, Code, Deliver, Delivery, Done, EnteringHello, Envelope, ErrorFrame,
    Features, FoundKeys, GoAway, Hello, Keys, KeysGet, KeysPut, Limits, Log, LogAppend, LogGet, LogUpload,
    LogWanted, Mark, MemberHello, MeshNotice, MeshNoticeKind, Notice, NoticeKind, Outcome, PeerPrekey,
    PrekeyGet, PrekeyPut, Prekeys, Progress, QueueShow, QueueShown, Reason, Send, SendItem, Sent, Settle,
    Settlement, Shown, SpaceChanges, SpaceFollow, SpaceOffer, SpaceOffered, SpaceWrite, SpaceWritten,
    ToBroker, ToBrokerLogin, ToNode, ToNodeLogin, VERSIONS, Welcome,
};
use waxwing_protocol::{MessageId, RunId, StoreId, limits};

const MESH: MeshId = MeshId::from_bytes([0xaa; 16]);
const ALPHA: NodeId = NodeId::from_bytes([0xa1; 16]);
const BETA: NodeId = NodeId::from_bytes([0xb2; 16]);
const HEAD: LogHead = LogHead { seq: 3, hash: Digest::from_bytes([0x33; 32]) };
const STORE: StoreId = StoreId::from_bytes([0x57; 16]);
const SPACE: SpaceId = SpaceId::from_bytes([0x5a; 32]);
const URL: &str = "ws://127.0.0.1:7900";

/// The signing key of every example.
pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + seconds * 1_000)
}

fn wire(n: u8) -> WireId {
    WireId::from_bytes([n; 16])
}

fn message(n: u8) -> MessageId {
    MessageId::from_bytes([n; 16])
}

fn stand_in(purpose: Purpose, bytes: &[u8]) -> Signed {
    Signed::new(&key(), purpose, bytes.to_vec())
}

/// As a broker whose store's secret is 32 bytes `5e` makes it.
fn mark() -> Mark {
    let (run, m) = (RunId::from_bytes([0x52; 16]), 1_205);
    let code = StoreSecret::from_bytes([0x5e; 32]).code(STORE.as_bytes(), run.as_bytes(), m);
    Mark { store: STORE, run, m, code }
}

fn nack() -> Signed {
    let nack = Nack { to: ALPHA, id: wire(0xd2), seal: 0, reason: NackReason::UnknownSession, log: None };
    nack.sign(&key()).unwrap()
}

fn entry(n: u8) -> SignedEntry {
    let bytes = vec![0xee, n];
    SignedEntry { signatures: vec![key().sign(Purpose::Membership, &bytes)], bytes: bytes.into() }
}

/// Its earlier keys are a stand-in of the shortest form.
fn key_list_head() -> KeyListHead {
    let earlier = EarlierKeys::from_bytes(Bytes::from_static(&[0xe4; 40])).unwrap();
    KeyListHead { epoch: 2, slots: 2, earlier }
}

/// Of a list of two. The box is a stand-in.
fn slot(at: u64, holder: Holder) -> ProvenSlot {
    let sealed = SealedStateKeys::from_bytes(Bytes::from_static(&[0xb0; SealedStateKeys::ONE])).unwrap();
    let path = ProofPath::from_bytes(&[0x50 + at as u8; 32]).unwrap();
    ProvenSlot { at, path, slot: Slot { holder, to: Digest::from_bytes([0x20; 32]), sealed } }
}

/// Each with the name of its file.
pub(crate) fn to_node_login() -> Vec<(&'static str, ToNodeLogin)> {
    let limits = Limits {
        items: limits::WINDOW_ITEMS as u32,
        bytes: limits::WINDOW_BYTES as u32,
        dedupe: limits::DEDUPE.as_millis() as u64,
        lease: limits::LEASE.as_millis() as u64,
    };
    let challenge = Challenge { nonce: [0xc0; 32], store: STORE, clock: at(0), versions: VERSIONS.to_vec() };
    let founder = Welcome {
        login: None,
        head: None,
        waits: false,
        pass: None,
        limits,
        features: Features::of(35),
        clock: at(0),
    };
    let pass = Some(MeshPass::from_bytes([0x9a; 32]));
    let member = Welcome { login: Some(5), head: Some(HEAD), pass, ..founder.clone() };
    let refusal = GoAway {
        reason: Reason::Unauthenticated,
        detail: "this broker has no such mesh".to_owned(),
        again: None,
    };
    vec![
        ("challenge", ToNodeLogin::Challenge(challenge)),
        (
            "log_wanted",
            ToNodeLogin::LogWanted(LogWanted {
                have: Some(LogHead { seq: 2, ..HEAD }),
                most: limits::LOG as u64,
            }),
        ),
        ("log_wanted_none", ToNodeLogin::LogWanted(LogWanted { have: None, most: limits::LOG as u64 })),
        ("welcome", ToNodeLogin::Welcome(member)),
        ("welcome_founder", ToNodeLogin::Welcome(founder)),
        ("goaway_never", ToNodeLogin::GoAway(refusal)),
    ]
}

/// Each with the name of its file.
pub(crate) fn to_broker_login() -> Vec<(&'static str, ToBrokerLogin)> {
    let (nonce, url) = ([0xc0; 32], URL.to_owned());
    let (version, features) = (0, Features::needed());
    let member = MemberHello {
        nonce,
        url: url.clone(),
        mesh: MESH,
        node: ALPHA,
        head: HEAD,
        progress: Progress { login: 7, through: 40, rows: 1_200 },
        mark: Some(mark()),
        version,
        features: features.clone(),
    };
    let entering =
        EnteringHello { nonce, url, mesh: MESH, key: key().public(), version, features, creation: None };
    let proof = CreationToken::from_bytes(&[8; 32]).prove(&nonce, MESH);
    let founding = EnteringHello { creation: Some(proof), ..entering.clone() };
    let sign = |hello: Hello| ToBrokerLogin::Hello(hello.sign(&key()).unwrap());
    let pass = Some(MeshPass::from_bytes([0x9a; 32]));
    let upload = LogUpload { after: 0, entries: vec![entry(1), entry(2)], last: true, pass };
    vec![
        ("hello_member", sign(Hello::Member(member))),
        ("hello_entering", sign(Hello::Entering(entering))),
        ("hello_founding", sign(Hello::Entering(founding))),
        ("log.upload", ToBrokerLogin::LogUpload(upload)),
    ]
}

/// Each with the name of its file.
pub(crate) fn to_broker() -> Vec<(&'static str, ToBroker)> {
    let item = |n, seal, first| SendItem {
        to: BETA,
        id: wire(n),
        fp: Fingerprint::from_bytes([0xf0 + n % 16; 32]),
        pri: Priority::Next,
        exp: at(604_800),
        seal,
        first,
        env: Bytes::from_static(b"\x01sealed"),
    };
    let settlements = vec![Settlement::Receipt(Receipt::from_bytes([0x4e; 16])), Settlement::Nack(nack())];
    vec![
        (
            "send",
            ToBroker::Send(Send {
                req: 1,
                rows: 1_202,
                items: vec![item(0xd1, 0, true), item(0xd2, 2, false)],
            }),
        ),
        ("settle", ToBroker::Settle(Settle { through: 300, items: settlements })),
        ("settle_welcome", ToBroker::Settle(Settle { through: 0, items: Vec::new() })),
        (
            "prekey.put",
            ToBroker::PrekeyPut(PrekeyPut { req: 2, prekey: stand_in(Purpose::Prekey, b"prekey") }),
        ),
        ("prekey.get", ToBroker::PrekeyGet(PrekeyGet { req: 3, nodes: vec![ALPHA, BETA] })),
        ("log.get", ToBroker::LogGet(LogGet { req: 4, after: 1 })),
        ("log.append", ToBroker::LogAppend(LogAppend { req: 5, entry: entry(4) })),
        (
            "keys.put",
            ToBroker::KeysPut(KeysPut {
                req: 7,
                root: Digest::from_bytes([0x77; 32]),
                head: key_list_head(),
                slots: vec![slot(1, Holder::Invite(key().public()))],
            }),
        ),
        ("keys.get", ToBroker::KeysGet(KeysGet { req: 8, epoch: 2 })),
        ("queue.show", ToBroker::QueueShow(QueueShow { req: 6, id: wire(0xd1) })),
        ("space.write", ToBroker::SpaceWrite(SpaceWrite { req: 9, space: SPACE, changes: space::changes() })),
        (
            "space.follow",
            ToBroker::SpaceFollow(SpaceFollow {
                req: 10,
                space: SPACE,
                after: space::PLACE,
                begun: space::PLACE - 5,
                wait: true,
            }),
        ),
        (
            "space.offer",
            ToBroker::SpaceOffer(SpaceOffer { req: 11, space: SPACE, records: space::offered() }),
        ),
        ("bye", ToBroker::Bye(Bye { req: 12 })),
    ]
}

/// Every outcome there is.
fn outcomes() -> Vec<Outcome> {
    vec![
        Outcome::Accepted { message: message(0x70) },
        Outcome::Duplicate { message: message(0x70), first_seen: at(1) },
        Outcome::IdReused,
        Outcome::UnknownRecipient,
        Outcome::RevokedRecipient,
        Outcome::TooLarge,
        Outcome::TtlTooLong,
        Outcome::Expired,
        Outcome::BadItem,
        Outcome::QueueFull,
        Outcome::RateLimited { after: 250 },
        Outcome::Behind,
    ]
}

fn deliveries() -> Vec<Delivery> {
    let notice = |n, kind| Delivery::Notice(Notice { n, id: wire(0xd0 + n as u8), kind });
    let envelope = Envelope {
        n: 5,
        from: ALPHA,
        id: wire(0xd1),
        pri: Priority::Now,
        exp: at(604_800),
        seal: 0,
        env: Bytes::from_static(b"\x01sealed"),
    };
    vec![
        notice(1, NoticeKind::Delivered { receipt: Receipt::from_bytes([0x4e; 16]) }),
        notice(2, NoticeKind::Nack { nack: nack() }),
        notice(3, NoticeKind::Expired),
        notice(4, NoticeKind::RevokedRecipient),
        Delivery::Envelope(envelope),
    ]
}

/// Each with the name of its file.
pub(crate) fn to_node() -> Vec<(&'static str, ToNode)> {
    let prekeys = vec![
        PeerPrekey { node: ALPHA, prekey: Some(stand_in(Purpose::Prekey, b"prekey")) },
        PeerPrekey { node: BETA, prekey: None },
    ];
    let answer =
        Log { req: Some(4), entries: vec![entry(2), entry(3)], head: Some(HEAD), mark: Some(mark()) };
    let pushed = Log { req: None, entries: vec![entry(3)], head: Some(HEAD), mark: Some(mark()) };
    let shown = Shown {
        message: message(0x70),
        to: BETA,
        pri: Priority::Next,
        seal: 2,
        first_seen: at(1),
        queued: Some(1_652),
    };
    let error = |req, code, detail: &str, after| {
        ToNode::Error(ErrorFrame { req, code, detail: detail.to_owned(), after })
    };
    let found = Some(Box::new(FoundKeys { head: key_list_head(), slot: slot(0, Holder::Node(ALPHA)) }));
    let goaway = GoAway {
        reason: Reason::Restarting,
        detail: "the broker is stopping".to_owned(),
        again: Some((0, 2_000)),
    };
    vec![
        ("sent", ToNode::Sent(Sent { req: 1, outcomes: outcomes(), mark: mark() })),
        ("deliver", ToNode::Deliver(Deliver { items: deliveries(), tail: false })),
        ("deliver_tail", ToNode::Deliver(Deliver { items: Vec::new(), tail: true })),
        ("done", ToNode::Done(Done { req: 2 })),
        ("prekey", ToNode::Prekeys(Prekeys { req: 3, prekeys })),
        ("log", ToNode::Log(answer)),
        ("log_pushed", ToNode::Log(pushed)),
        ("log_unknown", ToNode::Log(Log { req: Some(4), entries: Vec::new(), head: None, mark: None })),
        ("keys", ToNode::Keys(Keys { req: 8, found })),
        ("keys_none", ToNode::Keys(Keys { req: 8, found: None })),
        ("queue.shown", ToNode::QueueShown(QueueShown { req: 6, shown: Some(shown) })),
        ("queue.shown_unknown", ToNode::QueueShown(QueueShown { req: 6, shown: None })),
        (
            "space.written",
            ToNode::SpaceWritten(SpaceWritten { req: 9, outcomes: space::outcomes(), mark: mark() }),
        ),
        (
            "space.changes",
            ToNode::SpaceChanges(SpaceChanges {
                req: 10,
                changes: space::changed(),
                upto: space::PLACE + 4,
                head: space::PLACE + 9,
                begun: space::PLACE - 5,
                reset: false,
                mark: mark(),
            }),
        ),
        (
            "space.changes_reset",
            ToNode::SpaceChanges(SpaceChanges {
                req: 10,
                changes: Vec::new(),
                upto: space::PLACE + 4,
                head: space::PLACE + 4,
                begun: space::PLACE + 4,
                reset: true,
                mark: mark(),
            }),
        ),
        (
            "space.offered",
            ToNode::SpaceOffered(SpaceOffered {
                req: 11,
                outcomes: vec![ChangeOutcome::Applied { seq: space::PLACE + 1 }],
                mark: mark(),
            }),
        ),
        (
            "mesh.notice",
            ToNode::MeshNotice(MeshNotice { kind: MeshNoticeKind::ResumeWanted { branches: vec![HEAD] } }),
        ),
        (
            "mesh.notice_duplicated",
            ToNode::MeshNotice(MeshNotice { kind: MeshNoticeKind::NodeDuplicated { node: BETA } }),
        ),
        ("error", error(Some(5), Code::LogConflict, "the log has 4 entries: read on, and sign again", None)),
        ("error_rate_limited", error(Some(6), Code::RateLimited, "too many requests", Some(1_500))),
        ("error_unread", error(None, Code::Unsupported, "no frame is called `sennd`", None)),
        ("goaway", ToNode::GoAway(goaway)),
    ]
}

/// The variants that serde knows, from what it says of one that it does not.
pub(crate) fn variants<F: DeserializeOwned + Debug>() -> BTreeSet<String> {
    let said = serde_json::from_str::<F>(r#"{"?":null}"#).unwrap_err().to_string();
    let (_, expected) = said.split_once("expected ").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
