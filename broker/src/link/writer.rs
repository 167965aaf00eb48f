//! The writing half: answers, the log's growth, deliveries and pings. The only one that writes to the socket.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval_at, timeout};
use waxwing_crypto::VerifyingKey;
use waxwing_crypto::membership::{Roster, Standing};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Reason, ToNode};

use super::handshake::Member;
use super::member::{Session, Sink};
use super::pump::Pump;
use super::window::Window;
use super::{End, socket};
use crate::accept::Answer;
use crate::handlers;
use crate::state::State;
use crate::store::NodeKey;

/// How long a stopping broker waits for the answers of one link.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// What the writing half holds.
pub(super) struct Writer<'a> {
    sink: &'a mut Sink,
    state: Arc<State>,
    node: NodeKey,
    key: VerifyingKey,
    roster: watch::Receiver<Arc<Roster>>,
    /// The last entry of the log that the node has been told of.
    log_told: u64,
    window: Arc<Window>,
    pump: Pump,
    pings: Interval,
}

impl<'a> Writer<'a> {
    /// The writing half of a link that has just logged in.
    pub(super) fn new(sink: &'a mut Sink, session: &Session, member: &Member) -> Self {
        let (state, node) = (Arc::clone(&session.state), session.peer.key);
        let window = Arc::clone(&session.window);
        let pump =
            Pump::new(Arc::clone(&state), node, Arc::clone(&member.registration.bell), Arc::clone(&window));
        let mut pings = interval_at(tokio::time::Instant::now() + limits::PING_EVERY, limits::PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut roster = member.roster.clone();
        roster.mark_changed(); // It may have grown since the welcome.
        Self { sink, state, node, key: member.key, roster, log_told: member.head.seq, window, pump, pings }
    }

    /// Writes until the link ends.
    pub(super) async fn run(&mut self, answers: &mut mpsc::Receiver<Answer>) -> End {
        loop {
            if let Err(end) = self.step(answers).await {
                return end;
            }
        }
    }

    /// Writes what is still owed once the reader has ended: the answers to what it has submitted.
    pub(super) async fn finish(&mut self, answers: &mut mpsc::Receiver<Answer>) {
        let owed = async {
            while let Some(answer) = answers.recv().await {
                if self.answer(answer, answers).await.is_err() {
                    return;
                }
            }
        };
        // What is not answered is sent again, and is known by then.
        let _ = timeout(FINISH_WITHIN, owed).await;
    }

    /// Waits for the next thing to write, and writes it. No arm is preferred: a node that sends without pause would
    /// otherwise get nothing but answers, or one with a backlog no answers.
    async fn step(&mut self, answers: &mut mpsc::Receiver<Answer>) -> Result<(), End> {
        tokio::select! {
            answer = answers.recv() => match answer {
                Some(answer) => self.answer(answer, answers).await,
                None => Err(End::Gone),
            },
            changed = self.roster.changed() => match changed {
                Ok(()) => self.tell_log().await,
                Err(_) => Err(End::Gone),
            },
            () = self.pump.ready() => self.deliver().await,
            _ = self.pings.tick() => socket::ping(self.sink).await,
        }
    }

    /// Writes an answer, and those that are there already, as one.
    async fn answer(&mut self, first: Answer, answers: &mut mpsc::Receiver<Answer>) -> Result<(), End> {
        let mut next = Some(first);
        while let Some(answer) = next {
            match answer {
                Answer::Frame(frame) => socket::feed(self.sink, &frame).await?,
                Answer::Settled { count, kept } => {
                    self.window.land(count);
                    self.pump.redeliver(&kept);
                }
            }
            next = answers.try_recv().ok();
        }
        socket::flush(self.sink).await
    }

    async fn deliver(&mut self) -> Result<(), End> {
        match self.pump.next().await? {
            Some(deliver) => socket::send(self.sink, &ToNode::Deliver(deliver)).await,
            None => Ok(()),
        }
    }

    /// The log has grown: tells the node, unless it concerns itself.
    async fn tell_log(&mut self) -> Result<(), End> {
        let roster = Arc::clone(&self.roster.borrow_and_update());
        match roster.standing(&self.node.node) {
            Standing::Live => {}
            Standing::Left => return Err(End::told(Reason::Revoked, "this node has left the mesh")),
            Standing::Revoked | Standing::Unknown => {
                return Err(End::told(Reason::Revoked, "this node was revoked"));
            }
        }
        if roster.member(&self.node.node).is_none_or(|member| member.signing != self.key) {
            return Err(End::told(Reason::Replaced, "this node has a new signing key: log in with it"));
        }
        while self.log_told < roster.head().seq {
            let log = handlers::log::after(self.log_told, &roster, &self.state).await?;
            self.log_told += log.entries.len() as u64;
            socket::send(self.sink, &ToNode::Log(log)).await?;
        }
        Ok(())
    }
}
