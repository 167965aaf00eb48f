//! The roster: who is in, as of one entry of the log.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, Result};
use crate::id::{Digest, MeshId, Name, NodeId, Timestamp};
use crate::keys::{SealingPublicKey, SigningKey, VerifyingKey};
use crate::membership::{Body, Entry, Genesis, Invite, LogHead, Role, Rule, SignedEntry, near};

/// How far an entry's time may be from the broker's clock when it is appended. The broker's rule, not the machine's:
/// the log must stay valid when it is read later.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_mins(5);

/// The state of a mesh's membership log at its head. Begins with a genesis, changes only by [`Roster::apply`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(remote = "Self")]
pub struct Roster {
    pub(super) mesh: MeshId,
    pub(super) name: Name,
    pub(super) recovery: VerifyingKey,
    /// Of entry `seq` at `seq - 1`.
    pub(super) hashes: Vec<Digest>,
    pub(super) at: Timestamp,
    pub(super) epoch: u64,
    pub(super) epoch_keys: Option<Digest>,
    pub(super) wants_epoch: bool,
    /// Everybody who ever was a member, in the order of joining.
    pub(super) nodes: Vec<Member>,
    /// Every invite there ever was, in the order of making.
    pub(super) invites: Vec<Invite>,
    /// Follows from the fields above.
    #[serde(skip)]
    pub(super) index: Index,
}

impl Roster {
    /// Founds a mesh: the signed genesis entry, and the roster after it.
    ///
    /// # Errors
    /// `NotAllowed` if `key` is not the founder's signing key, or the recovery key is.
    pub fn found(at: Timestamp, genesis: Genesis, key: &SigningKey) -> Result<(SignedEntry, Self)> {
        let entry = Entry {
            mesh: MeshId::from_bytes([0; MeshId::SIZE]),
            seq: 1,
            prev: Digest::from_bytes([0; Digest::SIZE]),
            at,
            signers: Vec::new(),
            body: Body::Genesis(genesis),
        };
        let signed = entry.sign(&[key]);
        let roster = Self::genesis(&signed)?;
        Ok((signed, roster))
    }

    /// Begins with a mesh's first entry. The mesh it founds is [`Roster::mesh`]: compare it with the one you want.
    ///
    /// # Errors
    /// As [`Roster::apply`].
    pub fn genesis(signed: &SignedEntry) -> Result<Self> {
        let (hash, entry) = signed.verify()?.into_parts();
        Self::begin(hash, entry).map_err(Error::NotAllowed)
    }

    /// Appends one entry, if its signatures hold and the rules allow it here.
    ///
    /// # Errors
    /// `TooLarge`, `Malformed`, `BadSignature`, or `NotAllowed` with the rule it breaks. The roster is then as before.
    pub fn apply(&mut self, signed: &SignedEntry) -> Result<()> {
        let (hash, entry) = signed.verify()?.into_parts();
        let (at, change) = self.check(entry).map_err(Error::NotAllowed)?;
        self.hashes.push(hash);
        self.at = at;
        self.change(change);
        Ok(())
    }

