//! The delivery contract, on a real database.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use waxwing_crypto::sealing::{CounterRange, Kind, NackReason};
use waxwing_crypto::{Fingerprint, NodeId, Priority, Receipt, Timestamp, WireId};
use waxwing_protocol::api::{EventBody, MessageState, Voucher};
use waxwing_protocol::{MessageId, RunId, StoreId};
use waxwing_sqlite::Readers;

mod accepting;
mod counts;
mod images;
mod live;
mod loss;
mod receiving;
mod renewal;
mod retention;
mod stream;

use super::*;
use crate::content::Content;
use crate::signals::{Back, Woken};
use crate::store::OutLane;
use crate::store::inbox::Acknowledged::{These, Through};
use crate::store::inbox::{self, Filter, NewItem};
use crate::store::lanes::InLane;
use crate::store::outbox::{self, Accepted, Known, Life, State, Which};

/// A writer on a database of its own.
struct Fixture {
    writer: Writer,
    db: Readers,
    signals: Arc<Signals>,
    counts: Arc<Counts>,
    task: JoinHandle<Result<Connection, WriteError>>,
    folder: tempfile::TempDir,
}

const CAPS: Caps = Caps { messages: 1_000_000, bytes: 1 << 40 };

impl Fixture {
    async fn new() -> Self {
        Self::with(CAPS, tempfile::tempdir().unwrap()).await
    }

    async fn with(caps: Caps, folder: tempfile::TempDir) -> Self {
        let (mut connection, db) = crate::store::open(&folder.path().join("node.db")).await.unwrap();
        outbox::doubt_after_crash(&mut connection).await.unwrap();
        let (writer, changes) = channel();
        let signals = Arc::new(Signals::default());
        let counts = Arc::default();
        let task =
            tokio::spawn(run(connection, changes, keys(), caps, Arc::clone(&signals), Arc::clone(&counts)));
        Self { writer, db, signals, counts, task, folder }
    }

    /// Stops without closing anything, as a kill would, and starts again on the same files.
    async fn killed_and_restarted(self) -> Self {
        self.task.abort();
        let _ = self.task.await;
        Self::with(CAPS, self.folder).await
    }

    async fn accept(&self, row: NewRow) -> Acceptance {
        self.writer.accept(vec![row]).await.unwrap().pop().unwrap()
    }

    async fn life(&self, id: &str) -> Life {
        outbox::life(&self.db, Which::Id(&id.parse().unwrap())).await.unwrap().unwrap()
    }

    async fn row(&self, id: &str) -> i64 {
        self.life(id).await.row
    }

    /// As an operator would.
    async fn abort(&self, id: &str) {
        let (mut db, _) = crate::store::open(&self.folder.path().join("node.db")).await.unwrap();
        let abort = waxwing_sqlite::query("UPDATE outbox SET state = 3, ended_at = 1 WHERE client_id = ?");
        assert_eq!(abort.bind(id).execute(&mut db).await.unwrap(), 1);
    }

    async fn answered(&self, answered: Answered) {
        self.writer.answered(vec![answered], mark(1)).await.await.unwrap().unwrap();
    }

    async fn accepted_by_broker(&self, id: &str) {
        let row = self.row(id).await;
        self.answered(Answered::Accepted(Accepted { row, seal: 0, message_id: message(7) })).await;
    }

    async fn news(&self, news: News) {
        let delivered = Delivered { news: vec![news], ..Delivered::default() };
        assert!(self.writer.received(delivered).await.unwrap().is_empty());
    }

    async fn receive(&self, items: Vec<ReceivedItem>) -> Vec<Stored> {
        self.writer.received(Delivered { items, ..Delivered::default() }).await.unwrap()
    }

    /// The ids shown, in order, with whether each is late.
    async fn shown(&self) -> Vec<(String, bool)> {
        let filter = Filter { after: 0, app: None, from: None, thread: None, unread: false, limit: 10_000 };
        let items = inbox::list(&self.db, &filter).await.unwrap();
        items.into_iter().map(|item| (item.client_id.to_string(), item.late)).collect()
    }

    async fn counters(&self) -> HashMap<String, i64> {
        let rows =
            waxwing_sqlite::query("SELECT client_id, counter FROM outbox").fetch_all(&self.db).await.unwrap();
        rows.iter().map(|row| (row.try_get("client_id").unwrap(), row.try_get("counter").unwrap())).collect()
    }
}

