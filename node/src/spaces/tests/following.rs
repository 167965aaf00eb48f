//! The copy and the lane, with an honest broker.

use waxwing_sqlite::Options;

use super::*;

#[tokio::test]
async fn what_is_written_is_read_and_the_copy_is_there_without_a_link_and_after_a_restart() {
    let broker = Broker::new();
    let mut node = Node::new().await;
    assert_eq!(node.change(put("a", "1")).await, Err(NotWritten::Offline));
    node.link(&broker);
    let seq = node.applied(put("a", "1")).await;
    assert_eq!(
        node.change(put_if("a", "2", Condition::Absent)).await,
        Ok(ChangeOutcome::Conflict { seq: Some(seq) })
    );
    node.applied(put_if("a", "2", Condition::Seq(seq))).await;
    let first = node.applied(append("list", "x")).await;
    node.applied(append("list", "y")).await;
    node.applied(delete("list", Some(first))).await;
    assert_eq!(node.has().await, [pair("a", "2"), pair("list", "y")]);
    let entry = node.space.under(&node.mesh, &key("a")).await.unwrap().remove(0);
    assert_eq!((entry.version, entry.writer), (2, node.mesh.identity.node));
    node.unlink().await;
    assert!(!node.space.freshness().borrow().complete && node.space.freshness().borrow().as_of.is_some());
    assert_eq!(node.has().await, [pair("a", "2"), pair("list", "y")]);
    assert_eq!(node.change(put("a", "3")).await, Err(NotWritten::Offline));
    assert!(node.alarms().await.is_empty());
}

#[tokio::test]
async fn a_copy_catches_up_from_where_it_was_page_by_page() {
    let broker = Broker::new();
    broker.space().page = 3;
    let mut node = Node::new().await;
    node.link(&broker);
    for n in 0..10 {
        node.applied(append("list", &n.to_string())).await;
    }
    node.unlink().await;
    let before = node.has().await;
    node.link(&broker);
    let last = broker.space().last;
    node.complete(last).await;
    assert_eq!(node.has().await, before);
    assert!(node.alarms().await.is_empty());
}

#[tokio::test]
async fn what_comes_and_goes_while_a_commit_is_under_way_is_gone_and_so_is_what_it_replaced() {
    let broker = Broker::new();
    let mut node = Node::new().await;
    node.link(&broker);
    node.applied(put("a", "1")).await;
    let told = async |place| {
        let mut asked = broker.space().asked.subscribe();
        timeout(PATIENCE, asked.wait_for(|asked| *asked >= place)).await.expect("it is told").unwrap();
    };
    let committing = node.space.committing.lock().await;
    let (when, value) = (Condition::Any, Bytes::from_static(b"2"));
    let brief =
        DraftChange::Put { key: key("a"), own: false, when, ttl: Some(1_000_000), bound: None, value };
    for change in [put("first", "1"), brief] {
        let ChangeOutcome::Applied { seq } = node.change(change).await.unwrap() else {
            panic!("not applied")
        };
        told(seq).await;
    }
    broker.does(|space| space.pass(2_000_000));
    let ended = broker.space().last;
    told(ended).await;
    drop(committing);
    node.complete(ended).await;
    assert_eq!(node.has().await, [pair("first", "1")]);
    assert!(node.alarms().await.is_empty());
}

#[tokio::test]
async fn a_change_whose_answer_was_lost_is_made_once_and_answered_on_the_next_link() {
    let broker = Broker::new();
    let mut node = Node::new().await;
    node.link(&broker);
    node.applied(append("list", "first")).await;
    broker.space().deaf = 1;
    let (space, mesh) = (Arc::clone(&node.space), Arc::clone(&node.mesh));
    let written = tokio::spawn(async move {
        let drafts = vec![Draft { id: None, app: None, change: append("list", "second") }];
        space.write(&mesh, drafts).await
    });
    timeout(PATIENCE, node.space.reached(1_002)).await.expect("it is made");
    node.unlink().await;
    node.link(&broker);
    let outcomes = timeout(PATIENCE, written).await.expect("it is answered").unwrap().unwrap();
    assert_eq!(outcomes, [ChangeOutcome::Applied { seq: 1_002 }]);
    assert_eq!(node.has().await, [pair("list", "first"), pair("list", "second")]);
}

