//! One mesh of this node: its keys, roster, database and link, and the tasks that keep them going.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use sqlx::SqlitePool;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, debug, error, info_span, warn};
use waxwing_crypto::host::Evidence;
use waxwing_crypto::membership::{Body, LogHead, Roster, SignedEntry};
use waxwing_crypto::state_key::{SealedStateKeys, StateKeys};
use waxwing_crypto::storage::StorageKeys;
use waxwing_crypto::{Name, Timestamp};
use waxwing_protocol::api::{EventBody, Link, LinkState};

use crate::clock::{self, Clock};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::identity::Identity;
use crate::link::{self, Calls};
use crate::signals::Signals;
use crate::store::{log, meta};
use crate::writer::{self, Caps, WriteError, Writer};
use crate::{host, store, upkeep};

/// A mesh whose state belongs to this host. Nothing else can be opened.
#[derive(Debug)]
pub(crate) struct Admitted {
    name: Name,
    folder: PathBuf,
    identity: Identity,
    keys: StorageKeys,
    warning: Option<String>,
}

impl Admitted {
    /// Reads a mesh's keys and checks its host record. Touches nothing if this is another host.
    pub(crate) fn check(home: &Home, name: &Name, evidence: &Evidence) -> Result<Self> {
        let folder = home.mesh(name);
        let identity = Identity::load(&folder)?;
        let keys = identity.storage.keys();
        let warning = host::check(name.as_str(), &folder, &keys.host_key(), evidence)?;
        if let Some(warning) = &warning {
            warn!(mesh = %name, "{warning}");
        }
        Ok(Self { name: name.clone(), folder, identity, keys, warning })
    }
}

/// Everything of one mesh.
#[derive(Debug)]
pub(crate) struct Mesh {
    pub(crate) name: Name,
    pub(crate) identity: Identity,
    pub(crate) keys: Arc<StorageKeys>,
    pub(crate) broker: String,
    pub(crate) host_warning: Option<String>,
    /// Reads. Everything is written by `writer`.
    pub(crate) db: SqlitePool,
    pub(crate) writer: Writer,
    pub(crate) signals: Arc<Signals>,
    pub(crate) clock: Clock,
    roster: RwLock<Roster>,
    /// Sealed to this node.
    state_keys: SealedStateKeys,
    /// One change of the roster at a time.
    growing: tokio::sync::Mutex<()>,
    link: watch::Sender<Link>,
    /// Requests to the broker, while the link is up.
    calls: Mutex<Option<Calls>>,
    /// Since when everything the broker had for this node is settled.
    caught_up: Mutex<Option<Instant>>,
}

fn write_error(error: &WriteError) -> Error {
    Error::Database(sqlx::Error::Protocol(error.to_string()))
}

