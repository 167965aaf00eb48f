//! Members as the node sees them.

use waxwing_protocol::api;

use crate::Client;
use crate::error::Result;

impl Client {
    /// The members of a mesh, and who of them is there.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn peers(&self, query: &api::MeshQuery) -> Result<api::Peers> {
        self.get("/v1/peers", query).await
    }

    /// Six words that two people compare to see that their nodes mean each other.
    ///
    /// # Errors
    /// `unknown_recipient`.
    pub async fn verify_peer(&self, request: &api::PeerRequest) -> Result<api::VerifyAnswer> {
        self.post("/v1/peers/verify", request).await
    }

    /// Refuses a member's mail from now on: it ends at its sender.
    ///
    /// # Errors
    /// `unknown_recipient`.
    pub async fn block_peer(&self, request: &api::PeerRequest) -> Result<api::PeerAnswer> {
        self.post("/v1/peers/block", request).await
    }

    /// Takes a member's mail again.
    ///
    /// # Errors
    /// `unknown_recipient`.
    pub async fn allow_peer(&self, request: &api::PeerRequest) -> Result<api::PeerAnswer> {
        self.post("/v1/peers/allow", request).await
    }
}