#[tokio::test]
async fn a_store_that_is_lost_is_given_back_what_it_had_and_bound_records_are_not() {
    let broker = Broker::new();
    let mut node = Node::new().await;
    node.link(&broker);
    node.applied(put("a", "1")).await;
    node.applied(append("list", "x")).await;
    node.applied(put("gone", "1")).await;
    node.applied(delete("gone", None)).await;
    let value = Bytes::from_static(b"here");
    let bound = DraftChange::Put {
        key: key("me"),
        own: true,
        when: Condition::Any,
        ttl: None,
        bound: Some(0),
        value,
    };
    node.applied(bound).await;
    node.unlink().await;
    broker.loses_all();
    let start = broker.space().last;
    node.link(&broker);
    node.complete(start + 3).await;
    let mut has = node.has().await;
    has.sort();
    assert_eq!(has, [pair("a", "1"), pair("list", "x")]);
    assert_eq!(broker.space().records().count(), 2);
    assert!(broker.space().changes.iter().any(|change| {
        matches!(&change.what, waxwing_protocol::link::What::Deleted(deleted) if deleted.offered)
    }));
    node.applied(put("a", "2")).await;
    assert!(node.alarms().await.is_empty(), "{:?}", node.alarms().await);
}

#[tokio::test]
async fn a_copy_that_is_too_old_is_begun_anew_and_is_the_same() {
    let broker = Broker::new();
    let mut node = Node::new().await;
    node.link(&broker);
    node.applied(put("a", "1")).await;
    node.applied(put("b", "1")).await;
    node.unlink().await;
    broker.does(|space| {
        let seq = space.records().next().unwrap().seq;
        space.forget_record(seq); // Deleted, and the tombstone is forgotten.
        space.last += 10;
        space.horizon = space.last;
    });
    node.link(&broker);
    let last = broker.space().last;
    node.complete(last).await;
    assert_eq!(node.has().await, [pair("b", "1")]);
    assert!(node.alarms().await.is_empty(), "{:?}", node.alarms().await);
}

#[tokio::test]
async fn a_record_that_is_damaged_on_the_disk_is_told_once_and_the_others_are_read() {
    let broker = Broker::new();
    let mut node = Node::new().await;
    node.link(&broker);
    for name in ["a", "b", "c"] {
        node.applied(put(name, "1")).await;
    }
    node.unlink().await;
    let damage = "UPDATE space_record SET sealed = (SELECT sealed FROM space_record ORDER BY seq LIMIT 1)
                  WHERE seq = (SELECT min(seq) + 1 FROM space_record)";
    let path = Home::new(node.folder.path().to_path_buf()).mesh(&"home".parse().unwrap()).join("node.db");
    let mut db = Options::new(&path).open().unwrap();
    assert_eq!(waxwing_sqlite::query(damage).execute(&mut db).await.unwrap(), 1);
    for _ in 0..2 {
        assert_eq!(node.has().await, [pair("a", "1"), pair("c", "1")]);
    }
    let told = events::list(&node.mesh.db, 0, None, 100).await.unwrap();
    let told = told
        .iter()
        .filter(|event| matches!(&event.body, EventBody::System { what } if what == "space_damaged"));
    assert_eq!(told.count(), 1);
}

