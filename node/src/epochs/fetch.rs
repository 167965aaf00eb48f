//! Catching up with the log: this node's slot of the newest epoch's list, and what it opens.
//!
//! The broker hands out slots and is believed in nothing: a slot counts if the root that a signed entry names proves it.
//! What is not so proven changes nothing here, and is told.

use tracing::info;
use waxwing_crypto::state_key::{Holder, StateKeys};
use waxwing_crypto::{Digest, Error as CryptoError, MeshId, SealingKey};
use waxwing_protocol::link::FoundKeys;

use super::{Trouble, alarm, keep, lock};
use crate::identity::Identity;
use crate::link::Calls;
use crate::mesh::Mesh;

/// Whose slots may be served to this node, and of which list.
pub(super) struct Wanted {
    pub(super) mesh: MeshId,
    pub(super) epoch: u64,
    /// As the log names it.
    pub(super) root: Digest,
    /// This node, and the invite by which it joined.
    pub(super) holders: Vec<Holder>,
}

/// What is wrong with a slot.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wrong {
    /// It is not this node's slot of the list that the log names: the broker has made it up, or shows another's or an
    /// older one.
    Forged,
    /// It is, and does not hold what it should: the admin's node that made the list is at fault.
    Made,
    /// It is sealed to a key that this node does not have.
    NoKey,
}

/// Fetches the newest epoch's key, and those before it that are not held, if they are not held yet.
pub(super) async fn catch_up(mesh: &Mesh, calls: &Calls) -> Result<(), Trouble> {
    loop {
        let Some(wanted) = wanted(mesh) else { return settle(mesh).await };
        let found = calls.own_keys(wanted.epoch).await?;
        // Another epoch may have begun meanwhile, and the broker have answered for it.
        if mesh.roster(waxwing_crypto::membership::Roster::epoch_keys) != Some(wanted.root) {
            continue;
        }
        let epoch = wanted.epoch;
        let found = found
            .ok_or_else(|| Trouble::Later(format!("the broker has no key of epoch {epoch} for this node")))?;
        let invite = lock(&mesh.epochs.invite).clone();
        let Identity { sealing, former_sealing, .. } = &mesh.identity;
        let own = std::iter::once(sealing).chain(former_sealing).chain(invite.as_deref());
        match open(&wanted, &found, own) {
            Ok(keys) => return take(mesh, epoch, &keys).await,
            Err(wrong) => return Err(complain(mesh, epoch, wrong).await?),
        }
    }
}

/// What is to be fetched, if the newest key is not held.
fn wanted(mesh: &Mesh) -> Option<Wanted> {
    let held = mesh.epochs.held();
    mesh.roster(|roster| {
        let invite = roster.member(&mesh.identity.node).and_then(|member| member.invite);
        let holders = std::iter::once(Holder::Node(mesh.identity.node)).chain(invite.map(Holder::Invite));
        let (epoch, root) = (roster.epoch(), roster.epoch_keys()?);
        let wanted = Wanted { mesh: roster.mesh(), epoch, root, holders: holders.collect() };
        held.get(epoch).is_none().then_some(wanted)
    })
}

/// The keys in a slot, if it is this node's and belongs to the list that is wanted. Which of the node's secrets opens it
/// is said by the digest beside it.
pub(super) fn open<'a>(
    wanted: &Wanted,
    found: &FoundKeys,
    own: impl Iterator<Item = &'a SealingKey>,
) -> Result<StateKeys, Wrong> {
    let slot = found.slot.verify(wanted.mesh, &found.head, &wanted.root).map_err(|_| Wrong::Forged)?;
    if found.head.epoch != wanted.epoch || !wanted.holders.contains(&slot.holder) {
        return Err(Wrong::Forged);
    }
    let mut own = own;
    let is_meant = |key: &&SealingKey| key.public().is_ok_and(|public| public.digest() == slot.to);
    let key = own.find(is_meant).ok_or(Wrong::NoKey)?;
    slot.open(wanted.mesh, &found.head, key).map_err(|_: CryptoError| Wrong::Made)
}

/// Keeps what was opened. A key that is held stays, whatever the list says.
pub(super) async fn take(mesh: &Mesh, epoch: u64, opened: &StateKeys) -> Result<(), Trouble> {
    let mut keys = StateKeys::clone(&mesh.epochs.held());
    let differ = keys.absorb(opened);
    keep(mesh, keys, true).await?;
    info!(epoch, "the state keys of the newest epoch are held");
    if !differ.is_empty() {
        let detail = format!(
            "the list of epoch {epoch} has other keys of earlier epochs ({differ:?}) than this node: it keeps its own"
        );
        alarm(mesh, epoch, "state_keys_differ", &detail).await?;
    }
    Ok(())
}

/// Once the newest key is held the invite's secret has served, and so have sealing keys from before: from the next list on
/// the node has a slot of its own, for its own key.
async fn settle(mesh: &Mesh) -> Result<(), Trouble> {
    mesh.forget_former_sealing().map_err(|error| Trouble::Later(error.to_string()))?;
    if lock(&mesh.epochs.invite).is_some() {
        keep(mesh, StateKeys::clone(&mesh.epochs.held()), true).await?;
    }
    Ok(())
}

async fn complain(mesh: &Mesh, epoch: u64, wrong: Wrong) -> Result<Trouble, Trouble> {
    let (what, detail) = match wrong {
        Wrong::Forged => (
            "state_keys_forged",
            format!("the broker hands out state keys of epoch {epoch} that no admin has made for this node"),
        ),
        Wrong::Made => (
            "state_keys_wrong",
            format!(
                "the state keys of epoch {epoch} that an admin's node has made for this node do not hold"
            ),
        ),
        Wrong::NoKey => {
            let detail =
                format!("the state keys of epoch {epoch} are sealed to a key that this node does not have");
            return Ok(Trouble::Later(detail));
        }
    };
    alarm(mesh, epoch, what, &detail).await?;
    Ok(Trouble::Later(detail))
}
