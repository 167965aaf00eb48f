//! Tokens for apps that reach the node over TCP.

use waxwing_protocol::api;

use crate::error::Result;
use crate::{Client, Name};

impl Client {
    /// Makes a token. The answer has it; the node does not, and cannot say it again.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, api};
    /// # async fn example(node: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = api::TokenRequest {
    ///     name: "ci".parse()?,
    ///     scope: api::TokenScope::Send,
    ///     app: Some("build".parse()?),
    /// };
    /// let token = node.create_token(&request).await?.token;
    /// let build = Client::tcp("127.0.0.1:7980".parse()?, token.parse()?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `conflict` if the name is taken, `usage` for one that may do everything as one app.
    pub async fn create_token(&self, request: &api::TokenRequest) -> Result<api::TokenAnswer> {
        self.post("/v1/tokens", request).await
    }

    /// The tokens that let somebody in.
    ///
    /// # Errors
    /// See [`crate::Error`].
    pub async fn tokens(&self) -> Result<api::Tokens> {
        self.get("/v1/tokens", &()).await
    }

    /// Ends a token: whoever has it is let in no more, and what goes on by it ends.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `not_found` if there is none of this name.
    pub async fn revoke_token(&self, name: &Name) -> Result<()> {
        self.remove(&format!("/v1/tokens/{name}"), &()).await
    }
}
