//! What every test starts with.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use waxwing_client::api::{InboxItem, MeshQuery, MessageState, SendStatus};
use waxwing_lab::apps::{Reader, Sender};
use waxwing_lab::history::Summary;
use waxwing_lab::{Frame, Lab, Recorder, eventually};
use waxwing_protocol::link::{Delivery, Envelope, ToNode};

use crate::wire::{accepted_twice, outcomes};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_waxwing");
/// What should take milliseconds has failed after this. Longer than the longest delay of a reconnect.
pub(crate) const WITHIN: Duration = Duration::from_secs(60);

/// Makes a folder as a node does, with its parents: one that others can enter is refused.
pub(crate) fn private_folder(path: &Path) {
    DirBuilder::new().recursive(true).mode(0o700).create(path).unwrap();
}

/// A mesh of these nodes, all linked.
pub(crate) async fn mesh(nodes: &[&str]) -> Lab {
    Lab::mesh(PROGRAM, nodes).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Alpha, with an app that sends to beta; beta, with an app that reads; and the record of both.
pub(crate) struct Pair {
    pub(crate) lab: Lab,
    pub(crate) sender: Sender,
    pub(crate) reader: Reader,
    pub(crate) record: Recorder,
    /// Ids sent, in order.
    pub(crate) sent: Vec<String>,
}

impl Pair {
    pub(crate) async fn start() -> Self {
        Self::on(mesh(&["alpha", "beta"]).await)
    }

    pub(crate) fn on(lab: Lab) -> Self {
        let record = Recorder::default();
        let (sender, reader) = (lab.sender("alpha", &record), lab.reader("beta", &record));
        Self { lab, sender, reader, record, sent: Vec::new() }
    }

    /// Sends this many more messages, one after the other.
    pub(crate) async fn send(&mut self, count: usize) {
        for _ in 0..count {
            let id = format!("m-{}", self.sent.len() + 1);
            self.sender.send("beta", &id, WITHIN).await.unwrap();
            self.sent.push(id);
        }
    }

    /// Reads until this many more messages were seen.
    pub(crate) async fn read(&mut self, count: usize) -> Vec<InboxItem> {
        self.reader.read(count, WITHIN).await.unwrap()
    }

    /// Waits until a message is delivered, or given up.
    pub(crate) async fn settled(&self, id: &str) -> SendStatus {
        self.sender.settled(id, WITHIN).await.unwrap()
    }

    /// A message's state now, by its sender's node.
    pub(crate) async fn state(&self, id: &str) -> MessageState {
        let status = self.sender.client.status(&id.parse().unwrap(), &MeshQuery::default()).await;
        status.unwrap().state
    }

    /// Waits until a message is at the broker.
    pub(crate) async fn accepted(&self, id: &str) {
        let at_broker = async || (self.state(id).await == MessageState::Accepted).then_some(());
        eventually(WITHIN, &format!("{id} is at the broker"), at_broker).await.unwrap();
    }

    /// Sends a message and sees it through to its receipt: sessions are open, and nothing is under way.
    pub(crate) async fn warm_up(&mut self) {
        self.send(1).await;
        self.read(1).await;
        let status = self.settled(&self.sent[0].clone()).await;
        assert_eq!(status.state, MessageState::Delivered);
    }

    /// Reads and settles whatever is not yet, then judges the whole: nothing lost, nothing twice, order kept, no state
    /// shown early, and everything delivered.
    pub(crate) async fn conclude(&mut self) {
        self.read(self.sent.len() - self.record.shown()).await;
        for id in self.sent.clone() {
            self.settled(&id).await;
        }
        let again: Vec<String> = self
            .reader
            .reread()
            .await
            .unwrap()
            .iter()
            .map(|item| item.client_message_id.to_string())
            .collect();
        assert_eq!(again, self.sent, "the inbox, read from the beginning");
        let outcomes = outcomes(&self.lab.proxy().captured(), self.lab.id("alpha"));
        assert_eq!(
            accepted_twice(&outcomes),
            [0; 0],
            "messages that the broker took for new ones: {outcomes:?}"
        );
        let count = self.sent.len();
        let whole = Summary { accepted: count, shown: count, delivered: count, ended: 0 };
        match self.record.history().check() {
            Ok(summary) => assert_eq!(summary, whole),
            Err(broken) => panic!("{broken}"),
        }
    }
}

/// The frame with each envelope in it changed.
pub(crate) fn change(mut frame: Frame, mut change: impl FnMut(&mut Envelope)) -> Vec<Frame> {
    if let Frame::ToNode(ToNode::Deliver(deliver)) = &mut frame {
        for item in &mut deliver.items {
            if let Delivery::Envelope(envelope) = item {
                change(envelope);
            }
        }
    }
    vec![frame]
}

/// The bytes with the lowest bit of one of them flipped.
pub(crate) fn flip(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}
