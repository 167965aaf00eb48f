//! What an honest broker and honest peers would not do, for as long as it lasts: shown in health from its beginning to its
//! end, and told to apps at both.
//!
//! That a peer holds another log may have been put right by the time its message is sealed again. So it is an alarm only
//! the second time, for the same message.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};
use waxwing_crypto::membership::LogHead;
use waxwing_crypto::{NodeId, SessionId, Timestamp, WireId};
use waxwing_protocol::api::{Alarm, EventBody};

use crate::clock;
use crate::mesh::Mesh;
use crate::writer::WriteError;

/// A message that was refused once and has not come again by then will not: another may take its place. Longer than the
/// longest delay before a message is offered again.
const AGAIN_WITHIN: Duration = Duration::from_secs(120);

/// A peer's part in the mail that does not go on.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Part {
    /// It sends, and this node refuses.
    Sender,
    /// It refuses what this node sends.
    Recipient,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Wrong {
    /// A peer holds another log than this node.
    Mismatch,
    /// Of two logs of which one goes on from the other, the broker shows one node only the shorter.
    Withheld,
    /// The broker shows this node another log than it did before.
    Rollback,
}

impl Wrong {
    /// Everything that may be.
    pub(crate) const ALL: [Self; 3] = [Self::Mismatch, Self::Withheld, Self::Rollback];

    /// As in events and in health.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Mismatch => "log_mismatch",
            Self::Withheld => "log_withheld",
            Self::Rollback => "log_rollback",
        }
    }
}

/// How a message was sealed when it was refused: two attempts are told apart by it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Attempt {
    /// One that came, by the session it came in.
    Session(SessionId),
    /// One that was sent, by its seal.
    Seal(u32),
}

/// One message that a peer or this node refused because of the other's log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused {
    pub(crate) peer: NodeId,
    pub(crate) part: Part,
    pub(crate) id: WireId,
    pub(crate) attempt: Attempt,
    pub(crate) wrong: Wrong,
    /// The end of the log that the peer names, if it names one.
    pub(crate) theirs: Option<LogHead>,
}

/// Every alarm of one mesh, and what may become one.
#[derive(Debug, Default)]
pub(crate) struct Alarms(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    on: BTreeMap<Option<(NodeId, Part)>, Raised>,
    /// Refused once. One message per peer and part is enough.
    once: HashMap<(NodeId, Part), Once>,
}

#[derive(Clone, Debug)]
struct Raised {
    wrong: Wrong,
    since: Timestamp,
    detail: String,
}

#[derive(Clone, Copy, Debug)]
struct Once {
    id: WireId,
    attempt: Attempt,
    at: Instant,
}

impl Alarms {
    /// Those that are on.
    pub(crate) fn list(&self) -> Vec<Alarm> {
        let state = self.lock();
        let alarm = |(of, raised): (&Option<(NodeId, Part)>, &Raised)| Alarm {
            what: raised.wrong.as_str().to_owned(),
            node: of.map(|(node, _)| node),
            since: raised.since,
            detail: raised.detail.clone(),
        };
        state.on.iter().map(alarm).collect()
    }

    /// Notes a refusal. True if this message was refused before, sealed otherwise.
    fn is_second(&self, refused: &Refused) -> bool {
        let Refused { id, attempt, .. } = *refused;
        let of = (refused.peer, refused.part);
        let mut state = self.lock();
        let known = state.once.get(&of).filter(|once| once.at.elapsed() < AGAIN_WITHIN);
        match known {
            Some(once) => once.id == id && once.attempt != attempt,
            None => {
                state.once.insert(of, Once { id, attempt, at: Instant::now() });
                false
            }
        }
    }

    /// Raises an alarm. False if it is on already.
    fn raise(&self, of: Option<(NodeId, Part)>, wrong: Wrong, detail: String) -> bool {
        let mut state = self.lock();
        let before = state.on.get(&of).cloned();
        let is_new = before.as_ref().is_none_or(|before| before.wrong != wrong);
        let since = before.map_or_else(clock::now, |before| before.since);
        state.on.insert(of, Raised { wrong, since, detail });
        is_new
    }

    /// Mail of this kind goes on. The alarm that this ends, if there was one.
    fn end(&self, peer: NodeId, part: Part) -> Option<Wrong> {
        let mut state = self.lock();
        state.once.remove(&(peer, part));
        state.on.remove(&Some((peer, part))).map(|raised| raised.wrong)
    }

    /// Drops what was raised because of logs: the log is another one now, or its readers have agreed on one. Says whether
    /// any alarm was on.
    fn end_all(&self) -> bool {
        let mut state = self.lock();
        state.once.clear();
        !std::mem::take(&mut state.on).is_empty()
    }

