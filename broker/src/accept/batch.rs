//! One batch under way: the counters it has read and changed, the rows it will insert, and what will follow the commit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::oneshot;
use waxwing_crypto::membership::{LogHead, SignedEntry, Standing};
use waxwing_crypto::{MeshId, Timestamp, WireId};
use waxwing_protocol::StoreId;
use waxwing_protocol::link::{Code, Done, Mark, NoticeKind, Progress, ToNode};

use super::change::{Answer, Budget, Login, LoginDecision, Peer, PrekeyPut, Reply, Stale};
use super::spaces::{Bindings, Spaces, Told};
use super::work::Work;
use crate::error::Result;
use crate::meshes::Mesh;
use crate::metrics::Tally;
use crate::refusal::Refusal;
use crate::state::State;
use crate::store::node::Counters;
use crate::store::queue::{Item, Notice, Removed};
use crate::store::{self, Connection, LoginNumber, NodeKey, Place, QueueKey, Rank, Ranks, Seq};

/// A notice is worth hearing this long after its message's expiry.
const NOTICE_TTL: std::time::Duration = std::time::Duration::from_secs(35 * 24 * 60 * 60);

/// A batch inside its transaction.
pub(super) struct Batch<'a> {
    /// The transaction.
    pub(super) db: &'a mut Connection,
    /// The broker.
    pub(super) state: &'a State,
    /// When the batch began. One moment for all of its changes.
    pub(super) now: Timestamp,
    /// The same, but for jumps of the clock: what lifetimes of records are measured by.
    pub(super) even: Timestamp,
    /// The spaces that are changed.
    pub(super) spaces: Spaces,
    /// Rows to insert.
    pub(super) rows: Vec<(QueueKey, Item)>,
    /// What follows the commit.
    pub(super) effects: Effects,
    /// What the commit will be known by.
    pub(super) mark: Mark,
    counters: HashMap<NodeKey, Counters>,
    /// What was changed, and how it was before.
    touched: HashMap<NodeKey, Counters>,
    meshes: HashMap<MeshId, Mesh>,
    changed: HashSet<MeshId>,
}

/// What follows a commit.
#[derive(Default)]
pub(super) struct Effects {
    /// Answers to links.
    pub(super) replies: Vec<(Reply, Box<Answer>)>,
    /// Answers to the sweeper.
    pub(super) swept: Vec<(oneshot::Sender<bool>, bool)>,
    /// Whether somebody stopped being a member.
    pub(super) gone: bool,
    /// Whether there is something to take out of the store.
    pub(super) sweep: bool,
    /// Given back now that the envelopes are stored.
    pub(super) budgets: Vec<[Budget; 2]>,
    /// Answers to those who ask whether the store takes commits.
    pub(super) probes: Vec<oneshot::Sender<()>>,
    /// What is counted.
    pub(super) tally: Tally,
    /// What followers of spaces are told.
    pub(super) told: Told,
    /// What follows from them.
    pub(super) bindings: Bindings,
    /// When the batch began.
    at: Timestamp,
    /// The number of the commit.
    m: u64,
    /// The id of the life that it begins.
    pub(super) renewed: Option<StoreId>,
    /// Answers to those who brought a log, or proved a loss.
    pub(super) heard: Vec<oneshot::Sender<()>>,
    meshes: Vec<Mesh>,
    logins: Vec<(oneshot::Sender<LoginDecision>, LoginDecision)>,
    wake: HashMap<NodeKey, Ranks>,
}

impl<'a> Batch<'a> {
    /// Reads the counters that the work is known to need, in one go.
    pub(super) async fn open(db: &'a mut Connection, state: &'a State, work: &Work) -> Result<Self> {
        let m = state.life.m() + 1;
        let now = state.clock.now();
        let mut batch = Self {
            db,
            state,
            now,
            even: state.even.now(),
            spaces: Spaces::default(),
            rows: Vec::new(),
            effects: Effects { m, at: now, ..Effects::default() },
            mark: state.life.mark(m),
            counters: HashMap::new(),
            touched: HashMap::new(),
            meshes: HashMap::new(),
            changed: HashSet::new(),
        };
        batch.load(work.nodes()).await?;
        Ok(batch)
    }

