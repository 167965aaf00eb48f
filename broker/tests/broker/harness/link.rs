//! A link that has logged in.

use std::collections::VecDeque;

use futures_util::SinkExt as _;
use tokio_tungstenite::tungstenite::Message;
use waxwing_crypto::membership::SignedEntry;
use waxwing_protocol::link::{
    Deliver, Delivery, Envelope, ErrorFrame, GoAway, Log, LogAppend, LogGet, Notice, Outcome, Send, SendItem,
    Sent, Settle, Settlement, ToBroker, ToNode, Welcome, encode,
};

use super::socket::{Socket, transmit};
use super::{envelopes, receipt, receive};

/// A link that has logged in. Frames that a step does not wait for are kept for later ones.
pub struct Link {
    pub socket: Socket,
    pub welcome: Welcome,
    stash: VecDeque<ToNode>,
    req: u64,
}

impl Link {
    pub fn new(socket: Socket, welcome: Welcome) -> Self {
        Self { socket, welcome, stash: VecDeque::new(), req: 0 }
    }

    pub async fn transmit(&mut self, frame: &ToBroker) {
        transmit(&mut self.socket, frame).await;
    }

    pub async fn raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    pub fn next_req(&mut self) -> u64 {
        self.req += 1;
        self.req
    }

    /// The first frame, kept or to come, of which `pick` makes something.
    pub async fn wait_for<T>(&mut self, mut pick: impl FnMut(&ToNode) -> Option<T>) -> T {
        for index in 0..self.stash.len() {
            if let Some(picked) = pick(&self.stash[index]) {
                self.stash.remove(index);
                return picked;
            }
        }
        loop {
            let frame: ToNode = receive(&mut self.socket).await.expect("the broker has closed");
            match pick(&frame) {
                Some(picked) => return picked,
                None => self.stash.push_back(frame),
            }
        }
    }

    pub async fn send(&mut self, items: Vec<SendItem>) -> Vec<Outcome> {
        let req = self.post(items).await;
        self.sent(req).await
    }

    /// Sends, without waiting for the outcomes.
    pub async fn post(&mut self, items: Vec<SendItem>) -> u64 {
        let req = self.next_req();
        self.transmit(&ToBroker::Send(Send { req, rows: 1, items })).await;
        req
    }

    pub async fn sent(&mut self, req: u64) -> Vec<Outcome> {
        self.wait_for(|frame| match frame {
            ToNode::Sent(sent) if sent.req == req => Some(sent.outcomes.clone()),
            _ => None,
        })
        .await
    }

    /// The next answer to a send, whichever it is.
    pub async fn next_sent(&mut self) -> Sent {
        self.wait_for(|frame| match frame {
            ToNode::Sent(sent) => Some(sent.clone()),
            _ => None,
        })
        .await
    }

    /// Deliveries, which must be notices, until there are so many.
    pub async fn until_notices(&mut self, count: usize) -> Vec<Notice> {
        let mut notices = Vec::new();
        while notices.len() < count {
            for item in self.deliver().await.items {
                let Delivery::Notice(notice) = item else { panic!("{item:?}") };
                notices.push(notice);
            }
        }
        notices
    }

    /// Deliveries, which must be envelopes, until there are so many.
    pub async fn until_envelopes(&mut self, count: usize) -> Vec<Delivery> {
        let mut items = Vec::new();
        while items.len() < count {
            items.extend(self.deliver().await.items);
        }
        assert_eq!(envelopes(&items).len(), count);
        items
    }

    /// Whether a frame of this kind has come that nobody has waited for.
    pub fn has(&self, is: impl Fn(&ToNode) -> bool) -> bool {
        self.stash.iter().any(is)
    }

    pub fn has_deliver(&self) -> bool {
        self.has(|frame| matches!(frame, ToNode::Deliver(_)))
    }

    pub fn has_envelope(&self) -> bool {
        self.has(|frame| matches!(frame, ToNode::Deliver(deliver) if !envelopes(&deliver.items).is_empty()))
    }

    pub fn has_notice(&self) -> bool {
        self.has(|frame| match frame {
            ToNode::Deliver(deliver) => deliver.items.iter().any(|item| matches!(item, Delivery::Notice(_))),
            _ => false,
        })
    }