    /// Runs through a whole log, genesis first.
    ///
    /// # Errors
    /// As [`Roster::apply`], for the first entry that does not hold. `NotAllowed(NotGenesis)` for an empty log.
    pub fn replay<'a>(entries: impl IntoIterator<Item = &'a SignedEntry>) -> Result<Self> {
        let mut entries = entries.into_iter();
        let mut roster = Self::genesis(entries.next().ok_or(Error::NotAllowed(Rule::NotGenesis))?)?;
        for entry in entries {
            roster.apply(entry)?;
        }
        Ok(roster)
    }

    /// An entry for the place after the head, to be signed: dated `at`, the broker's time, or as the head if that is
    /// later, since the log's time never goes back.
    pub fn entry(&self, at: Timestamp, body: Body) -> Entry {
        let LogHead { seq, hash: prev } = self.head();
        Entry { mesh: self.mesh, seq: seq + 1, prev, at: at.max(self.at), signers: Vec::new(), body }
    }

    /// The mesh: the first 16 bytes of the genesis entry's hash.
    pub fn mesh(&self) -> MeshId {
        self.mesh
    }

    /// What the founder called the mesh.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The public half of the recovery secret.
    pub fn recovery(&self) -> &VerifyingKey {
        &self.recovery
    }

    /// The newest entry's place.
    pub fn head(&self) -> LogHead {
        LogHead { seq: self.hashes.len() as u64, hash: self.hashes[self.hashes.len() - 1] }
    }

    /// The newest entry's time.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The hash of an entry, if the log has come that far. To compare logs with somebody.
    pub fn hash_at(&self, seq: u64) -> Option<Digest> {
        let index = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.hashes.get(index).copied()
    }

    /// The current epoch, whose state key is the one to seal under.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The root of the current epoch's sealed-key list. None in the first epoch, whose key is in the genesis entry.
    pub fn epoch_keys(&self) -> Option<Digest> {
        self.epoch_keys
    }

    /// Whether an admin's node is to append an epoch: since the last one somebody left, or was revoked without one,
    /// or the mesh was resumed.
    pub fn wants_epoch(&self) -> bool {
        self.wants_epoch
    }

    /// A live member.
    pub fn member(&self, id: &NodeId) -> Option<&Member> {
        self.former(id).filter(|member| member.standing == Standing::Live)
    }

    /// A node that is a member or was, as it was last: to show who it is or used to be, never to decide its rights.
    pub fn former(&self, id: &NodeId) -> Option<&Member> {
        self.index.ids.get(id).map(|&node| &self.nodes[node])
    }

    /// The live members, in the order in which they joined.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.nodes.iter().filter(|member| member.standing == Standing::Live)
    }

    /// The live member of this name.
    pub fn by_name(&self, name: &Name) -> Option<&Member> {
        self.index.names.get(name).map(|&node| &self.nodes[node])
    }

    /// The last node that had this name and is no member any more: to tell a sender what became of it.
    pub fn former_by_name(&self, name: &Name) -> Option<&Member> {
        self.nodes.iter().rev().find(|member| member.name == *name && member.standing != Standing::Live)
    }

    /// The node whose signing key this is, or was before a rotation.
    pub fn by_key(&self, key: &VerifyingKey) -> Option<&Member> {
        match self.index.keys.get(key.as_bytes())? {
            Owner::Node(node) => Some(&self.nodes[*node]),
            Owner::Invite(_) | Owner::Recovery => None,
        }
    }

    /// Names of live members that somebody who wrote `name` may have meant: at most three, nearest first.
    pub fn names_like(&self, name: &str) -> Vec<Name> {
        near::names_like(name, self.members().map(|member| &member.name))
    }

    /// Whether a newcomer may have this name.
    ///
    /// # Errors
    /// `NameTaken` if a live member has it.
    pub fn admits_name(&self, name: &Name) -> Result<(), Rule> {
        if self.index.names.contains_key(name) { Err(Rule::NameTaken) } else { Ok(()) }
    }

    /// Whether this key acts for the mesh as of the head: a live admin's current one, or the recovery key.
    pub fn is_admin_key(&self, key: &VerifyingKey) -> bool {
        self.admin(std::slice::from_ref(key)).is_ok()
    }

    /// Whether this log has come to that place.
    pub fn holds(&self, head: LogHead) -> bool {
        self.hash_at(head.seq) == Some(head.hash)
    }

    /// The last place that this log and another of the mesh share; 0 if they have not even the genesis in common.
    pub fn shared_with(&self, other: &Self) -> u64 {
        // Each hash covers all before it: where they are the same, everything before is.
        let same = |seq: u64| self.hash_at(seq).is_some_and(|hash| other.hash_at(seq) == Some(hash));
        let (mut shared, mut parted) = (0, self.head().seq.min(other.head().seq) + 1);
        while parted - shared > 1 {
            let middle = shared.midpoint(parted);
            if same(middle) { shared = middle } else { parted = middle }
        }
        shared
    }

    /// What a node is to this mesh.
    pub fn standing(&self, id: &NodeId) -> Standing {
        self.former(id).map_or(Standing::Unknown, |member| member.standing)
    }

    /// An invite, whether it still admits or not.
    pub fn invite(&self, key: &VerifyingKey) -> Option<&Invite> {
        match self.index.keys.get(key.as_bytes())? {
            Owner::Invite(invite) => Some(&self.invites[*invite]),
            Owner::Node(_) | Owner::Recovery => None,
        }
    }

    /// Everybody who is a member or was, in the order in which they joined.
    pub fn everybody(&self) -> impl Iterator<Item = &Member> {
        self.nodes.iter()
    }

    /// Every invite there ever was, in the order of making.
    pub fn invites(&self) -> impl Iterator<Item = &Invite> {
        self.invites.iter()
    }

    /// The invites that admit at this moment, in the order of making: with the members, those who get a slot in a new
    /// epoch's list.
    pub fn open_invites(&self, at: Timestamp) -> impl Iterator<Item = &Invite> {
        self.invites.iter().filter(move |invite| invite.admits(at).is_ok())
    }

    /// The state for safe keeping, so that a start need not replay the log. About 1.5 KiB per member and invite.
    #[expect(
        clippy::expect_used,
        reason = "plain structs into memory; no map key or length can fail to encode"
    )]
    pub fn snapshot(&self) -> Vec<u8> {
        rmp_serde::to_vec(self).expect("encodes")
    }

    /// The state as it was kept. Nothing in it is checked against the rules again: keep it under a MAC.
    ///
    /// # Errors
    /// `Malformed` if it is no snapshot of this version.
    pub fn restore(snapshot: &[u8]) -> Result<Self> {
        rmp_serde::from_slice(snapshot).map_err(|_| Error::Malformed("roster"))
    }
}

