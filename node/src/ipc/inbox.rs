//! Reading. Listing changes nothing; only an acknowledgement marks read.

use axum::Json as Answer;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use waxwing_crypto::Name;
use waxwing_protocol::api::{
    AckAnswer, AckRequest, InboxItem, InboxPage, InboxQuery, MeshQuery, Problem, ProblemCode,
};
use waxwing_protocol::limits;

use super::Api;
use super::problem::Refused;
use super::request::{From, Json, Query, place};
use super::wait::Wait;
use crate::content::Content;
use crate::mesh::Mesh;
use crate::outbox::Caller;
use crate::store::inbox::{self, Acknowledged, Filter, Item};

/// Messages in an answer, unless asked otherwise.
const LIMIT: usize = 100;
/// Every mailbox.
const ALL: &str = "*";

/// `GET /v1/inbox`
pub(super) async fn list(
    State(api): State<Api>,
    From(caller): From,
    Query(query): Query<InboxQuery>,
) -> Result<Answer<InboxPage>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let limit = query.limit.unwrap_or(LIMIT);
    if limit == 0 || limit > limits::INBOX_PAGE {
        return Err(Problem::new(ProblemCode::Malformed).detail("limit must be 1 to 1000").into());
    }
    let from = match &query.from {
        None => None,
        Some(name) => Some(sender(mesh, name)?),
    };
    let after = place(query.after)?;
    let app = mailbox(query.app.as_deref(), &caller)?;
    let filter = Filter { after, app, from, thread: query.thread, unread: query.unread, limit };
    let mut wait = Wait::new(mesh, query.wait.as_deref(), mesh.signals.shown())?;
    loop {
        let page = page(mesh, &filter).await?;
        if !page.items.is_empty() || !wait.again().await {
            return Ok(Answer(page));
        }
    }
}

/// One page, as long as asked for, or as large as an answer may be.
async fn page(mesh: &Mesh, filter: &Filter) -> Result<InboxPage, Refused> {
    let mut items = Vec::new();
    let mut bytes = 0;
    for item in inbox::list(&mesh.db, filter).await? {
        bytes += item.content.len();
        if bytes > limits::INBOX_PAGE_BYTES && !items.is_empty() {
            break;
        }
        items.push(show(mesh, item.open(&mesh.keys)?)?);
    }
    let next = items.last().map_or(filter.after, |item| item.id);
    Ok(InboxPage { items, next })
}

/// `POST /v1/inbox/ack`
pub(super) async fn acknowledge(
    State(api): State<Api>,
    From(caller): From,
    Json(request): Json<AckRequest>,
) -> Result<Answer<AckAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let (which, app) = match (request.ids, request.through) {
        (Some(ids), None) if ids.len() <= limits::INBOX_PAGE => (Acknowledged::These(ids), own(&caller)),
        (Some(_), None) => {
            return Err(Problem::new(ProblemCode::TooLarge).detail("at most 1,000 ids at once").into());
        }
        (None, Some(through)) => (Acknowledged::Through(through), mailbox(request.app.as_deref(), &caller)?),
        (None, None) | (Some(_), Some(_)) => {
            return Err(Problem::new(ProblemCode::Malformed).detail("give ids or through").into());
        }
    };
    let acknowledged = mesh.writer.read(which, app, mesh.clock.steady()).await?;
    Ok(Answer(AckAnswer { acknowledged }))
}

/// `DELETE /v1/inbox/{id}`
pub(super) async fn delete(
    State(api): State<Api>,
    From(caller): From,
    Path(id): Path<String>,
    Query(query): Query<MeshQuery>,
) -> Result<StatusCode, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let unknown = || Refused::from(Problem::new(ProblemCode::UnknownMessage));
    let id = id.parse().map_err(|_| unknown())?;
    if mesh.writer.delete(id, own(&caller)).await? { Ok(StatusCode::NO_CONTENT) } else { Err(unknown()) }
}

/// The only mailbox that the caller has to do with. None for all.
fn own(caller: &Caller) -> Option<String> {
    caller.app.as_ref().filter(|_| caller.bound).map(|app| app.as_str().to_owned())
}

/// The mailbox meant: the one asked for, the caller's own, or the default one. None for all.
pub(super) fn mailbox(asked: Option<&str>, caller: &Caller) -> Result<Option<String>, Refused> {
    let app = caller.app.as_ref();
    if let Some(other) = asked.filter(|asked| caller.bound && Some(*asked) != app.map(Name::as_str)) {
        return Err(caller.cannot_be(&format!("`{}`", other.escape_debug())).into());
    }
    match asked {
        Some(ALL) => Ok(None),
        Some("") => Ok(Some(String::new())),
        Some(app) => {
            let name: Result<Name, _> = app.parse();
            let name = name.map_err(|_| Problem::new(ProblemCode::Malformed).detail("app is no name"))?;
            Ok(Some(name.as_str().to_owned()))
        }
        None => Ok(Some(app.map_or("", Name::as_str).to_owned())),
    }
}

/// A node that is a member, or was.
fn sender(mesh: &Mesh, name: &Name) -> Result<waxwing_crypto::NodeId, Refused> {
    let found = mesh.roster(|roster| {
        roster.by_name(name).or_else(|| roster.former_by_name(name)).map(|member| member.id)
    });
    found.ok_or_else(|| {
        let detail = format!("nobody called {name} is or was in {}", mesh.name);
        Problem::new(ProblemCode::UnknownRecipient).detail(detail).into()
    })
}

/// A message as apps see it.
pub(super) fn show(mesh: &Mesh, item: Item<Content>) -> Result<InboxItem, Refused> {
    let content = item.content;
    let from = mesh.roster(|roster| roster.former(&item.sender).map(|member| member.name.clone()));
    let from = from.ok_or_else(|| Problem::new(ProblemCode::Internal).detail("a sender is in no log"))?;
    let (body, body_base64) = content.shown_body();
    let meta = content.shown_meta();
    Ok(InboxItem {
        id: item.cursor,
        from,
        from_node: item.sender,
        from_app: item.from_app,
        app: item.to_app,
        client_message_id: item.client_id,
        content_type: content.content_type,
        body,
        body_base64,
        meta,
        reply_to: content.reply_to,
        thread: item.thread,
        priority: item.priority,
        sent_at: item.sent_at,
        received_at: item.received_at,
        read_at: item.read_at,
        late: item.late,
    })
}
