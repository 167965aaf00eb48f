//! What a broker may try that keeps spaces for its own ends. It has the records, and can make none.

use waxwing_crypto::NodeId;
use waxwing_protocol::link::{EndedRecord, Record, What};

use super::*;

/// A node that follows a space in which it has made `a`, then `list`, then `a` anew.
async fn settled(broker: &Broker) -> Node {
    let mut node = Node::new().await;
    node.link(broker);
    node.applied(put("a", "1")).await;
    node.applied(append("list", "x")).await;
    node
}

fn record(broker: &Broker, at: usize) -> Record {
    broker.space().records().nth(at).unwrap().clone()
}

/// What the copy is, and what apps were told, once the broker has done its worst.
async fn after(node: &Node, broker: &Broker) -> (Vec<(String, String)>, Vec<String>) {
    let last = broker.space().last;
    node.complete(last).await;
    // Told after the commit: the next change comes behind it.
    node.applied(put("sign", "of life")).await;
    let has = node.has().await.into_iter().filter(|(key, _)| key != "sign").collect();
    let alarms = node.alarms().await;
    assert!(alarms.iter().all(|alarm| waxwing_protocol::api::SECURITY.contains(&alarm.as_str())));
    (has, alarms)
}

#[tokio::test]
async fn an_old_record_under_a_new_place_is_refused_as_a_replay() {
    let broker = Broker::new();
    let node = settled(&broker).await;
    let old = record(&broker, 0);
    node.applied(put("a", "2")).await;
    broker.does(|space| {
        let seq = space.last + 1;
        space.push(What::Record(Record { seq, ..old }));
    });
    let (has, alarms) = after(&node, &broker).await;
    assert_eq!(has, [pair("list", "x"), pair("a", "2")]);
    assert_eq!(alarms, ["space_replay"]);
}

#[tokio::test]
async fn an_appended_record_shown_twice_is_there_once_also_when_it_is_called_renewed_or_offered() {
    let broker = Broker::new();
    let node = settled(&broker).await;
    let old = record(&broker, 1);
    for (behind, offered) in [(1, false), (0, false), (1, true)] {
        broker.does(|space| {
            let seq = space.last + behind;
            space.push(What::Record(Record { seq, offered, ..old.clone() }));
        });
    }
    let (has, alarms) = after(&node, &broker).await;
    assert_eq!(has, [pair("a", "1"), pair("list", "x")]);
    assert!(!alarms.is_empty() && alarms.iter().all(|alarm| alarm == "space_replay"), "{alarms:?}");
}

#[tokio::test]
async fn a_record_moved_to_another_key_writer_or_way_of_standing_does_not_open() {
    let broker = Broker::new();
    let node = settled(&broker).await;
    node.applied(put("a", "2")).await;
    let a = record(&broker, 1);
    let elsewhere = [
        Record { key: record(&broker, 0).key, ..a.clone() },
        Record { writer: NodeId::from_bytes([9; 16]), ..a.clone() },
        Record { stands: Stands::Own, ..a.clone() },
        Record { expires: Some(Timestamp::from_millis(5)), ..a.clone() },
        Record { bound: Some(1), ..a.clone() },
        Record { sealed: Bytes::from_static(b"rubbish"), ..a.clone() },
    ];
    broker.does(|space| {
        for moved in elsewhere {
            let seq = space.last + 1;
            space.push(What::Record(Record { seq, ..moved }));
        }
    });
    let (has, alarms) = after(&node, &broker).await;
    assert_eq!(has, [pair("list", "x"), pair("a", "2")]);
    assert_eq!(alarms, ["space_forged"], "told once for all of a page");
}

#[tokio::test]
async fn a_record_that_has_no_end_cannot_be_ended_and_one_that_has_not_before_its_time() {
    let broker = Broker::new();
    let node = settled(&broker).await;
    let value = Bytes::from_static(b"1");
    let put = DraftChange::Put {
        key: key("b"),
        own: false,
        when: Condition::Any,
        ttl: Some(60_000),
        bound: None,
        value,
    };
    node.applied(put).await;
    let (a, b) = (record(&broker, 0), record(&broker, 2));
    let end = |record: &Record, why| {
        let Record { key, writer, stands: stood, seq, .. } = *record;
        What::Ended(EndedRecord { key, writer, stood, seq, why })
    };
    for what in [
        end(&a, EndedBy::Lifetime),
        end(&a, EndedBy::Lease),
        end(&b, EndedBy::Goodbye),
        end(&b, EndedBy::Lifetime),
    ] {
        broker.does(|space| space.push(what));
    }
    let (has, alarms) = after(&node, &broker).await;
    assert_eq!(has, [pair("a", "1"), pair("list", "x"), pair("b", "1")]);
    assert!(!alarms.is_empty() && alarms.iter().all(|alarm| alarm == "space_ended"), "{alarms:?}");
    let seq = b.seq;
    broker.does(|space| space.end(seq, EndedBy::Lifetime, 60_000));
    assert_eq!(after(&node, &broker).await.0, [pair("a", "1"), pair("list", "x")], "its time has come");
}

#[tokio::test]
async fn a_record_put_where_its_writer_wanted_nothing_is_refused() {
    let broker = Broker::new();
    let mut node = settled(&broker).await;
    broker.space().lawless = true;
    let seq = node.applied(put_if("a", "2", Condition::Absent)).await;
    assert_eq!(node.has().await, [pair("a", "1"), pair("list", "x")]);
    let list =
        DraftChange::Append { key: key("list"), if_empty: true, ttl: None, bound: None, value: Bytes::new() };
    node.applied(list).await;
    node.applied(put_if("a", "3", Condition::Seq(seq))).await;
    let (has, alarms) = after(&node, &broker).await;
    assert_eq!(has, [pair("a", "1"), pair("list", "x")]);
    assert!(alarms.len() == 3 && alarms.iter().all(|alarm| alarm == "space_condition"), "{alarms:?}");
    node.unlink().await;
}

#[tokio::test]
async fn a_space_that_goes_back_is_told_and_the_copy_stays() {
    let broker = Broker::new();
    let mut node = settled(&broker).await;
    node.unlink().await;
    broker.does(|space| {
        let _ = space.changes.pop();
        space.last -= 1;
    });
    node.link(&broker);
    let told = node.alarmed(|alarms| alarms.contains(&"space_rollback".to_owned()));
    timeout(PATIENCE, told).await.expect("apps are told");
    assert_eq!(node.has().await, [pair("a", "1"), pair("list", "x")]);
    assert!(!node.space.freshness().borrow().complete);
}