    /// Forgets who is no member any more.
    fn forget(&self, gone: &[NodeId]) {
        let gone: HashSet<&NodeId> = gone.iter().collect();
        let mut state = self.lock();
        state.once.retain(|(node, _), _| !gone.contains(node));
        state.on.retain(|of, _| of.is_none_or(|(node, _)| !gone.contains(&node)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mesh {
    /// Notes that a message was refused because of a log: the second time this is an alarm.
    pub(crate) async fn refused_by_log(&self, refused: &Refused) -> Result<(), WriteError> {
        if !self.alarms.is_second(refused) {
            info!(peer = %refused.peer, wrong = refused.wrong.as_str(), "logs differ, or did");
            return Ok(());
        }
        let detail = self.detail(refused);
        if !self.alarms.raise(Some((refused.peer, refused.part)), refused.wrong, detail.clone()) {
            return Ok(());
        }
        let what = refused.wrong.as_str();
        warn!(peer = %refused.peer, "{what}: {detail}");
        let node = Some(refused.peer);
        self.writer.tell_all(EventBody::Security { what: what.to_owned(), node, detail }).await
    }

    /// For people, naming both ends.
    fn detail(&self, refused: &Refused) -> String {
        let (ours, name) = self.roster(|roster| {
            let name = roster.former(&refused.peer).map(|member| member.name.to_string());
            (end(roster.head()), name.unwrap_or_else(|| refused.peer.to_string()))
        });
        let theirs = refused.theirs.map_or_else(|| "not named".to_owned(), end);
        let mail = match refused.part {
            Part::Sender => format!("mail from {name}"),
            Part::Recipient => format!("mail to {name}"),
        };
        let cause = match refused.wrong {
            Wrong::Mismatch => "its membership log is another one than this node's",
            Wrong::Withheld | Wrong::Rollback => "the broker does not show the same membership log to both",
        };
        format!("{mail} waits: {cause} (this node's ends at {ours}, {name}'s at {theirs})")
    }

    /// Mail from or to a peer goes on: whatever was wrong with its log is over.
    pub(crate) async fn agrees(&self, peer: NodeId, part: Part) -> Result<(), WriteError> {
        let Some(wrong) = self.alarms.end(peer, part) else { return Ok(()) };
        let detail = format!("{} is over: mail goes on", wrong.as_str());
        info!(%peer, "{detail}");
        let what = "alarm_over".to_owned();
        self.writer.tell_all(EventBody::Security { what, node: Some(peer), detail }).await
    }

    /// The log is another one now, or an admin has said which is right.
    pub(crate) async fn log_is_settled(&self) -> Result<(), WriteError> {
        if !self.alarms.end_all() {
            return Ok(());
        }
        let detail = "an admin has resumed the mesh: differences of logs from before are over".to_owned();
        self.writer.tell_all(EventBody::Security { what: "alarm_over".to_owned(), node: None, detail }).await
    }

    /// Whoever is no member any more is no cause for an alarm.
    pub(crate) fn no_alarm_for(&self, gone: &[NodeId]) {
        if !gone.is_empty() {
            self.alarms.forget(gone);
        }
    }

    /// The broker shows another log than before: this mesh stops.
    pub(crate) async fn rolled_back(&self, detail: String) -> Result<(), WriteError> {
        self.alarms.raise(None, Wrong::Rollback, detail.clone());
        let what = Wrong::Rollback.as_str().to_owned();
        self.writer.tell_all(EventBody::Security { what, node: None, detail }).await
    }
}

/// The end of a log, as people compare it.
fn end(head: LogHead) -> String {
    format!("entry {} ({:.8})", head.seq, head.hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId::from_bytes([7; 16]);

    fn refused(id: u8, seal: u32) -> Refused {
        Refused {
            peer: PEER,
            part: Part::Recipient,
            id: WireId::from_bytes([id; 16]),
            attempt: Attempt::Seal(seal),
            wrong: Wrong::Mismatch,
            theirs: None,
        }
    }

    #[test]
    fn only_a_message_that_was_sealed_anew_and_refused_again_is_an_alarm() {
        let alarms = Alarms::default();
        assert!(!alarms.is_second(&refused(1, 0)));
        assert!(!alarms.is_second(&refused(1, 0)), "the same refusal, told twice");
        assert!(!alarms.is_second(&refused(2, 1)), "another message, perhaps sealed before");
        let other = Refused { part: Part::Sender, ..refused(1, 1) };
        assert!(!alarms.is_second(&other), "the other way is another matter");
        assert!(alarms.is_second(&refused(1, 1)));
        assert_eq!(alarms.end(PEER, Part::Recipient), None);
        assert!(!alarms.is_second(&refused(1, 2)), "mail went on in between");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_never_comes_again_gives_its_place_to_another() {
        let alarms = Alarms::default();
        assert!(!alarms.is_second(&refused(1, 0)));
        tokio::time::advance(AGAIN_WITHIN).await;
        assert!(!alarms.is_second(&refused(2, 0)));
        assert!(alarms.is_second(&refused(2, 1)));
    }

    #[test]
    fn an_alarm_is_told_once_and_goes_with_its_cause() {
        let alarms = Alarms::default();
        let of = Some((PEER, Part::Sender));
        assert!(alarms.raise(of, Wrong::Mismatch, "first".into()));
        assert!(!alarms.raise(of, Wrong::Mismatch, "second".into()));
        assert_eq!(alarms.list().iter().map(|alarm| alarm.detail.as_str()).collect::<Vec<_>>(), ["second"]);
        assert_eq!(alarms.end(PEER, Part::Recipient), None, "mail the other way proves nothing");
        assert_eq!(alarms.end(PEER, Part::Sender), Some(Wrong::Mismatch));
        assert!(alarms.raise(of, Wrong::Withheld, String::new()));
        alarms.forget(&[PEER]);
        assert!(alarms.list().is_empty());
    }
}
