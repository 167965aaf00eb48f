//! Shared state on several nodes, against a broker in memory: putting, comparing, deleting; `seen`: reading and being told.

mod seen;

use std::collections::BTreeSet;

use bytes::Bytes;
use tokio::task::JoinHandle;
use waxwing_crypto::space::Condition;
use waxwing_protocol::api::{Category, EventBody, KvChange, KvState};
use waxwing_protocol::limits;

use super::change::Done;
use super::read::Page;
use super::*;
use crate::apps::Which;
use crate::spaces::DraftChange;
use crate::spaces::tests::{Broker, Node, PATIENCE};
use crate::store::events;

/// A node on which state is used.
struct Host {
    node: Node,
    run: JoinHandle<()>,
}

impl Host {
    fn start(node: Node) -> Self {
        let mesh = Arc::clone(&node.mesh);
        let run = tokio::spawn(async move { run(&mesh).await.unwrap() });
        Self { node, run }
    }

    /// So many members, linked.
    async fn linked(broker: &Broker, count: usize) -> Vec<Self> {
        let nodes = Node::members_in_space(record::SPACE, count).await;
        let mut hosts: Vec<_> = nodes.into_iter().map(Self::start).collect();
        hosts.iter_mut().for_each(|host| host.node.link(broker));
        for host in &hosts {
            current(&host.node.mesh).await.unwrap();
        }
        hosts
    }

    async fn stopped(self) -> Node {
        self.run.abort();
        let _ = self.run.await;
        self.node
    }

    fn mesh(&self) -> &Mesh {
        &self.node.mesh
    }

    async fn put(&self, text: &str, value: &str) -> Done {
        put(self.mesh(), &key(text), &wish(value)).await.unwrap()
    }

