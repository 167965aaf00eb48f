//! The answering side: requests on their way to the streams that take them, and what comes back from their apps.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;
use waxwing_crypto::sealing::{Kind, Refusal, Why};
use waxwing_crypto::{ClientMessageId, NodeId};
use waxwing_protocol::api::{EventBody, Problem, ProblemCode, ReplyError, ReplyRequest, RequestItem};
use waxwing_protocol::limits;

use super::ask::post;
use super::board::{Answer, Asked, Serving, Ungiven};
use super::failure::Failure;
use super::live::{Letter, Live, Said};
use crate::apps::Which;
use crate::content::Content;
use crate::mesh::Mesh;
use crate::outbox::{Caller, Written, written};
use crate::{clock, ids};

/// Requests that a stream has been given and its app has not read yet.
const UNREAD: usize = 128;
/// Media type of a refusal between nodes.
const MSGPACK: &str = "application/msgpack";

/// A stream that takes the requests of an app, until it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    mesh: Arc<Mesh>,
    which: Which,
    number: u64,
    events: mpsc::Receiver<EventBody>,
}

/// Takes requests of an app from now on.
pub(crate) fn listen(mesh: &Arc<Mesh>, which: Which) -> Listener {
    let (given, events) = mpsc::channel(UNREAD);
    let number = mesh.requests.board().listen(which.clone(), given);
    Listener { mesh: Arc::clone(mesh), which, number, events }
}

impl Listener {
    /// The next request, or cancel.
    pub(crate) async fn next(&mut self) -> Option<EventBody> {
        self.events.recv().await
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let unanswered = self.mesh.requests.board().leave(&self.which, self.number);
        for serving in unanswered {
            refuse(&self.mesh, serving.asker, serving.request.clone(), &serving.into(), Failure::gone());
        }
    }
}

/// Gives a request to whoever serves its app.
pub(super) fn give(mesh: &Arc<Mesh>, asked: Asked, content: &Content) -> Result<(), Refusal> {
    let told_as = ids::fresh();
    let (body, body_base64) = content.shown_body();
    let left = asked.deadline.saturating_duration_since(Instant::now());
    let name = mesh.roster(|roster| roster.member(&asked.asker).map(|member| member.name.clone()));
    let item = RequestItem {
        id: told_as.clone(),
        // A member's name, or its mail would not have been opened.
        from: name.unwrap_or_else(|| mesh.name.clone()),
        from_node: asked.asker,
        from_app: asked.from_app.clone(),
        app: asked.app.clone(),
        content_type: content.content_type.clone(),
        body,
        body_base64,
        meta: content.shown_meta(),
        progress: asked.progress,
        deadline: clock::now().plus(left),
    };
    let app = asked.app.clone();
    let given = mesh.requests.board().give(told_as, asked, EventBody::Request { request: Box::new(item) });
    mesh.requests.due.notify_one();
    given.map_err(|why| match why {
        Ungiven::Nobody => Failure::nobody(&app, mesh.apps.is_there(&app)),
        Ungiven::Busy => Failure::busy(&format!("{app} has as many requests as it may")),
    })
}

/// Takes in what another node says.
pub(super) fn arrived(mesh: &Arc<Mesh>, live: Live) {
    let requests = &mesh.requests;
    let from = live.from;
    let in_time = match live.said {
        Said::Request { ref content, progress } => {
            request(mesh, &live, content, progress);
            true
        }
        Said::Progress { of, content } => requests.board().note(from, &of, content),
        Said::Reply { of, content } => {
            requests.board().end(from, &of, Ok(Answer { app: live.from_app, content }))
        }
        Said::Refusal { of, refusal } => requests.board().end(from, &of, Err(Failure::Refusal(refusal))),
        Said::Cancel { of } => {
            requests.board().withdraw(from, &of);
            true
        }
    };
    if !in_time {
        requests.counts.late_reply();
    }
}

fn request(mesh: &Arc<Mesh>, live: &Live, content: &Content, progress: bool) {
    let left = live.expires.since(mesh.clock.broker_now()).min(limits::ANSWER_MAX);
    let deadline = Instant::now() + left;
    let back = Back { app: live.to_app.clone(), from_app: live.from_app.clone(), deadline };
    let refusal = match live.to_app.clone() {
        None => Refusal {
            why: Why::NoResponder,
            code: None,
            detail: Some("requests are for an app, not for a node".to_owned()),
        },
        Some(app) => {
            let (request, from_app) = (live.id.clone(), live.from_app.clone());
            let asked = Asked { asker: live.from, request, from_app, app, deadline, progress };
            match give(mesh, asked, content) {
                Ok(()) => return,
                Err(refusal) => refusal,
            }
        }
    };
    refuse(mesh, live.from, live.id.clone(), &back, refusal);
}

/// What an answer needs to get back.
struct Back {
    app: Option<waxwing_crypto::Name>,
    from_app: Option<waxwing_crypto::Name>,
    deadline: Instant,
}

impl From<Serving> for Back {
    fn from(serving: Serving) -> Self {
        Self { app: Some(serving.app), from_app: serving.from_app, deadline: serving.deadline }
    }
}

