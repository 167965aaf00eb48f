//! A broker's state without its listener, and a mesh in it, for tests of what a raw link cannot time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use tempfile::TempDir;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use waxwing_crypto::mark::PassKey;
use waxwing_crypto::membership::{
    Body, Genesis, InviteSeed, Join, NewInvite, NewMember, RecoverySecret, Role, Roster, SignedEntry,
};
use waxwing_crypto::state_key::{SealedStateKeys, StateKeys};
use waxwing_crypto::{Digest, Fingerprint, NodeId, Priority, SealingKey, SigningKey, Timestamp, WireId};
use waxwing_protocol::link::SendItem;

use crate::accept::{Answer, Budget, Inbox, Peer, Reply, Sends, Writer};
use crate::life::Life;
use crate::meshes::{Mesh, Meshes};
use crate::state::{Kept, KeptSpaces, State};
use crate::store::meta::Fresh;
use crate::store::{self, Connection, LoginNumber, NodeKey, Store};
use crate::{Clock, Config, Database};

/// When tests begin.
pub(crate) const START: u64 = 1_000_000_000;

/// A broker's state, the store's writing end, and a mesh.
pub(crate) struct Fixture {
    pub(crate) state: Arc<State>,
    pub(crate) db: Connection,
    pub(crate) founder: SigningKey,
    pub(crate) now: Arc<AtomicU64>,
    pub(crate) invite: InviteSeed,
    _inbox: Inbox,
    _dir: TempDir,
}

impl Fixture {
    /// A mesh with its founder and an invite, in an empty store.
    pub(crate) async fn new() -> Self {
        Self::on(store::testing::on_a_server()).await
    }

    /// The same on this database; none is a file.
    pub(crate) async fn on(database: Option<Database>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = Arc::new(AtomicU64::new(START));
        let told = Arc::clone(&now);
        let passed = Arc::clone(&now);
        let clock = Clock::with_steady(
            move || Timestamp::from_millis(told.load(Ordering::SeqCst)),
            move || std::time::Duration::from_millis(passed.load(Ordering::SeqCst) - START),
        );
        let config = Config { clock, database, ..Config::new(dir.path()) };
        let mut store = Store::open(&config.store()).await.unwrap();
        let meshes = Meshes::load(&store.readers).await.unwrap();
        let (writer, inbox) = Writer::new();
        let listen = "127.0.0.1:7900".parse().unwrap();
        let fresh = Fresh::mint().unwrap();
        let opened = store::meta::open(&mut store.writer, &fresh, config.clock.now()).await.unwrap();
        let passes = PassKey::from_bytes([5; 32]);
        let kept = Kept {
            life: Life::new(opened),
            readers: store.readers,
            meshes,
            passes,
            creation: None,
            spaces: KeptSpaces::default(),
        };
        let state = Arc::new(State::new(&config, listen, &[], kept, writer));
        let (founder, invite) = (SigningKey::from_seed(&[1; 32]), InviteSeed::from_bytes(&[2; 32]));
        let mut fixture = Self { state, db: store.writer, founder, now, invite, _inbox: inbox, _dir: dir };
        fixture.found().await;
        fixture
    }

    async fn found(&mut self) {
        let member = new_member("founder", &self.founder);
        let state_keys = sealed(&member);
        let recovery = RecoverySecret::generate(&mut UnwrapErr(SysRng)).signing_key().public();
        let genesis = Genesis { name: "test".parse().unwrap(), founder: member, recovery, state_keys };
        let (genesis, roster) = Roster::found(self.time(), genesis, &self.founder).unwrap();
        let (mesh, head, now) = (roster.mesh(), roster.head(), self.time());
        self.db.begin().await.unwrap();
        store::mesh::insert(&mut self.db, mesh, head, false, now).await.unwrap();
        let row = store::log::LogRow { mesh, seq: head.seq, entry: genesis };
        store::log::insert(&mut self.db, &[row]).await.unwrap();
        self.db.commit().await.unwrap();
        self.state.meshes.publish(Mesh::settled(Arc::new(roster)));
    }

    /// The entry that made the mesh.
    pub(crate) async fn genesis(&self) -> SignedEntry {
        let mesh = self.roster().mesh();
        let mut rows = store::log::page(&self.state.readers, mesh, 0, 1).await.unwrap();
        rows.remove(0)
    }