    /// Reads the counters of those of these nodes whose are not known yet.
    pub(super) async fn load(&mut self, nodes: impl IntoIterator<Item = NodeKey>) -> Result<()> {
        let mut missing: Vec<_> =
            nodes.into_iter().filter(|node| !self.counters.contains_key(node)).collect();
        missing.sort_unstable();
        missing.dedup();
        let mut found = store::node::find(self.db, &missing).await?;
        self.counters.extend(missing.into_iter().map(|node| (node, found.remove(&node).unwrap_or_default())));
        Ok(())
    }

    /// A mesh, with what this batch has done to it so far.
    pub(super) fn mesh(&mut self, id: MeshId) -> Option<Mesh> {
        if let Some(mesh) = self.meshes.get(&id) {
            return Some(mesh.clone());
        }
        let mesh = self.state.meshes.get(id)?;
        self.meshes.insert(id, mesh.clone());
        Some(mesh)
    }

    /// Applies an entry to its mesh's roster, for the rest of the batch and for everybody after the commit. The first
    /// change of a batch copies the roster, since links hold the one before; a refused one leaves it as it was.
    pub(super) fn grow(&mut self, id: MeshId, entry: &SignedEntry) -> Result<LogHead, Refusal> {
        drop(self.mesh(id));
        let Some(roster) = self.meshes.get_mut(&id).map(|mesh| Arc::make_mut(&mut mesh.roster)) else {
            return Err(Refusal::new(Code::NotAllowed, "there is no such mesh"));
        };
        roster.apply(entry)?;
        self.changed.insert(id);
        Ok(roster.head())
    }

    /// Adds a mesh, or puts it in the place of what it was.
    pub(super) fn put_mesh(&mut self, mesh: Mesh) {
        let id = mesh.roster.mesh();
        self.changed.insert(id);
        self.meshes.insert(id, mesh);
    }

    /// The meshes that this batch has changed.
    pub(super) fn changed_meshes(&self) -> impl Iterator<Item = MeshId> {
        self.changed.iter().copied()
    }

    /// A node's standing by now.
    pub(super) fn standing(&mut self, node: NodeKey) -> Standing {
        self.mesh(node.mesh).map_or(Standing::Unknown, |mesh| mesh.standing(&node.node))
    }

    /// Whether this link is its node's newest, and the node still a member. If not, what it asked for is ignored; so is what
    /// was asked for in a life of the store that is over: what is written to a space is signed for one.
    pub(super) fn is_current(&mut self, peer: &Peer) -> bool {
        let goes_on = self.effects.renewed.is_none() && peer.is_of_this_life();
        goes_on && self.counters(peer.key).login == peer.login && self.standing(peer.key) == Standing::Live
    }

    /// Gives logins, except to copies that are behind what their node has shown.
    pub(super) fn login(&mut self, logins: Vec<Login>) {
        for Login { node, progress, answer } in logins {
            if self.standing(node) != Standing::Live {
                continue;
            }
            let shown = self.counters(node).shown;
            let decided = if progress.is_behind(&shown) {
                Err(Stale { shown })
            } else {
                let counters = self.change(node);
                counters.shown = progress;
                counters.login = LoginNumber(counters.login.0.max(progress.login) + 1);
                Ok(counters.login)
            };
            self.effects.logins.push((answer, decided));
        }
    }

    /// Notes how far a current link's node has come with its deliveries. The first settle of a login says that its
    /// welcome is committed.
    pub(super) fn show_settled(&mut self, peer: &Peer, through: u64) {
        let shown = &mut self.change(peer.key).shown;
        if shown.login < peer.login.0 {
            (shown.login, shown.through) = (peer.login.0, through);
        } else {
            shown.through = shown.through.max(through);
        }
    }

    /// Notes how many rows a current link's node has given.
    pub(super) fn show_rows(&mut self, peer: &Peer, rows: u64) {
        if self.counters(peer.key).shown.rows < rows {
            self.change(peer.key).shown.rows = rows;
        }
    }

    /// Forgets how far a node had come: its new signing key begins anew.
    pub(super) async fn forget_shown(&mut self, node: NodeKey) -> Result<()> {
        self.load([node]).await?;
        self.change(node).shown = Progress::default();
        Ok(())
    }

    /// Keeps prekeys.
    pub(super) async fn put_prekeys(&mut self, prekeys: Vec<PrekeyPut>) -> Result<()> {
        // One statement must not name a row twice, so the newest of each node goes in.
        let mut newest = HashMap::new();
        for PrekeyPut { peer, row, req, reply } in prekeys {
            if !self.is_current(&peer) {
                continue;
            }
            self.effects.replies.push((reply, Box::new(Answer::Frame(ToNode::Done(Done { req })))));
            let kept = newest.entry(row.owner).or_insert_with(|| row.clone());
            if row.id > kept.id {
                *kept = row;
            }
        }
        let rows: Vec<_> = newest.into_values().collect();
        store::prekey::put(self.db, &rows).await
    }

