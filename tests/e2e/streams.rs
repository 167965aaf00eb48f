//! Three apps stream, poll and watch receipts while processes are killed: nothing is lost, repeated or reordered on any of
//! these ways, and every way tells the same story.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use waxwing_client::api::{
    AckRequest, EventBody, EventQuery, InboxItem, InboxQuery, MeshQuery, MessageState, OutboxQuery,
    ReceiptWanted, SendRequest, StatusQuery,
};
use waxwing_client::{Client, Error};
use waxwing_lab::apps::request;
use waxwing_lab::history::Key;
use waxwing_lab::{Event, Lab, Recorder, eventually};

use crate::storm::{chance, seed, strike};
use crate::support::{WITHIN, mesh};

/// Kills, each when something has been shown since the last, unless `WAXWING_KILLS` says how many.
const KILLS: usize = 100;
/// Messages under way at once, at most.
const UNDER_WAY: usize = 100;
/// Mailboxes at beta, each with an app that reads it in its own way.
const STREAMED: &str = "streamed";
const POLLED: &str = "polled";

/// MB-01, MB-41.
#[tokio::test]
async fn a_hundred_kills_lose_repeat_and_reorder_nothing_on_any_stream() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let record = Recorder::default();
    let done = AtomicBool::new(false);
    let (alpha, beta) = (lab.client("alpha"), lab.client("beta"));
    let known = Mutex::new(Vec::new());
    let (sent, watched, streamed, polled, told, ()) = tokio::join!(
        send(&alpha, &record, &known, &done),
        watch(&alpha, &known, &done),
        stream(&beta, &record),
        poll(&beta, &record),
        receipts(&alpha, &done),
        kill_and_kill(&mut lab, &record, &done),
    );
    let of = |app: &str| sent.iter().filter(|id| id.starts_with(app)).cloned().collect::<Vec<_>>();
    assert_eq!(watched, sent.len(), "messages watched from queued to read");
    assert_eq!(streamed, of(STREAMED), "the stream");
    assert_eq!(polled, of(POLLED), "the poll");

    for state in [MessageState::Delivered, MessageState::Read] {
        let mut ids: Vec<_> =
            told.iter().filter(|(_, told)| *told == state).map(|(id, _)| id.clone()).collect();
        ids.sort_by_key(|id| number(id));
        assert_eq!(ids, sent, "told {} once each", state.as_str());
    }
    for id in sent.iter().step_by(sent.len().div_ceil(10)) {
        trace(&lab, id).await;
    }
    let sender = lab.sender("alpha", &record);
    for id in &sent {
        sender.settled(id, WITHIN).await.unwrap();
    }
    let summary = record.history().check().unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!((summary.accepted, summary.shown, summary.delivered), (sent.len(), sent.len(), sent.len()));
}

/// Kills one process after the other, each when something has been shown since the last.
async fn kill_and_kill(lab: &mut Lab, record: &Recorder, done: &AtomicBool) {
    let mut seed = seed();
    let kills = std::env::var("WAXWING_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    for kill in 0..kills {
        let before = record.shown();
        let goes_on = async || (record.shown() > before).then_some(());
        eventually(WITHIN, &format!("messages arrive after {kill} kills"), goes_on).await.unwrap();
        let victim = ["alpha", "beta", Lab::BROKER][(chance(&mut seed) % 3) as usize];
        strike(lab, victim).await;
    }
    done.store(true, Ordering::Relaxed);
}

/// `app-7` is the seventh message sent.
fn number(id: &str) -> usize {
    id.rsplit('-').next().unwrap().parse().unwrap()
}

/// Sends to both mailboxes in turn until the kills are done, each message until it is accepted. Gives the ids in order.
async fn send(
    client: &Client,
    record: &Recorder,
    known: &Mutex<Vec<String>>,
    done: &AtomicBool,
) -> Vec<String> {
    let mut sent = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let app = [STREAMED, POLLED][sent.len() % 2];
        let id = format!("{app}-{}", sent.len());
        let message = SendRequest {
            receipt: Some(ReceiptWanted::Read),
            ..request(&format!("{app}@beta"), &id).unwrap()
        };
        let accepted = async || client.send(&message).await.ok();
        eventually(WITHIN, &format!("{id} is accepted"), accepted).await.unwrap();
        record.push(waxwing_lab::apps::accepted("alpha", "beta", &id));
        known.lock().unwrap().push(id.clone());
        sent.push(id);
        let room = async || (sent.len() < record.shown() + UNDER_WAY).then_some(());
        eventually(WITHIN, "messages arrive", room).await.unwrap();
    }
    // What both readers stop at.
    for app in [STREAMED, POLLED] {
        let last = request(&format!("{app}@beta"), &format!("last-{app}")).unwrap();
        let accepted = async || client.send(&last).await.ok();
        eventually(WITHIN, "the last is accepted", accepted).await.unwrap();
    }
    sent
}

