//! Which meshes this node is in: founded, joined, moved and left while it runs.

use std::path::PathBuf;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use waxwing_crypto::membership::InviteToken;
use waxwing_crypto::{CreationToken, Name};
use waxwing_protocol::BrokerUrl;
use waxwing_protocol::api::{
    BrokerAnswer, BrokerRequest, CreateAnswer, CreateRequest, JoinAnswer, JoinRequest, LeaveAnswer,
    LeaveRequest, Problem, ProblemCode, RotateAnswer, RotateRequest,
};

use super::Api;
use super::problem::Refused;
use super::request::Json;
use crate::error::{Error, Result};
use crate::link::dial::check_url;
use crate::meshes::Changing;
use crate::{accept_host, enroll, leave, move_broker};

/// How long it is waited for that new keys stand in the log. That takes two round trips and a commit.
const IN_LOG_WITHIN: Duration = Duration::from_secs(10);

/// `POST /v1/mesh/join`
pub(super) async fn join(
    State(api): State<Api>,
    Json(request): Json<JoinRequest>,
) -> Result<Answer<JoinAnswer>, Refused> {
    let JoinRequest { token, node, plaintext } = request;
    let token: InviteToken = token.parse().map_err(Error::Token)?;
    let join = enroll::Join { node, plaintext };
    let joined = api.meshes.change(|changing| enter(changing, token, join)).await?;
    let enroll::Joined { mesh, node, node_id, broker } = joined;
    Ok(Answer(JoinAnswer { mesh, node, node_id, broker }))
}

async fn enter(changing: Changing, token: InviteToken, join: enroll::Join) -> Result<enroll::Joined> {
    let joined = enroll::join_on(changing.home(), changing.config(), &token, join).await?;
    changing.open(&joined.mesh).await?;
    Ok(joined)
}

/// `POST /v1/mesh/create`
pub(super) async fn create(
    State(api): State<Api>,
    Json(request): Json<CreateRequest>,
) -> Result<Answer<CreateAnswer>, Refused> {
    let CreateRequest { name, broker, node, creation_token, plaintext } = request;
    let creation = creation_token.as_deref().map(str::parse::<CreationToken>).transpose();
    let creation =
        creation.map_err(|_| Problem::new(ProblemCode::Malformed).detail("this is no creation token"))?;
    let create = enroll::Create { mesh: name, broker, plaintext, creation, node };
    let created = api.meshes.change(|changing| found(changing, create)).await?;
    let enroll::Created { mesh, node, node_id, recovery_words } = created;
    Ok(Answer(CreateAnswer { mesh, node, node_id, recovery_words: recovery_words.reveal().to_owned() }))
}

async fn found(changing: Changing, create: enroll::Create) -> Result<enroll::Created> {
    let created = enroll::create_on(changing.home(), changing.config(), create).await?;
    changing.open(&created.mesh).await?;
    Ok(created)
}

/// `POST /v1/mesh/broker`
pub(super) async fn broker(
    State(api): State<Api>,
    Json(request): Json<BrokerRequest>,
) -> Result<Answer<BrokerAnswer>, Refused> {
    let BrokerRequest { url, plaintext, mesh } = request;
    let after = check_url(&url, plaintext)?;
    let mesh = api.name(mesh.as_ref())?;
    let move_broker::Moved { mesh, before, after } =
        api.meshes.change(|changing| dial(changing, mesh, after)).await?;
    Ok(Answer(BrokerAnswer { mesh, before, broker: after.to_string() }))
}

async fn dial(changing: Changing, mesh: Name, after: BrokerUrl) -> Result<move_broker::Moved> {
    let work = |folder| move_broker::dial_at(folder, mesh.clone(), after);
    changing.reopen_with(&mesh, "its broker is moving", work).await
}

/// `POST /v1/mesh/leave`
pub(super) async fn leave(
    State(api): State<Api>,
    Json(request): Json<LeaveRequest>,
) -> Result<Answer<LeaveAnswer>, Refused> {
    let mesh = api.name(request.mesh.as_ref())?;
    let left = api.meshes.change(|changing| leave::leave(changing, mesh)).await?;
    let leave::Left { mesh, node, node_id, unread, undelivered } = left;
    Ok(Answer(LeaveAnswer { mesh, node, node_id, unread, undelivered }))
}

/// `POST /v1/mesh/rotate-keys`
pub(super) async fn rotate_keys(
    State(api): State<Api>,
    Json(request): Json<RotateRequest>,
) -> Result<Answer<RotateAnswer>, Refused> {
    let mesh = api.name(request.mesh.as_ref())?;
    let name = mesh.clone();
    api.meshes.change(|changing| renew(changing, name)).await?;
    let in_log = api.mesh(Some(&mesh))?.until_keys_in_log(IN_LOG_WITHIN).await;
    Ok(Answer(RotateAnswer { mesh, in_log }))
}

async fn renew(changing: Changing, mesh: Name) -> Result<()> {
    let work = async |folder: PathBuf| accept_host::renew(&folder).await.map(|_| ());
    changing.reopen_with(&mesh, "its keys are changing", work).await
}
