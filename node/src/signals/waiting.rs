//! Lanes with something to send that no link has looked at yet.

use std::collections::BTreeMap;

use crate::store::OutLane;
use crate::store::outbox::Pending;

/// Most bytes of new rows that are held for a link. Beyond, it reads them.
pub(crate) const HELD: usize = 4 * 1024 * 1024;

/// An old row that is pending again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Back {
    pub(crate) row: i64,
    /// How often its recipient has refused it.
    pub(crate) nacks: u32,
}

/// Why a lane is to be looked at.
#[derive(Debug)]
pub(crate) enum Woken {
    /// These rows are new, and the last that it has.
    New(Vec<Pending>),
    /// Its rows are to be read; from an old one on, if that is pending again.
    Table(Option<Back>),
}

impl Woken {
    /// Both reasons as one.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::New(mut rows), Self::New(more)) => {
                rows.extend(more);
                Self::New(rows)
            }
            (Self::Table(Some(a)), Self::Table(Some(b))) => {
                Self::Table(Some(Back { row: a.row.min(b.row), nacks: a.nacks.max(b.nacks) }))
            }
            (Self::Table(a), Self::Table(b)) => Self::Table(a.or(b)),
            (Self::Table(back), Self::New(_)) | (Self::New(_), Self::Table(back)) => Self::Table(back),
        }
    }
}

/// Lanes that nobody has looked at yet.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    lanes: BTreeMap<OutLane, Woken>,
    /// Whether a link sends what is new at once.
    draining: bool,
    /// Bytes of new rows.
    bytes: usize,
    /// How often messages have ended that may not have been sent.
    ends: u64,
}

impl Waiting {
    /// Adds a lane, with what was known of it.
    pub(super) fn add(&mut self, lane: OutLane, mut woken: Woken) {
        if let Woken::New(rows) = &woken {
            self.bytes += rows.iter().map(Pending::bytes).sum::<usize>();
            if !self.draining || self.bytes > HELD {
                woken = Woken::Table(None);
            }
        }
        let woken = match self.lanes.remove(&lane) {
            Some(before) => before.and(woken),
            None => woken,
        };
        self.lanes.insert(lane, woken);
    }

    /// All of them, and how often messages have ended until now.
    pub(super) fn take(&mut self) -> (BTreeMap<OutLane, Woken>, u64) {
        self.bytes = 0;
        (std::mem::take(&mut self.lanes), self.ends)
    }

    /// Notes whether a link sends what is new.
    pub(super) fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
        self.forget_rows();
    }

    /// Notes that a message has ended that may not have been sent.
    pub(super) fn note_end(&mut self) {
        self.ends += 1;
        self.forget_rows();
    }

    /// How often messages have ended that may not have been sent.
    pub(super) const fn ends(&self) -> u64 {
        self.ends
    }

    /// Has every row read that was held.
    fn forget_rows(&mut self) {
        for woken in self.lanes.values_mut().filter(|woken| matches!(woken, Woken::New(_))) {
            *woken = Woken::Table(None);
        }
    }
}