fn keys() -> Arc<StorageKeys> {
    Arc::new(waxwing_crypto::storage::StorageKey::from_bytes(&[5; 32]).keys())
}

fn message(n: u8) -> MessageId {
    MessageId::from_bytes([n; 16])
}

/// A mark of the first life of the broker's store.
fn mark(m: u64) -> Mark {
    let (store, run) = (StoreId::from_bytes([1; 16]), RunId::from_bytes([2; 16]));
    Mark { store, run, m, code: [m as u8; 32] }
}

fn lane(recipient: u8) -> OutLane {
    OutLane { priority: Priority::Next, recipient: NodeId::from_bytes([recipient; 16]) }
}

/// A send to one recipient; `content` decides the fingerprint.
pub(crate) fn send(id: &str, content: u8) -> NewRow {
    let mut wire_id = [0; 16];
    wire_id[..id.len().min(16)].copy_from_slice(&id.as_bytes()[..id.len().min(16)]);
    NewRow {
        client_id: id.parse().unwrap(),
        kind: Kind::Message,
        wants_read: false,
        reply_to: None,
        wire_id: WireId::from_bytes(wire_id),
        fingerprint: Fingerprint::from_bytes([content; 32]),
        lane: lane(1),
        to_node: Some("beta".parse().unwrap()),
        to_app: None,
        from_app: None,
        counter: 0,
        expires: Timestamp::from_millis(u64::from(u32::MAX) * 1_000),
        queued_at: crate::clock::now(),
        content: Bytes::from(vec![content; 100]),
        open: None,
    }
}

pub(crate) fn item(id: &str, counter: u64) -> ReceivedItem {
    let lane = InLane { sender: NodeId::from_bytes([9; 16]), signer: [8; 32], priority: Priority::Next };
    ReceivedItem {
        new: NewItem {
            cursor: None,
            lane,
            counter,
            client_id: id.parse().unwrap(),
            from_app: None,
            to_app: None,
            thread: None,
            sent_at: Timestamp::default(),
            received_at: Timestamp::default(),
            late: false,
            wants_read: false,
            receipt: Receipt::from_bytes([counter as u8; 16]),
            content: Content::default().seal_incoming(&keys(), &lane.sender, &id.parse().unwrap()),
        },
        content: Content::default(),
        void: Vec::new(),
        unwelcome: None,
        reads: None,
        live: None,
    }
}

fn name(acceptance: &Acceptance) -> &'static str {
    match acceptance {
        Acceptance::New => "new",
        Acceptance::Same(_) => "same",
        Acceptance::Different(_) => "different",
        Acceptance::Full => "full",
    }
}

fn known(acceptance: Acceptance) -> Known {
    match acceptance {
        Acceptance::Same(known) | Acceptance::Different(known) => known,
        Acceptance::New | Acceptance::Full => panic!("the id was free"),
    }
}

#[tokio::test]
async fn an_outcome_applies_only_to_the_seal_that_was_handed_over() {
    let f = Fixture::new().await;
    f.accept(send("a", 1)).await;
    let row = f.row("a").await;
    let nack = News::Refused { row, lane: lane(1), seal: 0, reason: NackReason::BadSeal, current: 0 };
    f.news(nack).await;
    f.accepted_by_broker("a").await;
    assert_eq!((f.life("a").await.state, f.life("a").await.seal), (State::Pending, 1));
    f.answered(Answered::Accepted(Accepted { row, seal: 1, message_id: message(1) })).await;
    assert_eq!(f.life("a").await.state, State::Done);
}

#[tokio::test]
async fn a_nack_to_be_resealed_makes_a_row_pending_again_and_wakes_its_lane() {
    let f = Fixture::new().await;
    f.accept(send("a", 1)).await;
    f.accepted_by_broker("a").await;
    f.signals.woken().await;
    let row = f.row("a").await;
    f.news(News::Refused { row, lane: lane(1), seal: 4, reason: NackReason::UnknownSession, current: 0 })
        .await;
    assert_eq!((f.life("a").await.state, f.life("a").await.seal), (State::Pending, 5));
    assert!(
        matches!(f.signals.woken().await.0[&lane(1)], Woken::Table(Some(back)) if back == Back { row, nacks: 1 })
    );
}