#[tokio::test]
async fn renewals_and_ends_are_news_and_change_the_copy() {
    let broker = Broker::new();
    let mut node = Node::new().await;
    node.link(&broker);
    let mut news = node.space.news();
    let value = Bytes::from_static(b"1");
    let lasting =
        DraftChange::Append { key: key("lease"), if_empty: true, ttl: Some(60_000), bound: Some(0), value };
    let seq = node.applied(lasting.clone()).await;
    assert_eq!(node.change(lasting.clone()).await, Ok(ChangeOutcome::Conflict { seq: Some(seq) }));
    let touch = DraftChange::Touch { seqs: vec![seq], ttl: 90_000 };
    assert_eq!(node.change(touch).await, Ok(ChangeOutcome::Touched { gone: Vec::new() }));
    broker.does(|space| space.end(seq, EndedBy::Lease, 0));
    let last = broker.space().last;
    node.complete(last).await;
    assert!(node.has().await.is_empty());
    node.applied(lasting).await;
    let mut facts = Vec::new();
    while facts.len() < 4 {
        facts.extend(timeout(PATIENCE, news.recv()).await.expect("there is news").unwrap().facts.clone());
    }
    let Fact::Touched { seq: touched, .. } = facts[1] else { panic!("{facts:?}") };
    let Fact::Gone { seq: gone, why, .. } = facts[2] else { panic!("{facts:?}") };
    assert_eq!((touched, gone, why), (seq, seq, Gone::Ended(EndedBy::Lease)));
    assert!(matches!((&facts[0], &facts[3]), (Fact::Set(first), Fact::Set(_)) if first.seq == seq));
    assert!(node.alarms().await.is_empty(), "{:?}", node.alarms().await);
}

#[tokio::test]
async fn what_is_shown_page_by_page_is_not_held_against_what_stood_between_them() {
    let broker = Broker::new();
    let mut nodes = Node::members(2).await;
    nodes.iter_mut().for_each(|node| node.link(&broker));
    let seq = nodes[0].applied(put("a", "1")).await;
    nodes[1].complete(seq).await;
    nodes[1].unlink().await;
    nodes[0].applied(delete("a", None)).await;
    nodes[0].applied(put("b", "1")).await;
    // Its condition holds; that it does is not shown any more.
    let last = nodes[0].applied(put_if("a", "2", Condition::Absent)).await;
    broker.space().page = 1;
    nodes[1].link(&broker);
    nodes[1].complete(last).await;
    assert_eq!(nodes[1].has().await, [pair("b", "1"), pair("a", "2")]);
    assert!(nodes[1].alarms().await.is_empty(), "{:?}", nodes[1].alarms().await);
}

#[tokio::test]
async fn what_is_committed_is_told_whenever_a_link_is_cut() {
    let broker = Broker::new();
    let mut nodes = Node::members(2).await;
    nodes[0].link(&broker);
    let mut news = nodes[1].space.news();
    let mut seen = Vec::new();
    for moment in 0..60 {
        nodes[0].applied(append("list", &moment.to_string())).await;
        nodes[1].link(&broker);
        for _ in 0..moment {
            tokio::task::yield_now().await;
        }
        nodes[1].unlink().await;
        while let Ok(page) = news.try_recv() {
            seen.extend(page.facts.clone());
        }
    }
    nodes[1].link(&broker);
    let last = broker.space().last;
    nodes[1].complete(last).await;
    while let Ok(page) = news.try_recv() {
        seen.extend(page.facts.clone());
    }
    let told: Vec<_> = seen
        .iter()
        .filter_map(|fact| if let Fact::Set(entry) = fact { Some(entry.seq) } else { None })
        .collect();
    let has: Vec<_> =
        nodes[1].space.entries(&nodes[1].mesh).await.unwrap().iter().map(|entry| entry.seq).collect();
    assert_eq!(told, has);
}

