//! What time brings: messages whose lifetime ends, messages that are overdue, prekeys and sessions that have served.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use waxwing_crypto::Timestamp;
use waxwing_crypto::sealing::Prekey;
use waxwing_crypto::storage::Place;
use waxwing_protocol::api::EventBody;
use waxwing_protocol::limits;

use crate::clock;
use crate::error::{Error, Result};
use crate::lane;
use crate::mesh::Mesh;
use crate::retention::{self, PruneError};
use crate::rosters;
use crate::store::events;
use crate::store::outbox;
use crate::store::prekeys::{self, OwnPrekey};
use crate::store::records;
use crate::writer::{Forget, HIGH, WriteError};

/// How often to look at most.
const EVERY: Duration = Duration::from_secs(1);
/// And at least, whatever is due: a machine may have slept.
const LONGEST: Duration = Duration::from_secs(60);
/// An outbox that apps were told is filling up is not any more below so many percent.
const LOW: u64 = 70;
/// How often to count one that is.
const RECOUNT_HIGH: Duration = Duration::from_secs(5);
/// How often to look after secrets.
const SECRETS_EVERY: Duration = Duration::from_secs(60);
/// How often to look for what has had its time.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// A prekey is replaced after this long.
const PREKEY_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// A prekey's secret goes when a newer one has been public for this long and the node is caught up.
const PREKEY_OVERLAP: Duration = Duration::from_secs(60 * 60);
/// A session's secret goes this long after its sender stopped using it.
const SESSION_OVERLAP: Duration = Duration::from_secs(15 * 60);
/// Events are kept this long. Messages are not events: they stay in the inbox.
const EVENT_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The hard end of both.
const SECRET_LIFETIME: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// What must be there before a link is: a prekey, or nobody could write to this node.
pub(crate) async fn begin(mesh: &Mesh) -> Result<()> {
    bear(renew_prekey(mesh).await)
}

/// A full disk is not the end: whatever it was will be due again.
fn bear(kept: Result<(), KeepError>) -> Result<()> {
    match kept {
        Ok(()) | Err(KeepError::Write(WriteError::DiskFull)) => Ok(()),
        Err(error) => Err(Error::NotStored(error.to_string())),
    }
}

/// Looks after one mesh until told to stop. Ends early only if its database fails.
///
/// It sleeps until the next moment at which something is due, or until somebody makes something due earlier.
pub(crate) async fn run(mesh: &Mesh, stop: &CancellationToken) -> Result<()> {
    let mut upkeep = Upkeep::new();
    loop {
        let mut due = Instant::now() + EVERY;
        bear(upkeep.look(mesh).await.map(|next| due = due.max(next)))?;
        let again = Instant::now() + EVERY;
        let woken = async {
            tokio::select! {
                () = sleep_until(due) => {}
                () = mesh.signals.sooner() => {}
            }
            // Who comes soon after another waits: one look is enough for many.
            sleep_until(again).await;
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = woken => {}
        }
    }
}

/// When what is not looked at each time is due.
#[derive(Debug)]
struct Upkeep {
    room: Instant,
    secrets: Instant,
    prune: Instant,
}

impl Upkeep {
    fn new() -> Self {
        let now = Instant::now();
        Self { room: now, secrets: now, prune: now }
    }