    /// An invite entry by the founder.
    pub(crate) fn invite_entry(&self) -> SignedEntry {
        let keys = (self.invite.signing_key(), self.invite.sealing_key().public().unwrap());
        let invite = NewInvite {
            key: keys.0.public(),
            state_keys: sealed(&NewMember { sealing: keys.1.clone(), ..new_member("x", &self.founder) }),
            sealing: keys.1,
            role: Role::Member,
            uses: 9,
            expires: Timestamp::from_millis(u64::MAX),
            name: None,
        };
        self.roster().entry(self.time(), Body::Invite(invite)).sign(&[&self.founder])
    }

    /// A join of a node with this key, on the roster given.
    pub(crate) fn join_entry(&self, roster: &Roster, name: &str, key: &SigningKey) -> SignedEntry {
        let invite = self.invite.signing_key();
        let join = Join { member: new_member(name, key), invite: invite.public() };
        roster.entry(self.time(), Body::Join(join)).sign(&[&invite, key])
    }

    /// Makes a member, in memory only.
    pub(crate) fn join(&self, name: &str, seed: u8) -> NodeKey {
        let key = SigningKey::from_seed(&[seed; 32]);
        let mut roster = Roster::clone(&self.roster());
        if roster.invite(&self.invite.signing_key().public()).is_none() {
            roster.apply(&self.invite_entry()).unwrap();
        }
        roster.apply(&self.join_entry(&roster, name, &key)).unwrap();
        self.state.meshes.publish(Mesh::settled(Arc::new(roster)));
        self.node(key.public().node_id())
    }

    pub(crate) fn founder_key(&self) -> NodeKey {
        self.node(self.founder.public().node_id())
    }

    pub(crate) fn node(&self, node: NodeId) -> NodeKey {
        NodeKey { mesh: self.roster().mesh(), node }
    }

    pub(crate) fn roster(&self) -> Arc<Roster> {
        self.state.meshes.only()
    }

    pub(crate) fn time(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Ordering::SeqCst))
    }

    pub(crate) fn advance(&self, millis: u64) {
        self.now.fetch_add(millis, Ordering::SeqCst);
    }

    /// An item that ends in a minute.
    pub(crate) fn item(&self, to: NodeKey, n: u8, seal: u32) -> SendItem {
        SendItem {
            to: to.node,
            id: WireId::from_bytes([n; 16]),
            fp: Fingerprint::from_bytes([n; 32]),
            pri: Priority::Next,
            exp: self.time().plus(std::time::Duration::from_secs(60)),
            seal,
            first: false,
            env: Bytes::from(vec![seal as u8; 10]),
        }
    }
}

fn new_member(name: &str, key: &SigningKey) -> NewMember {
    let sealing = SealingKey::from_seed(&key.reveal_seed()).public().unwrap();
    NewMember {
        name: name.parse().unwrap(),
        signing: key.public(),
        sealing,
        host: Digest::from_bytes([0; 32]),
    }
}

fn sealed(to: &NewMember) -> SealedStateKeys {
    StateKeys::found(&mut UnwrapErr(SysRng)).seal_to(&to.sealing, &mut UnwrapErr(SysRng)).unwrap()
}

/// A link that has logged in as so-manieth, and where its answers come out.
pub(crate) struct TestLink {
    pub(crate) peer: Arc<Peer>,
    answers_in: mpsc::Sender<Box<Answer>>,
    pub(crate) answers: mpsc::Receiver<Box<Answer>>,
}

impl TestLink {
    pub(crate) fn new(node: NodeKey, login: u64) -> Self {
        let (answers_in, answers) = mpsc::channel(64);
        let peer = Peer::new(node, LoginNumber(login), CancellationToken::new());
        Self { peer: Arc::new(peer), answers_in, answers }
    }

    /// One that began in a life of the store.
    pub(crate) fn in_life(self, life: CancellationToken) -> Self {
        let peer = Peer::new(self.peer.key, self.peer.login, life);
        Self { peer: Arc::new(peer), ..self }
    }

    pub(crate) fn reply(&self) -> Reply {
        self.answers_in.clone().try_reserve_owned().unwrap()
    }

    pub(crate) fn sends(&self, items: Vec<SendItem>) -> Sends {
        let permit = || Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let budget = [Budget::new(permit()), Budget::new(permit())];
        Sends { peer: Arc::clone(&self.peer), req: 1, rows: 1, items, reply: self.reply(), budget }
    }
}

/// Numbers that look random, the same for the same seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % sides
    }

    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        let at = self.roll(of.len().max(1) as u64);
        of.get(usize::try_from(at).unwrap()).copied()
    }
}
