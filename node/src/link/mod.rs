//! The link to the broker: one loop per mesh that dials, runs a connection until it ends, and waits before it dials
//! again.
//!
//! A connection is seven futures over one WebSocket. When one ends, all do; what was under way is in the tables.
//!
//! ```text
//! loss                before mail flows: a broker that has lost its store, or has another log
//! connection::read    frames in: answers to `calls`, outcomes to `drain`, deliveries to `receive`, the log to the roster
//! connection::write   frames out, as they come; a ping every 20 s
//! drain               outbox rows -> sealed -> `send`, in lane order; what the broker says -> writer
//! receive             `deliver` -> opened, verified -> writer -> `settle`
//! epochs              (a module of its own) the mesh's state keys, kept up with the log
//! spaces              (a module of its own) what is followed, and what is written to it
//! ```

mod backoff;
mod calls;
mod connection;
pub(crate) mod dial;
mod drain;
pub(crate) mod entering;
mod loss;
mod moving;
mod peers;
mod receive;
pub(crate) mod simple;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use waxwing_crypto::SigningKey;
use waxwing_crypto::membership::Roster;
use waxwing_protocol::api::LinkState;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Challenge, Features, GoAway, Hello, MemberHello, Reason};

pub(crate) use backoff::{Backoff, between};
pub(crate) use calls::{CallError, Calls};
pub(crate) use connection::ended;

pub(crate) use dial::{DialError, greet};

use self::dial::{Answer, Connection};
use crate::error::{Error, Result, Uninvited};
use crate::mesh::Mesh;
use crate::writer::WriteError;

/// A connection that lasted this long was healthy: the next attempt comes soon.
const HEALTHY: Duration = Duration::from_secs(60);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// It broke, or this node gave it up. Dialled again.
    #[error("{0}")]
    Lost(String),
    /// The broker ended it.
    #[error("{}: {}", .0.reason, .0.detail)]
    GoAway(GoAway),
    /// The broker's log is another one than the one held here. Judged as a whole on the next link.
    #[error("{0}")]
    Parted(String),
    /// The broker shows another history of the mesh than the one held here.
    #[error("{0}")]
    Rollback(String),
    /// The broker and this node share no version, or it lacks what this node needs.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// The broker refused this node for good before it could log in.
    #[error("{0}")]
    Refused(Error),
    /// This node's database failed.
    #[error("{0}")]
    Database(String),
}

impl From<WriteError> for Ended {
    /// What does not fit on the disk now may later: a new link is told the same.
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::DiskFull => Self::Lost(error.to_string()),
            WriteError::Failed(_) => Self::Database(error.to_string()),
        }
    }
}

/// Keeps the link up until told to stop.
///
/// # Errors
/// What the broker refused for good, or the database's failure.
pub(crate) async fn run(mesh: &Arc<Mesh>, stop: &CancellationToken) -> Result<()> {
    let mut backoff = Backoff::RECONNECT;
    let mut parted = false;
    loop {
        let started = Instant::now();
        let ended = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ended = connect_and_run(mesh, parted) => ended,
        };
        parted = matches!(ended, Ended::Parted(_));
        if started.elapsed() > HEALTHY {
            backoff.reset();
        }
        let reason = ended.to_string();
        let wait = after(ended, &mut backoff)?;
        if mesh.link().reason.as_ref() == Some(&reason) {
            debug!(%reason, ?wait, "no link");
        } else {
            info!(%reason, "no link");
        }
        mesh.set_link(LinkState::Down, Some(reason)).await;
        // Who has said goodbye does not come back.
        let again = async {
            if mesh.presence.is_leaving() { std::future::pending().await } else { sleep(wait).await }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = again => {}
        }
    }
}

/// How long to wait before dialling again, or the error that ends this mesh.
fn after(ended: Ended, backoff: &mut Backoff) -> Result<Duration> {
    match ended {
        Ended::Lost(_) | Ended::Parted(_) => Ok(backoff.next()),
        Ended::Rollback(why) => Err(Error::LogRollback(why)),
        Ended::Refused(error) => Err(error),
        Ended::Unsupported(_) => Err(Error::Incompatible(ended.to_string())),
        Ended::Database(why) => Err(Error::NotStored(why)),
        Ended::GoAway(goaway) => match goaway.again {
            Some((first, last)) if first <= last => {
                // Nor may it keep this node away for as long as it likes: that is what `never` is for, and is seen.
                let at = |millis| Duration::from_millis(millis).min(limits::AGAIN_MAX);
                if is_our_bug(goaway.reason) {
                    warn!(reason = %goaway.reason, detail = goaway.detail, "the broker says that this node has a bug");
                    backoff.exhaust();
                }
                let span = between(at(first), at(last));
                // A broker that accepts and drops must not be hammered, whatever it says.
                Ok(span.max(backoff.next()))
            }
            Some(_) => Ok(backoff.next()),
            None => Err(refused(&goaway)),
        },
    }
}

