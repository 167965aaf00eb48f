//! The limits of a session, which take too long to reach from outside.

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

use super::*;
use crate::id::{Digest, WireId};
use crate::priority::Priority;
use crate::sealing::{Kind, ReceiptSecret};
use crate::storage::StorageKey;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn open() -> (SendingSession, Header, Plaintext) {
    let mut rng = UnwrapErr(SysRng);
    let [ours, theirs] = [1, 2].map(|n| SigningKey::from_seed(&[n; 32]));
    let parties = Parties {
        mesh: MeshId::from_bytes([3; 16]),
        from: ours.public().node_id(),
        to: theirs.public().node_id(),
    };
    let (signed, _) = Prekey::mint(&mut rng, &theirs, parties.to, None, NOW).unwrap();
    let prekey = Prekey::verify(&signed, parties.to, &theirs.public()).unwrap();
    let log = LogHead { seq: 1, hash: Digest::from_bytes([4; 32]) };
    let storage = StorageKey::generate(&mut rng).keys();
    let session = SendingSession::open(&mut rng, &storage, &ours, &parties, &prekey, log, NOW).unwrap();
    let header = Header {
        mesh: parties.mesh,
        from: parties.from,
        to: parties.to,
        id: WireId::from_bytes([5; 16]),
        priority: Priority::Next,
        expires: NOW.plus(SESSION_LIFETIME * 24),
    };
    (session, header, plaintext())
}

fn plaintext() -> Plaintext {
    Plaintext {
        id: "m".parse().unwrap(),
        counter: 1,
        void: Vec::new(),
        receipt_secret: ReceiptSecret::from_bytes([6; 16]),
        from_app: None,
        to_app: None,
        kind: Kind::Message,
        content_type: "text/plain".into(),
        body: "hello".into(),
        meta: "".into(),
        reply_to: None,
        thread: None,
        wants_read: false,
        sent_at: NOW,
    }
}

#[test]
fn a_session_ends_after_its_last_message() {
    let (mut session, header, plaintext) = open();
    session.sealed = SESSION_MESSAGES - 1;
    assert!(session.is_live(NOW));
    session.seal(&mut UnwrapErr(SysRng), &header, &plaintext, NOW, false).unwrap();
    assert!(!session.is_live(NOW));
    for _ in 0..2 {
        let sealed = session.seal(&mut UnwrapErr(SysRng), &header, &plaintext, NOW, false);
        assert_eq!(sealed.err(), Some(Error::SessionEnded));
    }
    assert_eq!(session.sealed, SESSION_MESSAGES, "and does not start again");
}

#[test]
fn a_session_ends_after_its_time() {
    let (mut session, header, plaintext) = open();
    let last = Timestamp::from_millis(NOW.as_millis() + 60 * 60 * 1_000 - 1);
    session.seal(&mut UnwrapErr(SysRng), &header, &plaintext, last, false).unwrap();
    for later in [NOW.plus(SESSION_LIFETIME), Timestamp::from_millis(u64::MAX)] {
        assert!(!session.is_live(later));
        let sealed = session.seal(&mut UnwrapErr(SysRng), &header, &plaintext, later, false);
        assert_eq!(sealed.err(), Some(Error::SessionEnded));
    }
}

#[test]
fn a_session_prints_neither_its_keys_nor_its_opening() {
    let (session, ..) = open();
    let shown = format!("{session:?}");
    assert_eq!(shown, format!("SendingSession({}, 0 sealed)", session.id));
}
