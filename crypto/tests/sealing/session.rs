//! Openings: good for one sender, one recipient, one mesh, one prekey; and sessions that do not mix.

use waxwing_crypto::membership::LogHead;
use waxwing_crypto::sealing::{Opening, Parties, Prekey, PrekeyId, ReceivingSession, SendingSession};
use waxwing_crypto::{Digest, Error, MeshId, Purpose, Signed, SigningKey, Timestamp};

use super::actors::{Actor, LOG, NOW, Pair, opening_of, other_secret, plaintext};
use super::support::Seeded;

const NOT_MEANT: Option<Error> = Some(Error::Malformed("opening"));

/// An opening as a malicious member would make it: changed, and signed again.
fn forged(pair: &Pair, opening: &Signed, change: impl FnOnce(&mut Opening)) -> Signed {
    let mut opening = Opening::peek(opening).unwrap();
    change(&mut opening);
    Signed::new(&pair.sender.signing, Purpose::Opening, rmp_serde::to_vec_named(&opening).unwrap())
}

#[test]
fn an_opening_replayed_to_another_node_or_mesh_is_refused() {
    let pair = Pair::new();
    let (_, opening, _) = pair.session(4);
    let signer = pair.sender.signing.public();
    let other = Actor::new(9).node;
    for parties in [
        Parties { mesh: MeshId::from_bytes([0; 16]), ..pair.parties },
        Parties { to: other, ..pair.parties },
        Parties { from: other, ..pair.parties },
        Parties { from: pair.parties.to, to: pair.parties.from, ..pair.parties },
    ] {
        assert_eq!(Opening::accept(&opening, &parties, &signer, &pair.secret).err(), NOT_MEANT);
    }
}

#[test]
fn an_opening_signed_by_another_key_or_for_another_purpose_is_refused() {
    let pair = Pair::new();
    let (_, opening, _) = pair.session(4);
    let bad = Some(Error::BadSignature("opening"));
    // As after a rotation: the roster names another key than the one that signed.
    let rotated = SigningKey::from_seed(&[77; 32]);
    let accept = |signed: &Signed, key: &SigningKey| {
        Opening::accept(signed, &pair.parties, &key.public(), &pair.secret).err()
    };
    assert_eq!(accept(&opening, &rotated), bad);
    assert_eq!(accept(&opening, &pair.recipient.signing), bad);
    for purpose in [Purpose::Membership, Purpose::Prekey, Purpose::Nack, Purpose::Login] {
        let signed = Signed::new(&pair.sender.signing, purpose, opening.bytes.to_vec());
        assert_eq!(accept(&signed, &pair.sender.signing), bad, "{purpose:?}");
    }
}

#[test]
fn an_opening_to_a_stale_or_future_prekey_is_refused() {
    let pair = Pair::new();
    let (_, opening, _) = pair.session(4);
    let number = pair.prekey.id.as_u64();
    for id in [0, number - 1, number + 1, u64::MAX] {
        // The very secret under another number, and another secret under another number.
        let same = waxwing_crypto::sealing::PrekeySecret::from_seed(
            PrekeyId::from_u64(id),
            &*pair.secret.reveal_seed(),
        );
        for secret in [same.unwrap(), other_secret(PrekeyId::from_u64(id))] {
            let accepted = Opening::accept(&opening, &pair.parties, &pair.sender.signing.public(), &secret);
            assert_eq!(accepted.err(), NOT_MEANT, "{id}");
        }
    }
}

#[test]
fn a_session_to_a_prekey_whose_secret_is_another_opens_nothing() {
    let pair = Pair::new();
    let (mut session, opening, _) = pair.session(4);
    let secret = other_secret(pair.prekey.id);
    let received = Opening::accept(&opening, &pair.parties, &pair.sender.signing.public(), &secret).unwrap();
    let header = pair.header(1);
    let envelope = session.seal(&mut Seeded::new(5), &header, &plaintext(b"x"), NOW, false).unwrap();
    assert_eq!(received.open(&header, &envelope).err(), Some(Error::DoesNotOpen));
}