#[tokio::test]
async fn a_permanent_nack_is_the_recipients_word() {
    let f = Fixture::new().await;
    f.accept(send("a", 1)).await;
    f.accepted_by_broker("a").await;
    let row = f.row("a").await;
    f.news(News::Refused { row, lane: lane(1), seal: 0, reason: NackReason::ExpiredHere, current: 0 }).await;
    let life = f.life("a").await;
    assert_eq!(
        (life.state, life.ended_by, life.reason.as_deref()),
        (State::Dead, Voucher::Recipient, Some("expired_here"))
    );
}

#[tokio::test]
async fn a_receipt_marks_a_row_delivered_in_whatever_state_it_is() {
    let f = Fixture::new().await;
    for id in ["pending", "done", "dead"] {
        f.accept(send(id, 1)).await;
    }
    f.accepted_by_broker("done").await;
    f.news(News::Ended { row: f.row("dead").await, reason: "expired" }).await;
    for id in ["pending", "done", "dead"] {
        f.news(News::Delivered { row: f.row(id).await }).await;
        let life = f.life(id).await;
        assert!(
            life.delivered_at.is_some() && life.state == State::Done && life.ended_at.is_none(),
            "{id}: {life:?}"
        );
    }
    // Nothing that comes after can take it back.
    let row = f.row("done").await;
    f.news(News::Refused { row, lane: lane(1), seal: 9, reason: NackReason::BadSeal, current: 0 }).await;
    f.news(News::Ended { row, reason: "expired" }).await;
    assert_eq!(f.life("done").await.state, State::Done);
}

