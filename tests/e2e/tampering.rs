//! A box that was changed, replayed or moved to another recipient never reaches an app, and costs no message.

use std::sync::{Arc, Mutex};

use waxwing_client::api::{InboxItem, MessageState};
use waxwing_lab::When;
use waxwing_protocol::link::Envelope;

use crate::support::{Pair, WITHIN, change, flip, mesh};

/// Flips one bit of the next envelope to beta, where `place` says, and sees that the message arrives whole after all.
async fn flipped(place: fn(&Envelope) -> usize) {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let flipped = pair.lab.proxy().rewrite_next(When::envelope(pair.lab.id("beta")), move |frame| {
        change(frame, |envelope| envelope.env = flip(&envelope.env, place(envelope)).into())
    });
    pair.send(1).await;
    flipped.happened().await.unwrap();
    let read = pair.read(1).await;
    assert_eq!(read[0].body.as_deref(), Some("the body of m-2"));
    assert!(pair.settled("m-2").await.seal > 0, "the box was refused and sealed anew");
    let health = pair.reader.client.health().await.unwrap();
    assert!(health.meshes[0].quarantined > 0, "a box that does not open is counted");
    pair.conclude().await;
}

#[tokio::test]
async fn a_box_changed_by_its_last_bit_never_reaches_an_app() {
    flipped(|envelope| envelope.env.len() - 1).await;
}

#[tokio::test]
async fn a_box_changed_in_its_middle_never_reaches_an_app() {
    flipped(|envelope| envelope.env.len() / 2).await;
}

/// M-64.
#[tokio::test]
async fn what_the_broker_says_of_a_box_cannot_be_changed() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let changed = pair.lab.proxy().rewrite_next(When::envelope(pair.lab.id("beta")), |frame| {
        change(frame, |envelope| envelope.exp = envelope.exp.plus(WITHIN))
    });
    pair.send(1).await;
    changed.happened().await.unwrap();
    pair.read(1).await;
    assert!(pair.settled("m-2").await.seal > 0, "the box was refused and sealed anew");
    pair.conclude().await;
}

#[tokio::test]
async fn a_replayed_box_is_shown_once_and_vouches_for_nothing_else() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let beta = pair.lab.id("beta");
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let seen = pair.lab.proxy().rewrite_next(When::envelope(beta), move |frame| {
        change(frame, |envelope| *keep.lock().unwrap() = Some(envelope.clone()))
    });
    pair.send(1).await;
    pair.read(1).await;
    seen.happened().await.unwrap();
    // The same box again, in place of the next message.
    let replayed = pair.lab.proxy().rewrite_next(When::envelope(beta), move |frame| {
        change(frame, |envelope| {
            let n = envelope.n;
            *envelope = kept.lock().unwrap().take().unwrap();
            envelope.n = n;
        })
    });
    pair.send(1).await;
    replayed.happened().await.unwrap();
    // A later message is held behind the one that the broker lost, and is delivered all the same.
    pair.send(1).await;
    pair.settled("m-4").await;
    assert_eq!(pair.state("m-3").await, MessageState::Accepted, "another message's receipt is no receipt");
    let shown = pair.reader.reread().await.unwrap();
    assert_eq!(ids(&shown), ["m-1", "m-2"]);
}

#[tokio::test]
async fn a_box_moved_to_another_recipient_never_reaches_its_apps() {
    let lab = mesh(&["alpha", "beta", "gamma"]).await;
    let gamma = lab.id("gamma");
    let mut pair = Pair::on(lab);
    let mut other = pair.lab.reader("gamma", &pair.record);
    // Both sessions are new, so that the moved box brings its opening along.
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let seen = pair.lab.proxy().rewrite_next(When::envelope(pair.lab.id("beta")), move |frame| {
        change(frame, |envelope| *keep.lock().unwrap() = Some(envelope.clone()))
    });
    pair.send(1).await;
    pair.read(1).await;
    seen.happened().await.unwrap();
    let moved = pair.lab.proxy().rewrite_next(When::envelope(gamma), move |frame| {
        change(frame, |envelope| envelope.env = kept.lock().unwrap().take().unwrap().env)
    });
    pair.sender.send("gamma", "for-gamma", WITHIN).await.unwrap();
    moved.happened().await.unwrap();
    let read = other.read(1, WITHIN).await.unwrap();
    assert_eq!(read[0].body.as_deref(), Some("the body of for-gamma"));
    assert!(pair.settled("for-gamma").await.seal > 0, "the box was refused and sealed anew");
    assert_eq!(ids(&other.reread().await.unwrap()), ["for-gamma"]);
    pair.record.history().check().unwrap_or_else(|broken| panic!("{broken}"));
}

fn ids(items: &[InboxItem]) -> Vec<&str> {
    items.iter().map(|item| item.client_message_id.as_str()).collect()
}