    /// Writes what changes nothing.
    pub(super) async fn probe(&mut self, probes: Vec<oneshot::Sender<()>>) -> Result<()> {
        if !probes.is_empty() {
            store::touch(self.db).await?;
            self.effects.probes = probes;
        }
        Ok(())
    }

    /// A node's counters. Known, or as of a node that has none.
    pub(super) fn counters(&self, node: NodeKey) -> Counters {
        self.counters.get(&node).copied().unwrap_or_default()
    }

    /// A node's counters, to be changed.
    pub(super) fn change(&mut self, node: NodeKey) -> &mut Counters {
        let counters = self.counters.entry(node).or_default();
        self.touched.entry(node).or_insert(*counters);
        counters
    }

    /// Puts a row at the end of a queue. The counters of its owner must have been read.
    pub(super) fn push(&mut self, owner: NodeKey, rank: Rank, item: Item) -> QueueKey {
        let counters = self.change(owner);
        let place = Place { rank, seq: counters.next_seq };
        counters.next_seq = Seq(place.seq.0 + 1);
        if let Item::Envelope(mail) = &item {
            counters.queued += 1;
            counters.queued_bytes += mail.env.len() as u64;
        }
        let key = QueueKey { owner, place };
        self.rows.push((key, item));
        self.wake(owner, rank);
        key
    }

    /// Tells a sender what became of its message, if it is still a member.
    pub(super) fn notify(&mut self, sender: NodeKey, id: WireId, kind: NoticeKind, exp: Timestamp) {
        if self.standing(sender) == Standing::Live {
            self.effects.tally.notice(&kind);
            let notice = Notice { id, kind, ends: exp.plus(NOTICE_TTL) };
            self.push(sender, Rank::Notice, Item::Notice(notice));
        }
    }

    /// Takes rows that have left the store off their owners' counters.
    pub(super) fn discount(&mut self, removed: &Removed) {
        if removed.key.place.rank != Rank::Notice {
            let counters = self.change(removed.key.owner);
            counters.queued = counters.queued.saturating_sub(1);
            counters.queued_bytes = counters.queued_bytes.saturating_sub(removed.bytes);
        }
    }

    /// Wakes a node's link after the commit.
    pub(super) fn wake(&mut self, owner: NodeKey, rank: Rank) {
        self.effects.wake.entry(owner).or_default().insert(rank);
    }

    /// Writes what has been gathered.
    pub(super) async fn close(mut self) -> Result<Effects> {
        store::queue::insert(self.db, &self.rows).await?;
        let changed: Vec<_> = self.touched.keys().map(|node| (*node, self.counters[node])).collect();
        for (node, before) in &self.touched {
            self.effects.tally.queue(before, &self.counters[node]);
        }
        store::node::put(self.db, &changed).await?;
        self.close_spaces();
        self.effects.meshes = self.changed.iter().map(|mesh| self.meshes[mesh].clone()).collect();
        store::meta::raise(&mut *self.db, self.mark.m).await?;
        Ok(self.effects)
    }
}

impl Effects {
    /// Lets the world know. Links are woken before answers go out: whoever has seen an item accepted will not see its
    /// recipient told that nothing is queued.
    pub(super) fn publish(self, state: &State) {
        state.life.committed(self.m);
        for mesh in self.meshes {
            state.meshes.publish(mesh);
        }
        if let Some(store) = self.renewed {
            state.life.renew(store, self.at);
        }
        for (node, ranks) in self.wake {
            state.hub.wake(node, ranks);
        }
        self.bindings.publish(state);
        state.followers.hand_over(self.told.tails());
        if self.gone {
            state.nudge.gone.notify_one();
        }
        if self.sweep {
            state.nudge.expired.notify_one();
        }
        for (reply, answer) in self.replies {
            reply.send(answer);
        }
        // A link or sweeper that has ended meanwhile does not mind.
        for (answer, decided) in self.logins {
            let _ = answer.send(decided);
        }
        for answer in self.heard {
            let _ = answer.send(());
        }
        for (answer, more) in self.swept {
            let _ = answer.send(more);
        }
        for answer in self.probes {
            let _ = answer.send(());
        }
    }
}
