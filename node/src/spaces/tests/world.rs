//! Some nodes of one mesh and their broker, to whom a script happens, and what must be so whenever they are at rest.

use std::collections::BTreeMap;

use tokio::sync::broadcast::error::TryRecvError;
use tokio::task::JoinHandle;
use waxwing_crypto::space::{Frame, Operation, Statement};
use waxwing_protocol::link::{EndedBy, Record};

use super::broker::Space as Held;
use super::script::{NODES, Step, Wish};
use super::*;

type Answer = Result<Vec<ChangeOutcome>, NotWritten>;

/// Nodes, broker, and what was wanted of them.
pub(super) struct World {
    pub(super) broker: Broker,
    pub(super) people: Vec<Person>,
    pub(super) writes: Vec<Write>,
    pub(super) drafts: u128,
    /// The store was lost, and somebody may not have handed back what he holds.
    restoring: bool,
    /// Answers were lost: whoever waits for them needs another link.
    deaf: bool,
}

/// A node, and somebody who reads its news.
pub(super) struct Person {
    pub(super) node: Node,
    news: broadcast::Receiver<Arc<News>>,
    /// What the news have come to, once the copy was read for the first time.
    seen: Option<BTreeMap<u64, Entry>>,
}

/// What one call of `write` wanted, and what came of it.
pub(super) struct Write {
    pub(super) who: usize,
    pub(super) drafts: Vec<Draft>,
    task: Option<JoinHandle<Answer>>,
    pub(super) answer: Option<Answer>,
}

impl Person {
    fn new(node: Node) -> Self {
        let news = node.space.news();
        Self { node, news, seen: None }
    }

    pub(super) const fn is_linked(&self) -> bool {
        self.node.link.is_some()
    }

    /// Takes in what has come.
    pub(super) fn read_news(&mut self) {
        loop {
            match self.news.try_recv() {
                Ok(news) => {
                    if let Some(seen) = &mut self.seen {
                        apply(seen, &news);
                    }
                }
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Lagged(_)) => self.seen = None,
                Err(TryRecvError::Closed) => panic!("the space is gone"),
            }
        }
    }

    /// What the copy shows, which must be what the news have come to.
    pub(super) async fn reads(&mut self) -> BTreeMap<u64, Entry> {
        self.read_news();
        let entries = self.node.space.entries(&self.node.mesh).await.unwrap();
        let count = entries.len();
        let entries: BTreeMap<_, _> = entries.into_iter().map(|entry| (entry.seq, entry)).collect();
        assert_eq!(entries.len(), count, "two records at one place");
        match &self.seen {
            Some(seen) => {
                let all = |map: &BTreeMap<u64, Entry>| map.values().map(told).collect::<Vec<_>>();
                assert_eq!(all(seen), all(&entries), "what the news have come to is what the copy shows");
            }
            None => self.seen = Some(entries.clone()),
        }
        entries
    }
}

fn apply(seen: &mut BTreeMap<u64, Entry>, news: &News) {
    if news.reset {
        seen.clear();
    }
    for fact in &news.facts {
        match fact {
            Fact::Set(entry) => {
                let replaced = |other: &Entry| {
                    let its_own = entry.stands == Stands::Shared || other.writer == entry.writer;
                    entry.stands != Stands::Appended
                        && (&other.key, other.stands) == (&entry.key, entry.stands)
                        && its_own
                };
                seen.retain(|_, other| !replaced(other));
                seen.insert(entry.seq, entry.clone());
            }
            Fact::Touched { seq, expires } => {
                if let Some(entry) = seen.get_mut(seq) {
                    entry.expires = Some(*expires);
                }
            }
            Fact::Gone { seq, .. } => {
                seen.remove(seq);
            }
        }
    }
}

impl World {
    pub(super) async fn new() -> Self {
        let people = Node::members(NODES).await.into_iter().map(Person::new).collect();
        Self { broker: Broker::new(), people, writes: Vec::new(), drafts: 0, restoring: false, deaf: false }
    }

    /// Makes one step happen.
    pub(super) async fn happens(&mut self, step: Step) {
        if !matches!(step, Step::Write { .. } | Step::Run(_) | Step::Link(_)) {
            self.is_restored().await;
        }
        match step {
            Step::Write { who, wishes } => self.writes(who, wishes).await,
            Step::Link(who) => self.link(who),
            Step::Cut(who) => self.cut(who).await,
            Step::Deaf(count) => {
                self.broker.space().deaf = count;
                self.deaf = true;
            }
            Step::Page(count) => self.broker.space().page = count,
            Step::Forget => self.broker.does(Held::forget),
            Step::Pass(millis) => self.broker.does(|space| space.pass(millis)),
            Step::Unbind(who, why) => self.unbinds(who, why),
            Step::Lose { busy } => self.loses_all(busy).await,
            Step::Restart(who) => self.restart(who).await,
            Step::Run(times) => {
                for _ in 0..times {
                    tokio::task::yield_now().await;
                }
            }
            Step::Rest => self.rests().await,
            Step::Trick(trick) => self.broker.does(|space| trick.play(space)),
        }
        self.people.iter_mut().for_each(Person::read_news);
    }

