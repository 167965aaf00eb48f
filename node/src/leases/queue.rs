//! Who has a lease and who waits, by what stands under its key: the order of places is the order in which it goes round.

use waxwing_crypto::space::Stands;
use waxwing_crypto::{NodeId, Timestamp};
use waxwing_protocol::StoreId;
use waxwing_protocol::api::LeaseMode;

use super::record::Says;
use crate::spaces::Entry;

/// One in line.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// Its place, which is its token.
    pub(crate) seq: u64,
    pub(crate) writer: NodeId,
    /// None if a node of another version says it in another way: that counts as one who wants to be alone.
    pub(crate) says: Option<Says>,
    pub(crate) at: Timestamp,
    pub(crate) expires: Option<Timestamp>,
}

impl Standing {
    /// How.
    pub(crate) fn mode(&self) -> LeaseMode {
        self.says.as_ref().map_or(LeaseMode::Exclusive, |says| says.mode)
    }
}

/// All in line, those who have it first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue(Vec<Standing>);

impl Queue {
    /// What entries under one key say, in the order of places. What is of another life of the broker's store is over.
    pub(crate) fn of(entries: impl IntoIterator<Item = Entry>, life: Option<StoreId>) -> Self {
        let counts = |entry: &Entry| entry.stands == Stands::Appended && Some(entry.life) == life;
        let standing = |entry: Entry| Standing {
            seq: entry.seq,
            writer: entry.writer,
            says: Says::decode(&entry.value),
            at: entry.at,
            expires: entry.expires,
        };
        Self(entries.into_iter().filter(counts).map(standing).collect())
    }

    /// Those who have it: the first, and if that one shares it, all behind him up to the first who does not.
    pub(crate) fn holders(&self) -> &[Standing] {
        let shared = self.0.iter().take_while(|standing| standing.mode() == LeaseMode::Shared).count();
        &self.0[..shared.max(1).min(self.0.len())]
    }

    /// Those who wait, the next one first.
    pub(crate) fn waiting(&self) -> &[Standing] {
        &self.0[self.holders().len()..]
    }

    /// Whether this one has it.
    pub(crate) fn holds(&self, seq: u64) -> bool {
        self.holders().iter().any(|standing| standing.seq == seq)
    }

    /// Whom it is.
    pub(crate) fn get(&self, seq: u64) -> Option<&Standing> {
        self.0.iter().find(|standing| standing.seq == seq)
    }

    /// How many have to end before it is this one's turn; none if he is not in line.
    pub(crate) fn ahead(&self, seq: u64) -> Option<usize> {
        let at = self.0.iter().position(|standing| standing.seq == seq)?;
        if self.holds(seq) {
            return Some(0);
        }
        // One who shares it waits for the last before him who does not, and for nobody who shares it between.
        let shares = self.0[at].mode() == LeaseMode::Shared;
        let blocks = |standing: &Standing| standing.mode() == LeaseMode::Exclusive;
        let until =
            if shares { self.0[..at].iter().rposition(blocks).map_or(0, |last| last + 1) } else { at };
        Some(until)
    }

    /// Whether whoever comes now would have it at once.
    pub(crate) fn admits(&self, mode: LeaseMode) -> bool {
        let shared = mode == LeaseMode::Shared;
        self.0.is_empty() || shared && self.0.iter().all(|standing| standing.mode() == LeaseMode::Shared)
    }

    /// All.
    pub(crate) fn all(&self) -> &[Standing] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use waxwing_protocol::api::OnDisconnect;

    use super::*;

    const LIFE: StoreId = StoreId::from_bytes([1; 16]);

    fn entry(seq: u64, mode: Option<LeaseMode>) -> Entry {
        let says = |mode| Says {
            app: "ci".parse().unwrap(),
            instance: None,
            mode,
            on_disconnect: OnDisconnect::Grace,
            ttl: 1_000,
            purpose: None,
            registration: None,
        };
        let value = mode.map_or_else(Bytes::new, |mode| rmp_serde::to_vec_named(&says(mode)).unwrap().into());
        Entry {
            seq,
            key: "k".parse().unwrap(),
            writer: NodeId::from_bytes([7; 16]),
            stands: Stands::Appended,
            version: 1,
            at: Timestamp::from_millis(5),
            expires: None,
            bound: Some(0),
            counter: 1,
            life: LIFE,
            app: None,
            value,
        }
    }

    fn queue(modes: &str) -> Queue {
        let mode = |letter| match letter {
            's' => Some(LeaseMode::Shared),
            'x' => Some(LeaseMode::Exclusive),
            _ => None,
        };
        let entries = modes.chars().zip(1..).map(|(letter, seq)| entry(seq, mode(letter)));
        Queue::of(entries, Some(LIFE))
    }

    #[test]
    fn mb_26_readers_share_until_somebody_waits_to_have_it_alone() {
        for (modes, holders, ahead) in [
            ("", 0, &[][..]),
            ("x", 1, &[0]),
            ("xx", 1, &[0, 1]),
            ("xs", 1, &[0, 1]),
            ("ss", 2, &[0, 0]),
            ("ssxss", 2, &[0, 0, 2, 3, 3]),
            ("xssx", 1, &[0, 1, 1, 3]),
            ("?s", 1, &[0, 1]),
            ("s?s", 1, &[0, 1, 2]),
        ] {
            let queue = queue(modes);
            assert_eq!(queue.holders().len(), holders, "{modes}");
            assert_eq!(queue.holders().len() + queue.waiting().len(), modes.len());
            let positions: Vec<_> = queue.all().iter().filter_map(|one| queue.ahead(one.seq)).collect();
            assert_eq!(positions, ahead, "{modes}");
        }
        assert!(queue("").admits(LeaseMode::Exclusive) && queue("ss").admits(LeaseMode::Shared));
        assert!(!queue("s").admits(LeaseMode::Exclusive) && !queue("sx").admits(LeaseMode::Shared));
    }

    #[test]
    fn what_is_no_wish_of_this_life_of_the_store_is_not_in_line() {
        let put = Entry { stands: Stands::Shared, ..entry(1, Some(LeaseMode::Exclusive)) };
        let old = Entry { life: StoreId::from_bytes([2; 16]), ..entry(2, Some(LeaseMode::Exclusive)) };
        let queue = Queue::of([put, old, entry(3, Some(LeaseMode::Shared))], Some(LIFE));
        assert!(queue.holds(3) && queue.all().len() == 1);
    }

    proptest! {
        /// Whatever stands in line and whoever leaves it: one has it or several share it, whoever has it keeps it, and nobody
        /// is overtaken by one who wants to be alone.
        #[test]
        fn nobody_is_overtaken_and_nobody_is_pushed_out(modes in "[sx?]{1,12}", leave in any::<prop::sample::Index>()) {
            let before = queue(&modes);
            let holders = before.holders();
            prop_assert!(!holders.is_empty());
            prop_assert!(holders.len() == 1 || holders.iter().all(|one| one.mode() == LeaseMode::Shared));
            let gone = leave.index(modes.len()) as u64 + 1;
            let after = Queue(before.all().iter().filter(|one| one.seq != gone).cloned().collect());
            for one in holders.iter().filter(|one| one.seq != gone) {
                prop_assert!(after.holds(one.seq));
            }
            for one in after.all() {
                prop_assert!(after.ahead(one.seq) <= before.ahead(one.seq));
            }
        }
    }
}
