//! Requests to the broker that are answered by one frame.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use waxwing_crypto::membership::{Body, LogHead, Resume, Roster, SignedEntry};
use waxwing_crypto::state_key::KeyList;
use waxwing_crypto::{NodeId, SigningKey, SpaceId, WireId};
use waxwing_protocol::limits;
use waxwing_protocol::link::{
    Bye, Change, ChangeOutcome, Code, ErrorFrame, FoundKeys, KeysGet, KeysPut, Log, LogAppend, LogGet, Mark,
    Offered, PeerPrekey, PrekeyGet, PrekeyPut, QueueShow, Shown, SpaceChanges, SpaceFollow, SpaceOffer,
    SpaceWrite, ToBroker, ToNode,
};

use crate::clock::Boot;
use crate::epochs::Proposal;
use crate::mesh::{GrowError, Mesh};
use crate::store::prekeys;

/// An answer takes no longer than this, or the link is as good as lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Even a broker that asks for less is not asked again at once.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
/// Attempts to append an entry while others append theirs.
const APPEND_ATTEMPTS: usize = 8;

/// A handle on the requests of one link.
#[derive(Clone, Debug)]
pub(crate) struct Calls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    out: mpsc::Sender<ToBroker>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<ToNode>>>,
    /// When the last frame was sent that was answered, in milliseconds; 0 if none was.
    answered: AtomicU64,
}

