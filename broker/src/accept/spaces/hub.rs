//! What followers of changed spaces are told, gathered while a batch is decided: what it leaves standing, as a page read
//! from the store would have it.

use std::collections::{BTreeMap, HashMap};

use waxwing_crypto::Timestamp;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Changed, Deleted, EndedRecord, Record, What};

use crate::followers::{TAIL_BYTES, Tail};
use crate::store::record::{Body, NewRow, sealed_bytes};
use crate::store::space::SpaceKey;

/// The changes of a batch, by space.
#[derive(Default)]
pub(crate) struct Told(HashMap<SpaceKey, Ends>);

/// The end of one space.
struct Ends {
    /// The last place before the batch.
    before: u64,
    /// What has changed, by place.
    changes: BTreeMap<u64, Changed>,
    /// The last place given.
    head: u64,
}

impl Told {
    /// A space that the batch may change.
    pub(super) fn begin(&mut self, space: SpaceKey, last: u64) {
        self.0.entry(space).or_insert_with(|| Ends { before: last, changes: BTreeMap::new(), head: last });
    }

    /// A row was put at a new place.
    pub(super) fn changed(&mut self, new: &NewRow) {
        let n = new.row.seq;
        let changed = Changed { n, at: new.at, what: what(new) };
        if let Some(ends) = self.0.get_mut(&new.row.space) {
            ends.changes.insert(n, changed);
            ends.head = n;
        }
    }

    /// A row was taken out.
    pub(super) fn gone(&mut self, space: SpaceKey, seq: u64, touched: Option<u64>) {
        if let Some(ends) = self.0.get_mut(&space) {
            ends.changes.remove(&seq);
            touched.map(|touched| ends.changes.remove(&touched));
        }
    }

    /// A record, that was renewed at a place before perhaps, is renewed at another. To who has not got it, it is only told
    /// with the record itself.
    pub(super) fn touched(
        &mut self,
        space: SpaceKey,
        (seq, before): (u64, Option<u64>),
        (n, at, expires): (u64, Timestamp, Timestamp),
    ) {
        let Some(ends) = self.0.get_mut(&space) else { return };
        before.map(|before| ends.changes.remove(&before));
        ends.head = n;
        match ends.changes.get_mut(&seq).map(|changed| &mut changed.what) {
            Some(What::Record(record)) => record.expires = Some(expires),
            Some(What::Deleted(_) | What::Ended(_) | What::Touched { .. }) | None => {
                ends.changes.insert(n, Changed { n, at, what: What::Touched { seq, expires } });
            }
        }
    }

    /// What followers are handed: of each changed space its end, and what is new in it if that is not much.
    pub(crate) fn tails(self) -> impl Iterator<Item = (SpaceKey, Tail)> {
        self.0.into_iter().filter(|(_, ends)| ends.head > ends.before).map(|(space, ends)| {
            let Ends { before, changes, head } = ends;
            let bytes: usize = changes.values().map(|changed| sealed_bytes(&changed.what)).sum();
            let small = bytes <= TAIL_BYTES && changes.len() <= limits::SPACE_PAGE;
            (space, Tail { before, head, changes: small.then(|| changes.into_values().collect()) })
        })
    }
}

fn what(new: &NewRow) -> What {
    let NewRow { row, body, .. } = new;
    let (key, writer, stands) = (row.key, row.writer, row.stands);
    match body {
        Body::Record { sealed } => What::Record(Record {
            seq: row.seq,
            key,
            writer,
            stands,
            expires: row.ends,
            bound: row.bound,
            offered: row.offered,
            sealed: sealed.clone(),
        }),
        Body::Tombstone { of, sealed } => What::Deleted(Deleted {
            key,
            writer,
            stood: stands,
            seq: *of,
            offered: row.offered,
            sealed: sealed.clone(),
        }),
        Body::End { of, why } => What::Ended(EndedRecord { key, writer, stood: stands, seq: *of, why: *why }),
    }
}

#[cfg(test)]
mod tests {
    use waxwing_crypto::{MeshId, SpaceId};

    use super::*;

    /// What is handed over of so many renewals.
    fn tail(renewals: u64) -> Option<Tail> {
        let space = SpaceKey { mesh: MeshId::from_bytes([1; 16]), space: SpaceId::from_bytes([2; 32]) };
        let mut told = Told::default();
        told.begin(space, 10);
        let now = Timestamp::from_millis(1);
        (1..=renewals).for_each(|n| told.touched(space, (n, None), (10 + n, now, now)));
        told.tails().next().map(|(_, tail)| tail)
    }

    #[test]
    fn a_page_is_handed_over_and_of_more_only_its_end() {
        let most = limits::SPACE_PAGE as u64;
        assert!(tail(0).is_none(), "nothing has changed");
        let page = tail(most).unwrap();
        assert_eq!((page.before, page.head), (10, 10 + most));
        let places: Vec<_> = page.changes.unwrap().iter().map(|changed| changed.n).collect();
        assert_eq!(places, (11..=10 + most).collect::<Vec<_>>());
        let more = tail(most + 1).unwrap();
        assert_eq!((more.before, more.head, more.changes.is_none()), (10, 11 + most, true));
    }
}
