//! Sending, what becomes of it, and reading.

use waxwing_crypto::ClientMessageId;
use waxwing_protocol::api;

use crate::Client;
use crate::error::Result;

impl Client {
    /// Sends a message. When this returns, it is on the node's disk and survives anything but the disk.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] if the node refused it: nothing was stored. [`crate::Error::Lost`] if no answer came: repeat the
    /// same request with the same `client_message_id`.
    pub async fn send(&self, request: &api::SendRequest) -> Result<api::SendAnswer> {
        self.post("/v1/send", request).await
    }

    /// Sends up to 1,000 messages in one commit. One outcome per item, in the same order.
    ///
    /// # Errors
    /// As for [`Client::send`]; what is wrong with one item is its outcome, not an error.
    pub async fn send_batch(&self, request: &api::BatchRequest) -> Result<api::BatchAnswer> {
        self.post("/v1/send/batch", request).await
    }

    /// What became of a message.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `unknown_message` if this node never accepted one with this id.
    pub async fn status(&self, id: &ClientMessageId, mesh: &api::MeshQuery) -> Result<api::SendStatus> {
        self.get(&format!("/v1/send/{id}"), mesh).await
    }

    /// What became of a message, answered when its state is another than `query.known`, or after `query.wait`.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, api};
    /// # async fn example(node: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let id = "build-4711".parse()?;
    /// let mut query = api::StatusQuery { wait: Some("30s".to_owned()), ..Default::default() };
    /// let mut status = node.status(&id, &api::MeshQuery::default()).await?;
    /// while !status.state.is_end() {
    ///     query.known = Some(status.state);
    ///     status = node.wait_status(&id, &query).await?;
    ///     println!("{id} is {}", status.state.as_str());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Client::status`].
    pub async fn wait_status(
        &self,
        id: &ClientMessageId,
        query: &api::StatusQuery,
    ) -> Result<api::SendStatus> {
        let patient = self.patient(query.wait.is_some());
        patient.get(&format!("/v1/send/{id}"), query).await
    }

    /// A page of the inbox. Reading changes nothing.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, api};
    /// # async fn example(node: Client) -> Result<(), waxwing_client::Error> {
    /// // The next message for `deploy`, if one comes within half a minute.
    /// let query = api::InboxQuery {
    ///     app: Some("deploy".to_owned()),
    ///     unread: true,
    ///     limit: Some(1),
    ///     wait: Some("30s".to_owned()),
    ///     ..Default::default()
    /// };
    /// let next = node.inbox(&query).await?.items.pop();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn inbox(&self, query: &api::InboxQuery) -> Result<api::InboxPage> {
        self.patient(query.wait.is_some()).get("/v1/inbox", query).await
    }

    /// Marks messages read.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn ack(&self, request: &api::AckRequest) -> Result<api::AckAnswer> {
        self.post("/v1/inbox/ack", request).await
    }

    /// Deletes a message from the inbox. It need not have been read; its sender is told nothing.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `unknown_message` if it is not there.
    pub async fn delete(&self, id: u64, mesh: &api::MeshQuery) -> Result<()> {
        self.remove(&format!("/v1/inbox/{id}"), mesh).await
    }
}
