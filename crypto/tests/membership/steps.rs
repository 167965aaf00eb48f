//! What is tried: an operation, who signs it, and what is done to the entry on its way.

use std::sync::LazyLock;

use getrandom::{SysRng, rand_core::UnwrapErr};
use proptest::prelude::*;
use waxwing_crypto::membership::{
    Body, Entry, Genesis, Grant, Join, Leave, LogHead, NewEpoch, NewInvite, NewMember, Resume, Revoke, Role,
    Roster, SignedEntry, Target, Update,
};
use waxwing_crypto::state_key::{SealedStateKeys, StateKeys};
use waxwing_crypto::{Digest, MeshId, Purpose, SealingKey, SealingPublicKey, SigningKey, Timestamp};

use crate::model::Model;

/// Most steps of one log.
pub(crate) const MOST_STEPS: usize = 64;

/// Keys are numbers: 0 is the founder's, then the recovery key, nodes, invites, and those rotated to. Few, so that
/// random choices meet.
pub(crate) const RECOVERY: u8 = 1;
const NODES: std::ops::Range<u8> = 2..12;
const INVITES: std::ops::Range<u8> = 12..28;
const ROTATED: std::ops::Range<u8> = 28..36;
const ALL: std::ops::Range<u8> = 0..37;
const NAMES: std::ops::Range<u8> = 0..12;

#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) op: Op,
    /// Whether numbers are to be read as the first fitting ones from there on.
    sensible: bool,
    /// Who signs what an admin must sign.
    author: u8,
    /// In place of those who should sign.
    others: Option<Vec<u8>>,
    /// Milliseconds after the entry before.
    pub(crate) later: u64,
    pub(crate) tamper: Option<Tamper>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Invite { key: u8, admin: bool, uses: u32, lifetime: u64, name: Option<u8> },
    Join { key: u8, name: u8, invite: u8 },
    Update { node: u8, rotate: Option<u8>, host: bool },
    Grant { node: u8, admin: bool },
    Revoke { node: u8, epoch: Option<u64> },
    RevokeInvite { key: u8, epoch: Option<u64> },
    Leave { node: u8 },
    Epoch { step: u64 },
    Resume { back: u64 },
}

/// None of these is ever accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tamper {
    OtherMesh,
    Seq(i64),
    Prev,
    Backdated,
    /// The log's entry of this number, again.
    Replay(usize),
    /// Signed by a key that the entry does not name.
    Forged(u8),
    Unsigned,
    Flipped(usize),
    Cut(usize),
}

impl Op {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Invite { .. } => "invite",
            Self::Join { .. } => "join",
            Self::Update { .. } => "update",
            Self::Grant { .. } => "grant",
            Self::Revoke { .. } | Self::RevokeInvite { .. } => "revoke",
            Self::Leave { .. } => "leave",
            Self::Epoch { .. } => "epoch",
            Self::Resume { .. } => "resume",
        }
    }
}

impl Step {
    /// This step with what makes sense at this point, if it is to: most random choices alone would be refused.
    pub(crate) fn made_sensible(mut self, model: &Model) -> Self {
        if !self.sensible {
            return self;
        }
        let node = |n: &mut u8| pick(n, 0..NODES.end, |n| model.live(n).is_some());
        let unused = |n: &mut u8, among| pick(n, among, |n| !model.used.contains(&n));
        let open = |n: &mut u8| {
            pick(n, INVITES, |n| model.invites.iter().any(|i| i.key == n && i.open(model.at)));
        };
        let unnamed = |n: &mut u8| {
            pick(n, NAMES, |n| !model.nodes.iter().any(|node| node.live && node.name == n));
        };
        pick(&mut self.author, 0..NODES.end, |n| {
            n == RECOVERY || model.live(n).is_some_and(|node| node.admin)
        });
        match &mut self.op {
            Op::Invite { key, .. } => unused(key, INVITES),
            Op::Join { key, name, invite } => {
                open(invite);
                unused(key, NODES);
                unnamed(name);
            }
            Op::Update { node: n, rotate, .. } => {
                node(n);
                rotate.iter_mut().for_each(|new| unused(new, ROTATED));
            }
            Op::Grant { node: n, .. } | Op::Revoke { node: n, .. } | Op::Leave { node: n } => node(n),
            Op::RevokeInvite { key, .. } => open(key),
            Op::Epoch { .. } | Op::Resume { .. } => {}
        }
        self
    }

