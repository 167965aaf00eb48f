//! The rules of the log in the plainest form there is: lists that are searched, keys that are numbers.

use std::collections::BTreeSet;

use crate::steps::{Op, RECOVERY, Step};

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) at: u64,
    pub(crate) epoch: u64,
    pub(crate) wants_epoch: bool,
    pub(crate) nodes: Vec<Node>,
    pub(crate) invites: Vec<Invite>,
    pub(crate) used: BTreeSet<u8>,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) first: u8,
    pub(crate) current: u8,
    pub(crate) name: u8,
    pub(crate) admin: bool,
    pub(crate) live: bool,
    invite: Option<u8>,
}

#[derive(Debug)]
pub(crate) struct Invite {
    pub(crate) key: u8,
    admin: bool,
    left: u32,
    expires: u64,
    name: Option<u8>,
    maker: Option<u8>,
    closed: bool,
}

impl Invite {
    fn new(key: u8, admin: bool, left: u32, expires: u64, name: Option<u8>) -> Self {
        Self { key, admin, left, expires, name, maker: None, closed: false }
    }

    pub(crate) fn open(&self, at: u64) -> bool {
        !self.closed && self.left > 0 && at < self.expires
    }
}

impl Model {
    pub(crate) fn found(at: u64) -> Self {
        let founder = Node { first: 0, current: 0, name: 0, admin: true, live: true, invite: None };
        Self {
            at,
            epoch: 1,
            wants_epoch: false,
            nodes: vec![founder],
            invites: Vec::new(),
            used: BTreeSet::from([0, RECOVERY]),
        }
    }

    pub(crate) fn live(&self, first: u8) -> Option<&Node> {
        self.nodes.iter().find(|node| node.first == first && node.live)
    }

    pub(crate) fn allows(&self, step: &Step) -> bool {
        let signers = step.signers(self);
        let at = self.at + step.later;
        let by_admin = signers.len() == 1 && self.is_admin(signers[0]);
        match step.op {
            Op::Invite { key, uses, lifetime, .. } => {
                by_admin && !self.used.contains(&key) && uses > 0 && lifetime > 0
            }
            Op::Join { key, name, invite } => {
                let invited = self.invites.iter().find(|i| i.key == invite && i.open(at));
                signers == [invite, key]
                    && invited.is_some_and(|i| i.name.is_none_or(|only| only == name))
                    && !self.used.contains(&key)
                    && !self.nodes.iter().any(|node| node.live && node.name == name)
            }
            Op::Update { node, rotate, host } => self.live(node).is_some_and(|node| match rotate {
                Some(new) => signers == [node.current, new] && !self.used.contains(&new),
                None => signers == [node.current] && host,
            }),
            Op::Grant { node, admin } => {
                by_admin
                    && self.live(node).is_some_and(|node| node.admin != admin)
                    && self.may_lose(node, signers[0])
            }
            Op::Revoke { node, epoch } => {
                by_admin && self.live(node).is_some() && self.may_lose(node, signers[0]) && self.next(epoch)
            }
            Op::RevokeInvite { key, epoch } => {
                by_admin && self.invites.iter().any(|i| i.key == key && !i.closed) && self.next(epoch)
            }
            Op::Leave { node } => {
                let own = self.live(node).is_some_and(|node| signers == [node.current]);
                own && self.may_lose(node, signers[0])
            }
            Op::Epoch { step } => by_admin && step == 1,
            Op::Resume { back } => by_admin && back == 0,
        }
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        let signer = step.signers(self)[0];
        self.at += step.later;
        match step.op {
            Op::Invite { key, admin, uses, lifetime, name } => {
                self.invite(signer, Invite::new(key, admin, uses, self.at + lifetime, name));
            }
            Op::Join { key, name, invite } => self.join(key, name, invite),
            Op::Update { node, rotate, .. } => {
                if let Some(new) = rotate {
                    self.node(node).current = new;
                    self.used.insert(new);
                }
            }
            Op::Grant { node, admin } => self.node(node).admin = admin,
            Op::Revoke { node, epoch } => {
                self.end(node);
                self.begin(epoch.is_some());
            }
            Op::RevokeInvite { key, epoch } => {
                self.invites.iter_mut().filter(|i| i.key == key).for_each(|i| i.closed = true);
                self.begin(epoch.is_some());
            }
            Op::Leave { node } => {
                self.end(node);
                self.begin(false);
            }
            Op::Epoch { .. } => self.begin(true),
            Op::Resume { .. } => self.begin(false),
        }
    }

    fn invite(&mut self, signer: u8, mut invite: Invite) {
        invite.maker = self.nodes.iter().find(|node| node.current == signer).map(|node| node.first);
        self.used.insert(invite.key);
        self.invites.push(invite);
    }

    fn join(&mut self, key: u8, name: u8, invite: u8) {
        let invited = self.invites.iter_mut().find(|i| i.key == invite).unwrap();
        invited.left -= 1;
        let (admin, invite) = (invited.admin, Some(invite));
        self.nodes.push(Node { first: key, current: key, name, admin, live: true, invite });
        self.used.insert(key);
    }

    fn is_admin(&self, key: u8) -> bool {
        key == RECOVERY || self.nodes.iter().any(|node| node.live && node.admin && node.current == key)
    }

    fn may_lose(&self, first: u8, signer: u8) -> bool {
        let others = self.nodes.iter().any(|node| node.live && node.admin && node.first != first);
        others || signer == RECOVERY || self.live(first).is_some_and(|node| !node.admin)
    }

    fn next(&self, epoch: Option<u64>) -> bool {
        epoch.is_none_or(|step| step == 1)
    }

    fn node(&mut self, first: u8) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.first == first).unwrap()
    }

    fn end(&mut self, first: u8) {
        let node = self.node(first);
        node.live = false;
        let joined_by = node.invite;
        for invite in &mut self.invites {
            if joined_by == Some(invite.key) || invite.maker == Some(first) {
                invite.closed = true;
            }
        }
    }

    fn begin(&mut self, epoch: bool) {
        self.wants_epoch = !epoch;
        self.epoch += u64::from(epoch);
    }
}
