//! A broker that lies, and a member that does: what each tries is noticed, or does no harm.

use waxwing_client::api::{MessageState, Voucher};
use waxwing_crypto::membership::{Body, Grant, Leave, Resume, Revoke, Role, Target};
use waxwing_crypto::sealing::{CounterRange, Envelope, Nack, NackReason, Opening, PrekeyId};
use waxwing_crypto::{Receipt, SigningKey};
use waxwing_lab::hostile::{Letter, Member, broker};
use waxwing_lab::{Recorder, When};
use waxwing_protocol::link::{NoticeKind, Outcome, Settlement};

use crate::forks::{alarms, hostile, told};
use crate::support::{Pair, WITHIN, change, flip};

/// Three messages that wait for beta, which is not there.
async fn waiting() -> Pair {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop("beta").await.unwrap();
    pair.send(3).await;
    for id in ["m-2", "m-3", "m-4"] {
        pair.accepted(id).await;
    }
    pair
}

#[tokio::test]
async fn deliveries_that_are_turned_around_are_shown_in_their_order() {
    let mut pair = waiting().await;
    let reordered = broker::reorder(pair.lab.proxy(), pair.lab.id("beta"));
    pair.lab.restart("beta").await.unwrap();
    reordered.happened().await.unwrap();
    let read = pair.read(3).await;
    let ids: Vec<_> = read.iter().map(|item| item.client_message_id.as_str()).collect();
    assert_eq!(ids, ["m-2", "m-3", "m-4"]);
    // The broker takes each receipt for another's: that of the middle one alone is right, and no other is believed.
    assert_eq!(pair.settled("m-3").await.state, MessageState::Delivered);
    for id in ["m-2", "m-4"] {
        assert_eq!(pair.state(id).await, MessageState::Accepted, "{id}");
    }
}

#[tokio::test]
async fn boxes_that_are_swapped_do_not_open_and_their_messages_come_all_the_same() {
    let mut pair = waiting().await;
    let swapped = broker::swap_boxes(pair.lab.proxy(), pair.lab.id("beta"));
    pair.lab.restart("beta").await.unwrap();
    swapped.happened().await.unwrap();
    pair.conclude().await;
    assert!(pair.settled("m-2").await.seal > 0, "the box was refused and sealed anew");
}

#[tokio::test]
async fn deliveries_that_are_repeated_or_lost_are_shown_once() {
    let mut pair = waiting().await;
    let repeated = broker::repeat(pair.lab.proxy(), pair.lab.id("beta"));
    pair.lab.restart("beta").await.unwrap();
    repeated.happened().await.unwrap();
    pair.read(3).await;
    let lost = pair.lab.proxy().drop_next(When::envelope(pair.lab.id("beta")));
    pair.send(1).await;
    lost.happened().await.unwrap();
    // What is numbered after it shows that something is missing.
    pair.send(1).await;
    pair.conclude().await;
}

#[tokio::test]
async fn a_refusal_that_the_broker_made_up_is_not_believed() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let (alpha, somebody) = (pair.lab.id("alpha"), SigningKey::from_seed(&[9; 32]));
    let nack = move |id| {
        let nack = Nack { to: alpha, id, seal: 0, reason: NackReason::TooLarge, log: None };
        // Right in everything but whose it is.
        NoticeKind::Nack { nack: nack.sign(&somebody).unwrap() }
    };
    let forged = broker::invent_end(pair.lab.proxy(), alpha, nack);
    pair.send(1).await;
    pair.read(1).await;
    forged.happened().await.unwrap();
    pair.send(1).await;
    pair.settled("m-3").await;
    let state = pair.state("m-2").await;
    assert_eq!(state, MessageState::Accepted, "neither refused nor, its receipt being lost, delivered");
}

#[tokio::test]
async fn an_end_that_only_the_broker_can_know_of_is_shown_as_its_word() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let alpha = pair.lab.id("alpha");
    let ends = [
        ("m-2", NoticeKind::Expired, MessageState::Expired),
        ("m-3", NoticeKind::RevokedRecipient, MessageState::Dead),
    ];
    for (id, kind, state) in ends {
        let invented = broker::invent_end(pair.lab.proxy(), alpha, move |_| kind.clone());
        pair.send(1).await;
        pair.read(1).await;
        invented.happened().await.unwrap();
        let status = pair.settled(id).await;
        assert_eq!((status.state, status.history.last().unwrap().by), (state, Voucher::Broker), "{id}");
    }
    pair.send(1).await;
    pair.read(1).await;
    assert_eq!(pair.settled("m-4").await.state, MessageState::Delivered);
}

