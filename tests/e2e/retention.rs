//! What is over goes after a while, a repeat stays a repeat, and an outbox that fills up says so.

use waxwing_client::Error;
use waxwing_client::api::{
    AckRequest, Event, EventBody, EventQuery, InboxQuery, MeshQuery, MessageState, ProblemCode,
};
use waxwing_lab::apps::request;
use waxwing_lab::{Lab, eventually};

use crate::metrics::{sample, shows};
use crate::support::{Pair, WITHIN};

/// Has a node that runs go on with these settings.
async fn set(lab: &mut Lab, node: &str, settings: &str) {
    std::fs::write(lab.state(node).join("config.toml"), settings).unwrap();
    lab.stop(node).await.unwrap();
    lab.restart(node).await.unwrap();
}

#[tokio::test]
async fn a_message_pruned_at_both_ends_is_a_duplicate_when_its_app_sends_it_again() {
    let mut pair = Pair::start().await;
    set(&mut pair.lab, "alpha", "sent_days = 0").await;
    set(&mut pair.lab, "beta", "inbox_days = 0").await;
    pair.warm_up().await;
    let (alpha, beta) = (pair.lab.client("alpha"), pair.lab.client("beta"));
    let all = InboxQuery { after: Some(0), app: Some("*".into()), ..InboxQuery::default() };
    let first = async || beta.inbox(&all).await.unwrap().items.first().map(|item| item.id);
    let cursor = eventually(WITHIN, "beta has it", first).await.unwrap();
    beta.ack(&AckRequest { ids: Some(vec![cursor]), ..AckRequest::default() }).await.unwrap();
    // The next look is a minute away, but for a node that starts.
    pair.lab.restart("alpha").await.unwrap();
    pair.lab.restart("beta").await.unwrap();
    let gone = async || beta.inbox(&all).await.ok()?.items.is_empty().then_some(());
    eventually(WITHIN, "the read message is deleted", gone).await.unwrap();
    let mesh = MeshQuery::default();
    let wiped = async || alpha.outbox_row(1, &mesh).await.ok()?.wiped.then_some(());
    eventually(WITHIN, "the content of the delivered message is wiped", wiped).await.unwrap();

    let again = alpha.send(&request("beta", "m-1").unwrap()).await.unwrap();
    assert!(again.duplicate && again.state == MessageState::Delivered, "{again:?}");
    let mut other = request("beta", "m-1").unwrap();
    other.body = Some("something else".into());
    let Err(Error::Problem(refused)) = alpha.send(&other).await else { panic!("the id is taken") };
    assert_eq!(refused.code, ProblemCode::IdempotencyKeyReused);
    let shown = pair.lab.run("alpha", &["node", "outbox", "show", "1"], b"").await.unwrap().stdout;
    assert!(shown.contains("no longer kept"), "{shown}");
    pair.send(1).await;
    pair.settled("m-2").await;
    let left = beta.inbox(&all).await.unwrap().items;
    assert_eq!(left.iter().map(|item| item.client_message_id.as_str()).collect::<Vec<_>>(), ["m-2"]);
}

/// What a node has told every app of its outbox, until it has told so much.
async fn told(lab: &Lab, node: &str, count: usize) -> Vec<String> {
    let query = EventQuery {
        after: Some(0),
        app: Some("*".into()),
        kind: Some("system".into()),
        ..EventQuery::default()
    };
    let mut events = lab.client(node).events(&query).await.unwrap();
    let mut told = Vec::new();
    while told.len() < count {
        let Event { body, .. } =
            tokio::time::timeout(WITHIN, events.next()).await.expect("it is told").unwrap();
        if let EventBody::System { what } = body
            && what.starts_with("outbox_")
        {
            told.push(what);
        }
    }
    told
}

#[tokio::test]
async fn an_outbox_that_fills_up_says_so_once_and_again_after_it_was_emptied() {
    let mut pair = Pair::start().await;
    set(&mut pair.lab, "alpha", "outbox_messages = 5").await;
    pair.warm_up().await;
    for round in 0..2_usize {
        pair.lab.kill(Lab::BROKER).await.unwrap();
        pair.send(3).await;
        assert_eq!(sample(&pair.lab, "alpha", "outbox_used_percent", "").await, 60.0);
        pair.send(1).await;
        let high = [&["outbox_high", "outbox_low"].repeat(round)[..], &["outbox_high"]].concat();
        assert_eq!(told(&pair.lab, "alpha", high.len()).await, high);
        pair.send(1).await;
        assert_eq!(sample(&pair.lab, "alpha", "outbox_used_percent", "").await, 100.0);
        let id = format!("too-much-{round}");
        let Err(Error::Problem(full)) = pair.lab.client("alpha").send(&request("beta", &id).unwrap()).await
        else {
            panic!("there is no room")
        };
        assert_eq!((full.code, full.status), (ProblemCode::OutboxFull, 507));
        let status = pair.lab.run("alpha", &["node", "status"], b"").await.unwrap().stdout;
        assert!(status.contains("the outbox is 100 % full"), "{status}");
        pair.lab.restart(Lab::BROKER).await.unwrap();
        shows(&pair.lab, "alpha", "outbox_used_percent", "", 0.0).await;
        assert_eq!(told(&pair.lab, "alpha", high.len() + 1).await.last().unwrap(), "outbox_low");
    }
    pair.conclude().await;
}