    fn link(&mut self, who: usize) {
        if !self.people[who].is_linked() {
            self.people[who].node.link(&self.broker);
        }
    }

    async fn cut(&mut self, who: usize) {
        if self.people[who].is_linked() {
            self.people[who].node.unlink().await;
        }
    }

    fn unbinds(&self, who: usize, why: EndedBy) {
        let node = self.people[who].node.mesh.identity.node;
        self.broker.does(|space| space.unbind(node, why));
    }

    async fn restart(&mut self, who: usize) {
        for write in self.writes.iter_mut().filter(|write| write.who == who) {
            if let Some(task) = write.task.take() {
                task.abort();
                write.answer = task.await.ok();
            }
        }
        let person = self.people.remove(who);
        let was_linked = person.is_linked();
        let Person { node, news, .. } = person;
        drop(news);
        self.people.insert(who, Person::new(node.restarted().await));
        if was_linked {
            self.link(who);
        }
    }

    /// At a moment when everybody's copy is complete: who was away hands back what others know to be old.
    async fn loses_all(&mut self, busy: bool) {
        let was_linked: Vec<_> = (0..NODES).filter(|who| self.people[*who].is_linked()).collect();
        (0..NODES).for_each(|who| self.link(who));
        self.rest().await;
        for who in (0..NODES).filter(|who| !was_linked.contains(who)) {
            self.cut(who).await;
        }
        let linked: Vec<_> = (0..NODES).filter(|who| self.people[*who].is_linked()).collect();
        let kept = |record: &&Record| record.bound.is_none();
        let held: Vec<_> = self.broker.space().records().filter(kept).cloned().collect();
        for who in &linked {
            self.cut(*who).await;
        }
        self.broker.loses_all();
        self.restoring = true;
        if busy {
            return linked.iter().for_each(|who| self.link(*who));
        }
        self.is_restored().await;
        self.rests().await;
        let space = self.broker.space();
        for lost in held {
            let back = space.records().filter(|record| record.sealed == lost.sealed).count();
            assert_eq!(back, 1, "a record that {linked:?} held before the loss is there so often: {lost:?}");
        }
    }

    /// Whatever is under way, and wherever copies have come to.
    pub(super) async fn loses_all_at_once(&mut self) {
        let linked: Vec<_> = (0..NODES).filter(|who| self.people[*who].is_linked()).collect();
        for who in &linked {
            self.cut(*who).await;
        }
        self.broker.loses_all();
        linked.iter().for_each(|who| self.link(*who));
    }

    /// Waits until everybody has handed back what he holds. Who does so much later hands back what others know to be old, and may
    /// take it for new where what took its place has ended since.
    async fn is_restored(&mut self) {
        if std::mem::take(&mut self.restoring) {
            (0..NODES).for_each(|who| self.link(who));
            self.rest().await;
        }
    }

    /// A node writes, and somebody waits for it.
    async fn writes(&mut self, who: usize, wishes: Vec<Wish>) {
        let Node { mesh, space, .. } = &self.people[who].node;
        let entries = space.entries(mesh).await.unwrap();
        let drafts: Vec<_> = wishes.iter().map(|wish| self.draft(who, wish, &entries)).collect();
        let Node { mesh, space, .. } = &self.people[who].node;
        let (mesh, space, wanted) = (Arc::clone(mesh), Arc::clone(space), drafts.clone());
        let task = tokio::spawn(async move { space.write(&mesh, wanted).await });
        self.writes.push(Write { who, drafts, task: Some(task), answer: None });
        tokio::task::yield_now().await; // It is in the lane.
    }

    /// Waits, for a while at most, until those who have a link have come as far as they can.
    pub(super) async fn goes_on(&mut self, patience: Duration) {
        self.broker.space().deaf = 0;
        let last = self.broker.space().last;
        let linked = self.people.iter().filter(|person| person.is_linked());
        let complete = linked.map(|person| person.node.complete(last));
        let _ = timeout(patience, futures_util::future::join_all(complete)).await;
    }

    /// Waits until nothing is under way at those who have a link.
    pub(super) async fn rest(&mut self) {
        self.broker.space().deaf = 0;
        if std::mem::take(&mut self.deaf) {
            for who in 0..NODES {
                if self.people[who].is_linked() {
                    self.cut(who).await;
                    self.link(who);
                }
            }
        }
        for write in &mut self.writes {
            // Of a node without a link, what was under way waits for the next.
            if self.people[write.who].is_linked()
                && let Some(task) = write.task.take()
            {
                write.answer = Some(timeout(PATIENCE, task).await.expect("writes are answered").unwrap());
            }
        }
        loop {
            let last = self.broker.space().last;
            for person in self.people.iter_mut().filter(|person| person.is_linked()) {
                person.node.complete(last).await;
                person.read_news();
            }
            if self.broker.space().last == last {
                return;
            }
        }
    }