#[tokio::test]
async fn a_login_number_given_twice_is_not_taken_and_mail_goes_on() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let repeated = broker::repeat_login(pair.lab.proxy(), pair.lab.id("beta"), 1);
    pair.lab.proxy().cut_links();
    repeated.happened().await.unwrap();
    pair.send(1).await;
    pair.read(1).await;
    pair.conclude().await;
    // With it, this state would have been stale itself.
    assert!(pair.lab.process("beta").log().contains("calls this login 1"));
    pair.lab.stop("beta").await.unwrap();
    pair.lab.restart("beta").await.unwrap();
    pair.lab.linked("beta").await.unwrap();
}

#[tokio::test]
async fn a_copy_that_the_broker_made_up_is_told_and_stops_nothing() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let (alpha, beta) = (pair.lab.id("alpha"), pair.lab.id("beta"));
    let invented = broker::invent_copy(pair.lab.proxy(), alpha, "sent", beta);
    pair.send(1).await;
    invented.happened().await.unwrap();
    assert_eq!(told(&pair.lab, "alpha", "node_duplicated").await, Some(beta));
    pair.conclude().await;
}

/// The prekey that the next envelope to a hostile member was sealed for.
async fn prekey_used(mallory: &mut Member) -> PrekeyId {
    let delivered = mallory.envelope().await.unwrap();
    let envelope = Envelope::decode(&delivered.env).unwrap();
    let receipt = Settlement::Receipt(Receipt::from_bytes([0; 16]));
    mallory.settle(delivered.n, receipt).await.unwrap();
    Opening::peek(envelope.opening.as_ref().unwrap()).unwrap().prekey
}

#[tokio::test]
async fn an_older_prekey_than_a_sender_has_seen_is_not_used_again() {
    let mut pair = Pair::start().await;
    let mut mallory = hostile(&pair.lab, &["alpha", "beta"]).await;
    let to_mallory = pair.lab.sender("alpha", &Recorder::default());
    let first = mallory.publish(None).await.unwrap();
    to_mallory.send("mallory", "first", WITHIN).await.unwrap();
    assert_eq!(prekey_used(&mut mallory).await, first);
    let second = mallory.publish(Some(first)).await.unwrap();
    pair.lab.restart("alpha").await.unwrap();
    to_mallory.send("mallory", "second", WITHIN).await.unwrap();
    assert_eq!(prekey_used(&mut mallory).await, second);
    let _older = broker::show_old_prekeys(pair.lab.proxy(), pair.lab.id("alpha"));
    pair.lab.restart("alpha").await.unwrap();
    to_mallory.send("mallory", "third", WITHIN).await.unwrap();
    assert_eq!(prekey_used(&mut mallory).await, second, "it was shown the first");
    assert!(pair.lab.process("alpha").log().contains("shows an older prekey"));
}

#[tokio::test]
async fn a_revoked_members_mail_is_refused_by_a_node_that_knows_though_the_broker_delivers_it() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let beta = pair.lab.id("beta");
    let mut mallory = hostile(&pair.lab, &["alpha", "beta"]).await;
    // A letter from before, which the broker keeps; beta sees a damaged one.
    let (keep, kept) = tokio::sync::oneshot::channel();
    let damaged = pair.lab.proxy().rewrite_next(When::envelope(beta), move |frame| {
        let mut keep = Some(keep);
        change(frame, |envelope| {
            if let Some(keep) = keep.take() {
                keep.send(envelope.clone()).unwrap();
            }
            envelope.env = flip(&envelope.env, envelope.env.len() - 1).into();
        })
    });
    let letter = mallory.letter(beta);
    mallory.send(beta, &letter, 0).await.unwrap();
    damaged.happened().await.unwrap();
    let kept = kept.await.unwrap();
    pair.lab.json("alpha", &["revoke", "mallory", "--yes"]).await.unwrap();
    let client = pair.lab.client("beta");
    let knows = async || (client.health().await.ok()?.meshes[0].members == 2).then_some(());
    waxwing_lab::eventually(WITHIN, "beta knows", knows).await.unwrap();
    let moved = pair.lab.proxy().rewrite_next(When::envelope(beta), move |frame| {
        change(frame, |envelope| {
            let n = envelope.n;
            *envelope = kept.clone();
            envelope.n = n;
        })
    });
    pair.send(1).await;
    moved.happened().await.unwrap();
    pair.send(1).await;
    pair.settled("m-3").await;
    let shown = pair.reader.reread().await.unwrap();
    assert!(shown.iter().all(|item| !item.client_message_id.as_str().starts_with("hostile")));
    assert!(pair.lab.process("beta").log().contains("unknown_sender"));
}

