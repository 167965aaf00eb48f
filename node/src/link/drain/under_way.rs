//! What a link has handed over and has had no receipt for: what is asked of each when one comes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use waxwing_crypto::WireId;
use waxwing_crypto::sealing::CounterRange;

use crate::store::outbox::Sent;

/// Messages remembered. The rest are looked up.
const MOST: usize = 8_192;

/// Messages that are under way on a link.
#[derive(Debug, Default)]
pub(in crate::link) struct UnderWay(Mutex<Messages>);

#[derive(Debug, Default)]
struct Messages {
    sent: HashMap<WireId, Sent>,
    /// Which counters that never come each told its recipient of.
    told: HashMap<WireId, Vec<CounterRange>>,
}

impl UnderWay {
    /// Notes a message that is handed over, and what it tells of.
    pub(super) fn note(&self, sent: Sent, void: &[CounterRange]) {
        let mut messages = self.lock();
        if !void.is_empty() {
            messages.told.insert(sent.wire_id, void.to_vec());
        }
        if messages.sent.len() < MOST || messages.sent.contains_key(&sent.wire_id) {
            messages.sent.insert(sent.wire_id, sent);
        }
    }

    /// A message that was handed over, if it is remembered.
    pub(in crate::link) fn get(&self, id: &WireId) -> Option<Sent> {
        self.lock().sent.get(id).cloned()
    }

    /// Forgets a message that has been received. Says which counters it told of.
    pub(in crate::link) fn take(&self, id: &WireId) -> Option<Vec<CounterRange>> {
        let mut messages = self.lock();
        messages.sent.remove(id);
        messages.told.remove(id)
    }

    fn lock(&self) -> MutexGuard<'_, Messages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
