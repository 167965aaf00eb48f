//! What its owner has the node run after events.
//!
//! ```text
//! commit -> Reader (the tables, as streams read them) -> a queue per kind, bounded -> a process, eight at once at most
//! ```
//!
//! Nothing waits for a hook: the queue of a kind that is full takes nothing more, and what is dropped is counted. Events are
//! durable and hooks are not: one that must not miss anything reads the stream instead.

mod check;
mod process;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};
use waxwing_crypto::Name;
use waxwing_protocol::api::{Event, EventKind, HookInput};

pub use self::check::Unfit;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::ipc::Reader;
use crate::mesh::Mesh;
use crate::metrics::Counts;

/// Processes at once, of all hooks.
const AT_ONCE: usize = 8;
/// Events of one kind that wait: more than a burst, and less than anybody would want to be told of late.
const QUEUE: usize = 256;
/// Bytes of all events that wait. Each is smaller than a mebibyte.
const QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// The hooks of this node. None, if none is configured.
#[derive(Debug)]
pub(crate) struct Hooks {
    queues: Arc<BTreeMap<EventKind, Queue>>,
    bytes: Arc<Semaphore>,
}

/// Events of one kind on their way to their hook.
#[derive(Debug)]
struct Queue {
    jobs: mpsc::Sender<Job>,
    /// The last one was dropped: it is said once, not a thousand times.
    dropping: AtomicBool,
}

/// What is to be run, and how.
#[derive(Debug)]
struct Hook {
    kind: EventKind,
    path: PathBuf,
    folder: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    timeout: Duration,
}

/// One event for a hook.
#[derive(Debug)]
struct Job {
    mesh: Name,
    cursor: u64,
    input: Vec<u8>,
    counts: Arc<Counts>,
    _bytes: OwnedSemaphorePermit,
}

/// Whether every hook can be run, and changed by nobody but its owner.
///
/// # Errors
/// `Hook` for the first that is not so.
pub(crate) fn check(config: &Config) -> Result<()> {
    config.hooks.iter().try_for_each(|(kind, path)| {
        let wrong = |cause| Error::Hook { kind: kind.as_str(), path: path.clone(), cause };
        check::fit(path).map_err(wrong)
    })
}

impl Hooks {
    /// Runs the hooks of a configuration until told to stop.
    pub(crate) fn start(config: &Config, stop: &CancellationToken, tasks: &TaskTracker) -> Self {
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        let queue = |(&kind, path): (&EventKind, &PathBuf)| {
            let hook = Arc::new(Hook {
                kind,
                path: path.clone(),
                folder: config.state.clone(),
                environment: process::environment(config),
                timeout: config.hook_timeout,
            });
            let (jobs, waiting) = mpsc::channel(QUEUE);
            let started = run_all(hook, waiting, Arc::clone(&at_once), tasks.clone(), stop.clone());
            tasks.spawn(started);
            (kind, Queue { jobs, dropping: AtomicBool::new(false) })
        };
        let queues = Arc::new(config.hooks.iter().map(queue).collect());
        Self { queues, bytes: Arc::new(Semaphore::new(QUEUE_BYTES)) }
    }

    /// Hands over what happens in a mesh from now on, until it is closed.
    pub(crate) fn follow(&self, mesh: &Arc<Mesh>, counts: &Arc<Counts>) {
        if self.queues.is_empty() {
            return;
        }
        let mut reader = Reader::from_now(mesh, self.queues.keys().copied().collect());
        let (queues, bytes) = (Arc::clone(&self.queues), Arc::clone(&self.bytes));
        let (name, counts, stop) = (mesh.name.clone(), Arc::clone(counts), mesh.stop.clone());
        mesh.tasks.spawn(async move {
            let hand_over = async {
                while let Some(event) = reader.next().await {
                    hand_over(&queues, &bytes, &name, event, &counts);
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = hand_over => {}
            }
        });
    }
}

/// Puts an event into its kind's queue, if there is room.
fn hand_over(
    queues: &BTreeMap<EventKind, Queue>,
    bytes: &Arc<Semaphore>,
    mesh: &Name,
    event: Event,
    counts: &Arc<Counts>,
) {
    let (kind, cursor) = (event.body.kind(), event.cursor);
    let Some(queue) = queues.get(&kind) else { return };
    let input = match serde_json::to_vec(&HookInput { mesh: mesh.clone(), event }) {
        Ok(input) => input,
        Err(error) => return error!(%error, cursor, "an event cannot be encoded for its hook"),
    };
    let size = u32::try_from(input.len()).unwrap_or(u32::MAX);
    let room = Arc::clone(bytes).try_acquire_many_owned(size).ok();
    let job =
        room.map(|room| Job { mesh: mesh.clone(), cursor, input, counts: Arc::clone(counts), _bytes: room });
    let waits = job.is_some_and(|job| queue.jobs.try_send(job).is_ok());
    let dropped_before = queue.dropping.swap(!waits, Ordering::Relaxed);
    if !waits {
        counts.hook(kind, "dropped");
        if !dropped_before {
            warn!(%mesh, kind = kind.as_str(), cursor, "its hook is too slow: events are dropped from here on");
        }
    }
}

/// Runs one hook for each event, in their order, as many at once as there is room for.
async fn run_all(
    hook: Arc<Hook>,
    mut jobs: mpsc::Receiver<Job>,
    at_once: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    loop {
        // Whoever waits longest is next: a kind whose hook hangs cannot keep another's waiting for longer than one run.
        let next = async { Some((jobs.recv().await?, Arc::clone(&at_once).acquire_owned().await.ok()?)) };
        let next = tokio::select! {
            () = stop.cancelled() => return,
            next = next => next,
        };
        let Some((job, room)) = next else { return };
        let (hook, stop) = (Arc::clone(&hook), stop.clone());
        tasks.spawn(async move {
            let _room = room;
            tokio::select! {
                // What runs is killed with its future.
                () = stop.cancelled() => {}
                () = run(&hook, &job) => {}
            }
        });
    }
}

/// Runs it once, and says how that went.
async fn run(hook: &Hook, job: &Job) {
    let kind = hook.kind.as_str();
    match process::run(hook, job).await {
        Ok(()) => {
            job.counts.hook(hook.kind, "ok");
            debug!(mesh = %job.mesh, kind, cursor = job.cursor, "the hook is done");
        }
        Err(failed) => {
            job.counts.hook(hook.kind, failed.why.as_str());
            let (hook, why, said) = (hook.path.display(), &failed.why, &failed.said);
            warn!(mesh = %job.mesh, kind, cursor = job.cursor, %hook, said, "the hook failed: {why}");
        }
    }
}
