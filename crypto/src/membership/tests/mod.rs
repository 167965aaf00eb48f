//! Each rule of the machine, by name. The mesh below is as small as a rule needs it.

mod bytes;
mod chain;
mod epochs;
mod invites;
mod members;

use std::sync::LazyLock;

use getrandom::{SysRng, rand_core::UnwrapErr};

use crate::membership::{
    Body, Entry, Genesis, Grant, Join, Leave, NewInvite, NewMember, Revoke, Role, Roster, Rule, SignedEntry,
    Target, Update,
};
use crate::state_key::{SealedStateKeys, StateKeys};
use crate::{
    Digest, Error, Name, NodeId, Result, SealingKey, SealingPublicKey, SigningKey, Timestamp, VerifyingKey,
};

/// Keys are named by a number.
const FOUNDER: u8 = 1;
const RECOVERY: u8 = 2;
/// The moment the mesh was founded, in ms; an invite lasts this much longer.
const START: u64 = 1_000;
const LIFETIME: u64 = 100;

/// A roster and the log it came from. Every attempt checks that a refused entry changes nothing.
struct Mesh {
    roster: Roster,
    log: Vec<SignedEntry>,
    now: u64,
}

impl Mesh {
    fn found() -> Self {
        let (first, roster) = Roster::found(at(START), genesis(), &key(FOUNDER)).unwrap();
        Self { roster, log: vec![first], now: START }
    }

    /// A mesh with members of key 11, 12, ... and names n11, n12, ..., each by an invite of its own: 111, 112, ...
    fn with_members(keys: std::ops::RangeInclusive<u8>) -> Self {
        let mut mesh = Self::found();
        for n in keys {
            mesh.admit(n, 100 + n);
        }
        mesh
    }

    fn admit(&mut self, n: u8, by: u8) {
        self.append(invite(by, |_| ()), &[FOUNDER]);
        self.append(join(n, &format!("n{n}"), by), &[by, n]);
    }

    fn entry(&self, body: Body) -> Entry {
        self.roster.entry(at(self.now), body)
    }

    /// Signs for the head, with the keys of these numbers.
    fn attempt(&mut self, body: Body, signers: &[u8]) -> Result<()> {
        self.apply(sign(&self.entry(body), signers))
    }

    fn apply(&mut self, signed: SignedEntry) -> Result<()> {
        let before = self.roster.clone();
        let result = self.roster.apply(&signed);
        if result.is_err() {
            assert_eq!(self.roster, before, "an error changed the roster");
        } else {
            assert_eq!(self.roster.head().seq, before.head().seq + 1);
            self.log.push(signed);
        }
        result
    }

    #[track_caller]
    fn append(&mut self, body: Body, signers: &[u8]) {
        self.attempt(body, signers).unwrap();
    }

    #[track_caller]
    fn refuses(&mut self, body: Body, signers: &[u8], rule: Rule) {
        assert_eq!(self.attempt(body, signers), Err(Error::NotAllowed(rule)));
    }
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn public(n: u8) -> VerifyingKey {
    key(n).public()
}

/// The id of the node whose first key this is.
fn id(n: u8) -> NodeId {
    public(n).node_id()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn digest(n: u8) -> Digest {
    Digest::from_bytes([n; 32])
}

fn sign(entry: &Entry, signers: &[u8]) -> SignedEntry {
    let keys: Vec<_> = signers.iter().map(|&n| key(n)).collect();
    entry.sign(&keys.iter().collect::<Vec<_>>())
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

fn newcomer(n: u8, name_: &str) -> NewMember {
    NewMember { name: name(name_), signing: public(n), sealing: sealing(), host: digest(n) }
}

fn genesis() -> Genesis {
    let (founder, recovery) = (newcomer(FOUNDER, "founder"), public(RECOVERY));
    Genesis { name: name("mesh"), founder, recovery, state_keys: state_keys() }
}

/// An invite of key `n` for one member, good for [`LIFETIME`], changed by `change`.
fn invite(n: u8, change: impl FnOnce(&mut NewInvite)) -> Body {
    let mut invite = NewInvite {
        key: public(n),
        sealing: sealing(),
        role: Role::Member,
        uses: 1,
        expires: at(START + LIFETIME),
        name: None,
        state_keys: state_keys(),
    };
    change(&mut invite);
    Body::Invite(invite)
}

fn join(n: u8, name: &str, invite: u8) -> Body {
    Body::Join(Join { member: newcomer(n, name), invite: public(invite) })
}

fn update(n: u8, change: impl FnOnce(&mut Update)) -> Body {
    let mut update = Update { node: id(n), signing: None, sealing: None, host: None };
    change(&mut update);
    Body::Update(update)
}

fn rotate(n: u8, new: u8) -> Body {
    update(n, |update| update.signing = Some(public(new)))
}

fn grant(n: u8, role: Role) -> Body {
    Body::Grant(Grant { node: id(n), role })
}

fn revoke(n: u8) -> Body {
    Body::Revoke(Revoke { target: Target::Node(id(n)), reason: "lost".parse().unwrap(), epoch: None })
}

fn revoke_invite(n: u8) -> Body {
    Body::Revoke(Revoke { target: Target::Invite(public(n)), reason: "".parse().unwrap(), epoch: None })
}

fn leave(n: u8) -> Body {
    Body::Leave(Leave { node: id(n) })
}
