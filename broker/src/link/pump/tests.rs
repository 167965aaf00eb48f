use bytes::Bytes;
use waxwing_crypto::{NodeId, Timestamp, WireId};

use super::*;
use crate::store::QueueKey;
use crate::store::queue::Mail;
use crate::testing::{Fixture, START};

struct Pumping {
    fixture: Fixture,
    bell: Arc<Bell>,
    window: Arc<Window>,
    pump: Pump,
}

impl Pumping {
    async fn new() -> Self {
        let fixture = Fixture::new().await;
        let (bell, window) = (Arc::new(Bell::default()), Arc::new(Window::new(10, 1024 * 1024)));
        bell.ring(Ranks::ALL);
        let owner = fixture.founder_key();
        let pump = Pump::new(Arc::clone(&fixture.state), owner, Arc::clone(&bell), Arc::clone(&window));
        Self { fixture, bell, window, pump }
    }

    fn key(&self, seq: u64) -> QueueKey {
        QueueKey { owner: self.fixture.founder_key(), place: place(seq) }
    }

    /// Puts a row into the queue, and rings.
    async fn queue(&mut self, seq: u64, seal: u32, ends: u64) {
        let mail = Mail {
            from: NodeId::from_bytes([1; 16]),
            id: WireId::from_bytes([seq as u8; 16]),
            seal,
            exp: Timestamp::from_millis(ends),
            env: Bytes::from_static(b"box"),
        };
        let row = (self.key(seq), Item::Envelope(mail));
        queue::delete(&mut self.fixture.db, &[row.0]).await.unwrap();
        queue::insert(&mut self.fixture.db, &[row]).await.unwrap();
        let mut ranks = Ranks::default();
        ranks.insert(Rank::Next);
        self.bell.ring(ranks);
    }

    /// Numbers and seals of the next frame, and its tail.
    async fn next(&mut self) -> Option<(Vec<(u64, u32)>, bool)> {
        let deliver = self.pump.next().await.unwrap()?;
        let items = deliver.items.iter().map(|item| match item {
            Delivery::Envelope(envelope) => (envelope.n, envelope.seal),
            Delivery::Notice(_) => panic!("a notice"),
        });
        Some((items.collect(), deliver.tail))
    }
}

fn place(seq: u64) -> Place {
    Place { rank: Rank::Next, seq: Seq(seq) }
}

#[tokio::test]
async fn a_tail_is_said_once() {
    let mut p = Pumping::new().await;
    assert_eq!(p.next().await, Some((vec![], true)));
    assert_eq!(p.next().await, None);
    p.bell.ring(Ranks::ALL);
    assert_eq!(p.next().await, None, "rung for nothing");
    p.queue(1, 0, START + 9).await;
    assert_eq!(p.next().await, Some((vec![(1, 0)], true)));
}

#[tokio::test]
async fn an_expired_row_that_is_replaced_before_it_is_swept_is_delivered() {
    let mut p = Pumping::new().await;
    p.queue(1, 10, START + 1).await;
    p.queue(2, 20, START + 9).await;
    p.fixture.advance(5);
    assert_eq!(p.next().await, Some((vec![(1, 20)], true)));
    p.queue(1, 11, START + 9).await;
    assert_eq!(p.next().await, Some((vec![(2, 11)], true)), "and not the other again, which is under way");
    p.queue(3, 30, START + 9).await;
    assert_eq!(p.next().await, Some((vec![(3, 30)], true)));
}

#[tokio::test]
async fn a_refused_row_that_was_replaced_is_delivered_again_and_alone() {
    let mut p = Pumping::new().await;
    for seq in 1..=3 {
        p.queue(seq, 0, START + 9).await;
    }
    assert_eq!(p.next().await, Some((vec![(1, 0), (2, 0), (3, 0)], true)));
    p.queue(1, 1, START + 9).await;
    assert_eq!(p.next().await, None, "it is under way");
    let nack = waxwing_crypto::Signed::new(&p.fixture.founder, waxwing_crypto::Purpose::Nack, vec![]);
    p.window.settle(1, vec![link::Settlement::Nack(nack)]).unwrap();
    assert_eq!(p.next().await, None, "the writer has not said yet that it stays");
    p.window.land(1);
    p.pump.redeliver(&[place(1)]);
    assert_eq!(p.next().await, Some((vec![(4, 1)], true)));
}

#[tokio::test]
async fn a_full_window_waits_and_says_no_tail() {
    let mut p = Pumping::new().await;
    for seq in 1..=12 {
        p.queue(seq, 0, START + 9).await;
    }
    let (items, tail) = p.next().await.unwrap();
    assert_eq!((items.len(), tail), (10, false));
    let waiting = tokio::time::timeout(std::time::Duration::ZERO, p.pump.ready()).await;
    assert!(waiting.is_err());
    let receipts = vec![link::Settlement::Receipt(waxwing_crypto::Receipt::from_bytes([0; 16])); 10];
    p.window.settle(10, receipts).unwrap();
    p.window.land(10);
    p.pump.ready().await;
    let (items, tail) = p.next().await.unwrap();
    assert_eq!((items.len(), tail), (2, true));
}
