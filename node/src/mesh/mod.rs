//! One mesh of this node: its keys, roster, database and link, and the tasks that keep them going.

mod keys;
mod link_state;
mod membership;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, debug, error, info_span, warn};
use waxwing_crypto::host::Evidence;
use waxwing_crypto::membership::{LogHead, Roster};
use waxwing_crypto::storage::StorageKeys;
use waxwing_crypto::{Name, NodeId, SigningKey, Timestamp};
use waxwing_protocol::BrokerUrl;
use waxwing_protocol::api::{EventBody, Link};
use waxwing_sqlite::Readers;

pub(crate) use self::membership::GrowError;
use crate::alarms::Alarms;
use crate::apps::Apps;
use crate::claims;
use crate::clock::{self, Clock};
use crate::config::{self, Config};
use crate::epochs::Epochs;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::identity::Identity;
use crate::leases::{self, Leases};
use crate::link::{self, Calls};
use crate::metrics::Counts;
use crate::presence::{self, Presence};
use crate::requests::{self, Requests};
use crate::rosters::{self, Kept, Opened};
use crate::signals::Signals;
use crate::spaces::Spaces;
use crate::state::{self, State};
use crate::store::whole::Check;
use crate::store::{blocked, meta};
use crate::topics::{self, Topics};
use crate::writer::{self, Caps, WriteError, Writer};
use crate::{home, host, store, upkeep};

/// A mesh whose state belongs to this host. Nothing else can be opened.
#[derive(Debug)]
pub(crate) struct Admitted {
    name: Name,
    folder: PathBuf,
    identity: Identity,
    keys: StorageKeys,
    warning: Option<String>,
    apps: Arc<Apps>,
}

impl Admitted {
    /// Reads a mesh's keys and checks its host record. Touches nothing if this is another host.
    pub(crate) fn check(home: &Home, name: &Name, evidence: &Evidence) -> Result<Self> {
        let folder = home.mesh(name);
        home::must_be_private(&folder)?;
        for file in ["node.db", "host.json"].map(|file| folder.join(file)) {
            // A host record that is missing is another matter.
            if file.exists() {
                home::must_be_private(&file)?;
            }
        }
        let identity = Identity::load(&folder)?;
        let keys = identity.storage.keys();
        let warning = host::check(name.as_str(), &folder, &keys.host_key(), evidence)?;
        if let Some(warning) = &warning {
            warn!(mesh = %name, "{warning}");
        }
        Ok(Self { name: name.clone(), folder, identity, keys, warning, apps: Arc::default() })
    }

    /// The same with apps that were registered before it was closed.
    pub(crate) fn with_apps(self, apps: Arc<Apps>) -> Self {
        Self { apps, ..self }
    }

    /// Which mesh.
    pub(crate) const fn name(&self) -> &Name {
        &self.name
    }
}

/// Everything of one mesh.
#[derive(Debug)]
pub(crate) struct Mesh {
    pub(crate) name: Name,
    pub(crate) identity: Identity,
    pub(crate) keys: Arc<StorageKeys>,
    pub(crate) broker: BrokerUrl,
    pub(crate) host_warning: Option<String>,
    folder: PathBuf,
    /// Members whose mail is refused.
    blocked: RwLock<HashSet<NodeId>>,
    /// The signing key that stands in the log, while the identity's is not in it yet.
    giving_up: Mutex<Option<Arc<SigningKey>>>,
    /// Reads. Everything is written by `writer`.
    pub(crate) db: Readers,
    pub(crate) writer: Writer,
    pub(crate) signals: Arc<Signals>,
    pub(crate) clock: Clock,
    roster: RwLock<Roster>,
    /// The roster on disk.
    pub(crate) kept: Kept,
    pub(crate) epochs: Epochs,
    /// Those that are registered with this node, in this mesh.
    pub(crate) apps: Arc<Apps>,
    /// Who is there.
    pub(crate) presence: Presence,
    /// Who waits for answers, and who gives them.
    pub(crate) requests: Requests,
    /// What apps have subscribed to.
    pub(crate) topics: Topics,
    /// The spaces that are followed.
    pub(crate) spaces: Spaces,
    /// What the mesh shares.
    pub(crate) state: State,
    /// What its apps have in turn with those of others.
    pub(crate) leases: Arc<Leases>,
    /// What its apps act on, of what any may.
    pub(crate) claims: Arc<Leases>,
    /// What is wrong with other nodes' logs, or the broker's.
    pub(crate) alarms: Alarms,
    /// One change of the roster at a time.
    growing: tokio::sync::Mutex<()>,
    link: watch::Sender<Link>,
    /// While the mesh waits for a `resume`: the ends of the logs to choose from.
    resume_wanted: Mutex<Option<Vec<LogHead>>>,
    /// Requests to the broker, while the link is up.
    calls: Mutex<Option<Calls>>,
    /// When the last frame was sent that was answered on a link that is gone, in milliseconds; 0 if none was.
    heard: AtomicU64,
    /// Since when everything the broker had for this node is settled.
    caught_up: Mutex<Option<Instant>>,
    /// What the outbox may hold.
    pub(crate) caps: Caps,
    /// How long what is over is kept.
    pub(crate) retained: config::Kept,
    /// How long the broker remembers what it has accepted, in milliseconds; 0 before it has said so.
    broker_dedupe: AtomicU64,
    /// The broker has said that this node's membership has ended.
    ended: AtomicBool,
    /// Why the writer has ended by itself.
    failed: watch::Receiver<Option<WriteError>>,
    /// A look at every page that goes on.
    check: Mutex<Option<Check>>,
    /// Cancelled when this mesh is to be closed.
    pub(crate) stop: CancellationToken,
    /// What must have ended when it is closed: its writer, its link, its streams. The writer ends when nobody holds the mesh.
    pub(crate) tasks: TaskTracker,
}

