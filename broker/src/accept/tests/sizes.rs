//! What a change takes up of a link's window and of a batch.

use bytes::Bytes;
use waxwing_crypto::space::Condition;
use waxwing_crypto::state_key::{EarlierKeys, KeyListHead, ProofPath, SealedStateKeys};
use waxwing_crypto::{ChangeId, Digest, KeyId};
use waxwing_protocol::link;

use super::*;

#[test]
fn what_changes_take_up_is_their_records_and_their_sealed_bytes() {
    let (id, key, when) = (ChangeId::from_bytes([1; 16]), KeyId::from_bytes([1; 32]), Condition::Any);
    let (ttl, bound) = (None, None);
    let sealed = |length| Bytes::from(vec![0; length]);
    let put = link::Change::Put(link::Put { id, key, own: true, when, ttl, bound, sealed: sealed(3) });
    let append =
        link::Change::Append(link::Append { id, key, if_empty: false, ttl, bound, sealed: sealed(50) });
    let delete =
        link::Change::Delete(link::Delete { id, key, own: true, seq: None, when, sealed: sealed(700) });
    let touch = |count| link::Change::Touch(link::Touch { seqs: (0..count).collect(), ttl: 1 });
    assert_eq!(changes_size(&[]), (0, 0));
    assert_eq!(changes_size(&[put.clone(), put.clone()]), (2, 6));
    assert_eq!(changes_size(&[put, append.clone(), append, delete.clone(), delete]), (5, 1_503));
    assert_eq!(changes_size(&[touch(0), touch(1), touch(4)]), (6, 0), "one at least");
}

#[test]
fn what_a_key_list_takes_up_is_its_slots_and_the_keys_before() {
    let earlier = EarlierKeys::from_bytes(Bytes::from(vec![0; 24 + 16 + 40])).unwrap();
    let head = KeyListHead { epoch: 2, slots: 9, earlier };
    let slot = keys_bytes(1, &head) - keys_bytes(0, &head);
    assert_eq!((keys_bytes(0, &head), keys_bytes(7, &head)), (80, 80 + 7 * slot));
    assert_eq!(slot, SealedStateKeys::ONE + ProofPath::MAX * 32);
    let link = TestLink::new(store::testing::node(1), 1);
    let budget = || Budget::new(Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap());
    let put = KeysPut {
        peer: Arc::clone(&link.peer),
        root: Digest::from_bytes([0; 32]),
        head,
        slots: Vec::new(),
        req: 1,
        reply: link.reply(),
        _budget: [budget(), budget()],
    };
    assert_eq!(put.bytes(), 80);
}
