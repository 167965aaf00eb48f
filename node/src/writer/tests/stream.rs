//! What a stream is told from memory is what the tables say.

use std::collections::HashSet;

use waxwing_protocol::api::EventKind;

use super::*;
use crate::store::events;
use crate::store::inbox::Item;
use crate::tail::Wanted;

fn to(app: &str, id: &str, counter: u64) -> ReceivedItem {
    let mut item = item(id, counter);
    item.new.to_app = (!app.is_empty()).then(|| app.parse().unwrap());
    item
}

fn from(app: &str, id: &str) -> NewRow {
    NewRow { from_app: Some(app.parse().unwrap()), ..send(id, 1) }
}

impl Fixture {
    async fn is_delivered(&self, id: &str) {
        self.news(News::Delivered { row: self.row(id).await }).await;
    }

    /// What a stream wants, by the tables: messages, and the places of events.
    async fn in_tables(
        &self,
        app: Option<&str>,
        kinds: Option<&HashSet<EventKind>>,
    ) -> (Vec<Item<Content>>, Vec<u64>) {
        let wants = |kind| kinds.is_none_or(|kinds| kinds.contains(&kind));
        let app_owned = app.map(str::to_owned);
        let filter =
            Filter { after: 0, app: app_owned, from: None, thread: None, unread: false, limit: 1_000 };
        let messages = inbox::list(&self.db, &filter).await.unwrap();
        let messages = messages.into_iter().filter(|_| wants(EventKind::Message));
        let events = events::list(&self.db, 0, app, 1_000).await.unwrap();
        let events = events.iter().filter(|event| wants(event.body.kind())).map(|event| event.seq).collect();
        (messages.map(|item| item.open(&keys()).unwrap()).collect(), events)
    }

    /// The same by the end of the stream that is in memory, in pages of `limit`; and how many messages there are in their table at
    /// most.
    fn in_memory(&self, wanted: Wanted<'_>, limit: usize) -> Option<(Vec<Item<Content>>, Vec<u64>, usize)> {
        let end = *self.signals.shown().borrow();
        let (mut after, mut messages, mut events, mut stored) = (0, Vec::new(), Vec::new(), 0);
        while after < end {
            let found = self.signals.tail().after(after, wanted, limit)?;
            assert!(after < found.through && found.through <= end);
            messages.extend(found.messages.iter().map(|item| Item::clone(item)));
            events.extend(found.events.iter().map(|event| event.cursor));
            stored += found.stored;
            after = found.through;
        }
        Some((messages, events, stored))
    }
}

fn some(kinds: &[EventKind]) -> Option<HashSet<EventKind>> {
    Some(kinds.iter().copied().collect())
}

#[tokio::test]
async fn what_a_stream_finds_in_memory_is_what_the_tables_say() {
    let f = Fixture::new().await;
    let _follows = f.signals.shown();
    for id in ["r-1", "r-2", "r-3"] {
        f.accept(from("a", id)).await;
    }
    f.accept(from("b", "r-4")).await;
    f.receive(vec![to("a", "m-1", 1), to("b", "m-2", 2), to("", "m-3", 3)]).await;
    f.is_delivered("r-1").await;
    // One lane waits, and nobody knows in memory for whom what waits is once it is shown.
    f.receive(vec![to("a", "m-6", 6), to("b", "m-7", 7)]).await;
    f.is_delivered("r-4").await;
    f.receive(vec![to("b", "m-4", 4), to("a", "m-5", 5)]).await;
    f.writer.pass_over(Instant::now()).await.unwrap();
    f.receive(vec![to("a", "again", 1), to("a", "m-9", 9)]).await;
    f.writer.pass_over(Instant::now()).await.unwrap();
    f.is_delivered("r-2").await;
    let before = f.in_tables(None, None).await.0.len();
    let left = f.in_memory(Wanted { app: None, kinds: None }, 9).unwrap().0.len();
    assert!(before == 9 && (3..before).contains(&left), "{before} {left}");
    f.receive(vec![to("a", "m-10", 10), to("b", "m-11", 11), to("b", "m-12", 12)]).await;
    let last = *f.signals.shown().borrow();
    f.writer.read(These(vec![last - 2, 1]), Some("a".into()), Timestamp::default()).await.unwrap();
    assert!(f.writer.delete(last - 1, None).await.unwrap());

    let mut seen = 0;
    for app in [None, Some(""), Some("a"), Some("b"), Some("c")] {
        for kinds in [
            None,
            some(&[EventKind::Message]),
            some(&[EventKind::Receipt]),
            some(&[EventKind::Security, EventKind::Message]),
        ] {
            let (messages, events) = f.in_tables(app, kinds.as_ref()).await;
            for limit in [1, 2, 100] {
                let wanted = Wanted { app, kinds: kinds.as_ref() };
                let (in_memory, told, stored) = f.in_memory(wanted, limit).unwrap();
                assert_eq!(told, events, "{app:?} {kinds:?} by {limit}");
                assert!(in_memory.iter().all(|item| messages.contains(item)), "{app:?} {kinds:?} by {limit}");
                let most = in_memory.len() + stored;
                assert!(most >= messages.len(), "{app:?} {kinds:?} by {limit}: none is passed over");
            }
            seen += messages.len() + events.len();
        }
    }
    assert!(seen > 50, "{seen}");
}

#[tokio::test]
async fn what_nobody_follows_is_not_kept_in_memory() {
    let f = Fixture::new().await;
    let all = Wanted { app: None, kinds: None };
    f.receive(vec![to("a", "m-1", 1)]).await;
    assert_eq!(f.in_memory(all, 9), Some((vec![], vec![], 1)));
    let follows = f.signals.shown();
    f.receive(vec![to("a", "m-2", 2)]).await;
    let (messages, _, stored) = f.in_memory(all, 9).unwrap();
    assert_eq!((messages[0].cursor, messages.len(), stored), (2, 1, 1));
    drop(follows);
    f.receive(vec![to("a", "m-3", 3)]).await;
    assert_eq!(f.in_memory(all, 9).unwrap().2, 2);
}

#[tokio::test]
async fn a_process_that_starts_has_nothing_of_before_in_memory() {
    let f = Fixture::new().await;
    f.receive(vec![to("a", "m-1", 1)]).await;
    let all = Wanted { app: None, kinds: None };
    assert_eq!(f.in_memory(all, 9), Some((vec![], vec![], 1)));
    let f = f.killed_and_restarted().await;
    f.receive(vec![to("a", "m-2", 2)]).await;
    assert_eq!(f.in_memory(all, 9), None, "it is to be read");
}