/// Why a request was not answered as hoped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The link went down, or the answer did not come.
    #[error("the link was lost")]
    Lost,
    /// The link went down, or the answer did not come, after an entry was handed over: the log may have it, at this place.
    #[error("the link was lost before the broker had answered")]
    Unanswered(LogHead),
    /// The broker refuses.
    #[error("{detail}")]
    Refused {
        /// Stable.
        code: Code,
        /// For people.
        detail: String,
    },
    /// The broker wants to be asked less often.
    #[error("the broker wants to be asked again in {} ms", .after.as_millis())]
    Limited {
        /// Not before.
        after: Duration,
    },
    /// What was asked for needs the state key of the newest epoch, and this node does not hold it yet.
    #[error("the state key of epoch {epoch} is not held yet")]
    NoKeys {
        /// The epoch.
        epoch: u64,
    },
    /// What it sent does not fit the log held here.
    #[error(transparent)]
    Grow(#[from] GrowError),
    /// The database failed.
    #[error(transparent)]
    Read(#[from] waxwing_sqlite::Error),
}

impl Calls {
    pub(crate) fn new(out: mpsc::Sender<ToBroker>) -> Self {
        let (next, answered) = (AtomicU64::new(1), AtomicU64::new(0));
        Self(Arc::new(Inner { out, next, waiting: Mutex::default(), answered }))
    }

    /// Whether both are of the same link.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// When the last frame was sent that the broker has answered, in milliseconds since the host was started; 0 if none was.
    pub(crate) fn answered(&self) -> u64 {
        self.0.answered.load(Ordering::Relaxed)
    }

    /// A frame that was sent then has been answered.
    pub(crate) fn note_answered(&self, sent: Boot) {
        self.0.answered.fetch_max(sent.as_millis(), Ordering::Relaxed);
    }

    /// A number that no other request of this link has.
    pub(crate) fn number(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands an answer to whoever waits for it. An answer to nobody is dropped: he gave up.
    pub(crate) fn answer(&self, req: u64, frame: ToNode) {
        let waiting = self.waiting().remove(&req);
        if let Some(waiting) = waiting {
            let _ = waiting.send(frame);
        }
    }

    /// Fetches what the log has beyond what is held here, and takes it into the roster.
    pub(crate) async fn fetch_log(&self, mesh: &Mesh) -> Result<(), CallError> {
        loop {
            let after = mesh.roster(|roster| roster.head().seq);
            let log = log(self.patiently(|req| ToBroker::LogGet(LogGet { req, after })).await?)?;
            match mesh.grow(&log.entries, log.mark).await {
                // Until an admin has resumed one, each node goes on with its own.
                Err(GrowError::Parts(_)) if mesh.waits_beside(log.head) => return Ok(()),
                grown => grown?,
            }
            let (head, now) = (log.head.map_or(0, |head| head.seq), mesh.roster(|roster| roster.head().seq));
            // Nothing new: whatever the broker says of its end, asking again brings no more.
            if now == after || now >= head {
                return Ok(());
            }
        }
    }

    /// Makes an entry and appends it, again and again while others get in between. What is proposed may be of no use any
    /// more by then: that is no error.
    pub(crate) async fn append(&self, mesh: &Mesh, proposal: impl Into<Proposal>) -> Result<(), CallError> {
        self.append_by(mesh, &mesh.identity.signing, &proposal.into()).await
    }

    /// The same, signed by another key than this node's.
    pub(crate) async fn append_by(
        &self,
        mesh: &Mesh,
        key: &SigningKey,
        proposal: &Proposal,
    ) -> Result<(), CallError> {
        for _ in 0..APPEND_ATTEMPTS {
            match self.propose(mesh, key, proposal).await {
                Ok(()) => return Ok(()),
                Err(CallError::Refused { code: Code::LogConflict, .. }) => self.fetch_log(mesh).await?,
                // The broker has given the list up meanwhile: there was too much else.
                Err(CallError::Refused { code: Code::KeysWanted, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let detail = "others kept appending to the log at the same time".into();
        Err(CallError::Refused { code: Code::LogConflict, detail })
    }

    /// One attempt. What is made rests on one state of the log, and is signed for the end of that.
    async fn propose(&self, mesh: &Mesh, key: &SigningKey, proposal: &Proposal) -> Result<(), CallError> {
        let roster = mesh.roster(Roster::clone);
        let Some(body) = proposal.body(mesh, self, &roster).await? else { return Ok(()) };
        let entry = mesh.sign_entry_on(&roster, key, body);
        let mark = self.append_entry(entry.clone()).await?;
        Ok(mesh.grow(&[entry], mark).await?)
    }

    /// Says that the log held here, which ends there, is the right one.
    pub(crate) async fn resume(&self, mesh: &Mesh, key: &SigningKey, head: LogHead) -> Result<(), CallError> {
        let resume = Body::Resume(Resume { head });
        let entry = mesh.roster(|roster| mesh.sign_entry_on(roster, key, resume));
        let mark = self.append_entry(entry.clone()).await?;
        Ok(mesh.grow(&[entry], mark).await?)
    }

    async fn append_entry(&self, entry: SignedEntry) -> Result<Option<Mark>, CallError> {
        let unanswered = entry.parse().map(|parsed| LogHead { seq: parsed.seq, hash: entry.hash() });
        let answer = self.call(|req| ToBroker::LogAppend(LogAppend { req, entry })).await;
        log(answer.map_err(|error| match (error, unanswered) {
            (CallError::Lost, Ok(head)) => CallError::Unanswered(head),
            (error, _) => error,
        })?)
        .map(|log| log.mark)
    }

    /// Publishes this node's newest prekey.
    pub(crate) async fn publish(&self, mesh: &Mesh) -> Result<(), CallError> {
        let Some(newest) = prekeys::newest(&mesh.db).await? else {
            return Ok(());
        };
        let put = |req| ToBroker::PrekeyPut(PrekeyPut { req, prekey: newest.signed.clone() });
        let answer = self.patiently(put).await?;
        let ToNode::Done(_) = answer else { return Err(unexpected(&answer)) };
        Ok(mesh.writer.published(newest.id).await.map_err(GrowError::from)?)
    }

    /// The newest prekey that a peer has published.
    pub(crate) async fn prekey(&self, node: NodeId) -> Result<Option<PeerPrekey>, CallError> {
        let answer = self.call(|req| ToBroker::PrekeyGet(PrekeyGet { req, nodes: vec![node] })).await?;
        let ToNode::Prekeys(answer) = answer else { return Err(unexpected(&answer)) };
        Ok(answer.prekeys.into_iter().find(|prekey| prekey.node == node))
    }

    /// Puts a sealed-key list at the broker, part by part.
    pub(crate) async fn put_keys(&self, list: &KeyList) -> Result<(), CallError> {
        let (root, head) = (list.root(), list.head());
        let mut slots = list.slots();
        loop {
            let part: Vec<_> = slots.by_ref().take(limits::KEY_SLOTS).collect();
            if part.is_empty() {
                return Ok(());
            }
            let put = |req| ToBroker::KeysPut(KeysPut { req, root, head: head.clone(), slots: part.clone() });
            let answer = self.patiently(put).await?;
            let ToNode::Done(_) = answer else { return Err(unexpected(&answer)) };
        }
    }

    /// This node's slot of an epoch's sealed-key list, as the broker has it.
    pub(crate) async fn own_keys(&self, epoch: u64) -> Result<Option<Box<FoundKeys>>, CallError> {
        let answer = self.patiently(|req| ToBroker::KeysGet(KeysGet { req, epoch })).await?;
        let ToNode::Keys(answer) = answer else { return Err(unexpected(&answer)) };
        Ok(answer.found)
    }

    /// What has changed in a space. Waits for it as long as the link lasts, if that was asked for.
    pub(crate) async fn follow(
        &self,
        follow: impl Fn(u64) -> SpaceFollow,
    ) -> Result<SpaceChanges, CallError> {
        loop {
            let answer = match self.ask(|req| ToBroker::SpaceFollow(follow(req))).await.and_then(served) {
                Err(CallError::Limited { after }) => {
                    sleep(after).await;
                    continue;
                }
                answer => answer?,
            };
            let ToNode::SpaceChanges(changes) = answer else { return Err(unexpected(&answer)) };
            return Ok(changes);
        }
    }

    /// Changes a space. One outcome per change.
    pub(crate) async fn write_space(
        &self,
        space: SpaceId,
        changes: &[Change],
    ) -> Result<Vec<ChangeOutcome>, CallError> {
        let write = |req| ToBroker::SpaceWrite(SpaceWrite { req, space, changes: changes.to_vec() });
        let answer = self.patiently(write).await?;
        let ToNode::SpaceWritten(written) = answer else { return Err(unexpected(&answer)) };
        counted(written.outcomes, changes.len())
    }

    /// Offers records to a store that has lost them. One outcome per record.
    pub(crate) async fn offer_space(
        &self,
        space: SpaceId,
        records: &[Offered],
    ) -> Result<Vec<ChangeOutcome>, CallError> {
        let offer = |req| ToBroker::SpaceOffer(SpaceOffer { req, space, records: records.to_vec() });
        let answer = self.patiently(offer).await?;
        let ToNode::SpaceOffered(offered) = answer else { return Err(unexpected(&answer)) };
        counted(offered.outcomes, records.len())
    }

    /// Says that this node goes: its lease ends.
    pub(crate) async fn bye(&self) -> Result<(), CallError> {
        let answer = self.call(|req| ToBroker::Bye(Bye { req })).await?;
        let ToNode::Done(_) = answer else { return Err(unexpected(&answer)) };
        Ok(())
    }

    /// What the broker holds of a message this node sent.
    pub(crate) async fn show(&self, id: WireId) -> Result<Option<Shown>, CallError> {
        let answer = self.call(|req| ToBroker::QueueShow(QueueShow { req, id })).await?;
        let ToNode::QueueShown(answer) = answer else { return Err(unexpected(&answer)) };
        Ok(answer.shown)
    }

    /// Asks until the broker has time for it.
    async fn patiently(&self, request: impl Fn(u64) -> ToBroker) -> Result<ToNode, CallError> {
        loop {
            match self.call(&request).await {
                Err(CallError::Limited { after }) => sleep(after).await,
                answer => return answer,
            }
        }
    }

    async fn call(&self, request: impl FnOnce(u64) -> ToBroker) -> Result<ToNode, CallError> {
        let answered = timeout(ANSWER_WITHIN, self.ask(request));
        answered.await.unwrap_or(Err(CallError::Lost)).and_then(served)
    }

    /// Asks, and waits for the answer as long as the link lasts.
    async fn ask(&self, request: impl FnOnce(u64) -> ToBroker) -> Result<ToNode, CallError> {
        let asked = Asked { calls: self, req: self.number() };
        let (answer, answered) = oneshot::channel();
        self.waiting().insert(asked.req, answer);
        let sent = Boot::now();
        self.0.out.send(request(asked.req)).await.map_err(|_| CallError::Lost)?;
        let answer = answered.await.map_err(|_| CallError::Lost)?;
        self.note_answered(sent);
        Ok(answer)
    }

    /// Tells everybody who waits that no answer will come.
    pub(crate) fn close(&self) {
        self.waiting().clear();
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<ToNode>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that somebody waits for: who gives it up is not answered.
struct Asked<'a> {
    calls: &'a Calls,
    req: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.calls.waiting().remove(&self.req);
    }
}

/// An answer, unless it is a refusal.
fn served(frame: ToNode) -> Result<ToNode, CallError> {
    if let ToNode::Error(error) = frame { Err(refused(error)) } else { Ok(frame) }
}

/// As many outcomes as there were changes.
fn counted(outcomes: Vec<ChangeOutcome>, count: usize) -> Result<Vec<ChangeOutcome>, CallError> {
    if outcomes.len() == count {
        return Ok(outcomes);
    }
    let detail = format!("the broker answered {count} changes with {} outcomes", outcomes.len());
    Err(CallError::Refused { code: Code::BadFrame, detail })
}

/// The log that an answer holds.
fn log(answer: ToNode) -> Result<Log, CallError> {
    let ToNode::Log(log) = answer else { return Err(unexpected(&answer)) };
    Ok(log)
}

/// A request that was not served, for good or for now.
fn refused(error: ErrorFrame) -> CallError {
    let ErrorFrame { code, detail, after, .. } = error;
    match code {
        Code::RateLimited => CallError::Limited { after: pause(after) },
        Code::Unsupported
        | Code::BadFrame
        | Code::LogConflict
        | Code::NotAllowed
        | Code::ClockSkew
        | Code::ResumeWanted
        | Code::KeysWanted => CallError::Refused { code, detail },
    }
}

/// How long to wait with a request that the broker has refused as `rate_limited`.
pub(crate) fn pause(after: Option<u64>) -> Duration {
    Duration::from_millis(after.unwrap_or_default()).clamp(LEAST_PAUSE, limits::AFTER_MAX)
}

/// An answer of another kind than the request's.
fn unexpected(frame: &ToNode) -> CallError {
    CallError::Refused {
        code: Code::BadFrame,
        detail: format!("the broker answered with `{}`", frame.name()),
    }
}