fn write_error(error: &WriteError) -> Error {
    Error::NotStored(error.to_string())
}

impl Mesh {
    /// Opens a mesh's database and starts its writer, which counts what it writes in `counts`.
    pub(crate) async fn open(
        mut admitted: Admitted,
        config: &Config,
        counts: Arc<Counts>,
        stop: CancellationToken,
    ) -> Result<Arc<Self>> {
        let tasks = TaskTracker::new();
        let file = admitted.folder.join("node.db");
        let was_closed = store::was_closed(&file);
        let (mut connection, db) = store::open(&file).await?;
        let check = if was_closed { None } else { Check::begin(file, &stop, &tasks).await? };
        store::renewal::begin_under(&mut connection, &admitted.identity.signing.public()).await?;
        store::outbox::end_asked(&mut connection, clock::now()).await?;
        store::outbox::doubt_after_crash(&mut connection).await?;
        let Opened { roster, kept, replayed } =
            rosters::open(&db, &admitted.keys, admitted.identity.mesh).await?;
        debug!(mesh = %admitted.name, kept, replayed, "the log is read");
        let broker = meta::text(&db, meta::BROKER).await?;
        let broker = broker.and_then(|url| url.parse().ok());
        let broker = broker.ok_or_else(|| Error::Damaged(format!("{} has no broker", admitted.name)))?;
        let blocked = blocked::all(&db).await?.into_iter().collect();
        let epochs = Epochs::load(&db, &admitted.keys).await?;
        let presence = Presence::load(&db, &admitted.keys).await?;
        let topics = Topics::load(&db, &admitted.keys).await?;
        let signals = Arc::new(Signals::default());
        signals.begin(meta::number(&db, meta::CURSOR).await?);
        let caps = Caps { messages: config.outbox_messages, bytes: config.outbox_bytes };
        let (handle, changes) = writer::channel();
        let (fail, failed) = watch::channel(None);
        let (pool, shared) = (db.clone(), Arc::clone(&signals));
        let keys = Arc::new(admitted.keys);
        let mesh = Arc::new(Self {
            name: admitted.name,
            folder: admitted.folder,
            blocked: RwLock::new(blocked),
            giving_up: Mutex::new(admitted.identity.giving_up.take().map(Arc::new)),
            identity: admitted.identity,
            keys: Arc::clone(&keys),
            broker,
            host_warning: admitted.warning,
            db,
            writer: handle,
            signals,
            clock: Clock::start(),
            roster: RwLock::new(roster),
            kept: Kept::at(kept),
            epochs,
            apps: admitted.apps,
            presence,
            requests: Requests::new(Arc::clone(&counts)),
            topics,
            spaces: Spaces::default(),
            state: State::default(),
            leases: Arc::new(Leases::new(leases::SPACE.parse()?, leases::event)),
            claims: Arc::new(Leases::new(claims::SPACE.parse()?, claims::event)),
            alarms: Alarms::default(),
            growing: tokio::sync::Mutex::default(),
            link: watch::Sender::new(Link::down(clock::now())),
            resume_wanted: Mutex::default(),
            calls: Mutex::default(),
            heard: AtomicU64::new(0),
            caught_up: Mutex::default(),
            caps,
            retained: config.kept,
            broker_dedupe: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            failed,
            check: Mutex::new(check),
            stop,
            tasks,
        });
        let writing = async move {
            let connection = writer::run(connection, changes, keys, caps, shared, counts).await?;
            Ok(store::close(connection, pool).await)
        };
        mesh.tasks.spawn(async move {
            // Its statements block.
            let ended = waxwing_sqlite::on_own_thread("writer", writing).await;
            match ended.unwrap_or_else(|error| Err(WriteError::Failed(error.to_string().into()))) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%error, "the database did not close cleanly"),
                Err(error) => {
                    error!(%error, "the writer stopped");
                    fail.send_replace(Some(error));
                }
            }
        });
        Ok(mesh)
    }

    /// Keeps the link up and does what time brings, until told to stop or refused for good.
    pub(crate) async fn run(self: &Arc<Self>) -> Result<()> {
        let span = info_span!("node", mesh = %self.name);
        async {
            self.writer
                .tell_all(EventBody::System { what: "started".into() })
                .await
                .map_err(|error| write_error(&error))?;
            upkeep::begin(self).await?;
            let ended = tokio::select! {
                ended = link::run(self, &self.stop) => ended,
                ended = upkeep::run(self, &self.stop) => ended,
                ended = presence::run(self) => ended,
                ended = state::run(self) => ended,
                ended = requests::run(self) => ended,
                ended = leases::run(self, &self.leases) => ended,
                ended = leases::run(self, &self.claims) => ended,
                failed = self.failed() => failed,
                damaged = self.damaged() => damaged,
                ended = topics::run(self) => ended,
            };
            rosters::keep_at_end(self).await;
            if let Err(error) = link::note_lost(self).await {
                debug!(%error, "what the link had handed over is in doubt");
            }
            if let Err(refused) = &ended {
                self.ended.store(matches!(refused, Error::Revoked(_)), Ordering::Relaxed);
                self.note_refusal(refused).await;
                self.stop_link(refused).await;
                error!(%refused, "this mesh has stopped");
            }
            ended
        }
        .instrument(span)
        .await
    }

    /// Waits until the writer ends by itself: nobody need have something to write to notice it.
    async fn failed(&self) -> Result<()> {
        let mut failed = self.failed.clone();
        let why = failed.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => Err(Error::NotStored(why.to_string())),
            // It ends because the mesh does.
            None => std::future::pending().await,
        }
    }

    /// Waits until a look at every page has found damage.
    async fn damaged(&self) -> Result<()> {
        let check = self.check.lock().unwrap_or_else(PoisonError::into_inner).take();
        match check {
            Some(check) => check.damage().await,
            None => std::future::pending().await,
        }
    }

    /// Keeps a refusal that a person has to decide on, for whoever asks which meshes those are.
    async fn note_refusal(&self, refused: &Error) {
        let noted = if let Error::LogRollback(why) = refused {
            self.rolled_back(why.clone()).await
        } else if matches!(refused, Error::StaleState(_)) {
            self.writer.refused(refused.to_string()).await
        } else {
            Ok(())
        };
        if let Err(error) = noted {
            debug!(%error, "the refusal is not noted");
        }
    }

    /// Whether a member's mail is refused.
    pub(crate) fn blocks(&self, node: &NodeId) -> bool {
        self.blocked.read().unwrap_or_else(PoisonError::into_inner).contains(node)
    }

    /// Refuses a member's mail from now on, or takes it again. Says whether that is news.
    pub(crate) async fn set_blocked(&self, node: NodeId, blocked: bool) -> Result<bool, WriteError> {
        let changed = self.writer.block(node, blocked).await?;
        let mut held = self.blocked.write().unwrap_or_else(PoisonError::into_inner);
        if blocked {
            held.insert(node)
        } else {
            held.remove(&node)
        };
        Ok(changed)
    }

    /// Tells apps that a copy of a member's state has tried to log in.
    pub(crate) async fn duplicated(&self, node: NodeId) {
        let Some(name) = self.roster(|roster| roster.member(&node).map(|member| member.name.clone())) else {
            return;
        };
        let detail =
            format!("the broker has refused a copy of {name}'s state: its host was cloned, or set back");
        warn!("{detail}");
        let what = EventBody::Security { what: "node_duplicated".into(), node: Some(node), detail };
        if let Err(error) = self.writer.tell_all(what).await {
            debug!(%error, "apps are not told of the copy");
        }
    }

    /// Reads the roster. `read` must be short: it holds up whoever changes it.
    pub(crate) fn roster<T>(&self, read: impl FnOnce(&Roster) -> T) -> T {
        read(&self.roster.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// This node's name in the mesh.
    pub(crate) fn node_name(&self) -> Option<Name> {
        self.roster(|roster| roster.member(&self.identity.node).map(|member| member.name.clone()))
    }

    /// Whether this node is a member, as far as its log and the broker have told it.
    pub(crate) fn is_member(&self) -> bool {
        !self.ended.load(Ordering::Relaxed) && self.node_name().is_some()
    }

    /// Notes whether everything the broker has for this node is settled.
    pub(crate) fn set_caught_up(&self, caught_up: bool) {
        let mut since = self.caught_up.lock().unwrap_or_else(PoisonError::into_inner);
        let was = since.is_some();
        *since = if caught_up { Some(since.unwrap_or_else(Instant::now)) } else { None };
        // Only now does time run for what is overdue.
        if caught_up && !was && self.signals.gapped().is_some() {
            self.signals.look();
        }
    }

    /// Since when everything the broker has for this node is settled.
    pub(crate) fn caught_up_since(&self) -> Option<Instant> {
        *self.caught_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A moment this much before now, for deciding what is old.
    pub(crate) fn ago(age: Duration) -> Timestamp {
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(clock::now().as_millis().saturating_sub(millis))
    }
}
