//! The changes of one batch.

use tokio::sync::oneshot;
use waxwing_crypto::{MeshId, NodeId};

use super::change::{
    Append, Author, Bye, Change, EndDue, KeysPut, Login, PrekeyPut, Renew, Sends, Settles, SpaceOffers,
    SpaceWrites, Upload, changes_size,
};
use crate::store::NodeKey;

/// The changes of one batch, by kind, in the order they came.
#[derive(Default)]
pub(super) struct Work {
    /// How many items there are in all.
    pub(super) items: usize,
    pub(super) logins: Vec<Login>,
    pub(super) uploads: Vec<Upload>,
    pub(super) renewals: Vec<Renew>,
    pub(super) keys: Vec<KeysPut>,
    pub(super) appends: Vec<Append>,
    pub(super) settles: Vec<Settles>,
    pub(super) sweeps: Vec<oneshot::Sender<bool>>,
    pub(super) evictions: Vec<(NodeKey, oneshot::Sender<bool>)>,
    pub(super) prekeys: Vec<PrekeyPut>,
    pub(super) probes: Vec<oneshot::Sender<()>>,
    pub(super) sends: Vec<Sends>,
    pub(super) ends: Vec<EndDue>,
    pub(super) writes: Vec<SpaceWrites>,
    pub(super) offers: Vec<SpaceOffers>,
    pub(super) byes: Vec<Bye>,
}

impl Work {
    /// Adds a change. Says how many items and bytes it brings.
    pub(super) fn add(&mut self, change: Change) -> (usize, usize) {
        match change {
            Change::Login(login) => self.logins.push(login),
            Change::Append(append) => self.appends.push(append),
            Change::Keys(put) => {
                let size = (put.slots.len(), put.bytes());
                self.keys.push(put);
                return size;
            }
            Change::Upload(upload) => self.uploads.push(*upload),
            Change::Renew(renew) => self.renewals.push(renew),
            Change::Sweep(answer) => self.sweeps.push(answer),
            Change::Evict { node, answer } => self.evictions.push((node, answer)),
            Change::Prekey(prekey) => self.prekeys.push(prekey),
            Change::Probe(answer) => self.probes.push(answer),
            Change::End(due) => self.ends.push(due),
            Change::Bye(bye) => self.byes.push(bye),
            Change::Write(write) => {
                let size = changes_size(&write.changes);
                self.writes.push(write);
                return size;
            }
            Change::Offer(offer) => {
                let bytes = offer.records.iter().map(|record| record.sealed.len()).sum();
                let size = (offer.records.len(), bytes);
                self.offers.push(offer);
                return size;
            }
            Change::Settle(settle) => {
                let items = settle.settled.len();
                self.settles.push(settle);
                return (items, 0);
            }
            Change::Send(send) => {
                let size = (send.items.len(), send.items.iter().map(|item| item.env.len()).sum());
                self.sends.push(send);
                return size;
            }
        }
        (1, 0)
    }
}

impl Work {
    /// The nodes whose counters this work is known to need.
    pub(super) fn nodes(&self) -> Vec<NodeKey> {
        let mut nodes: Vec<_> = self.logins.iter().map(|login| login.node).collect();
        nodes.extend(self.prekeys.iter().map(|prekey| prekey.peer.key));
        nodes.extend(self.keys.iter().map(|put| put.peer.key));
        nodes.extend(self.appends.iter().filter_map(|append| match &append.author {
            Author::Member(peer) => Some(peer.key),
            Author::Entering { .. } => None,
        }));
        let in_mesh = |mesh: MeshId, node: NodeId| NodeKey { mesh, node };
        for settle in &self.settles {
            let mesh = settle.peer.key.mesh;
            nodes.push(settle.peer.key);
            nodes.extend(
                settle
                    .settled
                    .iter()
                    .filter_map(|s| s.mail.as_ref())
                    .map(|(mail, _)| in_mesh(mesh, mail.from)),
            );
        }
        nodes.extend(self.writes.iter().map(|write| write.peer.key));
        nodes.extend(self.offers.iter().map(|offer| offer.peer.key));
        nodes.extend(self.byes.iter().map(|bye| bye.peer.key));
        for send in &self.sends {
            nodes.push(send.peer.key);
            nodes.extend(send.items.iter().map(|item| in_mesh(send.peer.key.mesh, item.to)));
        }
        nodes
    }
}
