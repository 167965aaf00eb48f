//! Entries of the membership log.

use std::sync::LazyLock;

use bytes::Bytes;
use waxwing_crypto::Signature;
use waxwing_crypto::membership::{InviteSeed, RecoverySecret, Roster, SignedEntry};

use super::golden::{golden, hex, key, no_signature};

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

/// The logs that entries are put at the end of: after two joins, and after everything.
static LOGS: LazyLock<Vec<Roster>> = LazyLock::new(|| {
    let entries: Vec<_> =
        golden("membership.json")["entries"].as_array().into_iter().flatten().map(signed_entry).collect();
    [5, entries.len()].iter().filter_map(|end| Roster::replay(&entries[..*end]).ok()).collect()
});

fn signed_entry(vector: &serde_json::Value) -> SignedEntry {
    let signatures = vector["signatures"].as_array().into_iter().flatten();
    let signatures = signatures.filter_map(|one| Signature::from_bytes(&hex(one)).ok()).collect();
    SignedEntry { bytes: hex(&vector["bytes"]).into(), signatures }
}