/// Why entries were not taken into the roster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrowError {
    /// Entries between ours and these are missing: ask for them.
    #[error("entries are missing before this one")]
    Gap,
    /// The broker shows another history than the one this node holds.
    #[error("log_rollback: {0}")]
    Rollback(String),
    /// Not written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Mesh {
    /// Opens a mesh's database and starts its writer.
    pub(crate) async fn open(admitted: Admitted, config: &Config, tasks: &TaskTracker) -> Result<Arc<Self>> {
        let (connection, db) = store::open(&admitted.folder.join("node.db")).await?;
        let entries = log::all(&db).await?;
        let roster = Roster::replay(&entries)?;
        if roster.mesh() != admitted.identity.mesh {
            return Err(Error::Damaged(format!("{}'s log is of another mesh", admitted.name)));
        }
        let broker = meta::text(&db, meta::BROKER).await?;
        let broker = broker.ok_or_else(|| Error::Damaged(format!("{} has no broker", admitted.name)))?;
        let state_keys = meta::bytes(&db, meta::STATE_KEYS).await?.unwrap_or_default();
        let state_keys = SealedStateKeys::from_bytes(state_keys.into())?;
        let signals = Arc::new(Signals::default());
        signals.show(meta::number(&db, meta::CURSOR).await?);
        let caps = Caps { messages: config.outbox_messages, bytes: config.outbox_bytes };
        let (handle, changes) = writer::channel();
        let (pool, shared) = (db.clone(), Arc::clone(&signals));
        let keys = Arc::new(admitted.keys);
        let mesh = Arc::new(Self {
            name: admitted.name,
            identity: admitted.identity,
            keys: Arc::clone(&keys),
            broker,
            host_warning: admitted.warning,
            db,
            writer: handle,
            signals,
            clock: Clock::start(),
            roster: RwLock::new(roster),
            state_keys,
            growing: tokio::sync::Mutex::default(),
            link: watch::Sender::new(Link { state: LinkState::Down, since: clock::now(), reason: None }),
            calls: Mutex::default(),
            caught_up: Mutex::default(),
        });
        tasks.spawn(async move {
            match writer::run(connection, changes, keys, caps, shared).await {
                Ok(connection) => {
                    if let Err(error) = store::close(connection, pool).await {
                        warn!(%error, "the database did not close cleanly");
                    }
                }
                Err(error) => error!(%error, "the writer stopped"),
            }
        });
        Ok(mesh)
    }

    /// Keeps the link up and does what time brings, until told to stop or refused for good.
    pub(crate) async fn run(self: &Arc<Self>, stop: &CancellationToken) -> Result<()> {
        let span = info_span!("node", mesh = %self.name);
        async {
            self.writer
                .tell_all(EventBody::System { what: "started".into() })
                .await
                .map_err(|error| write_error(&error))?;
            let ended = tokio::select! {
                ended = link::run(self, stop) => ended,
                ended = upkeep::run(self, stop) => ended,
            };
            if let Err(refused) = &ended {
                self.set_link(LinkState::Stopped, Some(refused.to_string())).await;
                error!(%refused, "this mesh has stopped");
            }
            ended
        }
        .instrument(span)
        .await
    }

    /// Reads the roster. `read` must be short: it holds up whoever changes it.
    pub(crate) fn roster<T>(&self, read: impl FnOnce(&Roster) -> T) -> T {
        read(&self.roster.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// This node's name in the mesh.
    pub(crate) fn node_name(&self) -> Option<Name> {
        self.roster(|roster| roster.member(&self.identity.node).map(|member| member.name.clone()))
    }

    /// Takes entries that the broker shows into the roster, once they are verified and on disk. Those already held are
    /// compared and skipped.
    pub(crate) async fn grow(&self, entries: &[SignedEntry]) -> Result<(), GrowError> {
        let _one_at_a_time = self.growing.lock().await;
        let mut roster = self.roster(Roster::clone);
        let first = roster.head().seq + 1;
        let mut new = Vec::new();
        for entry in entries {
            let seq = entry.parse().map_err(|error| GrowError::Rollback(error.to_string()))?.seq;
            if seq <= roster.head().seq {
                self.compare(&roster, LogHead { seq, hash: entry.hash() })?;
                continue;
            }
            if seq > roster.head().seq + 1 {
                return Err(GrowError::Gap);
            }
            roster.apply(entry).map_err(|error| GrowError::Rollback(error.to_string()))?;
            new.push(entry.clone());
        }
        if new.is_empty() {
            return Ok(());
        }
        self.writer.log(first, new).await?;
        *self.roster.write().unwrap_or_else(PoisonError::into_inner) = roster;
        Ok(())
    }

    /// Checks a head that the broker shows against the log held here.
    pub(crate) fn check_head(&self, head: Option<LogHead>) -> Result<(), GrowError> {
        self.roster(|roster| match head {
            Some(head) if head.seq > roster.head().seq => Ok(()),
            Some(head) if head.seq == roster.head().seq => self.compare(roster, head),
            _ => Err(GrowError::Rollback("the broker's log is shorter than the one held here".into())),
        })
    }

    fn compare(&self, roster: &Roster, shown: LogHead) -> Result<(), GrowError> {
        if roster.hash_at(shown.seq) == Some(shown.hash) {
            Ok(())
        } else {
            Err(GrowError::Rollback(format!(
                "the broker shows another entry {} than the one held here",
                shown.seq
            )))
        }
    }

    /// Signs an entry with this node's key, for the place after the head.
    pub(crate) fn sign_entry(&self, body: Body) -> SignedEntry {
        let at = self.clock.broker_now();
        self.roster(|roster| roster.entry(at, body)).sign(&[&self.identity.signing])
    }

    /// The mesh's state keys, as far as this node has been given them.
    pub(crate) fn state_keys(&self) -> waxwing_crypto::Result<StateKeys> {
        self.state_keys.open(&self.identity.sealing)
    }

    pub(crate) fn link(&self) -> Link {
        self.link.borrow().clone()
    }

    /// Notes what the link is now, and tells apps when that has changed.
    pub(crate) async fn set_link(&self, state: LinkState, reason: Option<String>) {
        let changed = self.link.send_if_modified(|link| {
            let changed = link.state != state;
            if changed {
                link.since = clock::now();
            }
            link.state = state;
            link.reason.clone_from(&reason);
            changed
        });
        if changed && let Err(error) = self.writer.tell_all(EventBody::BrokerStatus { state, reason }).await {
            debug!(%error, "apps are not told of the link");
        }
    }

    /// Requests to the broker, if the link is up.
    pub(crate) fn calls(&self) -> Option<Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_calls(&self, calls: Option<Calls>) {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner) = calls;
    }

    /// Notes whether everything the broker has for this node is settled.
    pub(crate) fn set_caught_up(&self, caught_up: bool) {
        let mut since = self.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
        *since = if caught_up { Some(since.unwrap_or_else(Instant::now)) } else { None };
    }

    /// Since when everything the broker has for this node is settled.
    pub(crate) fn caught_up_since(&self) -> Option<Instant> {
        *self.caught_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A moment this much before now, for deciding what is old.
    pub(crate) fn ago(age: std::time::Duration) -> Timestamp {
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(clock::now().as_millis().saturating_sub(millis))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use waxwing_crypto::MeshId;
    use waxwing_crypto::membership::{Genesis, NewMember, RecoverySecret};

    use super::*;

    /// A mesh of one, founded without a broker, on a folder of its own.
    pub(crate) async fn alone() -> (tempfile::TempDir, Arc<Mesh>) {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::resolve(Some(folder.path().to_path_buf())).unwrap();
        let (home, name) = (Home::new(config.state.clone()), "home".parse().unwrap());
        let path = home.mesh(&name);
        crate::home::private_folder(&path).unwrap();
        let identity = Identity::mint(MeshId::from_bytes([0; 16]));
        let evidence = host::evidence(Some("a test"));
        let record = host::bind(&path, &identity.storage.keys().host_key(), &evidence).unwrap();
        let mut rng = crate::rng();
        let sealing = identity.sealing.public().unwrap();
        let state_keys = StateKeys::found(&mut rng).seal_to(&sealing, &mut rng).unwrap();
        let founder = NewMember {
            name: "alpha".parse().unwrap(),
            signing: identity.signing.public(),
            sealing,
            host: record.commitment(),
        };
        let recovery = RecoverySecret::generate(&mut rng).signing_key().public();
        let genesis = Genesis { name: name.clone(), founder, recovery, state_keys: state_keys.clone() };
        let (entry, roster) = Roster::found(clock::now(), genesis, &identity.signing).unwrap();
        identity.in_mesh(roster.mesh()).save(&path).unwrap();
        let (mut db, readers) = store::open(&path.join("node.db")).await.unwrap();
        log::append(&mut db, 1, &[entry]).await.unwrap();
        meta::set_text(&mut db, meta::BROKER, "ws://127.0.0.1:1").await.unwrap();
        meta::set_bytes(&mut db, meta::STATE_KEYS, state_keys.as_bytes()).await.unwrap();
        store::close(db, readers).await.unwrap();
        let admitted = Admitted::check(&home, &name, &evidence).unwrap();
        let mesh = Mesh::open(admitted, &config, &TaskTracker::new()).await.unwrap();
        (folder, mesh)
    }
}
