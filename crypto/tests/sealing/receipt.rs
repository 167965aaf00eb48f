//! Receipts that only the two ends can make, and nacks that only the recipient can.

use waxwing_crypto::membership::LogHead;
use waxwing_crypto::sealing::{Nack, NackReason, ReceiptSecret};
use waxwing_crypto::storage::StorageKey;
use waxwing_crypto::{ClientMessageId, Digest, Error, Fingerprint, NodeId, Purpose, Receipt, Signed, WireId};

use super::actors::{Actor, NOW, Pair, plaintext};
use super::support::Seeded;

const REASONS: [NackReason; 9] = [
    NackReason::UnknownSession,
    NackReason::UnknownPrekey,
    NackReason::UnknownSender,
    NackReason::LogMismatch,
    NackReason::BadSeal,
    NackReason::TooLarge,
    NackReason::UnsupportedVersion,
    NackReason::ExpiredHere,
    NackReason::Blocked,
];

fn secret(recipient: u8, id: &str, fingerprint: u8) -> ReceiptSecret {
    let id: ClientMessageId = id.parse().unwrap();
    let keys = StorageKey::from_bytes(&[1; 32]).keys();
    keys.receipt_secret(
        &NodeId::from_bytes([recipient; 16]),
        &id,
        &Fingerprint::from_bytes([fingerprint; 32]),
    )
}

#[test]
fn a_receipt_is_the_same_after_a_restart_a_re_seal_and_the_sessions_end() {
    let pair = Pair::new();
    let header = pair.header(1);
    let receipts = [4, 5].map(|seed| {
        // A new session each time, and a sender that has forgotten everything but its storage key.
        let text =
            waxwing_crypto::sealing::Plaintext { receipt_secret: secret(2, "m-1", 3), ..plaintext(b"x") };
        let (mut session, _, received) = pair.session(seed);
        let envelope = session.seal(&mut Seeded::new(seed), &header, &text, NOW, true).unwrap();
        received.open(&header, &envelope).unwrap().receipt_secret.receipt(&header.id)
    });
    assert_eq!(receipts[0], receipts[1]);
    assert!(secret(2, "m-1", 3).verify(&header.id, &receipts[0]));
}

#[test]
fn a_receipt_is_worth_nothing_for_another_message_recipient_or_content() {
    let id = WireId::from_bytes([1; 16]);
    let receipt = secret(2, "m-1", 3).receipt(&id);
    for other in [secret(4, "m-1", 3), secret(2, "m-2", 3), secret(2, "m-1", 4)] {
        assert_ne!(other, secret(2, "m-1", 3));
        assert!(!other.verify(&id, &receipt));
    }
    assert!(!secret(2, "m-1", 3).verify(&WireId::from_bytes([2; 16]), &receipt));
}

#[test]
fn a_forged_receipt_does_not_verify() {
    let (id, secret) = (WireId::from_bytes([1; 16]), secret(2, "m-1", 3));
    let receipt = secret.receipt(&id);
    for bit in 0..128 {
        let mut forged = *receipt.as_bytes();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(!secret.verify(&id, &Receipt::from_bytes(forged)), "bit {bit}");
    }
    assert!(!secret.verify(&id, &Receipt::from_bytes([0; 16])));
}

fn nack(to: &Actor, reason: NackReason) -> Nack {
    let log = Some(LogHead { seq: 7, hash: Digest::from_bytes([8; 32]) });
    Nack { to: to.node, id: WireId::from_bytes([1; 16]), seal: u32::MAX, reason, log }
}

#[test]
fn a_nack_is_believed_from_its_recipient_for_its_message_and_sender() {
    let Pair { sender, recipient, .. } = Pair::new();
    for reason in REASONS {
        let nack = nack(&sender, reason);
        let signed = nack.sign(&recipient.signing).unwrap();
        assert!(signed.bytes.len() <= Nack::MAX);
        assert_eq!(Nack::verify(&signed, &recipient.signing.public(), sender.node, nack.id), Ok(nack));
    }
}

#[test]
fn a_nack_for_another_message_or_sender_or_of_another_node_is_refused() {
    let (Pair { sender, recipient, .. }, other) = (Pair::new(), Actor::new(9));
    let nack = nack(&sender, NackReason::BadSeal);
    let signed = nack.sign(&recipient.signing).unwrap();
    let key = recipient.signing.public();
    let malformed = Some(Error::Malformed("nack"));
    assert_eq!(Nack::verify(&signed, &key, other.node, nack.id).err(), malformed);
    assert_eq!(Nack::verify(&signed, &key, sender.node, WireId::from_bytes([2; 16])).err(), malformed);

    let bad = Some(Error::BadSignature("nack"));
    let verify = |signed: &Signed| Nack::verify(signed, &key, sender.node, nack.id).err();
    assert_eq!(verify(&nack.sign(&other.signing).unwrap()), bad, "another member's");
    assert_eq!(verify(&nack.sign(&sender.signing).unwrap()), bad, "the sender's own");
    for purpose in [Purpose::Membership, Purpose::Prekey, Purpose::Opening, Purpose::Login] {
        let signed = Signed::new(&recipient.signing, purpose, signed.bytes.to_vec());
        assert_eq!(verify(&signed), bad, "{purpose:?}");
    }
    for i in 0..signed.bytes.len() {
        let mut bytes = signed.bytes.to_vec();
        bytes[i] ^= 1;
        assert_eq!(verify(&Signed { bytes: bytes.into(), ..signed.clone() }), bad, "byte {i}");
    }
    let long = |size| Signed::new(&recipient.signing, Purpose::Nack, vec![0; size]);
    assert_eq!(verify(&long(Nack::MAX)), malformed);
    assert_eq!(verify(&long(Nack::MAX + 1)), Some(Error::TooLarge("nack")));
}

#[test]
fn each_reason_has_one_word_and_says_what_to_do() {
    let resealable = REASONS.map(NackReason::is_resealable);
    assert_eq!(resealable, [true, true, true, true, true, false, false, false, false]);
    for reason in REASONS {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        assert_eq!(reason.to_string(), reason.as_str());
    }
}
