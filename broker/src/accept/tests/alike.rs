//! The same history on both databases: every answer and every queue is the same, whatever a store is in.

use waxwing_crypto::Priority;
use waxwing_lab_postgres::Server;

use super::*;
use crate::store::queue::{Item, read};
use crate::testing::Dice;

const STEPS: u32 = 120;
const NODES: u8 = 4;
/// Few enough that ids are used again.
const IDS: u64 = 60;

/// A store, and links to it.
struct Side {
    fixture: Fixture,
    links: Vec<(NodeKey, TestLink)>,
}

/// What one step does, on either side.
enum Step {
    Send { from: usize, items: Vec<(usize, SendItem)> },
    Settle { at: usize, places: Vec<Place> },
    Sweep { later: u64 },
    Login { at: usize },
}

/// An answer, without what is random in it.
#[derive(Debug, Eq, PartialEq)]
enum Said {
    Accepted,
    Duplicate(waxwing_crypto::Timestamp),
    Settled(usize),
    Other(Outcome),
}

impl Side {
    async fn new(database: Option<crate::Database>) -> Self {
        let mut fixture = Fixture::on(database).await;
        let mut links = Vec::new();
        for n in 2..2 + NODES {
            let key = fixture.join(&format!("n{n}"), n);
            let link = fixture.login(key).await;
            links.push((key, link));
        }
        Self { fixture, links }
    }

    async fn queue(&mut self, at: usize) -> Vec<(Place, Item)> {
        let mut all = Vec::new();
        for rank in Rank::ALL {
            let after = Place { rank, seq: Seq(0) };
            let page = read(&mut self.fixture.db, self.links[at].0, after, 999, 1 << 30).await.unwrap();
            all.extend(page.rows.into_iter().map(|(seq, item)| (Place { rank, seq }, item)));
        }
        all
    }

    async fn take(&mut self, step: &Step) -> Vec<Said> {
        match step {
            Step::Send { from, items } => {
                let items =
                    items.iter().map(|(to, item)| SendItem { to: self.links[*to].0.node, ..item.clone() });
                let sends = self.links[*from].1.sends(items.collect());
                self.fixture.apply(vec![Change::Send(sends)]).await;
                let outcomes = self.links[*from].1.outcomes().unwrap();
                return outcomes.into_iter().map(said).collect();
            }
            Step::Settle { at, places } => {
                let queued = self.queue(*at).await;
                let mail = |place: &Place| match queued.iter().find(|(at, _)| at == place) {
                    Some((_, Item::Envelope(mail))) => {
                        Some(MailRef { from: mail.from, id: mail.id, seal: mail.seal, exp: mail.exp })
                    }
                    Some((_, Item::Notice(_))) | None => None,
                };
                let receipt = Settlement::Receipt(Receipt::from_bytes([3; 16]));
                let settled = places.iter().map(|place| Settled {
                    place: *place,
                    mail: mail(place).map(|mail| (mail, receipt.clone())),
                });
                let link = &self.links[*at].1;
                let peer = Arc::clone(&link.peer);
                let settles = Settles { peer, through: 1, settled: settled.collect(), reply: link.reply() };
                self.fixture.apply(vec![Change::Settle(settles)]).await;
                let answer = *self.links[*at].1.answers.try_recv().unwrap();
                let Answer::Settled { count, .. } = answer else { panic!("{answer:?}") };
                return vec![Said::Settled(count)];
            }
            Step::Sweep { later } => {
                self.fixture.advance(*later);
                let (answer, answered) = oneshot::channel();
                self.fixture.apply(vec![Change::Sweep(answer)]).await;
                assert!(!answered.await.unwrap());
            }
            Step::Login { at } => {
                let key = self.links[*at].0;
                self.links[*at].1 = self.fixture.login(key).await;
            }
        }
        Vec::new()
    }
}

fn said(outcome: Outcome) -> Said {
    if matches!(outcome, Outcome::Accepted { .. }) {
        Said::Accepted
    } else if let Outcome::Duplicate { first_seen, .. } = outcome {
        Said::Duplicate(first_seen)
    } else {
        Said::Other(outcome)
    }
}

/// The next step, by what is there.
async fn step(dice: &mut Dice, side: &mut Side) -> Step {
    let at = dice.roll(NODES.into()) as usize;
    match dice.roll(8) {
        0..4 => {
            let mut items = Vec::new();
            for _ in 0..=dice.roll(20) {
                let id = dice.roll(IDS) as u8;
                let seal = dice.roll(3) as u32;
                let lasts = Duration::from_millis(1 + dice.roll(90_000));
                // An id goes to one recipient, with one priority; nearly always.
                let to =
                    if dice.roll(20) == 0 { dice.roll(NODES.into()) } else { u64::from(id % NODES) } as usize;
                let pri = [Priority::Now, Priority::Next, Priority::Low][usize::from(id % 3)];
                let item = side.fixture.item(side.links[to].0, id, seal);
                items.push((to, SendItem { pri, exp: side.fixture.time().plus(lasts), ..item }));
            }
            Step::Send { from: at, items }
        }
        4..6 => {
            let queue = side.queue(at).await;
            let places = queue.iter().map(|(place, _)| *place).filter(|_| dice.roll(2) == 0).collect();
            Step::Settle { at, places }
        }
        6 => Step::Sweep { later: dice.roll(40_000) },
        _ => Step::Login { at },
    }
}

#[tokio::test]
async fn both_databases_answer_alike_to_the_same_history() {
    let Some(server) = Server::shared() else { return };
    for seed in [1, 77] {
        let database = server.url(&server.database().unwrap()).parse().unwrap();
        let (mut file, mut other) = (Side::new(None).await, Side::new(Some(database)).await);
        let mut dice = Dice(seed);
        let mut accepted = 0;
        for n in 0..STEPS {
            let step = step(&mut dice, &mut file).await;
            let said = file.take(&step).await;
            assert_eq!(said, other.take(&step).await, "seed {seed}, step {n}");
            accepted += said.iter().filter(|said| **said == Said::Accepted).count();
            // In turns, and each at the end.
            let at = (n % u32::from(NODES)) as usize;
            assert_eq!(file.queue(at).await, other.queue(at).await, "seed {seed}, step {n}");
            let (here, there) = (file.links[at].0, other.links[at].0);
            assert_eq!(file.fixture.counters(here).await, other.fixture.counters(there).await);
        }
        assert!(accepted > 100, "{accepted}");
    }
}
