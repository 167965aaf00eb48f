//! Waiting until a message has come as far as the sender wants.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use waxwing_client::api::{MessageState, SendAnswer, SendStatus, StatusQuery, Voucher};
use waxwing_client::{Client, Error as ClientError, Name};

use super::Waited;
use crate::failure::{Failure, Result};
use crate::output::inline;

/// Longest wait asked of the node at once.
const POLL: Duration = Duration::from_secs(30);
/// Between attempts to reach a node that is away.
const AWAY: Duration = Duration::from_millis(100);

/// Where a message was when the waiting ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// None if the node was away all the time.
    status: Option<SendStatus>,
}

/// Waits until a message has come this far, has ended otherwise, or time is up. A node that restarts is waited for.
pub(super) async fn wait(
    client: &Client,
    sent: &SendAnswer,
    mesh: Option<Name>,
    wanted: MessageState,
    timeout: Duration,
) -> Result<Ended> {
    let deadline = Instant::now() + timeout;
    let mut ended = Ended { status: None };
    let mut known = sent.state;
    if has_reached(known, wanted) {
        return Ok(ended);
    }
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let wait = Some(format!("{}ms", left.min(POLL).as_millis()));
        let query = StatusQuery { wait, known: Some(known), mesh: mesh.clone() };
        match client.wait_status(&sent.client_message_id, &query).await {
            Ok(status) => {
                known = status.state;
                ended.status = Some(status);
            }
            Err(ClientError::Lost(_) | ClientError::Unreachable { .. }) => sleep(AWAY.min(left)).await,
            Err(error) => return Err(error.into()),
        }
        if has_reached(known, wanted) || known.is_end() || Instant::now() >= deadline {
            return Ok(ended);
        }
    }
}

fn has_reached(state: MessageState, wanted: MessageState) -> bool {
    state.rung().is_some_and(|rung| Some(rung) >= wanted.rung())
}

impl Ended {
    /// The answer to the send, as it is by now.
    pub(super) fn show(&self, mut sent: SendAnswer, wanted: MessageState) -> Waited {
        let mut reason = None;
        if let Some(status) = &self.status {
            let when =
                |state| status.history.iter().find(|change| change.state == state).map(|change| change.at);
            sent.state = status.state;
            sent.broker_message_id = status.broker_message_id;
            sent.delivered_at = when(MessageState::Delivered);
            sent.read_at = when(MessageState::Read);
            reason = status.reason.clone();
        }
        let reached = has_reached(sent.state, wanted);
        Waited { sent, reason, waited_for: wanted, reached }
    }

    /// Why that was not reached.
    pub(super) fn failure(&self, sent: &SendAnswer, wanted: MessageState, timeout: Duration) -> Failure {
        let (id, is, wanted) = (&sent.client_message_id, sent.state.as_str(), wanted.as_str());
        let trace = format!("`waxwing trace {id}` shows what becomes of it");
        let Some(status) = &self.status else {
            let message = format!("{id} was {is}, and since then the node is away");
            return Failure::not_reached(message).hint(trace);
        };
        if !status.state.is_end() {
            let timeout = humantime::format_duration(timeout);
            return Failure::not_reached(format!("{id} is {is} after {timeout}, not {wanted}")).hint(trace);
        }
        let reason =
            status.reason.as_deref().map(|reason| format!(": {}", inline(reason))).unwrap_or_default();
        let by = match status.history.iter().find(|change| change.state == status.state).map(|end| end.by) {
            Some(Voucher::Broker) => " (so the broker says)",
            Some(Voucher::Recipient) => " (so the recipient says)",
            Some(Voucher::Node) | None => "",
        };
        Failure::not_reached(format!("{id} is {is}{reason}{by}"))
            .hint(format!("`waxwing node outbox requeue {id}` sends it again, as a new message"))
    }
}
