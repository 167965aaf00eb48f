//! What is to be appended to the log, made anew for each attempt: what it says may rest on everything before it.

use std::time::Duration;

use waxwing_crypto::Error as CryptoError;
use waxwing_crypto::membership::{Body, MAX_CLOCK_SKEW, NewEpoch, NewInvite, Reason, Revoke, Roster, Target};
use waxwing_crypto::state_key::{KeyList, StateKeys};
use waxwing_protocol::link::Code;

use crate::link::{CallError, Calls};
use crate::mesh::Mesh;

/// What is to be appended.
#[derive(Clone, Debug)]
pub(crate) enum Proposal {
    /// The same whatever comes before it.
    Fixed(Box<Body>),
    /// An invite, with all state keys in it.
    Invite(Box<NewInvite>),
    /// The end of a node or an invite, and with it a new epoch.
    Revoke {
        /// What ends.
        target: Box<Target>,
        /// Why.
        reason: Reason,
    },
    /// A new epoch, if one is still wanted.
    Epoch {
        /// The epoch that it follows. When another has begun meanwhile, the keys of that are to be had first.
        after: u64,
    },
}

impl From<Body> for Proposal {
    fn from(body: Body) -> Self {
        Self::Fixed(Box::new(body))
    }
}

impl Proposal {
    /// What to sign at the end of this log; nothing, if there is no reason any more. The keys of a new epoch are at the
    /// broker then.
    pub(crate) async fn body(
        &self,
        mesh: &Mesh,
        calls: &Calls,
        roster: &Roster,
    ) -> Result<Option<Body>, CallError> {
        match self {
            Self::Fixed(body) => Ok(Some(Body::clone(body))),
            Self::Invite(invite) => {
                let epoch = roster.epoch();
                let keys = mesh.epochs.holding(epoch).await.ok_or(CallError::NoKeys { epoch })?;
                let state_keys = keys.seal_to(&invite.sealing, &mut crate::rng()).map_err(failed)?;
                Ok(Some(Body::Invite(NewInvite { state_keys, ..NewInvite::clone(invite) })))
            }
            Self::Revoke { target, reason } => {
                // To end it comes first. Without the newest keys the epoch comes later, by whoever has them.
                let epoch = match mesh.epochs.holding(roster.epoch()).await {
                    Some(keys) => begin(mesh, calls, roster, &keys, Some(target)).await?,
                    None => None,
                };
                let (target, reason) = (Target::clone(target), reason.clone());
                Ok(Some(Body::Revoke(Revoke { target, reason, epoch })))
            }
            Self::Epoch { after } => {
                if !roster.wants_epoch() || roster.epoch() != *after {
                    return Ok(None);
                }
                let held = mesh.epochs.held();
                match begin(mesh, calls, roster, &held, None).await? {
                    Some(epoch) => Ok(Some(Body::Epoch(epoch))),
                    None => Err(failed(CryptoError::TooLarge("mesh"))),
                }
            }
        }
    }
}

/// Makes a fresh key for the epoch that follows, seals it to everybody who will be in, and puts the list at the broker.
/// Nothing, if there are more holders than a list can have. The key itself is dropped: this node fetches it as all do.
async fn begin(
    mesh: &Mesh,
    calls: &Calls,
    roster: &Roster,
    keys: &StateKeys,
    ending: Option<&Target>,
) -> Result<Option<NewEpoch>, CallError> {
    let (id, n) = (roster.mesh(), roster.epoch() + 1);
    // By the log's own clock, which is behind, an invite may admit that has expired by the broker's.
    let skew = Duration::as_millis(&(2 * MAX_CLOCK_SKEW)) as u64;
    let now = mesh.clock.broker_now().as_millis().saturating_sub(skew);
    let at = roster.at().max(waxwing_crypto::Timestamp::from_millis(now));
    let (holders, keys) = (roster.key_holders(at, ending), keys.clone());
    if holders.len() as u64 > KeyList::MAX_SLOTS {
        return Ok(None);
    }
    let list = tokio::task::spawn_blocking(move || {
        let keys = keys.next(n, &mut crate::rng())?;
        KeyList::seal(id, &keys, &holders, &mut crate::rng())
    });
    let list = list.await.map_err(|error| refused(error.to_string()))?.map_err(failed)?;
    calls.put_keys(&list).await?;
    Ok(Some(NewEpoch { n, keys: list.root() }))
}

fn failed(error: CryptoError) -> CallError {
    refused(error.to_string())
}

/// This node's own refusal.
fn refused(detail: String) -> CallError {
    CallError::Refused { code: Code::NotAllowed, detail }
}
