//! What one of many acts on, once.

use waxwing_protocol::api;

use crate::Client;
use crate::error::Result;

impl Client {
    /// Who has claimed what, and what is done. Asking changes nothing.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn claims(&self, query: &api::ClaimsQuery) -> Result<api::Claims> {
        self.get("/v1/claims", query).await
    }

    /// Asks to be the one who acts on something. Repeating it is safe.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, api};
    /// # async fn example(node: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let node = node.app("fixer".parse()?);
    /// let key = "ci:build-4711:failed".to_owned();
    /// let asked = node.claim(&api::ClaimRequest { key: key.clone(), ..Default::default() }).await?;
    /// if let (api::ClaimState::Claimed, Some(token)) = (asked.state, asked.token) {
    ///     let outcome = Some("the cache was cleared".to_owned());
    ///     node.complete_claim(&api::CompleteRequest { key, token, outcome, mesh: None }).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `offline`, `unproven_app`, `unanswered`.
    pub async fn claim(&self, request: &api::ClaimRequest) -> Result<api::ClaimAnswer> {
        self.patient(request.wait.is_some()).post("/v1/claims/try", request).await
    }

    /// Says that this app has acted on what it has claimed. Repeating it is safe.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `not_holder`, `lease_expired`, `stale_token`, `offline`.
    pub async fn complete_claim(&self, request: &api::CompleteRequest) -> Result<api::CompleteAnswer> {
        self.post("/v1/claims/complete", request).await
    }

    /// Gives up what this app has claimed, so that another can have it.
    ///
    /// # Errors
    /// As [`Client::complete_claim`].
    pub async fn abandon_claim(&self, request: &api::AbandonRequest) -> Result<api::AbandonAnswer> {
        self.post("/v1/claims/abandon", request).await
    }
}
