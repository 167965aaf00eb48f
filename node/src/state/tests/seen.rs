//! What is read and listed, with and without a link, and what apps are told.

use super::*;

#[tokio::test]
async fn without_a_link_reads_are_of_the_copy_and_say_how_old_it_is_and_nothing_is_written() {
    let broker = Broker::new();
    let mut hosts = Host::linked(&broker, 1).await;
    let mut host = hosts.remove(0);
    host.put("k", "1").await;
    host.node.unlink().await;
    let offline = |refused: Result<Done, Refusal>| {
        assert!(matches!(refused, Err(Refusal::NotWritten(NotWritten::Offline))), "{refused:?}");
    };
    offline(put(host.mesh(), &key("k"), &wish("2")).await);
    let (version, freshness) = find(host.mesh(), &key("k")).await.unwrap();
    assert!(value(&version) == "1" && !freshness.complete && freshness.as_of.is_some());
    let node = host.stopped().await.restarted().await;
    let mut host = Host::start(node);
    let page = host.list(all()).await;
    assert_eq!(page.entries.len(), 1);
    assert!(!page.freshness.complete && page.freshness.as_of.is_some(), "also before there is any link");
    offline(put(host.mesh(), &key("k"), &wish("2")).await);
    host.node.link(&broker);
    assert_eq!(host.put("k", "3").await.version.version, 2, "what was refused was not kept for later");
    let never = Host::start(Node::in_space(record::SPACE).await);
    let unknown = find(never.mesh(), &key("k")).await;
    assert!(matches!(unknown, Err(Refusal::NotWritten(NotWritten::Offline))), "{unknown:?}");
}

#[tokio::test]
async fn mt_49_keys_are_listed_by_prefix_and_category_page_by_page() {
    let broker = Broker::new();
    let hosts = Host::linked(&broker, 1).await;
    let host = &hosts[0];
    assert!(host.list(all()).await.entries.is_empty());
    for (text, category) in [
        ("a/1", Category::Decision),
        ("a/2", Category::Blocker),
        ("a/2", Category::Blocker),
        ("b", Category::Decision),
        ("a", Category::Context),
        ("ä", Category::Decision),
    ] {
        put(host.mesh(), &key(text), &Wish { category: Some(category), ..wish(text) }).await.unwrap();
    }
    let keys = async |asked: Asked| {
        let page = host.list(asked).await;
        let keys: Vec<_> = page.entries.iter().map(|(key, _)| key.as_str().to_owned()).collect();
        assert!(page.entries.iter().all(|(key, version)| value(version) == key.as_str()));
        (keys, page.next.map(|key| key.as_str().to_owned()))
    };
    assert_eq!(keys(all()).await.0, ["a", "a/1", "a/2", "b", "ä"]);
    assert_eq!(keys(Asked { prefix: "a/".into(), ..all() }).await.0, ["a/1", "a/2"]);
    let decisions = Asked { category: Some(Category::Decision), ..all() };
    assert_eq!(keys(decisions.clone()).await, (vec!["a/1".into(), "b".into(), "ä".into()], None));
    let first = keys(Asked { limit: 2, ..decisions.clone() }).await;
    assert_eq!(first, (vec!["a/1".into(), "b".into()], Some("b".into())));
    assert_eq!(keys(Asked { after: Some(key("b")), limit: 2, ..decisions }).await, (vec!["ä".into()], None));
    assert_eq!(keys(Asked { after: Some(key("a/1")), prefix: "a".into(), ..all() }).await.0, ["a/2"]);
}

#[tokio::test]
async fn each_change_is_told_once_at_every_node_and_what_came_while_a_node_was_down_when_it_is_back() {
    let broker = Broker::new();
    let mut hosts = Host::linked(&broker, 2).await;
    let (two, one) = (hosts.pop().unwrap(), hosts.pop().unwrap());
    // One after the other: of what comes together, the last is told.
    for (n, (host, text, value)) in
        [(&one, "a", "1"), (&two, "a", "2"), (&two, "gone", "1")].into_iter().enumerate()
    {
        host.put(text, value).await;
        one.is_told(n + 1).await;
        two.is_told(n + 1).await;
    }
    let expected = [set("a", 1), set("a", 2), set("gone", 1)];
    assert_eq!(one.is_told(3).await, expected);
    assert_eq!(two.is_told(3).await, expected);
    let mut node = two.stopped().await;
    node.unlink().await;
    one.put("a", "3").await;
    one.put("new", "1").await;
    delete(one.mesh(), &key("gone"), When::Any, &which("ci").name).await.unwrap();
    let mut two = Host::start(node.restarted().await);
    two.node.link(&broker);
    two.shows("new", Some("1")).await;
    let told: BTreeSet<_> = two.is_told(6).await[3..].iter().map(|told| format!("{told:?}")).collect();
    let gone = (KvChange::Deleted, "gone".to_owned(), None);
    let expected = [set("a", 3), set("new", 1), gone].map(|told| format!("{told:?}"));
    assert_eq!(told, BTreeSet::from(expected));
    // Neither a restart nor a loss of the store, after which everything is handed back, is news.
    let node = two.stopped().await.restarted().await;
    let mut two = Host::start(node);
    two.node.link(&broker);
    current(two.mesh()).await.unwrap();
    two.node.unlink().await;
    let mut one = one;
    one.node.unlink().await;
    broker.loses_all();
    one.node.link(&broker);
    two.node.link(&broker);
    two.put("last", "1").await;
    assert_eq!(two.is_told(7).await[6..], [set("last", 1)]);
    assert_eq!(two.get("a").await.as_deref(), Some("3"));
}

#[tokio::test]
async fn a_key_with_a_ttl_ends_by_itself_and_its_history_with_it() {
    let broker = Broker::new();
    let hosts = Host::linked(&broker, 2).await;
    let [one, two] = [&hosts[0], &hosts[1]];
    for value in ["1", "2", "3"] {
        put(one.mesh(), &key("k"), &Wish { ttl: Some(60_000), ..wish(value) }).await.unwrap();
    }
    two.shows("k", Some("3")).await;
    assert_eq!(two.history("k").await.len(), 3);
    assert!(find(two.mesh(), &key("k")).await.unwrap().0.expires.is_some());
    broker.does(|space| space.pass(61_000));
    for host in &hosts {
        host.shows("k", None).await;
        let expired = (KvChange::Expired, "k".to_owned(), None);
        let mut told = host.told().await;
        while told.last() != Some(&expired) {
            told = host.is_told(told.len() + 1).await;
        }
    }
    assert_eq!(broker.space().records().count(), 0);
    let first = put(two.mesh(), &key("k"), &Wish { when: When::Absent, ..wish("anew") }).await.unwrap();
    assert_eq!(first.state, KvState::Created);
}