    async fn get(&self, text: &str) -> Option<String> {
        match find(self.mesh(), &key(text)).await {
            Ok((version, _)) => Some(value(&version)),
            Err(Refusal::NotFound) => None,
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Waits until it shows that.
    async fn shows(&self, text: &str, value: Option<&str>) {
        let mut moved = self.mesh().state.moved.subscribe();
        let shows = async {
            while self.get(text).await.as_deref() != value {
                moved.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, shows).await.unwrap_or_else(|_| panic!("{text} becomes {value:?}"));
    }

    /// Versions and values, the newest first.
    async fn history(&self, text: &str) -> Vec<(u64, String)> {
        let (versions, _) = history(self.mesh(), &key(text)).await.unwrap();
        versions.iter().map(|version| (version.version, value(version))).collect()
    }

    async fn list(&self, asked: Asked) -> Page {
        list(self.mesh(), &asked).await.unwrap()
    }

    /// What apps were told: change, key, version.
    async fn told(&self) -> Vec<(KvChange, String, Option<u64>)> {
        let events = events::list(&self.mesh().db, 0, None, 1_000).await.unwrap();
        let told = |event: events::Event| {
            let EventBody::State { change, key, version, .. } = event.body else { return None };
            Some((change, key, version))
        };
        events.into_iter().filter_map(told).collect()
    }

    /// Waits until apps were told so much.
    async fn is_told(&self, count: usize) -> Vec<(KvChange, String, Option<u64>)> {
        let mut shown = self.mesh().signals.shown();
        let told = async {
            loop {
                shown.mark_unchanged();
                let told = self.told().await;
                if told.len() >= count {
                    return told;
                }
                shown.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, told).await.expect("apps are told")
    }
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

fn which(name: &str) -> Which {
    Which { name: name.parse().unwrap(), instance: None }
}

fn wish(value: &str) -> Wish {
    Wish {
        value: Bytes::copy_from_slice(value.as_bytes()),
        category: None,
        ttl: None,
        when: When::Any,
        by: which("ci"),
        request: None,
    }
}

fn value(version: &Version) -> String {
    String::from_utf8(version.says.value.to_vec()).unwrap()
}

fn all() -> Asked {
    Asked { prefix: String::new(), category: None, after: None, limit: 1_000 }
}

fn exactly(version: &Version) -> When {
    When::Exactly { version: version.version, seq: version.seq }
}

fn set(key: &str, version: u64) -> (KvChange, String, Option<u64>) {
    (KvChange::Set, key.to_owned(), Some(version))
}

#[tokio::test]
async fn mt_47_mt_53_mb_36_a_key_is_created_then_updated_and_both_authors_are_kept() {
    let broker = Broker::new();
    let hosts = Host::linked(&broker, 2).await;
    let [one, two] = [&hosts[0], &hosts[1]];
    let created = one.put("build", "red").await;
    assert_eq!((created.state, created.version.version), (KvState::Created, 1));
    assert_eq!(created.version.says.category, Category::Context, "where nothing was said");
    two.shows("build", Some("red")).await;
    let wish = Wish { category: Some(Category::Decision), by: which("deploy"), ..wish("green") };
    let updated = put(two.mesh(), &key("build"), &wish).await.unwrap();
    assert_eq!((updated.state, updated.version.version), (KvState::Updated, 2));
    assert!(updated.version.at >= created.version.at);
    one.shows("build", Some("green")).await;
    let (seen, _) = find(one.mesh(), &key("build")).await.unwrap();
    assert_eq!(seen, updated.version, "both nodes show the same");
    let says = &seen.says;
    assert_eq!(says.created_by.app.as_ref().unwrap().as_str(), "ci");
    assert_eq!((says.created_by.node, seen.by.node), (one.mesh().identity.node, two.mesh().identity.node));
    assert_eq!((seen.by.app.as_ref().unwrap().as_str(), says.category), ("deploy", Category::Decision));
    let kept = one.put("build", "blue").await;
    assert_eq!(kept.version.says.category, Category::Decision, "it stays what it was");
}

#[tokio::test]
async fn mb_36_of_writers_who_count_on_what_they_have_read_none_undoes_anothers_work() {
    const TIMES: u64 = 8;
    let broker = Broker::new();
    let hosts = Host::linked(&broker, 3).await;
    hosts[0].put("count", "0").await;
    for host in &hosts {
        host.shows("count", Some("0")).await;
    }
    let counts = hosts.iter().map(async |host| {
        let mut refused = 0;
        for _ in 0..TIMES {
            loop {
                let (version, _) = find(host.mesh(), &key("count")).await.unwrap();
                let next = value(&version).parse::<u64>().unwrap() + 1;
                let wish = Wish { when: exactly(&version), ..wish(&next.to_string()) };
                match put(host.mesh(), &key("count"), &wish).await {
                    Ok(_) => break,
                    Err(Refusal::Conflict(Some(_))) => refused += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
        refused
    });
    let refused: usize = futures_util::future::join_all(counts).await.into_iter().sum();
    let total = (TIMES * 3).to_string();
    for host in &hosts {
        host.shows("count", Some(&total)).await;
    }
    assert!(refused > 0, "they were in each other's way");
}

#[tokio::test]
async fn the_last_16_versions_are_kept_whoever_replaces_them_and_however_fast() {
    const EACH: u64 = 12;
    let broker = Broker::new();
    let hosts = Host::linked(&broker, 3).await;
    let puts = hosts.iter().enumerate().map(async |(n, host)| {
        let mut put = Vec::new();
        for time in 0..EACH {
            let value = format!("{n}-{time}");
            put.push((host.put("plan", &value).await.version.version, value));
        }
        put
    });
    let mut put: Vec<_> = futures_util::future::join_all(puts).await.into_iter().flatten().collect();
    put.sort();
    let versions: Vec<_> = put.iter().map(|(version, _)| *version).collect();
    assert_eq!(versions, (1..=3 * EACH).collect::<Vec<_>>(), "each has a number of its own");
    let last: Vec<_> = put.into_iter().rev().take(limits::STATE_VERSIONS).collect();
    for host in &hosts {
        host.shows("plan", Some(&last[0].1)).await;
        assert_eq!(host.history("plan").await, last);
        assert!(host.node.alarms().await.is_empty());
    }
}

#[tokio::test]
async fn what_must_stand_there_is_compared_exactly() {
    let broker = Broker::new();
    let hosts = Host::linked(&broker, 1).await;
    let host = &hosts[0];
    let refused = async |when: When| {
        let conflict = put(host.mesh(), &key("k"), &Wish { when, ..wish("no") }).await;
        let Err(Refusal::Conflict(there)) = conflict else { panic!("{when:?}: {conflict:?}") };
        there
    };
    for when in [When::Present, When::Version(1), When::Version(0), When::Exactly { version: 1, seq: 1_000 }]
    {
        assert_eq!(refused(when).await, None);
    }
    let first = put(host.mesh(), &key("k"), &Wish { when: When::Absent, ..wish("1") }).await.unwrap();
    let etag = Some(first.version.etag());
    let other = When::Exactly { version: 1, seq: first.version.seq - 1 };
    for when in [When::Absent, When::Version(2), other, When::Exactly { version: 2, seq: first.version.seq }]
    {
        assert_eq!(refused(when).await, etag);
    }
    for when in [When::Version(1), When::Present] {
        put(host.mesh(), &key("k"), &Wish { when, ..wish("more") }).await.unwrap();
    }
    assert!(matches!(refused(exactly(&first.version)).await, Some(there) if there.starts_with("3-")));
    let gone = delete(host.mesh(), &key("k"), When::Version(2), &which("ci").name).await;
    assert!(matches!(gone, Err(Refusal::Conflict(Some(_)))), "{gone:?}");
    assert_eq!(host.get("k").await.as_deref(), Some("more"));
}

#[tokio::test]
async fn mt_48_m_39_a_deleted_key_is_not_there_and_nothing_of_its_history_comes_back() {
    let broker = Broker::new();
    let hosts = Host::linked(&broker, 2).await;
    let [one, two] = [&hosts[0], &hosts[1]];
    for value in ["secret", "more", "most"] {
        one.put("k", value).await;
    }
    two.shows("k", Some("most")).await;
    delete(two.mesh(), &key("k"), When::Any, &which("ci").name).await.unwrap();
    assert_eq!(two.get("k").await, None, "whoever has deleted it sees that");
    one.shows("k", None).await;
    let missing = delete(one.mesh(), &key("k"), When::Any, &which("ci").name).await;
    assert!(matches!(missing, Err(Refusal::NotFound)), "{missing:?}");
    let again = one.put("k", "anew").await;
    assert_eq!((again.state, again.version.version), (KvState::Created, 5), "numbers go on");
    assert_eq!(one.history("k").await, [(5, "anew".to_owned())]);
    assert!(!broker.space().records().any(|record| record.seq < again.version.seq), "nothing else is kept");
}

#[tokio::test]
async fn a_request_that_is_repeated_is_made_once_also_where_its_answer_was_lost() {
    let broker = Broker::new();
    let mut hosts = Host::linked(&broker, 2).await;
    let (two, mut one) = (hosts.pop().unwrap(), hosts.pop().unwrap());
    let wish = Wish { request: Some("r-1".parse().unwrap()), ..wish("1") };
    broker.space().deaf = 1;
    let (mesh, lost) = (Arc::clone(&one.node.mesh), wish.clone());
    let waiting = tokio::spawn(async move { put(&mesh, &key("k"), &lost).await });
    two.shows("k", Some("1")).await;
    // Nobody waits for the answer any more, and it comes on the next link.
    waiting.abort();
    one.node.unlink().await;
    one.node.link(&broker);
    let again = put(one.mesh(), &key("k"), &wish).await.unwrap();
    assert!(again.duplicate && again.version.version == 1 && again.state == KvState::Created, "{again:?}");
    let other = Wish { value: Bytes::from_static(b"2"), ..wish.clone() };
    assert!(matches!(put(one.mesh(), &key("k"), &other).await, Err(Refusal::Reused)));
    // Of another app, or at another node, it is another request; and it is known after it was replaced too.
    let third = Wish { value: Bytes::from_static(b"3"), by: which("deploy"), ..wish.clone() };
    put(one.mesh(), &key("k"), &third).await.unwrap();
    two.shows("k", Some("3")).await;
    let elsewhere = put(two.mesh(), &key("k"), &other).await.unwrap();
    assert!(!elsewhere.duplicate && elsewhere.version.version == 3, "{elsewhere:?}");
    one.shows("k", Some("2")).await;
    let again = put(one.mesh(), &key("k"), &wish).await.unwrap();
    assert!(again.duplicate && again.version.version == 1, "{again:?}");
    assert_eq!(one.history("k").await.len(), 3);
}

#[tokio::test]
async fn what_a_member_writes_there_that_is_no_state_stands_for_nothing_and_is_in_nobodys_way() {
    let broker = Broker::new();
    let hosts = Host::linked(&broker, 2).await;
    let [one, two] = [&hosts[0], &hosts[1]];
    let junk = |text: &str| DraftChange::Put {
        key: text.parse().unwrap(),
        own: false,
        when: Condition::Any,
        ttl: None,
        bound: None,
        value: Bytes::from_static(b"\xc1"),
    };
    one.put("k", "1").await;
    two.shows("k", Some("1")).await;
    for text in ["now:mesh/k", "now:mesh/junk", "past:mesh/01/k", "past:mesh/02/k", "now:elsewhere/k", "?"] {
        two.node.applied(junk(text)).await;
    }
    two.shows("k", None).await;
    one.shows("k", None).await;
    assert!(one.list(all()).await.entries.is_empty());
    let done = put(one.mesh(), &key("k"), &Wish { when: When::Absent, ..wish("2") }).await.unwrap();
    assert_eq!(done.state, KvState::Created);
    one.put("k", "3").await;
    let history = one.history("k").await;
    assert_eq!(history.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["3", "2"]);
}

#[test]
fn mt_52_cb_10_a_key_is_text_of_some_bytes_compared_as_it_is() {
    for good in ["a", " ", "a/b", "a#b", "a:b", "a_b", "A", "vercel/next.js#4521:x", "日本", &"x".repeat(256)]
    {
        assert_eq!(good.parse::<Key>().unwrap().as_str(), good);
    }
    for bad in ["", "a\0", "a\nb", "\u{7f}", &"x".repeat(257), &"ä".repeat(129)] {
        assert!(bad.parse::<Key>().is_err(), "{bad:?}");
    }
    let names = ["a", "a/b", "0/a", "16/a"].map(|text| key(text).places());
    let count = names.iter().flatten().collect::<BTreeSet<_>>().len();
    assert_eq!(count, 4 * limits::STATE_VERSIONS, "no two keys share a place");
    assert_eq!(key("a").past(3), key("a").past(19));
}