#[tokio::test]
async fn only_pending_messages_expire_here_and_their_counters_are_told() {
    let f = Fixture::new().await;
    let mut gone = send("gone", 1);
    gone.expires = Timestamp::from_millis(10);
    f.writer.accept(vec![gone, send("stays", 1)]).await.unwrap();
    assert_eq!(f.writer.expire(Timestamp::from_millis(10)).await.unwrap(), 1);
    assert_eq!(f.life("gone").await.reason.as_deref(), Some("expired"));
    assert_eq!(f.life("stays").await.state, State::Pending);
    assert_eq!(outbox::untold(&f.db, lane(1), 2, 10).await.unwrap(), [1]);
    let told = News::Told { lane: lane(1), ranges: vec![CounterRange::new(1, 1).unwrap()] };
    f.news(told).await;
    assert!(outbox::untold(&f.db, lane(1), 2, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn pending_lanes_are_found_again_after_a_kill() {
    let f = Fixture::new().await;
    let mut urgent = send("urgent", 1);
    urgent.lane = OutLane { priority: Priority::Now, ..lane(3) };
    let mut other = send("other", 1);
    other.lane = lane(2);
    f.writer.accept(vec![send("a", 1), send("b", 1), other, urgent]).await.unwrap();
    f.accepted_by_broker("other").await;
    let f = f.killed_and_restarted().await;
    let mut db = f.db.acquire().await.unwrap();
    let lanes = outbox::pending_lanes(&mut db).await.unwrap();
    assert_eq!(lanes, [OutLane { priority: Priority::Now, ..lane(3) }, lane(1)], "most urgent first");
    let rows = outbox::pending(&f.db, lane(1), 0, 10).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.client_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

/// What a stream of every app would show beside messages.
async fn told(f: &Fixture) -> Vec<(u64, EventBody)> {
    let events = events::list(&f.db, 0, None, 1_000).await.unwrap();
    events.into_iter().map(|event| (event.seq, event.body)).collect()
}

#[tokio::test]
async fn messages_and_events_share_one_row_of_numbers_across_a_kill() {
    let f = Fixture::new().await;
    f.accept(send("a", 1)).await;
    f.receive(vec![item("x", 1)]).await;
    f.news(News::Delivered { row: f.row("a").await }).await;
    let f = f.killed_and_restarted().await;
    f.receive(vec![item("y", 2)]).await;
    let told = told(&f).await;
    assert!(matches!(told[..], [(2, EventBody::Receipt { state: MessageState::Delivered, .. })]), "{told:?}");
    let filter = Filter { after: 0, app: None, from: None, thread: None, unread: false, limit: 10 };
    let items = inbox::list(&f.db, &filter).await.unwrap();
    assert_eq!(items.iter().map(|item| item.cursor).collect::<Vec<_>>(), [1, 3]);
}

#[tokio::test]
async fn a_receipt_is_told_once_however_often_it_comes() {
    let f = Fixture::new().await;
    f.accept(send("a", 1)).await;
    let row = f.row("a").await;
    f.news(News::Delivered { row }).await;
    f.news(News::Delivered { row }).await;
    assert_eq!(told(&f).await.len(), 1);
}

#[tokio::test]
async fn acknowledging_sends_a_read_receipt_once_and_only_if_asked() {
    let f = Fixture::new().await;
    let mut asked = item("asked", 1);
    asked.new.wants_read = true;
    f.receive(vec![asked, item("not-asked", 2)]).await;
    f.writer.read(Through(2), None, crate::clock::now()).await.unwrap();
    f.writer.read(These(vec![1, 2]), None, crate::clock::now()).await.unwrap();
    let lane = OutLane { priority: Priority::Next, recipient: NodeId::from_bytes([9; 16]) };
    let sent = outbox::pending(&f.db, lane, 0, 10).await.unwrap();
    assert_eq!(sent.iter().map(|row| (row.kind, row.counter)).collect::<Vec<_>>(), [(Kind::Read, 1)]);
    assert!(outbox::list(&f.db, 0, None, 10).await.unwrap().is_empty(), "it is nobody's message");
}

#[tokio::test]
async fn a_read_receipt_marks_the_message_read_and_is_not_shown() {
    let f = Fixture::new().await;
    let mut row = send("mine", 1);
    row.lane.recipient = NodeId::from_bytes([9; 16]);
    f.accept(row).await;
    let read = ReceivedItem { reads: Some("mine".parse().unwrap()), ..item("r", 2) };
    // It comes before the message with counter 1: it is not held back, and holds nothing back that is stored.
    f.receive(vec![read]).await;
    f.receive(vec![item("first", 1), item("third", 3)]).await;
    assert_eq!(f.shown().await.into_iter().map(|(id, _)| id).collect::<Vec<_>>(), ["first", "third"]);
    let life = f.life("mine").await;
    assert!(life.read_at.is_some() && life.delivered_at.is_some(), "{life:?}");
    let states: Vec<_> = told(&f)
        .await
        .into_iter()
        .filter_map(|(_, body)| if let EventBody::Receipt { state, .. } = body { Some(state) } else { None })
        .collect();
    assert_eq!(states, [MessageState::Delivered, MessageState::Read], "what is read was delivered");
    assert_eq!(f.signals.gapped(), None);
}

#[tokio::test]
async fn a_read_receipt_from_another_node_is_worth_nothing() {
    let f = Fixture::new().await;
    f.accept(send("mine", 1)).await;
    f.receive(vec![ReceivedItem { reads: Some("mine".parse().unwrap()), ..item("r", 1) }]).await;
    assert!(f.life("mine").await.read_at.is_none());
}

#[tokio::test]
async fn a_message_sent_again_takes_the_place_of_the_one_given_up_in_one_step() {
    let f = Fixture::new().await;
    f.accept(send("old", 1)).await;
    f.accept(send("other", 1)).await;
    let row = f.row("old").await;
    let again = |id| Some(Box::new(send(id, 1)));
    assert_eq!(f.writer.give_up(row, again("other")).await.unwrap(), GivenUp::IdTaken);
    assert_eq!(f.life("old").await.state, State::Pending, "nothing was done");
    assert_eq!(f.writer.give_up(row, again("new")).await.unwrap(), GivenUp::Done);
    assert_eq!(f.writer.give_up(row, again("newer")).await.unwrap(), GivenUp::WrongState);
    let (old, new) = (f.life("old").await, f.life("new").await);
    assert_eq!((old.state, old.superseded_by.unwrap().as_str()), (State::Aborted, "new"));
    assert_eq!((new.state, f.counters().await["new"]), (State::Pending, 3));
    f.news(News::Delivered { row: f.row("other").await }).await;
    assert_eq!(f.writer.give_up(f.row("other").await, None).await.unwrap(), GivenUp::WrongState);
}

#[test]
fn counters_become_ranges() {
    let shown: Vec<_> =
        ranges(&[9, 8, 5, 3, 2, 1]).iter().map(|range| (range.first(), range.last())).collect();
    assert_eq!(shown, [(8, 9), (5, 5), (1, 3)]);
}
