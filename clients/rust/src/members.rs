//! Whom a mesh's log knows, and how others come in and go.

use waxwing_protocol::api;

use crate::Client;
use crate::error::Result;

impl Client {
    /// The members of a mesh, and if asked for those that are none any more.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn members(&self, query: &api::MembersQuery) -> Result<api::Members> {
        self.get("/v1/members", query).await
    }

    /// The invites that let somebody in at this moment.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn invites(&self, query: &api::MeshQuery) -> Result<api::Invites> {
        self.get("/v1/mesh/invites", query).await
    }

    /// Ends an invite for good. For admins.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `not_admin`; `not_found` if no invite's key begins so, `usage` if those of several do;
    /// `not_now` if it was revoked before; `offline`.
    pub async fn revoke_invite(&self, request: &api::RevokeInviteRequest) -> Result<api::RevokedInvite> {
        self.patient(true).post("/v1/mesh/invite/revoke", request).await
    }

    /// Makes a member an admin by the mesh's recovery words.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `recovery_words` if they are not those of this mesh; `unknown_recipient`; `not_now` if it
    /// is an admin already; `offline`.
    pub async fn recover(&self, request: &api::RecoverRequest) -> Result<api::MemberAnswer> {
        self.patient(true).post("/v1/mesh/recover", request).await
    }

    /// Lets somebody in: a token to hand to `waxwing join`.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `not_admin`, or `offline` while the broker cannot be reached.
    pub async fn invite(&self, request: &api::InviteRequest) -> Result<api::InviteAnswer> {
        self.patient(true).post("/v1/mesh/invite", request).await
    }

    /// Gives a member another role. For admins.
    ///
    /// # Errors
    /// `not_admin`; `unknown_recipient`; `not_now` if it has that role, or is the last admin; `offline`.
    pub async fn grant(&self, request: &api::GrantRequest) -> Result<api::MemberAnswer> {
        self.patient(true).post("/v1/mesh/grant", request).await
    }

    /// Ends a node's membership for good. For admins.
    ///
    /// # Errors
    /// As [`Client::grant`].
    pub async fn revoke(&self, request: &api::RevokeRequest) -> Result<api::MemberAnswer> {
        self.patient(true).post("/v1/mesh/revoke", request).await
    }

    /// Says that the log held by this node is the right one, after the broker has lost its store. For admins.
    ///
    /// # Errors
    /// As [`Client::invite`]; `nothing_to_resume` if the mesh does not wait for it.
    pub async fn resume(&self, request: &api::ResumeRequest) -> Result<api::ResumeAnswer> {
        self.patient(true).post("/v1/mesh/resume", request).await
    }
}
