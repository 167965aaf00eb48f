//! The end of a topic, opened once and made ready for every stream: a cache of the copy's newest messages, and nothing more. Who
//! is not at the end reads the copy.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use waxwing_crypto::{Name, NodeId};
use waxwing_protocol::StoreId;

/// Bytes of messages that are held ready, and messages.
const BYTES: usize = 1024 * 1024;
const FRAMES: usize = 2_048;

/// A message, as streams give it: the same bytes for all of them.
#[derive(Debug)]
pub(super) struct Frame {
    /// Its place.
    pub(super) seq: u64,
    /// Who published it, by which app.
    pub(super) writer: NodeId,
    pub(super) app: Option<Name>,
    /// The writer's number of it, and the life of the store for which it was written.
    pub(super) counter: u64,
    pub(super) life: StoreId,
    /// For those alone who are there.
    pub(super) ephemeral: bool,
    /// The event, encoded.
    pub(super) bytes: Bytes,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Everything behind this place, as far as `last`, is here.
    floor: u64,
    last: u64,
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    /// The life of the store that places are of.
    store: Option<StoreId>,
}

impl Tail {
    /// Begins anew behind a place.
    pub(super) fn begin(&mut self, place: u64, store: Option<StoreId>) {
        *self = Self { floor: place, last: place, store, ..Self::default() };
    }

    /// Of which life of the store places are, if it is not known since it began.
    pub(super) fn learn(&mut self, store: Option<StoreId>) {
        self.store = self.store.or(store);
    }

    /// A message has come. Those that were in the copy already are not behind it.
    pub(super) fn push(&mut self, frame: Frame) {
        if frame.seq <= self.last {
            return;
        }
        self.last = frame.seq;
        self.bytes += frame.bytes.len();
        self.frames.push_back(Arc::new(frame));
        while self.bytes > BYTES || self.frames.len() > FRAMES {
            let Some(oldest) = self.frames.pop_front() else { return };
            self.floor = oldest.seq;
            self.bytes -= oldest.bytes.len();
        }
    }

    /// A message has ended: it is not given any more.
    pub(super) fn remove(&mut self, seq: u64) {
        let Ok(at) = self.frames.binary_search_by_key(&seq, |frame| frame.seq) else { return };
        if let Some(frame) = self.frames.remove(at) {
            self.bytes -= frame.bytes.len();
        }
    }

    /// What is behind a place; none if that is not all here.
    pub(super) fn behind(&self, place: u64) -> Option<Vec<Arc<Frame>>> {
        let first = self.frames.partition_point(|frame| frame.seq <= place);
        (place >= self.floor).then(|| self.frames.range(first..).cloned().collect())
    }

    /// Up to where it goes.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// The life of the store that places are of.
    pub(super) const fn store(&self) -> Option<StoreId> {
        self.store
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: u64, size: usize) -> Frame {
        Frame {
            seq,
            writer: NodeId::from_bytes([1; 16]),
            app: None,
            counter: seq,
            life: StoreId::from_bytes([1; 16]),
            ephemeral: false,
            bytes: vec![0; size].into(),
        }
    }

    fn seqs(tail: &Tail, place: u64) -> Option<Vec<u64>> {
        tail.behind(place).map(|frames| frames.iter().map(|frame| frame.seq).collect())
    }

    #[test]
    fn who_is_at_the_end_is_given_what_comes_and_who_is_not_is_told_so() {
        let mut tail = Tail::default();
        tail.begin(10, None);
        assert_eq!((seqs(&tail, 10), seqs(&tail, 9)), (Some(vec![]), None));
        for seq in [9, 10, 12, 12, 15] {
            tail.push(frame(seq, 10));
        }
        assert_eq!(
            (seqs(&tail, 10), seqs(&tail, 12), seqs(&tail, 99)),
            (Some(vec![12, 15]), Some(vec![15]), Some(vec![]))
        );
        assert_eq!((seqs(&tail, 9), tail.last()), (None, 15));
    }

    #[test]
    fn what_has_ended_is_not_given_and_what_is_around_it_is() {
        let mut tail = Tail::default();
        for seq in 1..=3 {
            tail.push(frame(seq, 10));
        }
        tail.remove(2);
        tail.remove(9);
        assert_eq!((seqs(&tail, 0), tail.bytes), (Some(vec![1, 3]), 20));
    }

    #[test]
    fn it_holds_so_much_and_never_shows_a_gap() {
        let mut tail = Tail::default();
        for seq in 1..=100 {
            tail.push(frame(seq, BYTES / 10));
        }
        assert!(tail.bytes <= BYTES);
        let first = 100 - tail.frames.len() as u64;
        assert_eq!(seqs(&tail, first - 1), None);
        assert_eq!(seqs(&tail, first), Some((first + 1..=100).collect()));
        // One that is larger than all of it is read from the copy.
        tail.push(frame(101, 2 * BYTES));
        assert_eq!((seqs(&tail, 100), seqs(&tail, 101)), (None, Some(vec![])));
    }
}
