//! Meshes full of members that are no nodes: keys, and entries in the broker's log.

use std::net::SocketAddr;
use std::time::Duration;

use getrandom::SysRng;
use rand_core::UnwrapErr;
use waxwing_crypto::membership::{
    Body, Genesis, InviteSeed, Join, LogHead, NewInvite, NewMember, RecoverySecret, Role, Roster, SignedEntry,
};
use waxwing_crypto::state_key::StateKeys;
use waxwing_crypto::{Digest, MeshId, NodeId, SealingKey, SealingPublicKey, SigningKey, Timestamp};

use crate::error::{Error, Result};
use crate::raw::Link;

/// True nodes that may join.
const NODES: usize = 8;

/// A mesh on a broker, all of whose members are no nodes.
#[derive(Debug)]
pub(crate) struct Founded {
    /// The founder first.
    pub(crate) members: Vec<Member>,
    /// Its state keys.
    pub(crate) keys: StateKeys,
    /// An invite, with a few places left.
    pub(crate) invite: InviteSeed,
}

/// Whoever may log in.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) mesh: MeshId,
    pub(crate) node: NodeId,
    pub(crate) head: LogHead,
    pub(crate) key: SigningKey,
}

impl Member {
    /// Its id.
    pub(crate) const fn node(&self) -> NodeId {
        self.node
    }

    /// Logs in.
    pub(crate) async fn login(&self, broker: SocketAddr) -> Result<Link> {
        Link::member(broker, self.mesh, self.node, self.head, &self.key).await
    }
}

/// Founds a mesh with so many members on a broker.
pub(crate) async fn found(broker: SocketAddr, count: usize, now: Timestamp) -> Result<Founded> {
    let made = tokio::task::spawn_blocking(move || make(count, now));
    let Made { roster, entries, keys, state_keys, invite } =
        made.await.map_err(|err| Error::Unreadable(err.to_string()))??;
    let founder = &keys[0];
    let (first, rest) = entries.split_at(1);
    Link::entering(broker, roster.mesh(), founder).await?.append(first).await?;
    let genesis = LogHead { seq: 1, hash: first[0].hash() };
    let node = founder.public().node_id();
    Link::member(broker, roster.mesh(), node, genesis, founder).await?.append(rest).await?;
    let member = |key: SigningKey| Member {
        mesh: roster.mesh(),
        node: key.public().node_id(),
        head: roster.head(),
        key,
    };
    let members = keys.into_iter().map(member).collect();
    Ok(Founded { members, keys: state_keys, invite })
}

/// A mesh that no broker knows yet.
struct Made {
    roster: Roster,
    entries: Vec<SignedEntry>,
    /// The founder's first.
    keys: Vec<SigningKey>,
    state_keys: StateKeys,
    invite: InviteSeed,
}

fn make(count: usize, now: Timestamp) -> Result<Made, Error> {
    let wrong = |err: waxwing_crypto::Error| Error::Unreadable(format!("a mesh cannot be made: {err}"));
    let mut rng = UnwrapErr(SysRng);
    let founder = SigningKey::generate(&mut rng);
    let sealing = SealingKey::generate(&mut rng).public().map_err(wrong)?;
    let state_keys = StateKeys::found(&mut rng);
    let sealed_keys = state_keys.seal_to(&sealing, &mut rng).map_err(wrong)?;
    let genesis = Genesis {
        name: name("bench")?,
        founder: newcomer(&founder, sealing, name("founder")?),
        recovery: RecoverySecret::generate(&mut rng).signing_key().public(),
        state_keys: sealed_keys,
    };
    let (first, mut roster) = Roster::found(now, genesis, &founder).map_err(wrong)?;
    let (mut entries, mut keys) = (vec![first], vec![founder]);
    let seed = InviteSeed::generate(&mut rng);
    let invite = seed.signing_key();
    let sealing = seed.sealing_key().public().map_err(wrong)?;
    let sealed_keys = state_keys.seal_to(&sealing, &mut rng).map_err(wrong)?;
    let new_invite = NewInvite {
        key: invite.public(),
        sealing,
        role: Role::Member,
        uses: u32::try_from(count + NODES).unwrap_or(u32::MAX),
        expires: now.plus(Duration::from_secs(3_600)),
        name: None,
        state_keys: sealed_keys,
    };
    entries.push(roster.entry(now, Body::Invite(new_invite)).sign(&[&keys[0]]));
    roster.apply(&entries[1]).map_err(wrong)?;
    for n in 1..count {
        let key = SigningKey::generate(&mut rng);
        let sealing = SealingKey::generate(&mut rng).public().map_err(wrong)?;
        let join =
            Join { member: newcomer(&key, sealing, name(&format!("node-{n}"))?), invite: invite.public() };
        let entry = roster.entry(now, Body::Join(join)).sign(&[&invite, &key]);
        roster.apply(&entry).map_err(wrong)?;
        entries.push(entry);
        keys.push(key);
    }
    Ok(Made { roster, entries, keys, state_keys, invite: seed })
}

fn newcomer(key: &SigningKey, sealing: SealingPublicKey, name: waxwing_crypto::Name) -> NewMember {
    NewMember { name, signing: key.public(), sealing, host: Digest::from_bytes([0; 32]) }
}

fn name(name: &str) -> Result<waxwing_crypto::Name> {
    name.parse().map_err(|_| Error::Unreadable(format!("{name} is no name")))
}