    pub fn has_sent(&self) -> bool {
        self.has(|frame| matches!(frame, ToNode::Sent(_)))
    }

    /// Waits until the broker has closed.
    pub async fn is_closed(&mut self) {
        assert!(receive::<ToNode>(&mut self.socket).await.is_none());
    }

    /// Hands a frame over on a link that may be closed by now.
    pub async fn try_transmit(&mut self, frame: &ToBroker) {
        drop(self.socket.send(Message::Binary(encode(frame).unwrap())).await);
    }

    /// Settles on a link that may be closed by now.
    pub async fn try_settle(&mut self, through: u64, items: Vec<Settlement>) {
        let frame = encode(&ToBroker::Settle(Settle { through, items })).unwrap();
        drop(self.socket.send(Message::Binary(frame)).await);
    }

    /// Sends on a link that may be closed by now.
    pub async fn try_send(&mut self, items: Vec<SendItem>) {
        let frame = encode(&ToBroker::Send(Send { req: 1, rows: 1, items })).unwrap();
        drop(self.socket.send(Message::Binary(frame)).await);
    }

    pub async fn send_one(&mut self, item: SendItem) -> Outcome {
        self.send(vec![item]).await[0]
    }

    pub async fn deliver(&mut self) -> Deliver {
        self.wait_for(|frame| match frame {
            ToNode::Deliver(deliver) => Some(deliver.clone()),
            _ => None,
        })
        .await
    }

    /// What is delivered until the tail, without settling.
    pub async fn until_tail(&mut self) -> Vec<Delivery> {
        let mut items = Vec::new();
        loop {
            let deliver = self.deliver().await;
            items.extend(deliver.items);
            if deliver.tail {
                return items;
            }
        }
    }

    /// The next envelope.
    pub async fn envelope(&mut self) -> Envelope {
        loop {
            let deliver = self.deliver().await;
            match &deliver.items[..] {
                [] => {}
                [Delivery::Envelope(envelope)] => return envelope.clone(),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next notice.
    pub async fn notice(&mut self) -> Notice {
        loop {
            let deliver = self.deliver().await;
            match &deliver.items[..] {
                [] => {}
                [Delivery::Notice(notice)] => return notice.clone(),
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn settle(&mut self, through: u64, items: Vec<Settlement>) {
        self.transmit(&ToBroker::Settle(Settle { through, items })).await;
    }

    /// Settles one frame with receipts.
    pub async fn receipt(&mut self, items: &[Delivery]) {
        let Some(last) = items.last() else { return };
        let receipts = items.iter().filter_map(|item| match item {
            Delivery::Envelope(envelope) => Some(Settlement::Receipt(receipt(&envelope.id))),
            Delivery::Notice(_) => None,
        });
        self.settle(last.number(), receipts.collect()).await;
    }

    pub async fn append(&mut self, entry: &SignedEntry) -> Result<Log, ErrorFrame> {
        let req = self.next_req();
        self.transmit(&ToBroker::LogAppend(LogAppend { req, entry: entry.clone() })).await;
        self.log(req).await
    }

    pub async fn log_get(&mut self, after: u64) -> Log {
        let req = self.next_req();
        self.transmit(&ToBroker::LogGet(LogGet { req, after })).await;
        self.log(req).await.unwrap()
    }

    async fn log(&mut self, req: u64) -> Result<Log, ErrorFrame> {
        self.wait_for(|frame| match frame {
            ToNode::Log(log) if log.req == Some(req) => Some(Ok(log.clone())),
            ToNode::Error(error) if error.req == Some(req) => Some(Err(error.clone())),
            _ => None,
        })
        .await
    }

    pub async fn error(&mut self) -> ErrorFrame {
        self.wait_for(|frame| match frame {
            ToNode::Error(error) => Some(error.clone()),
            _ => None,
        })
        .await
    }

    pub async fn goaway(&mut self) -> GoAway {
        self.wait_for(|frame| match frame {
            ToNode::GoAway(goaway) => Some(goaway.clone()),
            _ => None,
        })
        .await
    }

    /// Asks something, and waits for the answer: whatever was handed over before has been read by then.
    pub async fn round_trip(&mut self) {
        self.log_get(u64::MAX).await;
    }
}
