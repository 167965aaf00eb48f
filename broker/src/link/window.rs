//! What is under way on one link: delivered and not yet out of the queue.
//!
//! ```text
//! pump      launches deliveries, while there is room
//! reader    settles the first of them; they stay in the window, since their rows are still in the queue
//! writer    has taken the rows out: they land, and there is room again
//! ```

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use waxwing_crypto::sealing::Nack;
use waxwing_protocol::limits;
use waxwing_protocol::link::Settlement;

use crate::accept::{MailRef, Settled};
use crate::store::Place;

/// While the node has not settled what it was given, what is new waits for more this long at most (Nagle, RFC 896): one message by
/// itself goes at once, and many make few frames, each one commit of the node.
const GATHER: Duration = Duration::from_millis(2);

/// The deliveries of one link that are under way, at most so many items and bytes.
pub(crate) struct Window {
    items: usize,
    bytes: usize,
    flights: Mutex<Flights>,
}

/// One delivery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    /// Its row.
    pub(crate) place: Place,
    /// What it counts for.
    pub(crate) bytes: usize,
    /// Of an envelope: which.
    pub(crate) mail: Option<MailRef>,
}

#[derive(Default)]
struct Flights {
    /// In the order delivered; the settled ones first.
    queue: VecDeque<Flight>,
    /// How many have landed before. The delivery at the front has the number after that.
    landed: u64,
    /// How many at the front are settled.
    settled: usize,
    /// Envelopes among them.
    items: usize,
    /// What all of them count for.
    bytes: usize,
    /// When the last was delivered or settled.
    moved: Option<Instant>,
    /// When the last was delivered.
    launched: Option<Instant>,
}

/// How much more may be delivered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Room {
    /// Envelopes.
    pub(crate) items: usize,
    /// Bytes of envelopes and notices.
    pub(crate) bytes: usize,
}

/// A settle that does not match what was delivered.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Mismatch {
    /// Beyond the last delivery, or before what is settled.
    #[error("nothing up to that number is to be settled")]
    Through,
    /// Not one per envelope.
    #[error("a settle wants one receipt or nack per envelope it covers")]
    Items,
    /// A nack that is none.
    #[error("a nack may have {} bytes at most", Nack::MAX)]
    Nack,
}

impl Window {
    /// An empty window.
    pub(crate) fn new(items: usize, bytes: usize) -> Self {
        Self { items, bytes, flights: Mutex::default() }
    }

    /// How much more may be delivered; none if the largest envelope might not fit, so that whoever has room can always
    /// deliver something.
    pub(crate) fn room(&self) -> Option<Room> {
        let flights = self.lock();
        let room = Room {
            items: self.items.saturating_sub(flights.items),
            bytes: self.bytes.saturating_sub(flights.bytes),
        };
        (room.items > 0 && room.bytes >= limits::ENVELOPE).then_some(room)
    }

    /// Until when what is new waits for more, if it does.
    pub(crate) fn gathers(&self) -> Option<Instant> {
        let flights = self.lock();
        let until = flights.launched.map(|launched| launched + GATHER);
        until.filter(|until| flights.queue.len() > flights.settled && *until > Instant::now())
    }