#[tokio::test]
async fn a_member_who_lies_about_its_counters_disturbs_only_its_own_lane() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let beta = pair.lab.id("beta");
    let mut mallory = hostile(&pair.lab, &["alpha", "beta"]).await;
    let mut record = pair.lab.reader("beta", &Recorder::default());
    // What is declared void comes, what was seen comes again under another id, and the highest there is comes first.
    let mut void = mallory.letter(beta);
    (void.counter, void.void) = (3, vec![CounterRange::new(1, 2).unwrap()]);
    let mut declared = mallory.letter(beta);
    declared.counter = 1;
    let mut again = mallory.letter(beta);
    again.counter = 3;
    let mut highest = mallory.letter(beta);
    (highest.counter, highest.void) = (u64::MAX, vec![CounterRange::new(4, u64::MAX - 1).unwrap()]);
    let mut next = mallory.letter(beta);
    next.counter = u64::MAX;
    for letter in [&void, &declared, &again, &highest, &next] {
        assert!(matches!(mallory.send(beta, letter, 0).await.unwrap(), Outcome::Accepted { .. }));
    }
    let read = record.read(6, WITHIN).await.unwrap();
    let late = read.iter().filter(|item| item.late).count();
    assert_eq!(late, 3, "{read:?}");
    assert_eq!(told(&pair.lab, "beta", "sequence_replay").await, Some(mallory.node()));
    pair.send(2).await;
    pair.reader.read(7, WITHIN).await.unwrap();
    pair.settled("m-3").await;
}

#[tokio::test]
async fn boxes_of_a_member_that_do_not_open_are_refused_and_cost_others_nothing() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let (alpha, beta) = (pair.lab.id("alpha"), pair.lab.id("beta"));
    let mut mallory = hostile(&pair.lab, &["alpha", "beta"]).await;
    let mut damaged = mallory.letter(beta);
    damaged.damaged = true;
    let mut unopened = mallory.letter(beta);
    unopened.without_opening = true;
    let mut anothers = mallory.letter(beta);
    anothers.to = alpha;
    let refused = [
        (damaged, NackReason::BadSeal),
        (unopened, NackReason::UnknownSession),
        (anothers, NackReason::BadSeal),
    ];
    for (letter, reason) in refused {
        let id = mallory.wire_id(&letter.id).unwrap();
        mallory.send(beta, &letter, 0).await.unwrap();
        assert_eq!(mallory.refusal(beta, id).await.unwrap(), reason, "{letter:?}");
    }
    assert_eq!(told(&pair.lab, "beta", "bad_seal").await, Some(mallory.node()));
    assert!(alarms(&pair.lab, "beta").await.is_empty());
    pair.send(1).await;
    pair.conclude().await;
}

