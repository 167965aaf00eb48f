//! The writing half: answers, the log's growth, deliveries and pings. The only one that writes to the socket.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval_at, timeout};
use waxwing_crypto::NodeId;
use waxwing_crypto::membership::{LogHead, Standing};
use waxwing_protocol::link::{MeshNotice, MeshNoticeKind, Reason, ToNode};

use super::handshake::{Member, superseded, undecided};
use super::member::{Session, Sink};
use super::pump::Pump;
use super::window::Window;
use super::{DRAIN_WITHIN, End, follow, socket};
use crate::accept::Answer;
use crate::followers::Follower;
use crate::handlers;
use crate::meshes::Mesh;
use crate::state::State;

/// How long a stopping broker waits for the answers of one link.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// What the writing half holds.
pub(super) struct Writer<'a> {
    sink: &'a mut Sink,
    state: Arc<State>,
    member: &'a Member,
    mesh: watch::Receiver<Mesh>,
    /// The end of the log as the node has been told of it.
    log_told: LogHead,
    /// The branches that the node has been told of.
    branches_told: Vec<LogHead>,
    /// Members of which a copy has shown up.
    alarms: broadcast::Receiver<NodeId>,
    window: Arc<Window>,
    pump: Pump,
    follower: Arc<Follower>,
    pings: Interval,
}

impl<'a> Writer<'a> {
    /// The writing half of a link that has just logged in.
    pub(super) fn new(sink: &'a mut Sink, session: &Session, member: &'a Member) -> Self {
        let state = Arc::clone(&session.state);
        let window = Arc::clone(&session.window);
        let pump = Pump::new(
            Arc::clone(&state),
            member.peer.key,
            Arc::clone(&member.registration.bell),
            Arc::clone(&window),
        );
        let every = state.limits.ping_every();
        let mut pings = interval_at(tokio::time::Instant::now() + every, every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut mesh = member.mesh.clone();
        mesh.mark_changed(); // It may have grown since the welcome.
        let (log_told, branches_told) = (member.head, Vec::new());
        let alarms = state.alarms.listen(member.peer.key.mesh);
        let follower = Arc::clone(&session.follower);
        Self { sink, state, member, mesh, log_told, branches_told, alarms, window, pump, follower, pings }
    }

    /// Writes until the link ends.
    pub(super) async fn run(&mut self, answers: &mut mpsc::Receiver<Box<Answer>>) -> End {
        loop {
            if let Err(end) = self.step(answers).await {
                return end;
            }
        }
    }

    /// Writes what is still owed once the reader has ended: the answers to what it has submitted.
    pub(super) async fn finish(&mut self, answers: &mut mpsc::Receiver<Box<Answer>>) {
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

    /// Waits for the next thing to write, and writes it, which is boxed: an idle link only waits. No arm is preferred: a node that sends without pause would
    /// otherwise get nothing but answers, or one with a backlog no answers.
    async fn step(&mut self, answers: &mut mpsc::Receiver<Box<Answer>>) -> Result<(), End> {
        tokio::select! {
            answer = answers.recv() => match answer {
                Some(answer) => Box::pin(self.answer(answer, answers)).await,
                None => Err(End::Gone),
            },
            changed = self.mesh.changed() => match changed {
                Ok(()) => Box::pin(self.tell_log()).await,
                Err(_) => Err(End::Gone),
            },
            alarm = self.alarms.recv() => Box::pin(self.tell_alarm(alarm.ok())).await,
            () = self.pump.ready() => Box::pin(self.deliver()).await,
            () = self.follower.ready() => Box::pin(self.tell_changes()).await,
            () = self.window.stalled(DRAIN_WITHIN) => Err(End::too_slow("the node has settled nothing of a full window")),
            _ = self.pings.tick() => Box::pin(socket::ping(self.sink)).await,
        }
    }

    /// Writes an answer, and those that are there already, as one.
    async fn answer(
        &mut self,
        first: Box<Answer>,
        answers: &mut mpsc::Receiver<Box<Answer>>,
    ) -> Result<(), End> {
        let mut next = Some(first);
        while let Some(answer) = next {
            match &*answer {
                Answer::Frame(frame) | Answer::Page { frame, .. } => socket::feed(self.sink, frame).await?,
                Answer::Settled { count, kept } => {
                    self.window.land(*count);
                    self.pump.redeliver(kept);
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

    /// Answers what the node has asked about a space, if there is an answer.
    async fn tell_changes(&mut self) -> Result<(), End> {
        match follow::next(&self.follower, &self.state).await? {
            Some(changes) => socket::send(self.sink, &ToNode::SpaceChanges(changes)).await,
            None => Ok(()),
        }
    }

    /// The mesh has changed: tells the node, unless it concerns itself.
    async fn tell_log(&mut self) -> Result<(), End> {
        let mesh = self.mesh.borrow_and_update().clone();
        match mesh.standing(&self.member.peer.key.node) {
            Standing::Live => {}
            Standing::Left => return Err(End::told(Reason::Revoked, "this node has left the mesh")),
            // Until an admin has resumed the mesh, that is not the last word.
            Standing::Revoked | Standing::Unknown if mesh.waiting.is_some() => return Err(undecided()),
            Standing::Revoked | Standing::Unknown => {
                return Err(End::told(Reason::Revoked, "this node was revoked"));
            }
        }
        let roster = &mesh.roster;
        if roster.member(&self.member.peer.key.node).is_none_or(|member| member.signing != self.member.key) {
            return Err(superseded());
        }
        if !roster.holds(self.log_told) {
            return Err(End::told(Reason::Restarting, "another log of this mesh was resumed: log in anew"));
        }
        while self.log_told.seq < roster.head().seq {
            let log = handlers::log::after(self.log_told.seq, roster, &self.state).await?;
            let seq = self.log_told.seq + log.entries.len() as u64;
            let Some(hash) = roster.hash_at(seq) else { return Err(End::Gone) };
            self.log_told = LogHead { seq, hash };
            socket::send(self.sink, &ToNode::Log(log)).await?;
        }
        self.tell_branches(&mesh).await
    }

    /// Tells that a copy of a member has shown up. Whoever was too slow to hear of all hears of the latest.
    async fn tell_alarm(&mut self, node: Option<NodeId>) -> Result<(), End> {
        let Some(node) = node else { return Ok(()) };
        let kind = MeshNoticeKind::NodeDuplicated { node };
        socket::send(self.sink, &ToNode::MeshNotice(MeshNotice { kind })).await
    }

    /// Tells that the mesh waits for a `resume`, and between which logs.
    async fn tell_branches(&mut self, mesh: &Mesh) -> Result<(), End> {
        let branches = if mesh.waiting.is_some() { mesh.heads() } else { Vec::new() };
        if branches.is_empty() || branches == self.branches_told {
            return Ok(());
        }
        self.branches_told.clone_from(&branches);
        let kind = MeshNoticeKind::ResumeWanted { branches };
        socket::send(self.sink, &ToNode::MeshNotice(MeshNotice { kind })).await
    }
}
