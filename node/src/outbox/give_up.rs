//! What operators do with a message that does not arrive: give it up, or send it again as a new message.

use waxwing_crypto::ClientMessageId;
use waxwing_crypto::sealing::Kind;
use waxwing_protocol::api::{AbortRequest, MessageState, OutboxAnswer, Problem, ProblemCode, RequeueRequest};
use waxwing_protocol::limits;

use super::write_problem;
use crate::content::Content;
use crate::draft::Draft;
use crate::ids;
use crate::mesh::Mesh;
use crate::store::outbox::{self, Life, NewRow, Which};
use crate::writer::GivenUp;

/// Gives a message up.
pub(crate) async fn abort(mesh: &Mesh, request: &AbortRequest) -> Result<OutboxAnswer, Problem> {
    let life = find(mesh, &request.id).await?;
    give_up(mesh, life, None).await
}

/// Gives a message up and sends it again under a fresh id, with all of its routing.
pub(crate) async fn requeue(mesh: &Mesh, request: RequeueRequest) -> Result<OutboxAnswer, Problem> {
    let life = find(mesh, &request.id).await?;
    let client_id = request.new_client_id.unwrap_or_else(ids::fresh);
    let successor = successor(mesh, &life, client_id, request.body).await?;
    give_up(mesh, life, Some(Box::new(successor))).await
}

async fn find(mesh: &Mesh, id: &str) -> Result<Life, Problem> {
    let id: ClientMessageId = id.parse().map_err(|_| Problem::new(ProblemCode::UnknownMessage))?;
    let life = outbox::life(&mesh.db, Which::Id(&id)).await.map_err(|error| internal(&error))?;
    life.ok_or_else(|| Problem::new(ProblemCode::UnknownMessage))
}

async fn give_up(mesh: &Mesh, life: Life, successor: Option<Box<NewRow>>) -> Result<OutboxAnswer, Problem> {
    let may_arrive =
        life.accepted_at.is_some() || life.doubtful || super::state(mesh, &life) == MessageState::Inflight;
    let requeued_as = successor.as_ref().map(|row| row.client_id.clone());
    match mesh.writer.give_up(life.row, successor).await.map_err(|error| write_problem(&error))? {
        GivenUp::Done => Ok(OutboxAnswer { aborted: life.client_id, may_arrive, requeued_as }),
        GivenUp::WrongState => {
            Err(Problem::new(ProblemCode::WrongState).detail("it is delivered, or was given up before"))
        }
        GivenUp::IdTaken => {
            Err(Problem::new(ProblemCode::IdempotencyKeyReused).detail("another message has the new id"))
        }
    }
}

/// The message that takes another's place: the same but for its id, its times and perhaps its body.
async fn successor(
    mesh: &Mesh,
    life: &Life,
    client_id: ClientMessageId,
    body: Option<String>,
) -> Result<NewRow, Problem> {
    let failed = |error: waxwing_sqlite::Error| internal(&error);
    let sealed = outbox::content(&mesh.db, life.row).await.map_err(failed)?;
    let (lane, wants_read) = outbox::routing(&mesh.db, life.row).await.map_err(failed)?;
    if sealed.is_empty() {
        return Err(Problem::new(ProblemCode::WrongState)
            .detail("its content is no longer kept: send it as a new message"));
    }
    let content = Content::open_outgoing(&mesh.keys, &life.client_id, &sealed);
    let mut content =
        content.map_err(|error| Problem::new(ProblemCode::Internal).detail(error.to_string()))?;
    if let Some(body) = body {
        if body.len() > limits::BODY {
            return Err(Problem::new(ProblemCode::TooLarge).detail("a body may have 256 KiB"));
        }
        content.body = body.into_bytes().into();
    }
    let draft = Draft {
        kind: Kind::Message,
        lane,
        to_node: Some(life.to_node.clone()),
        to_app: life.to_app.clone(),
        from_app: life.from_app.clone(),
        wants_read,
        content,
        ttl: life.expires.since(life.queued_at),
    };
    Ok(draft.into_row(&mesh.keys, client_id, mesh.clock.steady()))
}

fn internal(error: &waxwing_sqlite::Error) -> Problem {
    tracing::error!(%error, "a read failed");
    Problem::new(ProblemCode::Internal)
}
