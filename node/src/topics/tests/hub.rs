//! A broker of any number of spaces, made of brokers of one each; and members whose topics it serves.

use std::collections::HashMap;

use tokio::task::JoinHandle;
use waxwing_crypto::{NodeId, SpaceId};
use waxwing_protocol::RunId;
use waxwing_protocol::link::{Mark, SpaceChanges, SpaceFollow, SpaceOffered, SpaceWritten, ToBroker, ToNode};

use super::*;
use crate::link::{CallError, Calls};
use crate::spaces::tests::{Broker, Node};

/// See the module.
#[derive(Clone, Default)]
pub(super) struct Hub(Arc<Mutex<HashMap<SpaceId, Broker>>>);

impl Hub {
    pub(super) fn broker(&self, space: SpaceId) -> Broker {
        self.0.lock().unwrap().entry(space).or_insert_with(Broker::new).clone()
    }

    /// Loses its store.
    pub(super) fn loses_all(&self) {
        self.0.lock().unwrap().values().for_each(Broker::loses_all);
    }

    fn store(&self) -> StoreId {
        let stores = self.0.lock().unwrap();
        let newest = stores.values().map(|broker| broker.space().store).max_by_key(|store| *store.as_bytes());
        newest.unwrap_or_else(|| StoreId::from_bytes([1; 16]))
    }

    /// A link of a node's.
    fn link(&self, node: NodeId) -> (Calls, StoreId) {
        let (out, mut frames) = mpsc::channel(64);
        let (calls, hub, store) = (Calls::new(out), self.clone(), self.store());
        let answering = calls.clone();
        tokio::spawn(async move {
            let mut links: HashMap<SpaceId, Calls> = HashMap::new();
            while let Some(frame) = frames.recv().await {
                let space = match &frame {
                    ToBroker::SpaceFollow(follow) => follow.space,
                    ToBroker::SpaceWrite(write) => write.space,
                    ToBroker::SpaceOffer(offer) => offer.space,
                    ToBroker::Send(_)
                    | ToBroker::Settle(_)
                    | ToBroker::PrekeyPut(_)
                    | ToBroker::PrekeyGet(_)
                    | ToBroker::LogGet(_)
                    | ToBroker::LogAppend(_)
                    | ToBroker::KeysPut(_)
                    | ToBroker::KeysGet(_)
                    | ToBroker::QueueShow(_)
                    | ToBroker::Bye(_) => panic!("that was not expected"),
                };
                let broker = hub.broker(space);
                // A space that nobody has used is of the same life as the others.
                broker.does(|space| space.store = space.store.max_of(store));
                let its = links.entry(space).or_insert_with(|| broker.link(node).0).clone();
                let answering = answering.clone();
                tokio::spawn(async move {
                    if let Some((req, answer)) = answer(&its, store, frame).await {
                        answering.answer(req, answer);
                    }
                });
            }
        });
        (calls, store)
    }
}

trait Newer {
    fn max_of(self, other: Self) -> Self;
}

impl Newer for StoreId {
    fn max_of(self, other: Self) -> Self {
        if other.as_bytes() > self.as_bytes() { other } else { self }
    }
}

async fn answer(its: &Calls, store: StoreId, frame: ToBroker) -> Option<(u64, ToNode)> {
    let mark = Mark { store, run: RunId::from_bytes([2; 16]), m: 0, code: [0; 32] };
    let answered: Result<(u64, ToNode), CallError> = async {
        Ok(match frame {
            ToBroker::SpaceFollow(follow) => {
                let SpaceFollow { req, space, after, begun, wait } = follow;
                let changes = its.follow(|req| SpaceFollow { req, space, after, begun, wait }).await?;
                (req, ToNode::SpaceChanges(SpaceChanges { req, ..changes }))
            }
            ToBroker::SpaceWrite(write) => {
                let outcomes = its.write_space(write.space, &write.changes).await?;
                (write.req, ToNode::SpaceWritten(SpaceWritten { req: write.req, outcomes, mark }))
            }
            ToBroker::SpaceOffer(offer) => {
                let outcomes = its.offer_space(offer.space, &offer.records).await?;
                (offer.req, ToNode::SpaceOffered(SpaceOffered { req: offer.req, outcomes, mark }))
            }
            ToBroker::Send(_)
            | ToBroker::Settle(_)
            | ToBroker::PrekeyPut(_)
            | ToBroker::PrekeyGet(_)
            | ToBroker::LogGet(_)
            | ToBroker::LogAppend(_)
            | ToBroker::KeysPut(_)
            | ToBroker::KeysGet(_)
            | ToBroker::QueueShow(_)
            | ToBroker::Bye(_) => panic!("that was not expected"),
        })
    }
    .await;
    answered.ok()
}

