//! What one app has at a time, in turn with all others of the mesh.

use waxwing_protocol::api;

use crate::Client;
use crate::error::Result;

impl Client {
    /// Who has which lease, and who waits for it.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn leases(&self, query: &api::LeasesQuery) -> Result<api::Leases> {
        self.get("/v1/leases", query).await
    }

    /// Whether a token counts now.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn check_lease(&self, query: &api::CheckQuery) -> Result<api::CheckAnswer> {
        self.get("/v1/leases/check", query).await
    }

    /// Asks for a lease, or for more time on one that this app has. Repeating it is safe.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, api};
    /// # async fn example(node: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let node = node.app("deploy".parse()?);
    /// let asked = api::AcquireRequest {
    ///     name: Some("production".to_owned()),
    ///     wait: Some("30s".to_owned()),
    ///     ..Default::default()
    /// };
    /// let answer = node.acquire_lease(&asked).await?;
    /// if let (api::AcquireState::Acquired, Some(token)) = (answer.state, answer.token) {
    ///     // Whatever is protected is shown the token, and refuses lower ones than it has seen.
    ///     node.release_lease(&api::ReleaseRequest { name: answer.name, token, mesh: None }).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `offline`, `unproven_app`, `outside_root`; `lease_expired` if it stood in line and that was
    /// ended.
    pub async fn acquire_lease(&self, request: &api::AcquireRequest) -> Result<api::AcquireAnswer> {
        self.patient(request.wait.is_some()).post("/v1/leases/acquire", request).await
    }

    /// Asks for more time on a lease that this app has.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `not_holder`, `lease_expired`, `stale_token`, `offline`.
    pub async fn renew_lease(&self, request: &api::RenewRequest) -> Result<api::RenewAnswer> {
        self.post("/v1/leases/renew", request).await
    }

    /// Gives a lease, or a place in line, back.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `not_holder`, `lease_expired`, `stale_token`, `offline`.
    pub async fn release_lease(&self, request: &api::ReleaseRequest) -> Result<api::ReleaseAnswer> {
        self.post("/v1/leases/release", request).await
    }

    /// Takes a lease from whoever has it.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `not_admin` if it is an app's of another node, `offline`.
    pub async fn revoke_lease(&self, request: &api::RevokeLeaseRequest) -> Result<api::RevokedLease> {
        self.post("/v1/leases/revoke", request).await
    }
}
