//! Decisions at their edges, on spaces that are in memory alone.

use std::time::Duration;

use waxwing_crypto::{MeshId, NodeId, Timestamp};
use waxwing_protocol::limits;
use waxwing_protocol::link::{ChangeOutcome, Delete, EndedBy, Offered, Stands};

use super::super::decide::{By, holds, is_sealed, new_row};
use super::super::{Spaces, slot};
use super::*;
use crate::store::record::Row;
use crate::store::space::{Space, Usage};

const MESH: MeshId = MeshId::from_bytes([1; 16]);
const WHERE: SpaceKey = SpaceKey { mesh: MESH, space: SPACE };
const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn node(n: u8) -> NodeId {
    NodeId::from_bytes([n; 16])
}

fn by(writer: u8) -> By {
    let most = Usage { records: 10, bytes: 120 };
    By { space: WHERE, writer: node(writer), is_admin: false, now: NOW, most }
}

/// A stored space, in a mesh that has so much.
fn spaces(records: u64, bytes: u64) -> Spaces {
    let mut spaces = Spaces::default();
    let usage = Usage { records, bytes };
    spaces.known.insert(WHERE, Space { id: Some(1), usage, ..Space::new(Timestamp::default()) });
    spaces.usage.insert(MESH, usage);
    spaces
}

/// A stored record of so many bytes.
fn row(seq: u64, at: u8, bytes: usize) -> Row {
    let sealed = Bytes::from(vec![0; bytes]);
    Row { id: Some(seq.cast_signed()), seq, ..new_row(&by(1), key(at), Stands::Shared, &sealed) }
}

fn shared(n: u64, at: u8) -> Put {
    Put { own: false, ..put(n, at) }
}

#[test]
fn a_mesh_has_room_up_to_its_limits() {
    let room = |records, bytes, new| spaces(records, bytes).has_room(&by(1), None, new);
    assert_eq!(room(9, 100, 20), Ok(()));
    assert_eq!(room(9, 100, 21), Err(ChangeOutcome::Full));
    assert_eq!(room(10, 0, 1), Err(ChangeOutcome::Full));
    assert_eq!(room(0, 120, 1), Err(ChangeOutcome::Full));
    assert_eq!(room(0, 119, 1), Ok(()));
}

#[test]
fn a_new_space_counts_for_a_record() {
    let new = |records| {
        let mut spaces = spaces(records, 0);
        spaces.known.insert(WHERE, Space::new(Timestamp::default()));
        spaces
    };
    assert_eq!(new(8).has_room(&by(1), None, 1), Ok(()));
    assert_eq!(new(9).has_room(&by(1), None, 1), Err(ChangeOutcome::Full));
    let mut spaces = new(8);
    spaces.put_record(&by(1), &shared(1, 1)).unwrap();
    assert_eq!(spaces.usage(MESH), Usage { records: 10, bytes: 8 });
    spaces.put_record(&by(1), &shared(2, 1)).unwrap();
    assert_eq!(
        spaces.usage(MESH),
        Usage { records: 10, bytes: 8 },
        "once, and a record takes the place of another"
    );
}

#[test]
fn what_takes_no_more_than_what_it_replaces_has_room_in_a_mesh_that_is_beyond_its_limits() {
    let (before, full) = (row(5, 1, 30), spaces(11, 500));
    assert_eq!(full.has_room(&by(1), Some(&before), 30), Ok(()));
    assert_eq!(full.has_room(&by(1), Some(&before), 29), Ok(()));
    assert_eq!(full.has_room(&by(1), Some(&before), 31), Err(ChangeOutcome::Full));
    let nearly = spaces(10, 119);
    assert_eq!(nearly.has_room(&by(1), Some(&before), 31), Ok(()));
    assert_eq!(nearly.has_room(&by(1), Some(&before), 32), Err(ChangeOutcome::Full));
}

#[test]
fn sealed_bytes_are_neither_none_nor_too_many() {
    let sealed = |length| is_sealed(&vec![0; length].into());
    assert_eq!(sealed(0), Err(ChangeOutcome::BadChange));
    assert_eq!((sealed(1), sealed(limits::RECORD)), (Ok(()), Ok(())));
    assert_eq!(sealed(limits::RECORD + 1), Err(ChangeOutcome::TooLarge));
}

#[test]
fn lifetimes_and_graces_have_their_bounds() {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap();
    let (least, most, grace) =
        (millis(limits::LIFETIME_MIN), millis(limits::LIFETIME_MAX), millis(limits::GRACE_MAX));
    let made = |ttl, bound| {
        let put = Put { ttl, bound, ..shared(1, 1) };
        spaces(0, 0).put_record(&by(1), &put).map(drop)
    };
    for (ttl, bound) in [(Some(least), None), (Some(most), Some(grace)), (None, Some(0))] {
        assert_eq!(made(ttl, bound), Ok(()));
    }
    for (ttl, bound) in [(Some(least - 1), None), (Some(most + 1), None), (None, Some(grace + 1))] {
        assert_eq!(made(ttl, bound), Err(ChangeOutcome::BadChange));
    }
}

#[test]
fn a_condition_is_about_the_place_of_what_stands_there() {
    let stands = row(7, 1, 1);
    assert_eq!(holds(Condition::Any, Some(&stands)), Ok(()));
    assert_eq!(holds(Condition::Seq(7), Some(&stands)), Ok(()));
    assert_eq!(holds(Condition::Absent, None), Ok(()));
    assert_eq!(holds(Condition::Absent, Some(&stands)), Err(ChangeOutcome::Conflict { seq: Some(7) }));
    assert_eq!(holds(Condition::Seq(6), Some(&stands)), Err(ChangeOutcome::Conflict { seq: Some(7) }));
    assert_eq!(holds(Condition::Seq(6), None), Err(ChangeOutcome::Conflict { seq: None }));
}

