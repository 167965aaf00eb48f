//! Brings a node's queue to its link, page by page, as the window has room.
//!
//! Four cursors, one per rank, say how far the queue has been read. Rows are read in the order of rank, then seq, so
//! what is urgent goes before a backlog of what is not. A bell says which ranks may have something; a rank that has
//! been read to its end is not read again before it is rung for.
//!
//! A cursor goes back in two cases: an envelope that was replaced by a higher seal while under way, and refused, is to
//! be delivered again; and a row found expired may have been replaced before it was swept. Rows that are under way
//! are passed over then. So memory is bounded by the window, whatever the queue holds.

use std::sync::Arc;

use tokio::time::sleep_until;
use waxwing_protocol::limits;
use waxwing_protocol::link::{self, Deliver, Delivery};

use super::window::{Flight, Room, Window};
use crate::accept::MailRef;
use crate::error::{Error, Result};
use crate::hub::Bell;
use crate::state::State;
use crate::store::queue::{self, Item};
use crate::store::{NodeKey, Place, Rank, Ranks, Seq};

/// Rows that a frame begins with. Usually there are no more.
const FEW: usize = 16;
/// Bytes of them. What is larger is read with all the rest.
const FEW_BYTES: usize = 64 * 1024;

/// One link's way through its node's queue.
pub(super) struct Pump {
    state: Arc<State>,
    owner: NodeKey,
    bell: Arc<Bell>,
    window: Arc<Window>,
    /// Ranks that may have something unsent.
    waiting: Ranks,
    cursors: [Cursor; Rank::ALL.len()],
    /// The last frame said that nothing is left.
    said_tail: bool,
}

/// How far one rank has been read.
#[derive(Clone, Copy, Default)]
struct Cursor {
    /// The last row read.
    at: Seq,
    /// The furthest it has been: rows up to there may be under way.
    furthest: Seq,
    /// Before the first row found expired since the last ring.
    expired: Option<Seq>,
}

/// A frame being filled.
#[derive(Default)]
struct Load {
    items: Vec<(Place, Item)>,
    bytes: usize,
}

impl Pump {
    /// At the start of a queue.
    pub(super) fn new(state: Arc<State>, owner: NodeKey, bell: Arc<Bell>, window: Arc<Window>) -> Self {
        let (waiting, cursors) = (Ranks::default(), Default::default());
        Self { state, owner, bell, window, waiting, cursors, said_tail: false }
    }

    /// Waits until there is something to look for and room to send it, or a tail to be told of. May be dropped at any
    /// moment.
    pub(super) async fn ready(&mut self) {
        loop {
            self.listen();
            let idle = if self.waiting.is_empty() { self.said_tail } else { self.window.room().is_none() };
            match self.window.gathers() {
                _ if idle => self.bell.rung().await,
                Some(until) => return Box::pin(sleep_until(until)).await, // Most links never do.
                None => return,
            }
        }
    }

    /// Delivers again what was refused in an older seal than is queued by now.
    pub(super) fn redeliver(&mut self, kept: &[Place]) {
        for place in kept {
            self.cursors[place.rank.index()].back_before(place.seq);
            self.waiting.insert(place.rank);
        }
    }

    /// The next frame, if there is one.
    pub(super) async fn next(&mut self) -> Result<Option<Deliver>> {
        self.listen();
        let (mut load, mut first) = (Load::default(), true);
        while let (Some(rank), Some(room)) = (self.waiting.first(), load.room(&self.window)) {
            let more = self.read(rank, room, std::mem::take(&mut first), &mut load).await?;
            if !more {
                self.waiting.remove(rank);
            }
        }
        self.listen(); // For a tail to be true when it is sent, not only when the last page was read.
        let tail = self.waiting.is_empty();
        if load.items.is_empty() && (!tail || self.said_tail) {
            return Ok(None);
        }
        self.said_tail = tail;
        Ok(Some(self.launch(load, tail)))
    }