    /// Does what is due. Says when to look again; that may be at once.
    async fn look(&mut self, mesh: &Mesh) -> Result<Instant, KeepError> {
        let mut next = vec![Instant::now() + LONGEST];
        next.extend(expire(mesh).await?);
        next.extend(pass_over(mesh).await?);
        rosters::keep_if_due(mesh).await?;
        if self.secrets <= Instant::now() {
            self.secrets = Instant::now() + SECRETS_EVERY;
            renew_prekey(mesh).await?;
            forget_secrets(mesh).await?;
        }
        next.push(self.secrets);
        if mesh.signals.is_disk_full() {
            find_room(mesh).await?;
        }
        if mesh.signals.is_crowded() || mesh.signals.is_high() {
            if self.room <= Instant::now() {
                self.room = Instant::now() + watch_outbox(mesh).await?;
            }
            next.push(self.room);
        }
        // How long ids are kept follows from what the broker has said, and there is no hurry before it has.
        if let Some(broker) = mesh.broker_dedupe() {
            if self.prune <= Instant::now() && retention::turn(mesh, broker).await? {
                self.prune = Instant::now() + PRUNE_EVERY;
            }
            next.push(self.prune);
        }
        Ok(next.into_iter().min().unwrap_or_else(Instant::now))
    }
}

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Read(#[from] waxwing_sqlite::Error),
    #[error(transparent)]
    Crypto(#[from] waxwing_crypto::Error),
}

impl From<PruneError> for KeepError {
    fn from(error: PruneError) -> Self {
        match error {
            PruneError::Write(error) => error.into(),
            PruneError::Read(error) => error.into(),
        }
    }
}

/// Sees whether a disk that was full has room again, by writing that down.
async fn find_room(mesh: &Mesh) -> Result<(), KeepError> {
    mesh.writer.tell_all(EventBody::System { what: "disk_full".into() }).await?;
    mesh.signals.set_disk_full(false);
    info!("the disk has room again");
    Ok(())
}

/// Tells apps that the outbox is filling up, once, and once that it is not any more. Says when to look again.
async fn watch_outbox(mesh: &Mesh) -> Result<Duration, KeepError> {
    let used = mesh.writer.recount().await?.percent_of(mesh.caps);
    let was_high = mesh.signals.is_high();
    let is_high = used >= if was_high { LOW } else { HIGH };
    if is_high != was_high {
        warn!(used, "the outbox is {}", if is_high { "filling up" } else { "not filling up any more" });
        let what = if is_high { "outbox_high" } else { "outbox_low" };
        mesh.writer.tell_all(EventBody::System { what: what.into() }).await?;
        mesh.signals.set_high(is_high);
    }
    Ok(if is_high { RECOUNT_HIGH } else { EVERY })
}

/// Ends messages that nobody could deliver in time. Says when the next one has had its time.
async fn expire(mesh: &Mesh) -> Result<Option<Instant>, KeepError> {
    mesh.signals.forget_expiries();
    let first = outbox::first_expiry(&mesh.db).await?;
    let Some(first) = mesh.signals.first_expiry(first) else { return Ok(None) };
    let now = mesh.clock.steady();
    if first <= now {
        let ended = mesh.writer.expire(now).await?;
        info!(ended, "messages expired before they reached the broker");
    }
    Ok(Some(Instant::now() + first.since(now).min(LONGEST)))
}

/// Shows what waits for messages that are overdue: absent for a minute during which this node was caught up. Says when the
/// next are.
async fn pass_over(mesh: &Mesh) -> Result<Option<Instant>, KeepError> {
    // A link that has caught up has this looked at.
    let (Some(noticed), Some(caught_up)) = (mesh.signals.gapped(), mesh.caught_up_since()) else {
        return Ok(None);
    };
    let overdue = noticed.max(caught_up) + lane::OVERDUE;
    if overdue <= Instant::now()
        && let Some(noticed_before) = Instant::now().checked_sub(lane::OVERDUE)
    {
        mesh.writer.pass_over(noticed_before).await?;
    }
    Ok(Some(overdue))
}

/// Makes a new prekey when there is none, or the newest is an hour old, and publishes it.
async fn renew_prekey(mesh: &Mesh) -> Result<(), KeepError> {
    let newest = prekeys::newest(&mesh.db).await?;
    let now = clock::now();
    if newest.as_ref().is_some_and(|prekey| now.since(prekey.created_at) < PREKEY_LIFETIME) {
        return Ok(());
    }
    let mut rng = crate::rng();
    let last = newest.map(|prekey| prekey.id);
    let (signed, secret) = Prekey::mint(&mut rng, &mesh.identity.signing, mesh.identity.node, last, now)?;
    let id = secret.id();
    let sealed = mesh.keys.seal(&mut rng, prekey_place(&id.as_u64().to_be_bytes()), &*secret.reveal_seed());
    mesh.writer.prekey(OwnPrekey { id, signed, created_at: now, secret: sealed }).await?;
    if let Some(calls) = mesh.calls() {
        calls
            .publish(mesh)
            .await
            .unwrap_or_else(|error| debug!(%error, "the prekey will be published later"));
    }
    Ok(())
}

/// Where a prekey's secret is encrypted for.
pub(crate) const fn prekey_place(row: &[u8]) -> Place<'_> {
    Place { table: "prekey", column: "secret", row }
}

fn before(time: Timestamp, age: Duration) -> Timestamp {
    Timestamp::default().plus(time.since(Timestamp::default()).saturating_sub(age))
}

/// Destroys secrets that nothing can need any more; after 31 days, even if something could.
async fn forget_secrets(mesh: &Mesh) -> Result<(), KeepError> {
    // Caught up *since*: what was sealed before must have had the time to arrive.
    let arrived = mesh.caught_up_since().is_some_and(|since| since.elapsed() >= SECRETS_EVERY);
    let served = |overlap| {
        if arrived { Mesh::ago(overlap) } else { Timestamp::default() }
    };
    let forget = Forget {
        sessions_ended: served(SESSION_OVERLAP),
        prekeys_published: served(PREKEY_OVERLAP),
        made: Mesh::ago(SECRET_LIFETIME),
        // By a clock that is wrong everything may seem to be old.
        events: if mesh.clock.is_right() { Mesh::ago(EVENT_LIFETIME) } else { Timestamp::default() },
        tombstones: before(mesh.clock.broker_now(), limits::TOMBSTONES),
    };
    let due = prekeys::any_served(&mesh.db, &forget).await?
        || events::any_before(&mesh.db, forget.events).await?
        || records::any_tombstone(&mesh.db, forget.tombstones).await?;
    if due {
        mesh.writer.forget(forget).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