/// Whether a link ended because of what this node sent. To do it again at once would hardly help.
const fn is_our_bug(reason: Reason) -> bool {
    matches!(reason, Reason::ProtocolViolation | Reason::FrameTooLarge)
}

/// A refusal for good, as the error that names the exit code.
pub(crate) fn refused(goaway: &GoAway) -> Error {
    let text = format!("the broker refuses this node: {} ({})", goaway.detail, goaway.reason);
    match goaway.reason {
        Reason::Unauthenticated => Error::NotAuthorised(text),
        Reason::Revoked => Error::Revoked(text),
        Reason::UnknownMesh => Error::NoSuchMesh(goaway.detail.clone()),
        Reason::UnknownInvite => Error::Invite(Uninvited::Unknown),
        Reason::InviteExpired => Error::Invite(Uninvited::Expired),
        Reason::InviteRevoked => Error::Invite(Uninvited::Revoked),
        Reason::WrongBroker => Error::WrongBroker(text),
        Reason::StaleState => Error::StaleState(goaway.detail.clone()),
        Reason::Superseded => Error::Superseded(goaway.detail.clone()),
        Reason::Unsupported
        | Reason::Restarting
        | Reason::Busy
        | Reason::TooSlow
        | Reason::Replaced
        | Reason::ProtocolViolation
        | Reason::FrameTooLarge => Error::Incompatible(text),
    }
}

/// Writes down what a link that has ended had handed over without an answer: whatever ends before it is sent again may have
/// arrived.
pub(crate) async fn note_lost(mesh: &Mesh) -> std::result::Result<(), WriteError> {
    let lost = mesh.signals.unanswered();
    mesh.writer.unlinked(lost.clone()).await?;
    mesh.signals.noted_lost(&lost);
    Ok(())
}

/// One link, from dialling to its end. `parted`: on the last one, the broker's log turned out to be another than ours.
async fn connect_and_run(mesh: &Arc<Mesh>, parted: bool) -> Ended {
    let mut connection = match login(mesh).await {
        Ok(connection) => connection,
        Err(ended) => return ended,
    };
    mesh.clock.login(connection.welcome.clock);
    mesh.set_broker_dedupe(connection.welcome.limits.dedupe);
    mesh.presence.set_lease(Duration::from_millis(connection.welcome.limits.lease));
    if mesh.clock.offset_millis().unsigned_abs() > limits::CLOCK_SKEW.as_millis() as u64 {
        warn!(offset_ms = mesh.clock.offset_millis(), "this host's clock and the broker's are far apart");
    }
    if let Err(ended) = loss::welcomed(mesh, &mut connection, parted).await {
        return ended;
    }
    // The clock was compared, how long the broker remembers is known, and what it has lost is to be sent again.
    mesh.signals.look();
    let ended = connection::run(mesh, connection).await;
    info!(%ended, "link down");
    match note_lost(mesh).await {
        Err(error @ WriteError::Failed(_)) => error.into(),
        // It is remembered here until the next link has ended.
        Ok(()) | Err(WriteError::DiskFull) => ended,
    }
}

async fn login(mesh: &Mesh) -> Result<Connection, Ended> {
    moving::give_up_old_key(mesh).await?;
    match login_as(mesh, &mesh.identity.signing).await? {
        Answer::Welcome(connection) => Ok(connection),
        Answer::LogWanted(wanted) => {
            let parts = loss::missing(mesh, &wanted.wanted).await?;
            Ok(wanted.bring(parts).await?)
        }
    }
}

/// Logs in as a member, with one of its keys.
async fn login_as(mesh: &Mesh, key: &SigningKey) -> Result<Answer, Ended> {
    let (head, mark) = (mesh.roster(Roster::head), loss::mark(mesh).await?);
    let progress = loss::progress(mesh).await?;
    let hello = |challenge: &Challenge, version| {
        Hello::Member(MemberHello {
            nonce: challenge.nonce,
            url: mesh.broker.dialled(),
            mesh: mesh.identity.mesh,
            node: mesh.identity.node,
            head,
            progress,
            mark,
            version,
            features: Features::needed(),
        })
    };
    Ok(dial::dial(&mesh.broker, hello, key).await?)
}

impl From<DialError> for Ended {
    fn from(error: DialError) -> Self {
        match error {
            DialError::GoAway(goaway) => Self::GoAway(goaway),
            DialError::Unsupported(why) => Self::Unsupported(why),
            DialError::Unreachable(why) | DialError::Incompatible(why) => Self::Lost(why),
            // Not for good: nothing was said to it, and its operator may put the right certificate back.
            DialError::Untrusted(cause) => {
                Self::Lost(format!("what answers there is not the broker meant: {cause}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