/// An app that watches each message's state until it is read: it never goes back, unless the recipient asked for another
/// seal, and what the history says of it is in order.
async fn watch(client: &Client, known: &Mutex<Vec<String>>, done: &AtomicBool) -> usize {
    let mut watched = 0;
    loop {
        let next = known.lock().unwrap().get(watched).cloned();
        let Some(id) = next else {
            if done.load(Ordering::Relaxed) && watched == known.lock().unwrap().len() {
                return watched;
            }
            tokio::task::yield_now().await;
            continue;
        };
        let (id, mut rung, mut seal) = (id.parse().unwrap(), Some(0), 0);
        let mut query = StatusQuery { wait: Some("5s".to_owned()), ..StatusQuery::default() };
        while rung != MessageState::Read.rung() {
            let asked = async || client.wait_status(&id, &query).await.ok();
            let status = eventually(WITHIN, "the node says how a message is", asked).await.unwrap();
            let back = status.state.rung() < rung && status.seal == seal;
            assert!(!back, "{id} went back: {status:?}");
            let rungs: Vec<_> = status.history.iter().map(|change| change.state.rung()).collect();
            assert!(rungs.is_sorted() && rungs.last() == Some(&status.state.rung()), "{status:?}");
            (rung, seal) = (status.state.rung(), status.seal);
            query.known = Some(status.state);
        }
        let listed = async || {
            let next = OutboxQuery { after: Some(watched as u64), limit: Some(1), ..OutboxQuery::default() };
            client.outbox(&next).await.ok()
        };
        let listed = eventually(WITHIN, "the outbox is listed", listed).await.unwrap().items;
        let shown: Vec<_> = listed.iter().map(|item| (&item.client_message_id, item.state)).collect();
        assert_eq!(shown, [(&id, MessageState::Read)], "the outbox says the same");
        watched += 1;
    }
}

/// What `trace` prints of a message is what its history says.
async fn trace(lab: &Lab, id: &str) {
    let traced = lab.json("alpha", &["trace", id]).await.unwrap();
    let status = lab.client("alpha").status(&id.parse().unwrap(), &MeshQuery::default()).await.unwrap();
    assert_eq!(traced["state"], status.state.as_str(), "{traced}");
    assert_eq!(traced["history"], serde_json::to_value(&status.history).unwrap(), "{traced}");
}

/// Writes a message down and acknowledges it. False for the last one.
async fn take(client: &Client, record: &Recorder, item: &InboxItem, read: &mut Vec<String>) -> bool {
    let id = item.client_message_id.to_string();
    let ack = AckRequest { ids: Some(vec![item.id]), ..AckRequest::default() };
    eventually(WITHIN, "an acknowledgement", async || client.ack(&ack).await.ok()).await.unwrap();
    if id.starts_with("last-") {
        return false;
    }
    record.push(Event::Shown {
        key: Key::new("alpha", &id),
        to: "beta".to_owned(),
        place: item.id,
        stored_at: item.received_at.as_millis(),
        late: item.late,
    });
    read.push(id);
    true
}

/// An app that streams, from the beginning, across restarts of its node.
async fn stream(client: &Client, record: &Recorder) -> Vec<String> {
    let query = EventQuery {
        after: Some(0),
        app: Some(STREAMED.to_owned()),
        kind: Some("message".to_owned()),
        ..EventQuery::default()
    };
    let open = async || client.events_resuming(&query).await.ok();
    let mut events = eventually(WITHIN, "a stream", open).await.unwrap();
    let mut read = Vec::new();
    loop {
        let event = tokio::time::timeout(WITHIN, events.next()).await.unwrap().unwrap();
        let EventBody::Message { message } = event.body else {
            panic!("only messages were asked for: {event:?}")
        };
        assert_eq!(event.cursor, message.id);
        if !take(client, record, &message, &mut read).await {
            return read;
        }
    }
}

/// An app that polls with a wait, by cursor.
async fn poll(client: &Client, record: &Recorder) -> Vec<String> {
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let query = InboxQuery {
            after,
            app: Some(POLLED.to_owned()),
            wait: Some("10s".to_owned()),
            limit: Some(7),
            ..InboxQuery::default()
        };
        let page = async || client.inbox(&query).await.ok();
        let page = eventually(WITHIN, "the node answers a poll", page).await.unwrap();
        after = Some(page.next);
        for item in &page.items {
            if !take(client, record, item, &mut read).await {
                return read;
            }
        }
    }
}

/// An app at the sender that is told of receipts until every message sent is read.
async fn receipts(client: &Client, done: &AtomicBool) -> Vec<(String, MessageState)> {
    let query = EventQuery {
        after: Some(0),
        app: Some("*".to_owned()),
        kind: Some("receipt".to_owned()),
        ..EventQuery::default()
    };
    let open = async || client.events_resuming(&query).await.ok();
    let mut events = eventually(WITHIN, "a stream", open).await.unwrap();
    let mut told = Vec::new();
    let mut last = 0;
    // The last two messages ask for no read receipt: their arrival, and a read receipt for all before, end it.
    while !(done.load(Ordering::Relaxed)
        && last == 2
        && reads(&told) == told.len() / 2
        && told.len() % 2 == 0)
    {
        let event = match tokio::time::timeout(WITHIN, events.next()).await.unwrap() {
            Ok(event) => event,
            Err(error @ (Error::Problem(_) | Error::Incompatible(_))) => panic!("{error}"),
            Err(Error::Unreachable { .. } | Error::Lost(_)) => panic!("the stream did not resume"),
        };
        let EventBody::Receipt { client_message_id, state } = event.body else { panic!("{event:?}") };
        let id = client_message_id.to_string();
        if id.starts_with("last-") {
            last += usize::from(state == MessageState::Delivered);
        } else {
            told.push((id, state));
        }
    }
    told
}

fn reads(told: &[(String, MessageState)]) -> usize {
    told.iter().filter(|(_, state)| *state == MessageState::Read).count()
}