#[tokio::test]
async fn what_a_lost_store_had_made_and_not_answered_is_there_once() {
    let broker = Broker::new();
    let mut node = Node::new().await;
    node.link(&broker);
    node.applied(put("a", "1")).await;
    let start = broker.space().last;
    broker.space().deaf = 1;
    let (mesh, space) = (Arc::clone(&node.mesh), Arc::clone(&node.space));
    let change = Draft { id: None, app: None, change: append("list", "x") };
    let writing = tokio::spawn(async move { space.write(&mesh, vec![change]).await });
    node.complete(start + 1).await; // It comes back, and its answer does not.
    node.unlink().await;
    broker.loses_all();
    let start = broker.space().last;
    node.link(&broker);
    assert_eq!(writing.await.unwrap(), Err(NotWritten::Unanswered));
    node.complete(start + 2).await;
    let mut has = node.has().await;
    has.sort();
    assert_eq!(has, [pair("a", "1"), pair("list", "x")]);
    assert_eq!(broker.space().records().count(), 2);
    assert!(node.alarms().await.is_empty(), "{:?}", node.alarms().await);
}

#[tokio::test]
async fn what_is_written_right_after_a_loss_is_not_replaced_by_what_was_there_before() {
    let broker = Broker::new();
    let mut node = Node::new().await;
    node.link(&broker);
    for value in ["1", "2", "3"] {
        node.applied(put("a", value)).await;
    }
    node.applied(put("b", "1")).await;
    node.unlink().await;
    broker.loses_all();
    let start = broker.space().last;
    node.link(&broker);
    assert_eq!(node.change(put("a", "4")).await, Ok(ChangeOutcome::Applied { seq: start + 1 }));
    node.complete(start + 2).await;
    let mut has = node.has().await;
    has.sort();
    assert_eq!(has, [pair("a", "4"), pair("b", "1")]);
}

#[tokio::test]
async fn what_was_replaced_by_something_that_has_ended_is_gone_also_for_who_was_away() {
    let broker = Broker::new();
    let [mut one, mut other] = <[Node; 2]>::try_from(Node::members(2).await).map_err(drop).unwrap();
    let brief = |own, value| {
        let (when, value) = (Condition::Any, Bytes::from_static(value));
        DraftChange::Put { key: key("a"), own, when, ttl: Some(1_000), bound: None, value }
    };
    one.link(&broker);
    other.link(&broker);
    one.applied(put("a", "1")).await;
    let own = DraftChange::Put {
        key: key("a"),
        own: true,
        when: Condition::Any,
        ttl: None,
        bound: None,
        value: Bytes::from_static(b"own"),
    };
    let last = one.applied(own).await;
    other.complete(last).await;
    other.unlink().await;
    one.applied(brief(false, b"2")).await;
    one.applied(brief(true, b"own 2")).await;
    broker.does(|space| space.pass(60_000));
    assert_eq!(other.has().await, [pair("a", "1"), pair("a", "own")]);
    let mut news = other.space.news();
    other.link(&broker);
    let last = broker.space().last;
    other.complete(last).await;
    assert_eq!(other.has().await, []);
    let told = news.try_recv().unwrap();
    let gone = told.facts.iter().filter(|fact| matches!(fact, Fact::Gone { .. })).count();
    assert_eq!(gone, 2, "{told:?}");
    assert!(other.alarms().await.is_empty() && one.alarms().await.is_empty());
}

#[tokio::test]
async fn who_lags_behind_the_news_is_told_so_and_goes_on_from_the_copy() {
    let broker = Broker::new();
    let mut node = Node::new().await;
    node.link(&broker);
    let mut news = node.space.news();
    for n in 0..=NEWS {
        node.applied(append("list", &n.to_string())).await;
    }
    assert!(matches!(news.recv().await, Err(broadcast::error::RecvError::Lagged(_))));
    let mut news = node.space.news();
    assert_eq!(node.has().await.len(), NEWS + 1, "all of it is in the copy");
    let next = node.applied(put("a", "next")).await;
    let told = news.recv().await.unwrap();
    assert!(matches!(&told.facts[..], [Fact::Set(entry)] if entry.seq == next), "{told:?}");
}