impl Serialize for Roster {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// With the index, without which a roster would take every key for a new one.
impl<'de> Deserialize<'de> for Roster {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut roster = Self::deserialize(deserializer)?;
        if roster.hashes.is_empty() {
            return Err(de::Error::custom("a log has at least one entry"));
        }
        roster.index = Index::of(&roster);
        Ok(roster)
    }
}

/// A node in the log.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Member {
    /// From its first signing key; survives rotations.
    pub id: NodeId,
    /// Unique among live members.
    pub name: Name,
    /// Its current signing key.
    pub signing: VerifyingKey,
    /// Its current sealing key.
    pub sealing: SealingPublicKey,
    /// The commitment of its current host record.
    pub host: Digest,
    /// What it may do.
    pub role: Role,
    /// What it is now. Not `Unknown`.
    pub standing: Standing,
    /// The entry that admitted it.
    pub joined_seq: u64,
    /// When it joined.
    pub joined_at: Timestamp,
    /// When it last said that it is on another host.
    pub moved_at: Option<Timestamp>,
    /// The key of the invite by which it joined. None for the founder.
    pub invite: Option<VerifyingKey>,
    /// The keys before the current one, oldest first, each with the entry that ended its time.
    pub(super) former_keys: Vec<(VerifyingKey, u64)>,
    /// The entry that ended the membership.
    pub(super) ended_seq: Option<u64>,
    /// When the membership ended.
    pub ended_at: Option<Timestamp>,
}

impl Member {
    /// The key that spoke for this node once entry `seq` was the head: to judge what was signed in the past.
    pub fn signing_at(&self, seq: u64) -> Option<&VerifyingKey> {
        if seq < self.joined_seq || self.ended_seq.is_some_and(|end| seq >= end) {
            return None;
        }
        let former = self.former_keys.iter().find(|(_, until)| seq < *until);
        Some(former.map_or(&self.signing, |(key, _)| key))
    }

    /// Its signing keys before the current one, newest first.
    pub fn former_keys(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.former_keys.iter().rev().map(|(key, _)| key)
    }

    /// Whether this was a signing key of the node before the current one.
    pub fn is_former_key(&self, key: &VerifyingKey) -> bool {
        self.former_keys.iter().any(|(former, _)| former == key)
    }
}

/// What a node is to a mesh.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// A member.
    Live,
    /// An admin ended its membership.
    Revoked,
    /// It ended its membership itself.
    Left,
    /// Never was a member, as far as this log goes.
    Unknown,
}

/// Where things are in a roster's lists.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Index {
    /// Everybody who ever was a member.
    pub(super) ids: HashMap<NodeId, usize>,
    /// Live members.
    pub(super) names: HashMap<Name, usize>,
    /// Every signing key that ever stood in the log.
    pub(super) keys: HashMap<[u8; VerifyingKey::SIZE], Owner>,
    /// How many live members are admins.
    pub(super) admins: usize,
}

/// Whose key it is, or was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    Node(usize),
    Invite(usize),
    Recovery,
}

impl Index {
    pub(super) fn of(roster: &Roster) -> Self {
        let mut index = Self::default();
        index.keys.insert(*roster.recovery.as_bytes(), Owner::Recovery);
        for (at, invite) in roster.invites.iter().enumerate() {
            index.keys.insert(*invite.key.as_bytes(), Owner::Invite(at));
        }
        for (at, member) in roster.nodes.iter().enumerate() {
            index.add(at, member);
        }
        index
    }

    pub(super) fn add(&mut self, at: usize, member: &Member) {
        self.ids.insert(member.id, at);
        for (key, _) in &member.former_keys {
            self.keys.insert(*key.as_bytes(), Owner::Node(at));
        }
        self.keys.insert(*member.signing.as_bytes(), Owner::Node(at));
        if member.standing == Standing::Live {
            self.names.insert(member.name.clone(), at);
            self.admins += usize::from(member.role == Role::Admin);
        }
    }
}