impl Back {
    fn letter(&self, kind: Kind, to: NodeId, content: Content) -> Letter {
        Letter {
            kind,
            to,
            to_node: None,
            to_app: self.from_app.clone(),
            from_app: self.app.clone(),
            progress: false,
            content,
            deadline: self.deadline,
        }
    }
}

/// Tells whoever has asked that there will be no answer.
fn refuse(mesh: &Arc<Mesh>, asker: NodeId, request: ClientMessageId, back: &Back, refusal: Refusal) {
    if asker == mesh.identity.node {
        mesh.requests.board().end(asker, &request, Err(Failure::Refusal(refusal)));
    } else if let Some(content) = in_mail(&refusal, request) {
        post(mesh, back.letter(Kind::Refusal, asker, content));
    }
}

fn in_mail(refusal: &Refusal, of: ClientMessageId) -> Option<Content> {
    let body = refusal.encode().ok()?.into();
    Some(Content { content_type: MSGPACK.to_owned(), body, reply_to: Some(of), ..Content::default() })
}

/// Takes an app's answer to a request that its stream was given, its refusal, or a note on the way.
pub(crate) async fn reply(
    mesh: &Arc<Mesh>,
    caller: &Caller,
    request: ReplyRequest,
) -> Result<(), Box<Problem>> {
    let told_as = request.request.clone();
    let said = said(request)?;
    let unknown = || {
        mesh.requests.counts.late_reply();
        let detail = "it was answered or cancelled, its time is over, or this app was never given it";
        Box::new(Problem::new(ProblemCode::UnknownRequest).detail(detail))
    };
    let may = |serving: &Serving| !caller.bound || caller.app.as_ref() == Some(&serving.app);
    let serving = {
        let mut board = mesh.requests.board();
        let serving = board.served(&told_as).filter(|serving| may(serving)).ok_or_else(unknown)?;
        if let Answering::Progress(_) = said {
            serving.notes += 1;
            if serving.notes > limits::PROGRESS {
                let detail = format!("at most {} notes on the way to an answer", limits::PROGRESS);
                return Err(Problem::new(ProblemCode::Busy).detail(detail).into());
            }
            serving.clone()
        } else {
            board.take(&told_as).ok_or_else(unknown)?
        }
    };
    let ends = !matches!(said, Answering::Progress(_));
    let answered = answer(mesh, &serving, said).await;
    if ends && answered.is_err() {
        // So that it can be answered again.
        mesh.requests.board().put_back(told_as, serving);
    }
    answered
}

/// What an app says, valid.
enum Answering {
    Progress(Content),
    Reply(Content),
    Refusal(Refusal),
}

fn said(request: ReplyRequest) -> Result<Answering, Box<Problem>> {
    let malformed = |detail: &str| Box::new(Problem::new(ProblemCode::Malformed).detail(detail));
    let ReplyRequest { body, body_base64, content_type, meta, error, progress, .. } = request;
    let Some(ReplyError { code, message }) = error else {
        let content = written(Written { body, body_base64, content_type, meta })?;
        return Ok(if progress { Answering::Progress(content) } else { Answering::Reply(content) });
    };
    if progress || body.is_some() || body_base64.is_some() || content_type.is_some() || meta.is_some() {
        return Err(malformed("error takes the place of an answer: give one of them"));
    }
    let is_word = |code: &String| {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        (1..=Refusal::CODE).contains(&code.len()) && code.bytes().all(letters)
    };
    if !code.as_ref().is_none_or(is_word) {
        return Err(malformed("error.code is 1 to 64 of [a-z0-9_-]"));
    }
    if message.as_ref().is_some_and(|message| message.len() > Refusal::DETAIL) {
        return Err(malformed("error.message has at most 4,096 bytes"));
    }
    Ok(Answering::Refusal(Refusal { why: Why::Refused, code, detail: message }))
}

/// Takes it to whoever has asked. When this returns, he has it, or it is in the outbox.
async fn answer(mesh: &Arc<Mesh>, serving: &Serving, said: Answering) -> Result<(), Box<Problem>> {
    let (asker, of) = (serving.asker, serving.request.clone());
    if asker == mesh.identity.node {
        let mut board = mesh.requests.board();
        let in_time = match said {
            Answering::Progress(content) => board.note(asker, &of, content),
            Answering::Reply(content) => {
                board.end(asker, &of, Ok(Answer { app: Some(serving.app.clone()), content }))
            }
            Answering::Refusal(refusal) => board.end(asker, &of, Err(Failure::Refusal(refusal))),
        };
        if !in_time {
            mesh.requests.counts.late_reply();
        }
        return Ok(());
    }
    let reply_to = Some(of.clone());
    let (kind, content) = match said {
        // Nobody looks at it.
        Answering::Progress(_) if !serving.progress => return Ok(()),
        Answering::Progress(content) => (Kind::Progress, Content { reply_to, ..content }),
        Answering::Reply(content) => (Kind::Reply, Content { reply_to, ..content }),
        Answering::Refusal(refusal) => {
            let content = in_mail(&refusal, of).ok_or_else(|| Problem::new(ProblemCode::Internal))?;
            (Kind::Refusal, content)
        }
    };
    let back = Back::from(serving.clone());
    back.letter(kind, asker, content).post(mesh, ids::fresh()).await
}
