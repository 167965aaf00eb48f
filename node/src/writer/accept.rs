//! The accept table: what becomes of a send whose id is free, or taken.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use tokio::time::Instant;
use waxwing_crypto::sealing::Kind;
use waxwing_crypto::{ClientMessageId, Fingerprint};
use waxwing_sqlite::Connection;

use super::{Caps, Copy, Effects, Sends};
use crate::signals::Woken;
use crate::store::outbox::{self, Known, Load, NewRow, Pending};
use crate::store::{OutLane, lanes};

/// An outbox that seems full is counted anew this often.
const RECOUNT: Duration = Duration::from_secs(1);

/// Apps are told when so many percent of the outbox are in use.
pub(crate) const HIGH: u64 = 80;

/// The last counter given in each lane that has been used since the copy was made.
pub(super) type Counters = HashMap<OutLane, u64>;

/// What became of one send.
#[derive(Clone, Debug)]
pub(crate) enum Acceptance {
    /// Stored.
    New,
    /// The id is taken, by the same request.
    Same(Known),
    /// The id is taken, by another request.
    Different(Known),
    /// The outbox is at its cap.
    Full,
}

impl Acceptance {
    fn of(known: &Known, fingerprint: &Fingerprint) -> Self {
        if known.fingerprint == *fingerprint {
            Self::Same(known.clone())
        } else {
            Self::Different(known.clone())
        }
    }
}

/// What waits in the outbox, at most: counted when the copy is made and when it seems to be too much, and only added to
/// in between.
#[derive(Debug)]
pub(super) struct Estimate {
    load: Load,
    counted: Instant,
}

impl Estimate {
    pub(super) async fn read(db: &mut Connection) -> waxwing_sqlite::Result<Self> {
        Ok(Self { load: outbox::load(db).await?, counted: Instant::now() })
    }

    pub(super) const fn load(&self) -> Load {
        self.load
    }

    pub(super) fn is_high(&self, caps: Caps) -> bool {
        self.load.percent_of(caps) >= HIGH
    }

    fn is_full(&self, caps: Caps) -> bool {
        self.load.pending + self.load.unreceipted >= caps.messages || self.load.bytes >= caps.bytes
    }

    fn add(&mut self, row: &NewRow) {
        self.load.pending += 1;
        self.load.bytes += row.content.len() as u64;
    }
}

/// Decides every send of a batch, in order, and stores what is new with the next counters of its lanes.
pub(super) async fn apply(
    db: &mut Connection,
    copy: &mut Copy,
    caps: Caps,
    sends: &mut Sends,
    effects: &mut Effects,
) -> waxwing_sqlite::Result<Vec<Vec<Acceptance>>> {
    let (requests, own) = (std::mem::take(&mut sends.rows), std::mem::take(&mut sends.own));
    if requests.is_empty() && own.is_empty() {
        return Ok(Vec::new());
    }
    if copy.load.is_full(caps) && copy.load.counted.elapsed() > RECOUNT {
        copy.load = Estimate::read(db).await?;
    }
    let ids: Vec<&ClientMessageId> = requests.iter().flatten().map(|row| &row.client_id).collect();
    let mut known = outbox::find(db, &ids).await?;
    let mut new = Vec::with_capacity(ids.len());
    let mut given: HashMap<OutLane, u64> = HashMap::new();
    let mut answers = Vec::with_capacity(requests.len());
    for rows in requests {
        let mut decided = Vec::with_capacity(rows.len());
        for mut row in rows {
            let acceptance = decide(&mut known, &row, copy.load.is_full(caps));
            if matches!(acceptance, Acceptance::New) {
                if !row.kind.is_live() {
                    row.counter = next_counter(db, copy, row.lane).await?;
                    given.insert(row.lane, row.counter);
                }
                copy.load.add(&row);
                new.push(row);
            }
            decided.push(acceptance);
        }
        answers.push(decided);
    }
    for mut row in own {
        row.counter = next_counter(db, copy, row.lane).await?;
        given.insert(row.lane, row.counter);
        new.push(row);
    }
    outbox::insert(db, copy.rows + 1, &new).await?;
    let rows = copy.rows + 1..;
    copy.rows += new.len() as i64;
    effects.expires = new.iter().map(|row| row.expires).min();
    effects.tally.accepted(new.iter().filter(|row| row.kind == Kind::Message).count());
    let given: Vec<(OutLane, u64)> = given.into_iter().collect();
    lanes::give(db, &given).await?;
    let mut woken: HashMap<OutLane, Vec<Pending>> = HashMap::new();
    for (row, new) in rows.zip(new) {
        woken.entry(new.lane).or_default().push(Pending::stored(row, new));
    }
    effects.wake.extend(woken.into_iter().map(|(lane, rows)| (lane, Woken::New(rows))));
    Ok(answers)
}

/// Looks the id up, among the rows stored and those of this batch before it.
fn decide(known: &mut HashMap<ClientMessageId, Known>, row: &NewRow, full: bool) -> Acceptance {
    match known.entry(row.client_id.clone()) {
        Entry::Occupied(entry) => Acceptance::of(entry.get(), &row.fingerprint),
        Entry::Vacant(_) if full => Acceptance::Full,
        Entry::Vacant(entry) => {
            entry.insert(Known::queued(row.fingerprint));
            Acceptance::New
        }
    }
}

async fn next_counter(db: &mut Connection, copy: &mut Copy, lane: OutLane) -> waxwing_sqlite::Result<u64> {
    let last = match copy.counters.entry(lane) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => entry.insert(lanes::last_given(db, lane).await?),
    };
    *last += 1;
    Ok(*last)
}
