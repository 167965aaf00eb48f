//! How a mesh's link is, for whoever asks.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tracing::debug;
use waxwing_protocol::api::{EventBody, Link, LinkState, Stop};

use super::Mesh;
use crate::clock::{self, Boot};
use crate::error::Error;
use crate::link::Calls;

impl Mesh {
    pub(crate) fn link(&self) -> Link {
        self.link.borrow().clone()
    }

    /// Requests to the broker, if the link is up.
    pub(crate) fn calls(&self) -> Option<Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_calls(&self, calls: Option<Calls>) {
        if calls.is_some() {
            self.leases.hears_again(self);
            self.claims.hears_again(self);
        }
        let mut held = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = held.take() {
            self.heard.fetch_max(before.answered(), Ordering::Relaxed);
        }
        *held = calls;
    }

    /// When the last frame was sent that the broker has answered: it has heard of this node since. None if there was none.
    pub(crate) fn heard(&self) -> Option<Boot> {
        let now = self.calls().map_or(0, |calls| calls.answered());
        Some(now.max(self.heard.load(Ordering::Relaxed))).filter(|at| *at > 0).map(Boot::from_millis)
    }

    /// The link, as it changes.
    pub(crate) fn watch_link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    /// Notes what the link is now, and tells apps when that has changed.
    pub(crate) async fn set_link(&self, state: LinkState, reason: Option<String>) {
        self.show_link(state, reason, None).await;
    }

    /// Notes that the link was refused for good.
    pub(super) async fn stop_link(&self, refused: &Error) {
        let stop = Stop { code: refused.code().to_owned(), exit: refused.exit_code(), hint: refused.hint() };
        self.show_link(LinkState::Stopped, Some(refused.to_string()), Some(stop)).await;
    }

    async fn show_link(&self, state: LinkState, reason: Option<String>, stop: Option<Stop>) {
        let changed = self.link.send_if_modified(|link| {
            let changed = link.state != state;
            if changed {
                link.since = clock::now();
            }
            link.state = state;
            link.reason.clone_from(&reason);
            link.stop = stop;
            changed
        });
        if changed && let Err(error) = self.writer.tell_all(EventBody::BrokerStatus { state, reason }).await {
            debug!(%error, "apps are not told of the link");
        }
    }

    /// Notes how long the broker remembers what it has accepted.
    pub(crate) fn set_broker_dedupe(&self, millis: u64) {
        self.broker_dedupe.store(millis, Ordering::Relaxed);
    }

    /// How long the broker remembers what it has accepted, once it has said so.
    pub(crate) fn broker_dedupe(&self) -> Option<Duration> {
        let millis = self.broker_dedupe.load(Ordering::Relaxed);
        (millis > 0).then(|| Duration::from_millis(millis))
    }
}