#[tokio::test]
async fn what_no_app_may_write_is_refused_from_a_member_and_not_shown_with_something_left_out() {
    let pair = Pair::start().await;
    let beta = pair.lab.id("beta");
    let mut mallory = hostile(&pair.lab, &["alpha", "beta"]).await;
    let mut refused = Vec::new();
    for meta in ["{", "[1]", "null", "{\"a\":1e999}", "{\"a\":\"\\ud800\"}", "{} {}"] {
        refused.push(Letter { meta: meta.into(), ..mallory.letter(beta) });
    }
    // One that no list could be read with.
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(120), "]".repeat(120));
    refused.push(Letter { meta: deep.into(), ..mallory.letter(beta) });
    refused.push(Letter { meta: b"{\"a\":\"\xff\"}".as_slice().into(), ..mallory.letter(beta) });
    for content_type in [String::new(), "x".repeat(256), "text/\u{1b}[2Jplain".to_owned()] {
        refused.push(Letter { content_type, ..mallory.letter(beta) });
    }
    for thread in [String::new(), "x".repeat(129)] {
        refused.push(Letter { thread: Some(thread), ..mallory.letter(beta) });
    }
    for letter in refused {
        let id = mallory.wire_id(&letter.id).unwrap();
        mallory.send(beta, &letter, 0).await.unwrap();
        assert_eq!(mallory.refusal(beta, id).await.unwrap(), NackReason::UnsupportedVersion, "{letter:?}");
    }
    let shown = pair.lab.client("beta").inbox(&Default::default()).await.unwrap().items;
    assert!(shown.is_empty(), "{shown:?}");
}

#[tokio::test]
async fn a_receipt_for_what_was_not_opened_is_not_believed() {
    let pair = Pair::start().await;
    let mut mallory = hostile(&pair.lab, &["alpha", "beta"]).await;
    mallory.publish(None).await.unwrap();
    let to_mallory = pair.lab.sender("alpha", &Recorder::default());
    to_mallory.send("mallory", "unread", WITHIN).await.unwrap();
    // It has thrown the secret of its prekey away, so that it cannot have opened anything.
    prekey_used(&mut mallory).await;
    // When the same receipt has come once more, the first has been looked at.
    to_mallory.send("mallory", "another", WITHIN).await.unwrap();
    prekey_used(&mut mallory).await;
    let log = async || {
        let log = std::fs::read_to_string(pair.lab.folder().join("alpha.log")).ok()?;
        (log.matches("a receipt does not verify").count() == 2).then_some(())
    };
    waxwing_lab::eventually(WITHIN, "alpha has looked at both", log).await.unwrap();
    assert_eq!(pair.state("unread").await, MessageState::Accepted);
}

#[tokio::test]
async fn entries_that_a_member_may_not_write_are_in_nobodys_log() {
    let pair = Pair::start().await;
    let mut mallory = hostile(&pair.lab, &["alpha", "beta"]).await;
    let (alpha, beta) = (pair.lab.id("alpha"), pair.lab.id("beta"));
    let revoke = Revoke { target: Target::Node(alpha), reason: "mine".parse().unwrap(), epoch: None };
    let bodies = [
        Body::Grant(Grant { node: mallory.node(), role: Role::Admin }),
        Body::Revoke(revoke),
        Body::Leave(Leave { node: beta }),
        Body::Resume(Resume { head: mallory.roster.head() }),
    ];
    for body in bodies {
        let entry = mallory.entry(body);
        let answer = mallory.append(entry.clone()).await.unwrap();
        assert!(answer.is_err(), "{:?} was appended", entry.parse());
    }
    let peers = pair.lab.client("beta").peers(&waxwing_client::api::MeshQuery::default()).await.unwrap();
    let roles: Vec<_> = peers.peers.iter().map(|peer| (peer.node.as_str(), peer.role)).collect();
    assert_eq!(roles, [("alpha", Role::Admin), ("beta", Role::Member), ("mallory", Role::Member)]);
}

#[tokio::test]
async fn what_a_member_does_wrong_ends_its_link_with_a_reason_and_is_logged_once() {
    let pair = Pair::start().await;
    let mut mallory = hostile(&pair.lab, &["alpha", "beta"]).await;
    let log = || std::fs::read_to_string(pair.lab.folder().join("broker.log")).unwrap_or_default();
    for times in 1..=3 {
        // It settles what was never delivered.
        mallory.settle(99, Settlement::Receipt(Receipt::from_bytes([7; 16]))).await.unwrap();
        assert!(mallory.envelope().await.is_err(), "its link has ended");
        mallory.login().await.unwrap();
        let lines = async || {
            let log = log();
            let lines: Vec<_> = log.lines().filter(|line| line.contains("protocol_violation")).collect();
            (lines.len() >= times).then(|| lines.join("\n"))
        };
        let lines = waxwing_lab::eventually(WITHIN, "it is logged", lines).await.unwrap();
        assert_eq!(lines.lines().count(), times, "{lines}");
        assert!(lines.contains("the node has a bug"), "{lines}");
    }
}