#[test]
fn a_session_is_opened_only_to_the_recipients_own_prekey() {
    let pair = Pair::new();
    let other = Actor::new(9);
    let (signed, _) = Prekey::mint(&mut Seeded::new(6), &other.signing, other.node, None, NOW).unwrap();
    let prekey = Prekey::verify(&signed, other.node, &other.signing.public()).unwrap();
    let Actor { storage, signing, .. } = &pair.sender;
    let opened =
        SendingSession::open(&mut Seeded::new(4), storage, signing, &pair.parties, &prekey, LOG, NOW);
    assert_eq!(opened.err(), Some(Error::Malformed("prekey")));
}

#[test]
fn every_field_of_an_opening_is_bound_to_the_keys() {
    let pair = Pair::new();
    let (mut session, opening, _) = pair.session(4);
    let header = pair.header(1);
    let mut envelope = session.seal(&mut Seeded::new(5), &header, &plaintext(b"x"), NOW, false).unwrap();
    let later = Timestamp::from_millis(NOW.as_millis() + 1);
    let changes: [fn(&mut Opening, Timestamp); 5] = [
        |opening, later| opening.created = later,
        |opening, later| opening.not_after = later,
        |opening, _| opening.log.seq += 1,
        |opening, _| opening.log = LogHead { hash: Digest::from_bytes([0; 32]), ..opening.log },
        |opening, _| opening.enc[700] ^= 1,
    ];
    for change in changes {
        let received = pair.accept(&forged(&pair, &opening, |opening| change(opening, later))).unwrap();
        envelope.session = received.id();
        assert_eq!(received.open(&header, &envelope).err(), Some(Error::DoesNotOpen));
    }
    let kept = pair.accept(&forged(&pair, &opening, |_| {})).unwrap();
    envelope.session = kept.id();
    assert!(kept.open(&header, &envelope).is_ok(), "what was not changed still opens");
}

#[test]
fn an_opening_of_another_version_or_a_damaged_encapsulation_is_refused() {
    let pair = Pair::new();
    let (_, opening, _) = pair.session(4);
    for version in [0, 2, 255] {
        let changed = forged(&pair, &opening, |opening| opening.version = version);
        assert_eq!(pair.accept(&changed).err(), NOT_MEANT);
    }
    for size in [0, 31, 32, 1_119, 1_121] {
        let changed = forged(&pair, &opening, |opening| opening.enc.resize(size, 9));
        assert_eq!(pair.accept(&changed).err(), Some(Error::DoesNotOpen), "{size}");
    }
}

/// With a point of low order the X25519 secret is zero, whatever the recipient's key.
#[test]
fn an_encapsulation_with_an_all_zero_shared_secret_is_refused() {
    let pair = Pair::new();
    let (_, opening, _) = pair.session(4);
    let mut one = [0; 32];
    one[0] = 1;
    let mut top = [0; 32];
    top[31] = 0x80;
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    for point in [[0; 32], one, top, prime] {
        let changed = forged(&pair, &opening, |opening| opening.enc[1_088..].copy_from_slice(&point));
        assert_eq!(pair.accept(&changed).err(), Some(Error::DoesNotOpen), "{point:02x?}");
    }
}

#[test]
fn an_overlong_opening_is_not_even_read() {
    let pair = Pair::new();
    let signed = Signed::new(&pair.sender.signing, Purpose::Opening, vec![0; Opening::MAX + 1]);
    assert_eq!(Opening::peek(&signed).err(), Some(Error::TooLarge("opening")));
    assert_eq!(pair.accept(&signed).err(), Some(Error::TooLarge("opening")));
}

