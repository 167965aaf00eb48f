//! A node with new keys: before it logs in with them, an entering link has the log put them in the place of the old.
//!
//! What is on disk says how far this has come. While the old key is kept, the entry may or may not be in the log; the log
//! is asked first, and only then is the entry appended. It is signed by both keys, so whoever holds a copy of the old
//! one can do nothing from then on; and if it is the copy that was first, this node is told so.

use waxwing_crypto::SigningKey;
use waxwing_crypto::membership::{Body, LogHead, Update};
use waxwing_protocol::link::{GoAway, Reason};

use super::entering::{Entering, Refused};
use super::{Answer, Ended, connection, login_as, loss};
use crate::error::Error;
use crate::mesh::Mesh;

/// Attempts to append while others append theirs.
const ATTEMPTS: usize = 8;

/// Gives the old signing key up for the new one, if that is not done yet.
pub(super) async fn give_up_old_key(mesh: &Mesh) -> Result<(), Ended> {
    let Some(old) = mesh.giving_up() else { return Ok(()) };
    let mut link = match Entering::dial(&mesh.broker, mesh.identity.mesh, &old).await {
        Ok(link) => link,
        Err(error) => return Err(ended(error)),
    };
    compare_logs(mesh, &mut link, &old).await?;
    for _ in 0..ATTEMPTS {
        catch_up(mesh, &mut link).await?;
        let current = mesh.roster(|roster| roster.member(&mesh.identity.node).map(|member| member.signing));
        match current {
            Some(key) if key == mesh.identity.signing.public() => {
                return mesh.has_given_up().map_err(|error| Ended::Database(error.to_string()));
            }
            Some(key) if key == old.public() => {}
            Some(_) => {
                return Err(refused(Reason::Superseded, "another copy has changed this node's keys before"));
            }
            None => return Err(refused(Reason::Revoked, "this node is no member any more")),
        }
        if link.waits() {
            return Err(Ended::Lost("this node's new keys wait for an admin to resume the mesh".into()));
        }
        append(mesh, &mut link, &old).await?;
    }
    Err(Ended::Lost("others kept appending to the log at the same time".into()))
}

/// Appends the update, unless others were faster. Whether it is in the log is then read there.
async fn append(mesh: &Mesh, link: &mut Entering, old: &SigningKey) -> Result<(), Ended> {
    let sealing = mesh.identity.sealing.public().map_err(|error| Ended::Database(error.to_string()))?;
    let host = mesh.host_commitment().map_err(|error| Ended::Database(error.to_string()))?;
    let entry = mesh.roster(|roster| {
        let moved = roster.member(&mesh.identity.node).is_some_and(|member| member.host != host);
        let update = Update {
            node: mesh.identity.node,
            signing: Some(mesh.identity.signing.public()),
            sealing: Some(sealing),
            host: moved.then_some(host),
        };
        roster.entry(link.clock(), Body::Update(update))
    });
    match link.append(&entry.sign(&[old, &mesh.identity.signing])).await {
        Ok(()) | Err(Refused::Conflict) => Ok(()),
        Err(Refused::Denied(error)) => Err(Ended::Lost(error.detail)),
        Err(Refused::Lost(error)) => Err(error.into()),
    }
}

/// Brings the broker the log if it lacks what is held here, or takes another if an admin has resumed it.
async fn compare_logs(mesh: &Mesh, link: &mut Entering, old: &SigningKey) -> Result<(), Ended> {
    let head = link.head();
    mesh.set_resume_wanted(link.waits().then(|| head.into_iter().collect())).await;
    if !mesh.parts_from(head) || link.waits() {
        return Ok(());
    }
    let is_behind = |head: LogHead| mesh.roster(|roster| roster.holds(head));
    if head.is_none_or(is_behind) {
        // Only a member is asked for a log, and for the log this node still has its old key.
        if let Answer::LogWanted(wanted) = login_as(mesh, old).await? {
            let parts = loss::missing(mesh, &wanted.wanted).await?;
            wanted.bring(parts).await?;
        }
        return Err(Ended::Lost("this node has brought the mesh's log back".into()));
    }
    let entries = link.log(0).await.map_err(unread)?;
    mesh.adopt(entries).await.map_err(|error| connection::ended(error.into()))
}

/// Reads what the log has beyond what is held here.
async fn catch_up(mesh: &Mesh, link: &mut Entering) -> Result<(), Ended> {
    if mesh.resume_wanted().is_some() {
        return Ok(());
    }
    let entries = link.log(mesh.roster(|roster| roster.head().seq)).await.map_err(unread)?;
    mesh.grow(&entries, None).await.map_err(|error| connection::ended(error.into()))
}

fn unread(refused: Refused) -> Ended {
    match refused {
        Refused::Lost(error) => error.into(),
        Refused::Denied(error) => Ended::Lost(error.detail),
        Refused::Conflict => Ended::Lost("the log was refused".into()),
    }
}

/// What a failed dialling means for the link.
fn ended(error: Error) -> Ended {
    // Another answer may come later.
    let passes = matches!(error, Error::Unreachable { .. } | Error::Untrusted { .. });
    if passes { Ended::Lost(error.to_string()) } else { Ended::Refused(error) }
}

fn refused(reason: Reason, detail: &str) -> Ended {
    Ended::GoAway(GoAway { reason, detail: detail.into(), again: None })
}
