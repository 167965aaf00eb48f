//! What a transaction brings about beside what it writes: told once it is committed, or never.

use waxwing_crypto::Timestamp;
use waxwing_crypto::sealing::Kind;
use waxwing_protocol::api::{EventBody, MessageState};

use super::WriteError;
use super::handle::Answer;
use crate::metrics::Tally;
use crate::signals::{Happened, Woken};
use crate::store::OutLane;
use crate::store::events::NewEvent;
use crate::store::inbox::Acknowledged;
use crate::store::outbox::Affected;
use crate::tail::Place;

/// What to tell once a transaction has ended: given its outcome.
type Reply = Box<dyn FnOnce(Result<(), &WriteError>) + Send>;

/// What a transaction will have done once it commits.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) replies: Vec<Reply>,
    /// Lanes with something to send.
    pub(super) wake: Vec<(OutLane, Woken)>,
    /// Whether a message has ended that may not have been sent.
    pub(super) ended: bool,
    /// When the first of what is new to send has had its time.
    pub(super) expires: Option<Timestamp>,
    /// Rows that the link no longer holds.
    pub(super) landed: Vec<i64>,
    /// What to tell apps, as part of the transaction.
    pub(super) events: Vec<NewEvent>,
    /// What has a place in the stream by now.
    pub(super) places: Vec<Place>,
    /// Messages that are not any more as they were when they came.
    pub(super) changed: Vec<Acknowledged>,
    /// Up to where events are forgotten.
    pub(super) forgotten: Option<u64>,
    /// What is live, and has come or will not come to its end.
    pub(super) live: Vec<Happened>,
    /// What is counted.
    pub(super) tally: Tally,
}

impl Effects {
    /// Tells everybody.
    pub(super) fn tell_all(&mut self, body: EventBody) {
        self.events.push(NewEvent { app: None, body });
    }

    /// Tells the app that sent a message what became of it; whoever waits for an answer only that there will be none. Read
    /// receipts are nobody's business but this node's.
    pub(super) fn tell_sender(&mut self, message: Affected, state: MessageState, reason: Option<&str>) {
        self.ended |= matches!(state, MessageState::Dead | MessageState::Expired | MessageState::Aborted);
        if message.kind == Kind::Message {
            let (client_message_id, reason) = (message.client_id, reason.map(str::to_owned));
            let body = if matches!(state, MessageState::Delivered | MessageState::Read) {
                EventBody::Receipt { client_message_id, state }
            } else {
                EventBody::Outbox { client_message_id, state, reason }
            };
            self.events.push(NewEvent { app: Some(message.from_app), body });
        } else if message.kind == Kind::Request && state == MessageState::Dead {
            let reason = reason.unwrap_or_default().to_owned();
            self.live.push(Happened::Undeliverable { request: message.client_id, reason });
        }
    }

    /// Answers with this once the transaction has committed, or with the reason why it has not.
    pub(super) fn answer<T: Send + 'static>(
        &mut self,
        answer: Answer<T>,
        result: waxwing_sqlite::Result<T>,
    ) -> waxwing_sqlite::Result<()> {
        // Whoever asked may have gone; what was committed stands.
        match result {
            Ok(value) => {
                self.replies.push(Box::new(move |committed| {
                    let _ = answer.send(committed.map(|()| value).map_err(Clone::clone));
                }));
                Ok(())
            }
            Err(error) => {
                self.fail(answer);
                Err(error)
            }
        }
    }

    /// Answers with the reason why the transaction has failed.
    pub(super) fn fail<T: Send + 'static>(&mut self, answer: Answer<T>) {
        self.replies.push(Box::new(move |committed| {
            if let Err(failure) = committed {
                let _ = answer.send(Err(failure.clone()));
            }
        }));
    }
}
