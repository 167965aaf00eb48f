//! Asking an app and waiting for its answer; answering what others ask.

mod asked;
mod serve;

use std::time::Duration;

use hyper::Method;
use waxwing_protocol::{api, limits};

use crate::Client;
use crate::error::Result;

pub use self::asked::{Asked, Step};
pub use self::serve::{Asks, Reply, Requests};

/// How much longer than the node the client waits for the node's word.
const BEYOND: Duration = Duration::from_secs(10);

impl Client {
    /// Asks whoever serves an app, and waits for the answer. Whoever drops this waits no more, and the other side is told.
    ///
    /// ```no_run
    /// # use waxwing_client::{Client, api};
    /// # async fn example(node: Client) -> Result<(), waxwing_client::Error> {
    /// let request = api::CallRequest {
    ///     to: "reviewer@lab".to_owned(),
    ///     body: Some("have a look at #4711".to_owned()),
    ///     timeout: Some("2m".to_owned()),
    ///     ..Default::default()
    /// };
    /// let answer = node.ask(&request).await?;
    /// println!("{}", answer.body.as_deref().unwrap_or("(not text)"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `no_responder`, `peer_offline`, `refused`, `peer_gone`, `timeout`, `cancelled`,
    /// `responder_busy` or `undeliverable`. With `peer_gone` and `timeout` it may have been done all the same.
    pub async fn ask(&self, request: &api::CallRequest) -> Result<api::CallAnswer> {
        self.waiting_for(request).post("/v1/request", request).await
    }

    /// Ends a request of this app that is under way, by the `id` that it was made with.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `unknown_request` if there is none.
    pub async fn cancel(&self, request: &api::CancelRequest) -> Result<()> {
        self.tell(Method::POST, "/v1/request/cancel", request).await
    }

    /// Answers a request that a stream of this app was given, refuses it, or tells how it goes.
    ///
    /// # Errors
    /// [`crate::Error::Problem`] with `unknown_request` if nobody waits for it any more.
    pub async fn reply(&self, reply: &api::ReplyRequest) -> Result<()> {
        self.tell(Method::POST, "/v1/reply", reply).await
    }

    /// The same client, as patient as a request is.
    fn waiting_for(&self, request: &api::CallRequest) -> Self {
        let asked = request.timeout.as_deref().map(humantime::parse_duration);
        // What the node would refuse is not waited for.
        let timeout = asked.map_or(limits::ANSWER_WITHIN, std::result::Result::unwrap_or_default);
        self.clone().timeout(self.timeout.max(timeout.min(limits::ANSWER_MAX) + BEYOND))
    }
}
