//! The asking side: a request on its way, and whoever waits for its answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tracing::debug;
use waxwing_crypto::sealing::Kind;
use waxwing_crypto::{ClientMessageId, Name, NodeId};
use waxwing_protocol::api::{LinkState, Problem, ProblemCode};

use super::board::{Answer, Asked, Note, Unwaited, Waiting};
use super::failure::Failure;
use super::live::Letter;
use super::serve;
use crate::content::Content;
use crate::ids;
use crate::mesh::Mesh;
use crate::outbox::Caller;
use crate::presence;

/// Notes that a caller has not read yet.
const NOTES: usize = 64;

/// What is asked, valid.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub(crate) node: Name,
    /// Its id, by the verified roster.
    pub(crate) recipient: NodeId,
    pub(crate) app: Name,
    pub(crate) from_app: Option<Name>,
    pub(crate) content: Content,
    pub(crate) timeout: Duration,
    /// Notes on the way are looked at.
    pub(crate) progress: bool,
    /// What its caller calls it.
    pub(crate) name: Option<ClientMessageId>,
}

/// A request under way. Whoever drops it waits no more, and the other side is told.
#[derive(Debug)]
pub(crate) struct Call {
    mesh: Arc<Mesh>,
    id: ClientMessageId,
    /// What its caller calls it.
    pub(crate) name: ClientMessageId,
    pub(crate) node: NodeId,
    pub(crate) app: Name,
    from_app: Option<Name>,
    began: Instant,
    deadline: Instant,
    notes: Option<mpsc::Receiver<Note>>,
    end: oneshot::Receiver<Result<Answer, Failure>>,
    /// Its end has been counted.
    counted: bool,
}

/// What becomes of it.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A note on the way.
    Note(Note),
    /// The end.
    End(Result<Answer, Problem>),
}

/// Asks. When this returns a call, somebody has been given the request, or it is in the outbox.
pub(crate) async fn begin(mesh: &Arc<Mesh>, asking: Asking) -> Result<Call, Box<Problem>> {
    let began = try_begin(mesh, asking).await;
    if let Err(problem) = &began {
        mesh.requests.counts.request(problem.code.as_str());
    }
    began
}

async fn try_begin(mesh: &Arc<Mesh>, asking: Asking) -> Result<Call, Box<Problem>> {
    let here = asking.recipient == mesh.identity.node;
    if !here {
        may_be_there(mesh, &asking).map_err(Failure::problem)?;
    }
    let call = wait(mesh, &asking)?;
    let asked = if here { give(mesh, &call, asking) } else { post_request(mesh, &call, asking).await };
    if asked.is_err() {
        // Nobody has been asked, so that nobody is to be told.
        mesh.requests.board().stop_waiting(&call.id);
    }
    asked.map(|()| call)
}

/// To another app of this node: nothing is written, and nothing leaves it.
fn give(mesh: &Arc<Mesh>, call: &Call, asking: Asking) -> Result<(), Box<Problem>> {
    let asked = Asked {
        asker: asking.recipient,
        request: call.id.clone(),
        from_app: asking.from_app,
        app: asking.app,
        deadline: call.deadline,
        progress: asking.progress,
    };
    serve::give(mesh, asked, &asking.content).map_err(|refusal| Failure::Refusal(refusal).problem().into())
}

/// To an app of another node.
async fn post_request(mesh: &Mesh, call: &Call, asking: Asking) -> Result<(), Box<Problem>> {
    let letter = Letter {
        kind: Kind::Request,
        to: asking.recipient,
        to_node: Some(asking.node),
        to_app: Some(asking.app),
        from_app: asking.from_app,
        progress: asking.progress,
        content: asking.content,
        deadline: call.deadline,
    };
    letter.post(mesh, call.id.clone()).await
}

/// What can be known without asking: that there is no way to the other node now. Who is registered with it, it knows best.
fn may_be_there(mesh: &Mesh, asking: &Asking) -> Result<(), Failure> {
    if mesh.blocks(&asking.recipient) {
        // Its answer would be refused as all that it sends.
        return Err(Failure::Undeliverable("blocked_here".to_owned()));
    }
    if mesh.link().state != LinkState::Up {
        return Err(Failure::Offline);
    }
    match presence::is_online(mesh, asking.recipient) {
        Some(false) => Err(Failure::PeerOffline(asking.node.clone())),
        Some(true) | None => Ok(()),
    }
}

/// Waits from now on, before anything is sent: an answer may be fast.
fn wait(mesh: &Arc<Mesh>, asking: &Asking) -> Result<Call, Box<Problem>> {
    let id = ids::fresh();
    let name = asking.name.clone().unwrap_or_else(|| id.clone());
    let (notes, noted) = asking.progress.then(|| mpsc::channel(NOTES)).unzip();
    let (end, ended) = oneshot::channel();
    let (app, node) = (asking.from_app.clone(), asking.recipient);
    let waiting = Waiting { name: name.clone(), app: app.clone(), node, notes, noted: 0, end: Some(end) };
    mesh.requests.board().wait(id.clone(), waiting).map_err(|why| match why {
        Unwaited::Full => Problem::new(ProblemCode::Busy).detail("1,024 requests wait for answers"),
        Unwaited::Taken => Problem::new(ProblemCode::Conflict)
            .detail(format!("a request called {name} is under way already")),
    })?;
    let began = Instant::now();
    Ok(Call {
        mesh: Arc::clone(mesh),
        id,
        name,
        node,
        app: asking.app.clone(),
        from_app: app,
        began,
        deadline: began + asking.timeout,
        notes: noted,
        end: ended,
        counted: false,
    })
}