/// A member whose topics are kept up.
pub(super) struct Member {
    pub(super) node: Node,
    pub(super) mesh: Arc<Mesh>,
    running: JoinHandle<()>,
    link: Option<(JoinHandle<()>, Calls)>,
}

impl Member {
    /// So many, linked.
    pub(super) async fn several(hub: &Hub, count: usize) -> Vec<Self> {
        let nodes = Node::members_in_space("things", count).await;
        let mut members: Vec<_> = nodes.into_iter().map(Self::new).collect();
        members.iter_mut().for_each(|member| member.link(hub));
        members
    }

    fn new(node: Node) -> Self {
        let mesh = Arc::clone(&node.mesh);
        let its = Arc::clone(&mesh);
        let running = tokio::spawn(async move { run(&its).await.unwrap() });
        Self { node, mesh, running, link: None }
    }

    pub(super) fn link(&mut self, hub: &Hub) {
        let (calls, store) = hub.link(self.mesh.identity.node);
        self.mesh.set_calls(Some(calls.clone()));
        let (mesh, its) = (Arc::clone(&self.mesh), calls.clone());
        let task = tokio::spawn(async move {
            crate::spaces::run(&mesh, &its, store).await;
        });
        self.link = Some((task, calls));
    }

    pub(super) async fn cut(&mut self) {
        let Some((task, calls)) = self.link.take() else { return };
        self.mesh.set_calls(None);
        calls.close();
        task.abort();
        let _ = task.await;
    }

    /// The same after a restart, without a link.
    pub(super) async fn restarted(mut self) -> Self {
        self.cut().await;
        self.running.abort();
        let _ = self.running.await;
        drop(self.mesh);
        Self::new(self.node.restarted().await)
    }

    pub(super) async fn publish(&self, app: &str, topic: &str, body: &str) -> u64 {
        let answer = self.publishes(app, request(topic, body)).await.unwrap();
        assert!(!answer.duplicate);
        answer.seq.unwrap()
    }

    pub(super) async fn publishes(
        &self,
        app: &str,
        request: PublishRequest,
    ) -> Result<PublishAnswer, Box<Problem>> {
        publish(&self.mesh, &name(app), None, request).await
    }

    pub(super) async fn subscribe(&self, app: &str, pattern: &str, from: StartFrom) -> SubscribeAnswer {
        let request = SubscribeRequest { from: Some(from), ..wish(pattern) };
        subscribe(&self.mesh, &name(app), request).await.unwrap()
    }

    pub(super) async fn ack(
        &self,
        app: &str,
        topic: &str,
        through: u64,
    ) -> Result<TopicAckAnswer, Box<Problem>> {
        let request = TopicAckRequest { topic: topic.parse().unwrap(), through, mesh: None };
        acknowledge(&self.mesh, &name(app), request).await
    }

    pub(super) fn stream(&self, app: &str) -> Stream {
        self.impatient_stream(app, Duration::from_secs(60))
    }

    pub(super) fn impatient_stream(&self, app: &str, redeliver: Duration) -> Stream {
        let (out, read) = mpsc::channel(1);
        let reader = Reader::new(&self.mesh, name(app), None, redeliver);
        let task = tokio::spawn(reader.run(out));
        Stream { read, text: String::new(), task }
    }
}

/// What an app reads.
pub(super) struct Stream {
    read: mpsc::Receiver<Bytes>,
    text: String,
    task: JoinHandle<()>,
}

impl Stream {
    pub(super) async fn next(&mut self) -> TopicEvent {
        timeout(PATIENCE, async {
            loop {
                if let Some((event, rest)) = self.text.split_once("\n\n") {
                    let data = event.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned);
                    self.text = rest.to_owned();
                    match data {
                        Some(data) => return serde_json::from_str(&data).unwrap(),
                        None => continue,
                    }
                }
                let bytes = self.read.recv().await.expect("the stream goes on");
                self.text.push_str(std::str::from_utf8(&bytes).unwrap());
            }
        })
        .await
        .expect("something comes")
    }

    pub(super) async fn message(&mut self) -> TopicMessage {
        match self.next().await {
            TopicEvent::Message(message) => *message,
            other @ (TopicEvent::Lagged { .. } | TopicEvent::Dead(_)) => panic!("{other:?}"),
        }
    }

    pub(super) async fn bodies(&mut self, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        for _ in 0..count {
            bodies.push(self.message().await.body.unwrap());
        }
        bodies
    }

    /// Ends, and is over for the node too.
    pub(super) async fn close(self) {
        drop(self.read);
        timeout(PATIENCE, self.task).await.expect("it ends").unwrap();
    }
}
