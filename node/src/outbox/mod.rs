//! Accepting a send: validate, resolve, fingerprint, encrypt, and hand to the writer; then say what happened.
//!
//! A refusal writes nothing and does not consume the id.

mod give_up;
mod status;
mod written;

use std::time::Duration;

use waxwing_crypto::membership::Standing;
use waxwing_crypto::sealing::Kind;
use waxwing_crypto::{ClientMessageId, Fingerprint, Name, NodeId};
use waxwing_protocol::api::{MessageState, Problem, ProblemCode, ReceiptWanted, SendAnswer, SendRequest};
use waxwing_protocol::{Address, limits};

pub(crate) use self::give_up::{abort, requeue};
pub(crate) use self::status::{show, state, status};
pub(crate) use self::written::{Written, written};
use crate::content::{Content, is_thread};
use crate::draft::Draft;
use crate::ids;
use crate::mesh::Mesh;
use crate::store::OutLane;
use crate::store::outbox::{Known, NewRow, State};
use crate::writer::{Acceptance, WriteError};

/// What a request's headers add to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// The app that calls.
    pub(crate) app: Option<Name>,
    /// It can be no other.
    pub(crate) bound: bool,
    /// The id that the caller wants bound.
    pub(crate) id: Option<ClientMessageId>,
}

impl Caller {
    /// The app that a request names, or the caller's own: unless it is one that he cannot be.
    pub(crate) fn speaks_as(&self, named: Option<Name>) -> Result<Option<Name>, Box<Problem>> {
        match named {
            Some(named) if self.bound && self.app.as_ref() != Some(&named) => Err(self.cannot_be(&named)),
            Some(named) => Ok(Some(named)),
            None => Ok(self.app.clone()),
        }
    }

    /// A caller who is one app asks for what is not that app's.
    pub(crate) fn cannot_be(&self, other: &dyn std::fmt::Display) -> Box<Problem> {
        let own = self.app.as_ref().map_or("", Name::as_str);
        Box::new(Problem::new(ProblemCode::OtherApp).detail(format!("it is for {own}, not for {other}")))
    }
}

/// Accepts sends as one commit. One outcome per request, in the same order.
pub(crate) async fn accept(
    mesh: &Mesh,
    requests: Vec<(SendRequest, Caller)>,
) -> Vec<Result<SendAnswer, Problem>> {
    let mut outcomes: Vec<Option<Result<SendAnswer, Problem>>> = Vec::with_capacity(requests.len());
    let mut rows = Vec::with_capacity(requests.len());
    for (request, caller) in requests {
        match prepare(mesh, request, caller) {
            Ok(row) => {
                rows.push(row);
                outcomes.push(None);
            }
            Err(problem) => outcomes.push(Some(Err(*problem))),
        }
    }
    let ids: Vec<ClientMessageId> = rows.iter().map(|row| row.client_id.clone()).collect();
    let mut accepted = if rows.is_empty() {
        Vec::new().into_iter()
    } else {
        match mesh.writer.accept(rows).await {
            Ok(accepted) => {
                accepted.into_iter().zip(ids).map(|(a, id)| answer(mesh, &id, a)).collect::<Vec<_>>()
            }
            Err(error) => ids.iter().map(|_| Err(write_problem(&error))).collect(),
        }
        .into_iter()
    };
    let lost = || Err(Problem::new(ProblemCode::Internal));
    outcomes.into_iter().map(|outcome| outcome.or_else(|| accepted.next()).unwrap_or_else(lost)).collect()
}

/// A valid request as a row, its place not decided.
fn prepare(mesh: &Mesh, request: SendRequest, caller: Caller) -> Result<NewRow, Box<Problem>> {
    let from_app = caller.speaks_as(request.from_app.clone())?;
    let client_id = client_id(request.client_message_id.clone(), caller.id)?;
    let address: Address = request.to.parse().map_err(|_| {
        malformed(format!("`{}` is no address: write node or app@node", request.to.escape_debug()))
    })?;
    let recipient = resolve(mesh, &address.node)?;
    let ttl = ttl(request.ttl.as_deref())?;
    if request.thread.as_deref().is_some_and(|thread| !is_thread(thread)) {
        return Err(malformed("thread must be 1 to 128 bytes"));
    }
    let SendRequest { body, body_base64, content_type, meta, .. } = request;
    let content = written(Written { body, body_base64, content_type, meta })?;
    let content = Content { reply_to: request.reply_to, thread: request.thread, ..content };
    let draft = Draft {
        kind: Kind::Message,
        lane: OutLane { priority: request.priority.unwrap_or_default(), recipient },
        to_node: Some(address.node),
        to_app: address.app,
        from_app,
        wants_read: request.receipt == Some(ReceiptWanted::Read),
        content,
        ttl,
    };
    Ok(draft.into_row(&mesh.keys, client_id, mesh.clock.steady()))
}

/// The id that a request names, in its field or its header; a new one if it names none.
pub(crate) fn client_id(
    field: Option<ClientMessageId>,
    header: Option<ClientMessageId>,
) -> Result<ClientMessageId, Box<Problem>> {
    match (header, field) {
        (Some(header), Some(field)) if header != field => {
            Err(malformed("the Idempotency-Key header and client_message_id are different"))
        }
        (Some(id), _) | (None, Some(id)) => Ok(id),
        (None, None) => Ok(ids::fresh()),
    }
}

