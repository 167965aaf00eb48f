//! Every form of a change, an outcome, and what followers hear.

use bytes::Bytes;
use waxwing_crypto::space::Condition;
use waxwing_crypto::{ChangeId, KeyId};
use waxwing_protocol::link::{
    Append, Change, ChangeOutcome, Changed, Delete, Deleted, EndedBy, EndedRecord, Offered, Put, Record,
    Stands, Touch, What,
};

use super::{ALPHA, BETA, at};

/// A place of a space that was made at the second of the other examples.
pub(crate) const PLACE: u64 = 1_800_000_000 * waxwing_protocol::limits::FIRST_PLACE + 7;

const KEY: KeyId = KeyId::from_bytes([0x6b; 32]);
const SEALED: Bytes = Bytes::from_static(b"\x01sealed");

fn id(n: u8) -> ChangeId {
    ChangeId::from_bytes([n; 16])
}

pub(crate) fn changes() -> Vec<Change> {
    let put = Put {
        id: id(0xc1),
        key: KEY,
        own: false,
        when: Condition::Seq(PLACE),
        ttl: None,
        bound: None,
        sealed: SEALED,
    };
    let append = Append {
        id: id(0xc2),
        key: KEY,
        if_empty: true,
        ttl: Some(300_000),
        bound: Some(45_000),
        sealed: SEALED,
    };
    let delete = Delete {
        id: id(0xc3),
        key: KEY,
        own: false,
        seq: Some(PLACE + 2),
        when: Condition::Any,
        sealed: SEALED,
    };
    vec![
        Change::Put(put.clone()),
        Change::Put(Put { id: id(0xc4), own: true, when: Condition::Absent, ..put }),
        Change::Append(append),
        Change::Touch(Touch { seqs: vec![PLACE, PLACE + 2], ttl: 300_000 }),
        Change::Delete(delete),
    ]
}

/// Every outcome there is.
pub(crate) fn outcomes() -> Vec<ChangeOutcome> {
    vec![
        ChangeOutcome::Applied { seq: PLACE + 1 },
        ChangeOutcome::Touched { gone: vec![PLACE + 2] },
        ChangeOutcome::Conflict { seq: Some(PLACE) },
        ChangeOutcome::Conflict { seq: None },
        ChangeOutcome::NotFound,
        ChangeOutcome::NotYours,
        ChangeOutcome::TooLarge,
        ChangeOutcome::Full,
        ChangeOutcome::IdReused,
        ChangeOutcome::BadChange,
    ]
}

pub(crate) fn changed() -> Vec<Changed> {
    let record = Record {
        seq: PLACE + 1,
        key: KEY,
        writer: ALPHA,
        stands: Stands::Appended,
        expires: Some(at(300)),
        bound: Some(45_000),
        offered: false,
        sealed: SEALED,
    };
    let deleted =
        Deleted { key: KEY, writer: ALPHA, stood: Stands::Own, seq: PLACE, offered: false, sealed: SEALED };
    let ended =
        EndedRecord { key: KEY, writer: BETA, stood: Stands::Shared, seq: PLACE - 1, why: EndedBy::Lifetime };
    let whats = [
        What::Record(record),
        What::Deleted(deleted),
        What::Ended(ended),
        What::Ended(EndedRecord { why: EndedBy::Lease, ..ended }),
        What::Ended(EndedRecord { why: EndedBy::Goodbye, ..ended }),
        What::Touched { seq: PLACE, expires: at(600) },
    ];
    whats.into_iter().zip(PLACE + 1..).map(|(what, n)| Changed { n, at: at(1), what }).collect()
}

pub(crate) fn offered() -> Vec<Offered> {
    let record = Offered {
        key: KEY,
        writer: BETA,
        stands: Stands::Shared,
        tombstone: false,
        when: Condition::Absent,
        expires: None,
        sealed: SEALED,
    };
    let tombstone = Offered { tombstone: true, when: Condition::Seq(PLACE), ..record.clone() };
    vec![record, tombstone]
}