    /// Waits until there has been no room for so long, and nothing was settled meanwhile. May be dropped at any moment;
    /// to be asked again after a launch.
    pub(crate) async fn stalled(&self, within: Duration) {
        while let Some(since) = self.unmoved_since() {
            Box::pin(sleep_until(since + within)).await; // Most links never have one.
            if self.unmoved_since() == Some(since) {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Since when the node lets a full window be. None if it has settled all: then it is the store that is waited for.
    fn unmoved_since(&self) -> Option<Instant> {
        let waits = self.room().is_none();
        let flights = self.lock();
        flights.moved.filter(|_| waits && flights.queue.len() > flights.settled)
    }

    /// Adds deliveries. Returns the number of the first.
    pub(crate) fn launch(&self, flights: impl IntoIterator<Item = Flight>) -> u64 {
        let mut inner = self.lock();
        let first = inner.landed + inner.queue.len() as u64 + 1;
        inner.moved = Some(Instant::now());
        inner.launched = inner.moved;
        for flight in flights {
            inner.items += usize::from(flight.mail.is_some());
            inner.bytes += flight.bytes;
            inner.queue.push_back(flight);
        }
        first
    }

    /// Settles everything up to a number that is not settled yet. The items must be one per envelope.
    pub(crate) fn settle(&self, through: u64, items: Vec<Settlement>) -> Result<Vec<Settled>, Mismatch> {
        let mut inner = self.lock();
        let upto = through
            .checked_sub(inner.landed)
            .and_then(|upto| usize::try_from(upto).ok())
            .filter(|upto| (inner.settled..=inner.queue.len()).contains(upto))
            .ok_or(Mismatch::Through)?;
        let covered = inner.queue.range(inner.settled..upto);
        if covered.clone().filter(|flight| flight.mail.is_some()).count() != items.len() {
            return Err(Mismatch::Items);
        }
        let mut items = items.into_iter();
        let settled = covered
            .map(|flight| {
                let mail = flight.mail.and_then(|mail| Some((mail, items.next()?)));
                match &mail {
                    Some((_, Settlement::Nack(nack))) if nack.bytes.len() > Nack::MAX => Err(Mismatch::Nack),
                    _ => Ok(Settled { place: flight.place, mail }),
                }
            })
            .collect::<Result<Vec<_>, _>>()?;
        if upto > inner.settled {
            inner.moved = Some(Instant::now());
        }
        inner.settled = upto;
        Ok(settled)
    }

    /// Lets the first `count` settled deliveries go: their rows are out of the queue.
    pub(crate) fn land(&self, count: usize) {
        let mut inner = self.lock();
        let count = count.min(inner.settled);
        for flight in inner.queue.drain(..count).collect::<Vec<_>>() {
            inner.items -= usize::from(flight.mail.is_some());
            inner.bytes -= flight.bytes;
        }
        inner.settled -= count;
        inner.landed += count as u64;
    }

    /// Whether this row is under way.
    pub(crate) fn holds(&self, place: Place) -> bool {
        self.lock().queue.iter().any(|flight| flight.place == place)
    }

    fn lock(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};
    use waxwing_crypto::{NodeId, Receipt, Timestamp, WireId};

    use super::*;
    use crate::store::{Rank, Seq};

    const MIB: usize = 1024 * 1024;

    fn envelope(seq: u64) -> Flight {
        let mail = MailRef {
            from: NodeId::from_bytes([1; 16]),
            id: WireId::from_bytes([2; 16]),
            seal: 0,
            exp: Timestamp::default(),
        };
        Flight { place: Place { rank: Rank::Next, seq: Seq(seq) }, bytes: 1_000, mail: Some(mail) }
    }

    fn notice(seq: u64) -> Flight {
        Flight { place: Place { rank: Rank::Notice, seq: Seq(seq) }, bytes: 80, mail: None }
    }

    fn receipts(count: usize) -> Vec<Settlement> {
        vec![Settlement::Receipt(Receipt::from_bytes([3; 16])); count]
    }

    #[test]
    fn room_is_taken_at_launch_and_given_back_at_landing() {
        let window = Window::new(3, MIB);
        assert_eq!(window.launch([notice(1), envelope(2), envelope(3)]), 1);
        assert_eq!(window.room(), Some(Room { items: 1, bytes: MIB - 2_080 }));
        assert_eq!(window.launch([envelope(4)]), 4);
        assert_eq!(window.room(), None);
        assert_eq!(window.settle(2, receipts(1)).unwrap().len(), 2);
        assert_eq!(window.room(), None, "settled is not out of the queue");
        assert!(window.holds(envelope(2).place));
        window.land(2);
        assert_eq!(window.room(), Some(Room { items: 1, bytes: MIB - 2_000 }));
        assert!(!window.holds(envelope(2).place));
        assert_eq!(window.launch([envelope(5)]), 5);
    }

    #[test]
    fn there_is_no_room_unless_the_largest_envelope_fits() {
        let window = Window::new(9, MIB);
        window.launch([Flight { bytes: MIB - limits::ENVELOPE, ..envelope(1) }]);
        assert!(window.room().is_some());
        window.launch([notice(2)]);
        assert_eq!(window.room(), None);
    }

    #[test]
    fn a_settle_covers_every_number_once() {
        let window = Window::new(9, MIB);
        assert_eq!(window.settle(0, vec![]).unwrap().len(), 0, "confirms the welcome");
        window.launch([notice(1), envelope(2), envelope(3)]);
        for (through, items, mismatch) in [
            (4, 2, Mismatch::Through),
            (3, 1, Mismatch::Items),
            (3, 3, Mismatch::Items),
            (1, 1, Mismatch::Items),
        ] {
            assert_eq!(window.settle(through, receipts(items)).err(), Some(mismatch), "{through} {items}");
        }
        let settled = window.settle(2, receipts(1)).unwrap();
        assert_eq!(settled.iter().map(|s| s.mail.is_some()).collect::<Vec<_>>(), [false, true]);
        assert_eq!(window.settle(2, vec![]).unwrap().len(), 0, "says nothing new");
        window.land(2);
        assert_eq!(window.settle(1, vec![]).err(), Some(Mismatch::Through));
        assert_eq!(window.settle(3, receipts(1)).unwrap()[0].place, envelope(3).place);
    }

    #[test]
    fn an_overlong_nack_is_refused_whole() {
        use waxwing_crypto::{Purpose, Signed, SigningKey};
        let window = Window::new(9, MIB);
        window.launch([envelope(1)]);
        let key = SigningKey::from_seed(&[1; 32]);
        let nack = |size| vec![Settlement::Nack(Signed::new(&key, Purpose::Nack, vec![0; size]))];
        assert_eq!(window.settle(1, nack(Nack::MAX + 1)).err(), Some(Mismatch::Nack));
        assert_eq!(window.settle(1, nack(Nack::MAX)).unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_window_of_which_nothing_is_settled_is_stalled_and_no_other() {
        const MINUTE: Duration = Duration::from_secs(60);
        let window = Window::new(3, MIB);
        let stalls_after = async || {
            let asked = Instant::now();
            timeout(100 * MINUTE, window.stalled(MINUTE)).await.is_ok().then(|| asked.elapsed())
        };
        window.launch([envelope(1), envelope(2)]);
        assert_eq!(stalls_after().await, None, "there is room");
        window.launch([envelope(3)]);
        assert_eq!(stalls_after().await, Some(MINUTE));
        window.settle(1, receipts(1)).unwrap();
        assert_eq!(stalls_after().await, Some(MINUTE), "it has moved; the store has not taken it out yet");
        window.settle(1, vec![]).unwrap();
        assert_eq!(stalls_after().await, Some(Duration::ZERO), "that was nothing new");
        window.settle(3, receipts(2)).unwrap();
        assert_eq!(stalls_after().await, None, "all is settled: the node waits for us");
        let moving = async {
            window.land(3);
            window.launch([envelope(4), envelope(5), envelope(6)]);
            for through in 4..6 {
                sleep(MINUTE / 2).await;
                window.settle(through, receipts(1)).unwrap();
            }
            std::future::pending::<()>().await;
        };
        let begun = Instant::now();
        tokio::select! {
            () = moving => {}
            () = async { sleep(MINUTE / 10).await; window.stalled(MINUTE).await } => {}
        }
        assert_eq!(begun.elapsed(), 2 * MINUTE, "a minute after the last settle");
    }
}
