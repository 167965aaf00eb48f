//! A node: what its app has, and its copy of the space.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use waxwing_crypto::space::Stands;
use waxwing_crypto::{NodeId, Timestamp};
use waxwing_protocol::api::{LeaseMode, OnDisconnect};
use waxwing_protocol::{StoreId, limits};

use super::Rule;
use super::broker::{Record, Store};
use super::world::{LEASE, State, TTL, World};
use crate::clock::Boot;
use crate::leases::Queue;
use crate::leases::record::Says;
use crate::leases::table::{self, Heard, Stage};
use crate::spaces::Entry;

/// A step of time.
const STEP: Duration = limits::LEASE_GRACE;

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Node {
    pub(super) own: Option<Own>,
    /// When the last frame was sent that the broker has answered.
    heard: Option<u8>,
    pub(super) link: Option<Link>,
    /// The copy, on disk.
    pub(super) copy: View,
    /// What its app was told that it has, where the node does not know of it any more.
    pub(super) told: Option<Granted>,
    pub(super) frames: u8,
    /// Its mark is of a commit after the backup.
    pub(super) ahead: bool,
}

/// What it has or waits for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Own {
    seq: u16,
    until: u8,
    /// The life of the store that it is of; none until the copy has come to it.
    life: Option<u8>,
    pub(super) held: bool,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Granted {
    until: u8,
    life: u8,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Link {
    /// Answered, when it was asked, and whether the mark is of a commit after the backup.
    pub(super) down: Option<(Told, u8, bool)>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Asked {
    Append,
    Touch(u16),
    Delete(u16),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Told {
    Appended(u16),
    Touched(bool),
    Heard,
}

/// A copy of the space, at one of its places.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct View {
    pub(super) life: u8,
    pub(super) place: u16,
    pub(super) records: Vec<Record>,
}

impl View {
    /// Who stands in line.
    fn queue(&self) -> Queue {
        let life = store(self.life);
        Queue::of(self.records.iter().map(|record| entry(record, life)), Some(life))
    }
}

fn store(life: u8) -> StoreId {
    StoreId::from_bytes([life; 16])
}

fn says(hold: bool) -> Says {
    Says {
        app: "ci".parse().unwrap(),
        instance: None,
        mode: LeaseMode::Exclusive,
        on_disconnect: if hold { OnDisconnect::Hold } else { OnDisconnect::Grace },
        ttl: u64::try_from((STEP * u32::from(TTL)).as_millis()).unwrap(),
        purpose: None,
        registration: None,
    }
}

fn entry(record: &Record, life: StoreId) -> Entry {
    Entry {
        seq: u64::from(record.seq),
        key: "k".parse().unwrap(),
        writer: NodeId::from_bytes([u8::try_from(record.node).unwrap(); 16]),
        stands: Stands::Appended,
        version: 1,
        at: Timestamp::from_millis(0),
        expires: None,
        bound: Some(0),
        counter: 1,
        life,
        app: None,
        // One who says nothing that is understood wants to be alone.
        value: Bytes::new(),
    }
}

fn boot(time: u8) -> Boot {
    Boot::default().plus(STEP * u32::from(time))
}

impl Own {
    /// When it ends, as the table has it.
    fn end(&self, heard: Option<u8>, world: &World) -> u8 {
        let own = table::Own {
            key: "k".parse().unwrap(),
            says: says(world.bounds.hold),
            store: None,
            until: boot(self.until),
            stage: watch::Sender::new(Stage::Held),
            waits_until: boot(0),
            awaited: 0,
            warned: false,
            fresh: false,
            alone_since: None,
            comes_back: Duration::ZERO,
            gone: None,
            over: None,
            unseen: false,
        };
        let (end, _) = own.end(Heard { at: heard.map(boot), lease: STEP * u32::from(LEASE) });
        u8::try_from(u128::from(end.as_millis()) / STEP.as_millis()).unwrap()
    }
}

impl Node {
    pub(super) fn linked(now: u8) -> Self {
        Self { link: Some(Link::default()), heard: Some(now), ..Self::default() }
    }

    pub(super) fn holds(&self) -> bool {
        self.own.is_some_and(|own| own.held)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.own.is_some() || self.link.as_ref().is_some_and(|link| link.down.is_some())
    }

    /// The process is killed. Its app goes on, and takes what it was told for true. What the copy says to be this node's is
    /// taken over by the next process.
    pub(super) fn crash(&mut self, at: usize, world: &World) {
        self.told = self.granted(world).or(self.told);
        (self.heard, self.link) = (None, None);
        let life = Some(self.copy.life);
        let adopt = |record: &Record| Own { seq: record.seq, until: record.expires, life, held: false };
        self.own = self.copy.records.iter().find(|record| record.node == at).map(adopt);
    }

    /// What its app has been told, as long as the node holds it.
    fn granted(&self, world: &World) -> Option<Granted> {
        let own = self.own.filter(|own| own.held)?;
        Some(Granted { until: own.end(self.heard, world), life: own.life.unwrap_or_default() })
    }

    /// Whether its app takes itself for the one that has it.
    pub(super) fn believes(&self, now: u8, world: &World) -> bool {
        self.granted(world).into_iter().chain(self.told).any(|told| told.until > now)
    }

    /// Whether what it has is of the life of the store that it knows.
    pub(super) fn holds_nothing_lost(&self) -> bool {
        let held = self.own.filter(|own| own.held).and_then(|own| own.life);
        held.into_iter().chain(self.told.map(|told| told.life)).all(|life| life >= self.copy.life)
    }

    /// The broker has answered what was sent then.
    pub(super) fn hears(&mut self, sent: u8) {
        self.heard = self.heard.max(Some(sent));
    }

    /// What has had its time is over, whatever the broker says later.
    pub(super) fn look(&mut self, now: u8, world: &World) {
        let is_over = |own: &Own| own.end(self.heard, world) <= now && world.has(Rule::EndsInTime);
        self.own = self.own.filter(|own| !is_over(own));
    }

    /// What is over, however long.
    pub(super) fn forget(&mut self, now: u8, long_ago: u8) {
        self.heard = self.heard.map(|heard| heard.max(long_ago));
        self.told = self.told.filter(|told| told.until > now);
        if let Some(own) = &mut self.own {
            own.until = own.until.max(now);
        }
        for record in &mut self.copy.records {
            record.expires = record.expires.max(now);
        }
    }
}

impl State {
    pub(super) fn renews(&mut self, at: usize) {
        if let Some(own) = self.nodes[at].own {
            self.broker_does(at, Asked::Touch(own.seq));
        }
    }

    pub(super) fn gives_back(&mut self, at: usize, world: &World) {
        let node = &mut self.nodes[at];
        let kept = node.granted(world);
        let Some(own) = node.own.take() else { return };
        // Otherwise its app goes on until it is told that it has been given back.
        node.told = if world.has(Rule::GivesUpFirst) { None } else { kept };
        self.broker_does(at, Asked::Delete(own.seq));
    }

    pub(super) fn node_reads(&mut self, at: usize, world: &World) {
        let (now, node) = (self.now, &mut self.nodes[at]);
        let Some((told, sent, ahead)) = node.link.as_mut().and_then(|link| link.down.take()) else { return };
        node.ahead |= ahead;
        node.hears(if world.has(Rule::FromSending) { sent } else { now });
        let from = if world.has(Rule::FromBefore) { sent } else { now };
        match told {
            Told::Appended(seq) => {
                node.own = Some(Own { seq, until: from + TTL, life: None, held: false });
                self.judge(at, world);
            }
            Told::Touched(true) => {
                if let Some(own) = &mut node.own {
                    own.until = from + TTL;
                }
            }
            Told::Touched(false) | Told::Heard => {}
        }
        self.nodes[at].look(now, world);
    }

    pub(super) fn node_follows(&mut self, at: usize, world: &World) {
        let Store { life, last, records } = self.broker.store.clone();
        let node = &mut self.nodes[at];
        let lost = node.copy.life != life;
        node.copy = View { life, place: last, records };
        if lost && world.has(Rule::OfThisLife) {
            node.own = node.own.filter(|own| own.life.is_none());
            node.told = None;
        }
        self.judge(at, world);
        self.nodes[at].look(self.now, world);
    }

    /// Holds what it has against its copy.
    fn judge(&mut self, at: usize, world: &World) {
        let (node, happened) = (&mut self.nodes[at], &mut self.happened);
        let Some(own) = &mut node.own else { return };
        if node.copy.place < own.seq && world.has(Rule::CopyHasCome) {
            return;
        }
        own.life = own.life.or(Some(node.copy.life));
        let queue = node.copy.queue();
        let holds = queue.holds(u64::from(own.seq)) || node.copy.place < own.seq && queue.all().is_empty();
        if holds && !own.held {
            own.held = true;
            if own.end(node.heard, world) <= self.now {
                return;
            }
            let (token, before) = (own.seq, happened.granted);
            happened.again |= before.is_some_and(|(_, node)| node != at);
            // A store that was set back and does not know it yet gives places again.
            let is_known = happened.set_backs == 0 || own.life > Some(0);
            let fell = before.is_some_and(|(last, node)| token < last || token == last && node != at);
            happened.fell |= fell && is_known;
            happened.granted = happened.granted.max(Some((token, at)));
        } else if !holds && queue.get(u64::from(own.seq)).is_none() {
            (node.own, node.told) = (None, None);
        }
    }
}