#[test]
fn what_has_ended_leaves_its_slot_to_the_next_in_the_same_batch() {
    let mut spaces = spaces(1, 30);
    let record = Row { bound: Some(9), touched: Some(4), ..row(5, 1, 30) };
    spaces.learn(vec![record]);
    assert_eq!(spaces.standing(&slot(WHERE, key(1), None)), Some(record));
    spaces.end(&record, EndedBy::Lease, NOW);
    let of = slot(WHERE, key(1), None);
    assert_eq!(spaces.standing(&of), None);
    let left = spaces.last_in(&of).unwrap();
    let ends = Some(NOW.plus(limits::TOMBSTONES));
    let expected = Row {
        id: None,
        seq: left.seq,
        is_record: false,
        ends,
        bound: None,
        touched: None,
        bytes: 0,
        ..record
    };
    assert_eq!((left, left.is_tombstone()), (expected, false));
    assert_eq!(spaces.usage(MESH), Usage { records: 1, bytes: 0 });
    assert_eq!(spaces.removed, [5]);
    let absent = Put { when: Condition::Absent, ..shared(1, 1) };
    let seq = spaces.put_record(&by(2), &absent).unwrap();
    assert!(seq > left.seq);
    assert_eq!(spaces.removed, [5], "what is left was never stored");
    assert_eq!(spaces.usage(MESH), Usage { records: 1, bytes: 8 });
}

#[test]
fn what_is_forgotten_for_its_age_counts_no_more_and_raises_the_horizon() {
    let mut spaces = spaces(5, 100);
    spaces.forget(WHERE, 40, Usage { records: 2, bytes: 30 });
    spaces.forget(WHERE, 20, Usage { records: 1, bytes: 0 });
    let left = Usage { records: 2, bytes: 70 };
    assert_eq!((spaces.usage(MESH), spaces.known[&WHERE].usage), (left, left));
    assert_eq!(spaces.known[&WHERE].horizon, 40);
    assert!(spaces.changed.contains(&WHERE));
}

#[test]
fn a_record_is_taken_away_by_its_writer_or_an_admin_and_what_is_shared_by_anybody() {
    let delete = |stands, bound, by: By| {
        let mut spaces = spaces(1, 30);
        spaces.appended.entry((WHERE, key(1))).or_default();
        spaces.learn(vec![Row { stands, bound, ..row(5, 1, 30) }]);
        let (own, seq) = (stands == Stands::Own, (stands == Stands::Appended).then_some(5));
        let sealed = Bytes::from_static(b"gone");
        let delete = Delete { id: put(1, 1).id, key: key(1), own, seq, when: Condition::Any, sealed };
        spaces.delete_record(&by, &delete).map(drop)
    };
    let admin = By { is_admin: true, ..by(2) };
    assert_eq!(delete(Stands::Shared, None, by(2)), Ok(()));
    for (stands, bound) in [(Stands::Shared, Some(1)), (Stands::Appended, None)] {
        assert_eq!(delete(stands, bound, by(2)), Err(ChangeOutcome::NotYours));
        assert_eq!((delete(stands, bound, by(1)), delete(stands, bound, admin)), (Ok(()), Ok(())));
    }
    assert_eq!(
        delete(Stands::Own, None, by(2)),
        Err(ChangeOutcome::NotFound),
        "another's own is another slot"
    );
}

#[test]
fn what_is_appended_is_found_in_its_order_until_it_is_gone() {
    let mut spaces = spaces(2, 2);
    spaces.appended.entry((WHERE, key(1))).or_default();
    let appended = |seq| Row { stands: Stands::Appended, ..row(seq, 1, 1) };
    spaces.learn(vec![appended(8), appended(6), Row { is_record: false, ..appended(4) }]);
    assert_eq!(spaces.first_appended(WHERE, key(1)), Some(6));
    spaces.remove(WHERE, 6);
    assert_eq!(spaces.first_appended(WHERE, key(1)), Some(8));
    spaces.remove(WHERE, 8);
    assert_eq!(spaces.first_appended(WHERE, key(1)), None);
    spaces.learn(vec![appended(9)]);
    spaces.forget_rows();
    assert_eq!((spaces.first_appended(WHERE, key(1)), spaces.row(WHERE, 9)), (None, None));
}

#[test]
fn what_is_handed_back_stands_as_its_writers_and_not_as_anothers() {
    let mut spaces = spaces(0, 0);
    let offered = Offered {
        key: key(1),
        writer: node(7),
        stands: Stands::Own,
        tombstone: false,
        expires: None,
        when: Condition::Any,
        sealed: Bytes::from_static(b"sealed"),
    };
    let seq = spaces.offered(&by(1), &offered, None, &waxwing_crypto::Digest::from_bytes([0; 32])).unwrap();
    assert_eq!(spaces.standing(&slot(WHERE, key(1), Some(node(1)))), None);
    let theirs = slot(WHERE, key(1), Some(node(7)));
    let stands = spaces.standing(&theirs).unwrap();
    assert_eq!((stands.seq, stands.writer, stands.offered), (seq, node(7), true));

    let gone = Offered { tombstone: true, expires: Some(NOW), ..offered };
    let seq = spaces.offered(&by(1), &gone, None, &waxwing_crypto::Digest::from_bytes([0; 32])).unwrap();
    assert_eq!(spaces.standing(&theirs), None);
    let left = spaces.last_in(&theirs).unwrap();
    assert_eq!((left.seq, left.is_tombstone(), left.ends), (seq, true, Some(NOW.plus(limits::TOMBSTONES))));
}