    /// Takes note of what the bell was rung for.
    fn listen(&mut self) {
        let rung = self.bell.take();
        self.waiting.extend(rung);
        for rank in Rank::ALL {
            let cursor = &mut self.cursors[rank.index()];
            if rung.contains(rank)
                && let Some(seq) = cursor.expired.take()
            {
                cursor.back_before(seq);
            }
        }
    }

    /// Reads one page of a rank into the frame; a `few` are read here, by whoever asks. Says whether there is more.
    async fn read(&mut self, rank: Rank, room: Room, few: bool, load: &mut Load) -> Result<bool> {
        let cursor = &mut self.cursors[rank.index()];
        let after = Place { rank, seq: cursor.at };
        let readers = &self.state.readers;
        let turn = self.state.reading.acquire().await.map_err(|err| Error::Internal(err.into()))?;
        let page = if few {
            let (items, bytes) = (room.items.min(FEW), room.bytes.min(FEW_BYTES));
            queue::read(readers.brief(), self.owner, after, items, bytes).await?
        } else {
            queue::read(readers, self.owner, after, room.items, room.bytes).await?
        };
        drop(turn);
        let now = self.state.clock.now();
        for (seq, item) in page.rows {
            let place = Place { rank, seq };
            let under_way = seq <= cursor.furthest && self.window.holds(place);
            cursor.at = seq;
            cursor.furthest = cursor.furthest.max(seq);
            if item.ends() <= now {
                cursor.expired.get_or_insert(seq);
                self.state.nudge.expired.notify_one();
            } else if !under_way {
                load.add(place, item);
            }
        }
        Ok(page.more)
    }

    /// Numbers what was loaded, and puts it in the window.
    fn launch(&self, load: Load, tail: bool) -> Deliver {
        self.state.metrics.delivered(load.items.iter().map(|(place, _)| place.rank));
        let first = self.window.launch(load.items.iter().map(|(place, item)| flight(*place, item)));
        let items = load.items.into_iter().zip(first..).map(|((place, item), n)| delivery(n, place, item));
        Deliver { items: items.collect(), tail }
    }
}

impl Cursor {
    fn back_before(&mut self, seq: Seq) {
        self.at = self.at.min(Seq(seq.0.saturating_sub(1)));
    }
}

impl Load {
    /// What the frame can take more; none if that might not be the largest envelope.
    fn room(&self, window: &Window) -> Option<Room> {
        let envelopes = self.items.iter().filter(|(place, _)| place.rank != Rank::Notice).count();
        let window = window.room()?;
        let room = Room {
            items: (limits::WINDOW_ITEMS - self.items.len()).min(window.items.saturating_sub(envelopes)),
            bytes: (limits::FRAME_ENVELOPES - self.bytes).min(window.bytes.saturating_sub(self.bytes)),
        };
        (room.items > 0 && room.bytes >= limits::ENVELOPE).then_some(room)
    }

    fn add(&mut self, place: Place, item: Item) {
        self.bytes += item.cost();
        self.items.push((place, item));
    }
}

fn flight(place: Place, item: &Item) -> Flight {
    let mail = match item {
        Item::Envelope(mail) => {
            Some(MailRef { from: mail.from, id: mail.id, seal: mail.seal, exp: mail.exp })
        }
        Item::Notice(_) => None,
    };
    Flight { place, bytes: item.cost(), mail }
}

fn delivery(n: u64, place: Place, item: Item) -> Delivery {
    match item {
        Item::Envelope(mail) => Delivery::Envelope(link::Envelope {
            n,
            from: mail.from,
            id: mail.id,
            pri: place.rank.priority().unwrap_or_default(),
            exp: mail.exp,
            seal: mail.seal,
            env: mail.env,
        }),
        Item::Notice(notice) => Delivery::Notice(link::Notice { n, id: notice.id, kind: notice.kind }),
    }
}

#[cfg(test)]
mod tests;