impl Call {
    /// What happens next. Nothing does after the end.
    pub(crate) async fn next(&mut self) -> Happening {
        let stop = self.mesh.stop.clone();
        let end = tokio::select! {
            biased;
            Some(note) = note(&mut self.notes) => return Happening::Note(note),
            ended = timeout_at(self.deadline, &mut self.end) => match ended {
                Ok(Ok(end)) => end,
                Ok(Err(_)) => Err(Failure::Cancelled),
                Err(_) => {
                    // The other side has the same deadline, and need not be told.
                    self.mesh.requests.board().stop_waiting(&self.id);
                    Err(Failure::Timeout)
                }
            },
            () = stop.cancelled() => Err(Failure::Closed),
        };
        let end = end.map_err(Failure::problem);
        let outcome = end.as_ref().map_or_else(|problem| problem.code.as_str(), |_| ANSWERED);
        self.mesh.requests.counts.request(outcome);
        self.counted = true;
        Happening::End(end)
    }

    /// How long it has taken so far.
    pub(crate) fn took(&self) -> Duration {
        self.began.elapsed()
    }
}

/// How it is counted that an answer has come.
pub(crate) const ANSWERED: &str = "answered";

/// The next note. None, and not asked again, once there can be none.
async fn note(notes: &mut Option<mpsc::Receiver<Note>>) -> Option<Note> {
    match notes {
        Some(notes) => notes.recv().await,
        None => None,
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.mesh.requests.board().stop_waiting(&self.id).is_some() {
            if !self.counted {
                self.mesh.requests.counts.request(ProblemCode::Cancelled.as_str());
            }
            withdraw(
                &self.mesh,
                self.node,
                self.id.clone(),
                self.app.clone(),
                self.from_app.clone(),
                self.deadline,
            );
        }
    }
}

/// Tells whoever was asked that nobody waits any more.
fn withdraw(
    mesh: &Arc<Mesh>,
    node: NodeId,
    id: ClientMessageId,
    app: Name,
    from_app: Option<Name>,
    deadline: Instant,
) {
    if node == mesh.identity.node {
        return mesh.requests.board().withdraw(node, &id);
    }
    let letter = Letter {
        kind: Kind::Cancel,
        to: node,
        to_node: None,
        to_app: Some(app),
        from_app,
        progress: false,
        content: Content { reply_to: Some(id), ..Content::default() },
        deadline,
    };
    post(mesh, letter);
}

/// Sends what nobody here waits for.
pub(super) fn post(mesh: &Arc<Mesh>, letter: Letter) {
    let own = Arc::clone(mesh);
    mesh.tasks.spawn(async move {
        if let Err(problem) = letter.post(&own, ids::fresh()).await {
            debug!(code = problem.code.as_str(), "the other side of a request is not told");
        }
    });
}

/// Ends a request of the caller's that is under way. Whoever waits for it is told, and the other side.
pub(crate) fn cancel(mesh: &Arc<Mesh>, caller: &Caller, name: &ClientMessageId) -> Result<(), Box<Problem>> {
    let mut board = mesh.requests.board();
    let id = board.named(caller.app.as_ref(), name);
    let ended = id.is_some_and(|id| board.cancel(&id));
    drop(board);
    if ended { Ok(()) } else { Err(Problem::new(ProblemCode::UnknownRequest).into()) }
}

/// Ends those whose nodes are not online any more.
pub(super) fn end_those_of_the_gone(mesh: &Mesh) {
    let waited: Vec<(ClientMessageId, NodeId)> = {
        let board = mesh.requests.board();
        board
            .waited_for()
            .filter(|(_, node)| *node != mesh.identity.node)
            .map(|(id, node)| (id.clone(), node))
            .collect()
    };
    for (id, node) in waited {
        if presence::is_online(mesh, node) == Some(false) {
            mesh.requests.board().end(node, &id, Err(Failure::NodeGone));
        }
    }
}

/// Ends one that the broker or the other node does not take.
pub(super) fn undeliverable(mesh: &Mesh, id: &ClientMessageId, reason: String) {
    let mut board = mesh.requests.board();
    let node = board.waited_for().find(|(waited, _)| *waited == id).map(|(_, node)| node);
    if let Some(node) = node {
        // What has expired on the way has its deadline here too.
        let why =
            if reason.starts_with("expired") { Failure::Timeout } else { Failure::Undeliverable(reason) };
        board.end(node, id, Err(why));
    }
}