    /// The keys that sign: the right ones, unless this step says otherwise.
    pub(crate) fn signers(&self, model: &Model) -> Vec<u8> {
        if let Some(others) = &self.others {
            return others.clone();
        }
        let current = |node: u8| model.live(node).map_or(node, |node| node.current);
        match self.op {
            Op::Join { key, invite, .. } => vec![invite, key],
            Op::Update { node, rotate, .. } => [current(node)].into_iter().chain(rotate).collect(),
            Op::Leave { node } => vec![current(node)],
            Op::Invite { .. }
            | Op::Grant { .. }
            | Op::Revoke { .. }
            | Op::RevokeInvite { .. }
            | Op::Epoch { .. }
            | Op::Resume { .. } => vec![current(self.author)],
        }
    }

    pub(crate) fn signed(&self, roster: &Roster, model: &Model, log: &[SignedEntry]) -> SignedEntry {
        let at = Timestamp::from_millis(model.at + self.later);
        let mut entry = roster.entry(at, self.body(roster, at));
        match self.tamper {
            Some(Tamper::OtherMesh) => entry.mesh = MeshId::from_bytes([3; 16]),
            Some(Tamper::Seq(off)) => entry.seq = entry.seq.wrapping_add_signed(off),
            Some(Tamper::Prev) => entry.prev = Digest::from_bytes([3; 32]),
            Some(Tamper::Backdated) => entry.at = Timestamp::from_millis(model.at - 1),
            _ => {}
        }
        let mut signed = sign(&entry, &self.signers(model));
        match self.tamper {
            Some(Tamper::Replay(seq)) => return log[seq % log.len()].clone(),
            Some(Tamper::Forged(by)) => signed.signatures[0] = forge(by, &entry, &signed),
            Some(Tamper::Unsigned) => signed.signatures.clear(),
            Some(Tamper::Flipped(bit)) => {
                let mut bytes = signed.bytes.to_vec();
                let bit = bit % (bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                signed.bytes = bytes.into();
            }
            Some(Tamper::Cut(at)) => signed.bytes.truncate(at % signed.bytes.len()),
            _ => {}
        }
        signed
    }

    fn body(&self, roster: &Roster, at: Timestamp) -> Body {
        let id = |node: u8| key(node).public().node_id();
        let epoch = |step: u64| NewEpoch { n: roster.epoch() + step, keys: Digest::from_bytes([4; 32]) };
        let revoke = |target, step: Option<u64>| {
            Body::Revoke(Revoke { target, reason: "test".parse().unwrap(), epoch: step.map(epoch) })
        };
        match self.op {
            Op::Invite { key, admin, uses, lifetime, name } => {
                let expires = Timestamp::from_millis(at.as_millis() + lifetime);
                Body::Invite(new_invite(key, admin, uses, expires, name))
            }
            Op::Join { key: k, name, invite } => {
                Body::Join(Join { member: newcomer(k, name), invite: key(invite).public() })
            }
            Op::Update { node, rotate, host } => Body::Update(Update {
                node: id(node),
                signing: rotate.map(|new| key(new).public()),
                sealing: None,
                host: host.then(|| Digest::from_bytes([9; 32])),
            }),
            Op::Grant { node, admin } => Body::Grant(Grant { node: id(node), role: role(admin) }),
            Op::Revoke { node, epoch } => revoke(Target::Node(id(node)), epoch),
            Op::RevokeInvite { key: k, epoch } => revoke(Target::Invite(key(k).public()), epoch),
            Op::Leave { node } => Body::Leave(Leave { node: id(node) }),
            Op::Epoch { step } => Body::Epoch(epoch(step)),
            Op::Resume { back } => {
                let seq = roster.head().seq.saturating_sub(back);
                let hash = roster.hash_at(seq).unwrap_or(Digest::from_bytes([0; 32]));
                Body::Resume(Resume { head: LogHead { seq, hash } })
            }
        }
    }
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let author = prop_oneof![6 => Just(0u8), 3 => NODES, 2 => Just(RECOVERY), 1 => ALL];
    let others = prop_oneof![9 => Just(None), 1 => proptest::collection::vec(ALL, 1..3).prop_map(Some)];
    let tamper = prop_oneof![6 => Just(None), 1 => tamper().prop_map(Some)];
    let sensible = proptest::bool::weighted(0.75);
    (op(), sensible, author, others, 0..4u64, tamper).prop_map(
        |(op, sensible, author, others, later, tamper)| Step { op, sensible, author, others, later, tamper },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let node = || prop_oneof![1 => Just(0u8), 8 => NODES, 1 => ALL];
    let invite = || prop_oneof![9 => INVITES, 1 => ALL];
    let epoch = || prop_oneof![3 => Just(None), 3 => Just(Some(1u64)), 1 => (0..3u64).prop_map(Some)];
    let maybe_name = || prop_oneof![6 => Just(None), 1 => NAMES.prop_map(Some)];
    let uses = prop_oneof![1 => Just(0u32), 9 => 1..4u32];
    prop_oneof![
        5 => (invite(), any::<bool>(), uses, 0..40u64, maybe_name())
            .prop_map(|(key, admin, uses, lifetime, name)| Op::Invite { key, admin, uses, lifetime, name }),
        8 => (node(), NAMES, invite()).prop_map(|(key, name, invite)| Op::Join { key, name, invite }),
        3 => (node(), proptest::option::of(ROTATED), any::<bool>())
            .prop_map(|(node, rotate, host)| Op::Update { node, rotate, host }),
        3 => (node(), any::<bool>()).prop_map(|(node, admin)| Op::Grant { node, admin }),
        1 => (node(), epoch()).prop_map(|(node, epoch)| Op::Revoke { node, epoch }),
        1 => (invite(), epoch()).prop_map(|(key, epoch)| Op::RevokeInvite { key, epoch }),
        1 => node().prop_map(|node| Op::Leave { node }),
        1 => (0..3u64).prop_map(|step| Op::Epoch { step }),
        1 => (0..2u64).prop_map(|back| Op::Resume { back }),
    ]
}

/// The first number from `n` on, around the range, that fits; `n` itself if none does.
fn pick(n: &mut u8, among: std::ops::Range<u8>, fits: impl Fn(u8) -> bool) {
    let all = among.clone().chain(among.clone());
    let from = n.saturating_sub(among.start) % (among.end - among.start);
    *n = all.skip(from.into()).take(among.len()).find(|n| fits(*n)).unwrap_or(*n);
}

fn tamper() -> impl Strategy<Value = Tamper> {
    prop_oneof![
        Just(Tamper::OtherMesh),
        prop_oneof![Just(-1i64), Just(1), Just(i64::MAX)].prop_map(Tamper::Seq),
        Just(Tamper::Prev),
        Just(Tamper::Backdated),
        any::<usize>().prop_map(Tamper::Replay),
        ALL.prop_map(Tamper::Forged),
        Just(Tamper::Unsigned),
        any::<usize>().prop_map(Tamper::Flipped),
        any::<usize>().prop_map(Tamper::Cut),
    ]
}

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

pub(crate) fn genesis() -> Genesis {
    let (name, recovery) = ("mesh".parse().unwrap(), key(RECOVERY).public());
    Genesis { name, founder: newcomer(0, 0), recovery, state_keys: state_keys() }
}

fn new_invite(k: u8, admin: bool, uses: u32, expires: Timestamp, name: Option<u8>) -> NewInvite {
    let name = name.map(|n| format!("n{n}").parse().unwrap());
    let (key, sealing, state_keys) = (key(k).public(), sealing(), state_keys());
    NewInvite { key, sealing, role: role(admin), uses, expires, name, state_keys }
}

fn newcomer(k: u8, name: u8) -> NewMember {
    let (name, signing) = (format!("n{name}").parse().unwrap(), key(k).public());
    NewMember { name, signing, sealing: sealing(), host: Digest::from_bytes([8; 32]) }
}

fn role(admin: bool) -> Role {
    if admin { Role::Admin } else { Role::Member }
}

fn sign(entry: &Entry, signers: &[u8]) -> SignedEntry {
    let keys: Vec<_> = signers.iter().map(|&n| key(n)).collect();
    entry.sign(&keys.iter().collect::<Vec<_>>())
}

/// A signature by this key, or, if the entry names it, over other bytes.
fn forge(by: u8, entry: &Entry, signed: &SignedEntry) -> waxwing_crypto::Signature {
    let other = Entry { seq: entry.seq + 1, ..entry.clone() };
    let names_it = signed.parse().unwrap().signers[0] == key(by).public();
    let bytes = if names_it { sign(&other, &[by]).bytes } else { signed.bytes.clone() };
    key(by).sign(Purpose::Membership, &bytes)
}

fn sealing() -> SealingPublicKey {
    static KEY: LazyLock<SealingPublicKey> =
        LazyLock::new(|| SealingKey::from_seed(&[9; 32]).public().unwrap());
    KEY.clone()
}

fn state_keys() -> SealedStateKeys {
    static KEYS: LazyLock<SealedStateKeys> = LazyLock::new(|| {
        let mut rng = UnwrapErr(SysRng);
        StateKeys::found(&mut rng).seal_to(&sealing(), &mut rng).unwrap()
    });
    KEYS.clone()
}
