//! What operators ask of a node: how it does, and about its own messages.

use bytes::Bytes;
use hyper::Method;
use waxwing_protocol::api;

use crate::call::refused;
use crate::error::{Error, Result};
use crate::{Client, ClientMessageId};

impl Client {
    /// The node's version.
    ///
    /// # Errors
    /// [`crate::Error::Incompatible`] if the node speaks another version of the local API than this client.
    pub async fn version(&self) -> Result<api::Version> {
        let version: api::Version = self.get("/v1/version", &()).await?;
        if version.api == api::API_VERSION {
            Ok(version)
        } else {
            Err(Error::Incompatible(format!(
                "the node speaks version {} of the local API, this client version {}",
                version.api,
                api::API_VERSION
            )))
        }
    }

    /// Whether the node can do its work, and how each mesh is.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn health(&self) -> Result<api::Health> {
        self.get("/v1/health", &()).await
    }

    /// This API, described as OpenAPI does.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn openapi(&self) -> Result<serde_json::Value> {
        self.get("/v1/openapi.json", &()).await
    }

    /// What the node counts, and how it and its meshes are, in the text that Prometheus reads.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn metrics(&self) -> Result<String> {
        let (status, body) = self.call(&Method::GET, "/v1/metrics", Bytes::new()).await?;
        if !status.is_success() {
            return Err(refused(status, &body));
        }
        String::from_utf8(body.into()).map_err(|err| Error::Incompatible(err.to_string()))
    }

    /// Exactly what the broker holds of one's own message.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `unknown_message`, or `offline` while the broker cannot be asked.
    pub async fn broker_view(&self, id: &ClientMessageId, mesh: &api::MeshQuery) -> Result<api::BrokerView> {
        self.get(&format!("/v1/send/{id}/broker"), mesh).await
    }

    /// A page of the outbox: this node's own messages, oldest first.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn outbox(&self, query: &api::OutboxQuery) -> Result<api::OutboxPage> {
        self.get("/v1/outbox", query).await
    }

    /// Everything about one message of the outbox, its content included.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `unknown_message` if there is no such row.
    pub async fn outbox_row(&self, row: u64, mesh: &api::MeshQuery) -> Result<api::OutboxDetail> {
        self.get(&format!("/v1/outbox/{row}"), mesh).await
    }

    /// Gives a message up and sends it again as a new one.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `wrong_state` if it was delivered, or given up before.
    pub async fn requeue(&self, request: &api::RequeueRequest) -> Result<api::OutboxAnswer> {
        self.post("/v1/outbox/requeue", request).await
    }

    /// Gives a message up.
    ///
    /// # Errors
    /// As for [`Client::requeue`].
    pub async fn abort(&self, request: &api::AbortRequest) -> Result<api::OutboxAnswer> {
        self.post("/v1/outbox/abort", request).await
    }
}