/// The member of this name, by the verified roster.
pub(crate) fn resolve(mesh: &Mesh, name: &Name) -> Result<NodeId, Box<Problem>> {
    mesh.roster(|roster| {
        if let Some(member) = roster.by_name(name) {
            return Ok(member.id);
        }
        if let Some(former) = former(roster, name) {
            let detail = format!("{name} {former}");
            return Err(Box::new(Problem::new(ProblemCode::RevokedRecipient).detail(detail)));
        }
        let near: Vec<String> = roster.names_like(name.as_str()).iter().map(ToString::to_string).collect();
        let mut problem = Problem::new(ProblemCode::UnknownRecipient).detail(match near.first() {
            Some(near) => {
                format!("no member of {} is called {}; did you mean {near}?", mesh.name, name)
            }
            None => {
                format!("no member of {} is called {}; `waxwing peers` lists them", mesh.name, name)
            }
        });
        problem.near = near;
        Err(Box::new(problem))
    })
}

/// What became of the last member of this name, if it is none any more.
fn former(roster: &waxwing_crypto::membership::Roster, name: &Name) -> Option<&'static str> {
    let former = roster.former_by_name(name)?;
    match former.standing {
        Standing::Revoked => Some("was revoked"),
        Standing::Left => Some("has left the mesh"),
        Standing::Live | Standing::Unknown => None,
    }
}

fn ttl(text: Option<&str>) -> Result<Duration, Box<Problem>> {
    let Some(text) = text else {
        return Ok(limits::TTL_DEFAULT);
    };
    let ttl = humantime::parse_duration(text)
        .map_err(|error| malformed(format!("ttl `{}`: {error}; write 30s or 7d", text.escape_debug())))?;
    if ttl < limits::TTL_MIN {
        return Err(malformed("ttl must be at least 1s"));
    }
    if ttl > limits::TTL_MAX {
        return Err(Box::new(Problem::new(ProblemCode::TtlTooLong).detail("at most 30 days")));
    }
    Ok(ttl)
}

fn malformed(detail: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::new(ProblemCode::Malformed).detail(detail))
}

/// A write that failed, as the caller sees it.
pub(crate) fn write_problem(error: &WriteError) -> Problem {
    match error {
        WriteError::DiskFull => {
            Problem::new(ProblemCode::DiskFull).detail("nothing was stored; free some space and send again")
        }
        WriteError::Failed(_) => {
            Problem::new(ProblemCode::Internal).detail("the database failed; the log has more")
        }
    }
}

/// The accept table: what a caller is told of an id that is free, or taken.
fn answer(mesh: &Mesh, id: &ClientMessageId, acceptance: Acceptance) -> Result<SendAnswer, Problem> {
    let answer = |state, duplicate, known: Option<&Known>| SendAnswer {
        client_message_id: id.clone(),
        state,
        link: mesh.link().state,
        duplicate,
        broker_message_id: known.and_then(|known| known.message_id),
        delivered_at: known.and_then(|known| known.delivered_at),
        read_at: known.and_then(|known| known.read_at),
    };
    match acceptance {
        Acceptance::New => Ok(answer(MessageState::Queued, false, None)),
        Acceptance::Same(known) => match known.state {
            State::Pending if mesh.signals.is_inflight(known.row) => {
                Ok(answer(MessageState::Inflight, true, Some(&known)))
            }
            State::Pending => Ok(answer(MessageState::Queued, true, Some(&known))),
            State::Done if known.read_at.is_some() => Ok(answer(MessageState::Read, true, Some(&known))),
            State::Done if known.delivered_at.is_some() => {
                Ok(answer(MessageState::Delivered, true, Some(&known)))
            }
            State::Done => Ok(answer(MessageState::Accepted, true, Some(&known))),
            State::Dead => Err(conflict("outbox_dead_fingerprint_match", &known)),
            State::Aborted => Err(conflict("outbox_aborted_fingerprint_match", &known)),
        },
        Acceptance::Different(known) => Err(conflict(
            match known.state {
                State::Pending if mesh.signals.is_inflight(known.row) => {
                    "outbox_inflight_fingerprint_mismatch"
                }
                State::Pending => "outbox_pending_fingerprint_mismatch",
                State::Done => "outbox_done_fingerprint_mismatch",
                State::Dead => "outbox_dead_fingerprint_mismatch",
                State::Aborted => "outbox_aborted_fingerprint_mismatch",
            },
            &known,
        )),
        Acceptance::Full => Err(Problem::new(ProblemCode::OutboxFull)
            .detail("too much waits for delivery: see `waxwing node status`, and send again later")),
    }
}

fn conflict(conflict: &str, known: &Known) -> Problem {
    let mut problem = Problem::new(ProblemCode::IdempotencyKeyReused).detail(match known.state {
        State::Dead | State::Aborted => "the message with this id has ended: send it again under a new id",
        State::Pending | State::Done => "another message has this id: choose a new one",
    });
    problem.conflict = Some(conflict.to_owned());
    problem.fingerprint = Some(shown(&known.fingerprint));
    problem.reason.clone_from(&known.reason);
    problem.broker_message_id = known.message_id;
    problem
}

/// The first 16 hex digits of a fingerprint.
fn shown(fingerprint: &Fingerprint) -> String {
    let mut digits = fingerprint.to_string();
    digits.truncate(16);
    digits
}