    /// Waits until nothing is under way, and looks at everything.
    pub(super) async fn rests(&mut self) {
        self.rest().await;
        let live = self.live();
        for (who, person) in self.people.iter_mut().enumerate() {
            let alarms = person.node.alarms().await;
            assert!(alarms.is_empty(), "node {who} has raised {alarms:?} at an honest broker");
            if person.is_linked() {
                let shown: Vec<_> = person.reads().await.into_values().collect();
                assert_eq!(shown.iter().map(told).collect::<Vec<_>>(), live, "node {who}");
            }
        }
        self.are_made_once_and_in_order();
        self.are_not_undone();
    }

    /// What the broker has, opened.
    fn live(&self) -> Vec<String> {
        let records: Vec<_> = self.broker.space().records().cloned().collect();
        let told = |record: &Record| {
            let Statement { name, value, .. } = self.opened(record, false);
            let Record { seq, writer, stands, expires, bound, .. } = record;
            format!("{seq} {name} {writer} {stands:?} {expires:?} {bound:?} {value:?}")
        };
        records.iter().map(told).collect()
    }

    pub(super) fn opened(&self, record: &Record, tombstone: bool) -> Statement {
        self.try_open(record, tombstone).unwrap()
    }

    pub(super) fn try_open(&self, record: &Record, tombstone: bool) -> Option<Statement> {
        let Record { key, stands, writer, .. } = *record;
        let operation = match (tombstone, stands) {
            (true, _) => Operation::Delete,
            (false, Stands::Appended) => Operation::Append,
            (false, Stands::Shared | Stands::Own) => Operation::Put,
        };
        let Node { mesh, space, .. } = &self.people[0].node;
        let frame = Frame { key, operation, stands, writer };
        let opened = space.sealing.open(&record.sealed, &frame, &mesh.epochs.held()).ok()?;
        Some(opened.verified_before())
    }

    /// What was answered is what was done, once, in each writer's order.
    fn are_made_once_and_in_order(&self) {
        let made = self.broker.space().made.clone();
        let made: Vec<_> =
            made.iter().map(|made| (self.opened(&made.record, made.tombstone), made.record.seq)).collect();
        let mut last = BTreeMap::new();
        for (statement, _) in &made {
            let before = last.insert(statement.writer, statement.id);
            let id = statement.id;
            assert!(before.is_none_or(|before| before.as_bytes() < id.as_bytes()), "{before:?}, then {id}");
        }
        for Write { who, drafts, answer, .. } in &self.writes {
            let outcomes = match answer {
                Some(Ok(outcomes)) => outcomes.iter().map(Some).collect(),
                _ => vec![None; drafts.len()],
            };
            for (draft, outcome) in drafts.iter().zip(outcomes) {
                let its = made.iter().filter(|(statement, _)| Some(statement.id) == draft.id);
                let its: Vec<_> = its.map(|(_, seq)| *seq).collect();
                let holds = match (outcome, answer) {
                    (Some(ChangeOutcome::Applied { seq }), _) => its == [*seq],
                    (Some(_), _) | (None, Some(Err(NotWritten::Offline))) => its.is_empty(),
                    (None, _) => its.len() <= 1,
                };
                assert!(
                    holds,
                    "node {who} was told {outcome:?}, {answer:?} of what is at {its:?}: {draft:?}"
                );
            }
        }
    }

    /// What was made since the last loss stands, whatever was handed back.
    fn are_not_undone(&self) {
        let space = self.broker.space();
        let made: Vec<_> = space.made.iter().filter(|made| made.store == space.store).collect();
        for (at, last) in made.iter().enumerate() {
            let Record { key, stands, writer, .. } = last.record;
            let in_slot = |other: &&&broker::Made| {
                let its_own = stands == Stands::Shared || other.record.writer == writer;
                (other.record.key, other.record.stands) == (key, stands) && its_own
            };
            if stands == Stands::Appended || made[at + 1..].iter().any(|other| in_slot(&other)) {
                continue;
            }
            let there = space.there(key, stands, writer);
            let expected = (!last.tombstone && !last.ended).then_some(last.record.seq);
            assert_eq!(there, expected, "what was made last under a key stands there: {last:?}");
        }
    }
}

fn told(entry: &Entry) -> String {
    let Entry { seq, key, writer, stands, expires, bound, value, .. } = entry;
    format!("{seq} {key} {writer} {stands:?} {expires:?} {bound:?} {value:?}")
}