/// It is read before its signature is checked, to know whose it should be.
#[test]
fn an_opening_that_is_all_nesting_is_refused() {
    for nest in [0x91, 0x81] {
        let signed =
            Signed::new(&SigningKey::from_seed(&[7; 32]), Purpose::Opening, vec![nest; Opening::MAX]);
        assert_eq!(Opening::peek(&signed).err(), NOT_MEANT);
        let inside = [b"\x81\xa1x".to_vec(), vec![nest; Opening::MAX - 3]].concat();
        let signed = Signed::new(&SigningKey::from_seed(&[7; 32]), Purpose::Opening, inside);
        assert_eq!(Opening::peek(&signed).err(), NOT_MEANT);
    }
}

#[test]
fn swapped_sessions_do_not_open() {
    let pair = Pair::new();
    let (mut one, _, received_one) = pair.session(4);
    let (mut two, _, received_two) = pair.session(5);
    assert_ne!(one.id(), two.id());
    let header = pair.header(1);
    let seal = |session: &mut SendingSession| {
        session.seal(&mut Seeded::new(6), &header, &plaintext(b"x"), NOW, false)
    };
    let (from_one, from_two) = (seal(&mut one).unwrap(), seal(&mut two).unwrap());
    assert!(received_one.open(&header, &from_one).is_ok() && received_two.open(&header, &from_two).is_ok());
    for (received, other) in [(&received_one, &from_two), (&received_two, &from_one)] {
        assert_eq!(received.open(&header, other).err(), Some(Error::DoesNotOpen), "told by its id");
        let mut renamed = other.clone();
        renamed.session = received.id();
        assert_eq!(received.open(&header, &renamed).err(), Some(Error::DoesNotOpen), "told by its key");
    }
}

#[test]
fn a_stored_session_opens_what_it_did() {
    let pair = Pair::new();
    let (mut session, _, received) = pair.session(4);
    let header = pair.header(1);
    let envelope = session.seal(&mut Seeded::new(5), &header, &plaintext(b"x"), NOW, true).unwrap();
    let stored = received.reveal().unwrap();
    let restored = ReceivingSession::restore(received.id(), &stored).unwrap();
    assert_eq!(restored.open(&header, &envelope), Ok(plaintext(b"x")));
    assert_eq!((restored.id(), restored.not_after()), (received.id(), received.not_after()));
    assert_eq!(restored.signer(), &pair.sender.signing.public());
    for cut in 0..stored.len() {
        let restored = ReceivingSession::restore(received.id(), &stored[..cut]);
        assert_eq!(restored.err(), Some(Error::Malformed("session")), "{cut}");
    }
}

/// As on a machine that is set back to a snapshot, or cloned.
#[test]
fn a_repeating_random_source_opens_different_sessions() {
    let pair = Pair::new();
    let opened_at = |millis| {
        let mut session = pair.open(&mut Seeded::new(4), Timestamp::from_millis(NOW.as_millis() + millis));
        Opening::peek(&opening_of(&mut session, &pair.header(0))).unwrap()
    };
    let [first, second] = [0, 1].map(opened_at);
    assert_ne!(first.enc[..1_088], second.enc[..1_088]);
    assert_ne!(first.enc[1_088..], second.enc[1_088..]);
    let same_moment_on_another_node = {
        let Pair { sender, parties, prekey, .. } = &pair;
        let storage = Actor::new(8).storage;
        let mut session =
            SendingSession::open(&mut Seeded::new(4), &storage, &sender.signing, parties, prekey, LOG, NOW);
        Opening::peek(&opening_of(session.as_mut().unwrap(), &pair.header(0))).unwrap()
    };
    assert_ne!(first.enc, same_moment_on_another_node.enc);
}

#[test]
fn a_session_says_what_it_was_opened_to_and_ends_after_an_hour() {
    let pair = Pair::new();
    let (session, opening, received) = pair.session(4);
    assert_eq!((session.prekey(), session.log()), (pair.prekey.id, LOG));
    assert_eq!((session.id(), Opening::session_id(&opening)), (received.id(), received.id()));
    let hour = NOW.as_millis() + 3_600_000;
    assert_eq!(received.not_after().as_millis(), hour);
    assert!(
        session.is_live(Timestamp::from_millis(hour - 1)) && !session.is_live(Timestamp::from_millis(hour))
    );
}
