//! What this node says of whoever is at it.

use axum::Json as Answer;
use axum::extract::State;
use waxwing_protocol::api::{MeshQuery, OwnProfile, ProfileRequest};
use waxwing_protocol::limits;

use super::Api;
use super::problem::Refused;
use super::request::{Json, Query};
use super::texts::{capabilities, line, lines};
use crate::mesh::Mesh;
use crate::presence::Own;

/// `GET /v1/profile`
pub(super) async fn get(
    State(api): State<Api>,
    Query(query): Query<MeshQuery>,
) -> Result<Answer<OwnProfile>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    Ok(Answer(show(mesh, mesh.presence.profile())))
}

/// `POST /v1/profile`
pub(super) async fn set(
    State(api): State<Api>,
    Json(request): Json<ProfileRequest>,
) -> Result<Answer<OwnProfile>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    lines("summary", request.summary.as_ref(), limits::SUMMARY)?;
    line("avatar", request.avatar.as_ref(), limits::SUMMARY)?;
    line("title", request.title.as_ref(), limits::TITLE)?;
    lines("bio", request.bio.as_ref(), limits::BIO)?;
    capabilities(request.capabilities.as_ref())?;
    let own = mesh.set_profile(&request).await?;
    Ok(Answer(show(mesh, own)))
}

fn show(mesh: &Mesh, own: Own) -> OwnProfile {
    OwnProfile { mesh: mesh.name.clone(), visible: own.visible, profile: own.profile }
}
