//! No secret is ever printed: not its bytes, in whatever form.

use std::fmt::Debug;

use data_encoding::{BASE64, HEXLOWER};
use waxwing_crypto::host::HostKey;
use waxwing_crypto::membership::{InviteSeed, InviteToken, RecoverySecret};
use waxwing_crypto::sealing::{PrekeyId, PrekeySecret, ReceiptSecret};
use waxwing_crypto::state_key::{StateKey, StateKeys};
use waxwing_crypto::storage::StorageKey;
use waxwing_crypto::{CreationToken, SealingKey, SigningKey};

use super::actors::{MESH, Pair};
use super::support::Seeded;

/// A secret whose every piece would be noticed.
fn secret() -> [u8; 32] {
    std::array::from_fn(|i| 0xa0 + i as u8)
}

/// Looks for any four bytes in a row: in hex, as a list of numbers, in base64.
fn is_told(shown: &str, secret: &[u8]) -> bool {
    let list: String = shown.to_lowercase().chars().filter(|c| !c.is_whitespace()).collect();
    let digits = list.replace(',', "");
    let piece_is_told = |piece: &[u8]| {
        let numbers: Vec<_> = piece.iter().map(u8::to_string).collect();
        digits.contains(&HEXLOWER.encode(piece)) || list.contains(&numbers.join(","))
    };
    secret.windows(4).any(piece_is_told) || list.contains(&BASE64.encode(secret).to_lowercase()[..8])
}

fn hides(value: &impl Debug, secret: &[u8]) {
    for shown in [format!("{value:?}"), format!("{value:#?}")] {
        assert!(!is_told(&shown, secret), "{shown}");
    }
}

#[test]
fn this_test_would_notice() {
    let secret = secret();
    assert!(is_told(&format!("{secret:?}"), &secret) && is_told(&format!("{secret:02x?}"), &secret));
    assert!(is_told(&HEXLOWER.encode(&secret), &secret) && is_told(&BASE64.encode(&secret), &secret));
}

#[test]
fn secrets_are_never_in_debug_output() {
    let (secret, half) = (secret(), secret()[..16].try_into().unwrap());
    let mut rng = Seeded::new(1);
    hides(&SigningKey::from_seed(&secret), &secret);
    hides(&SealingKey::from_seed(&secret), &secret);
    hides(&StorageKey::from_bytes(&secret), &secret);
    hides(&StorageKey::from_bytes(&secret).keys(), &secret);
    hides(&HostKey::from_bytes(secret), &secret);
    hides(&ReceiptSecret::from_bytes(half), &half);
    hides(&PrekeySecret::from_seed(PrekeyId::from_u64(1), &secret).unwrap(), &secret);
    hides(&InviteSeed::from_bytes(&secret), &secret);
    hides(&CreationToken::from_bytes(&secret), &secret);
    hides(&RecoverySecret::from_bytes(&secret), &secret);
    hides(&StateKey::from_bytes(&secret), &secret);
    let mut keys = StateKeys::found(&mut rng);
    keys.add(2, StateKey::from_bytes(&secret)).unwrap();
    hides(&keys, &secret);
    let seed = InviteSeed::from_bytes(&secret);
    hides(&InviteToken::new("ws://127.0.0.1:1", MESH, seed, None).unwrap(), &secret);
}

#[test]
fn sessions_and_messages_hide_their_keys() {
    let pair = Pair::new();
    let (session, _, received) = pair.session(4);
    let stored = received.reveal().unwrap();
    // The two keys are the last two fields of what is stored, 32 bytes each.
    let nonce_key = &stored[stored.len() - 32..];
    let shown = [format!("{session:?}"), format!("{received:?}")];
    assert!(shown.iter().all(|shown| !is_told(shown, nonce_key)));
    let id = received.id();
    assert_eq!(shown, [format!("SendingSession({id}, 1 sealed)"), format!("ReceivingSession({id})")]);
    hides(&super::actors::plaintext(b"x"), &[0x5e; 16]);
}

#[test]
fn a_storage_keys_children_are_not_the_storage_key() {
    let (secret, place) = (secret(), waxwing_crypto::storage::Place { table: "t", column: "c", row: b"r" });
    let one = StorageKey::from_bytes(&secret).keys().seal(&mut Seeded::new(1), place, b"");
    let mut direct = secret;
    direct[0] ^= 1;
    assert!(StorageKey::from_bytes(&direct).keys().open(place, &one).is_err());
    assert_eq!(StorageKey::from_bytes(&secret).reveal(), &secret);
}
