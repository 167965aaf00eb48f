//! A mesh, its keys, and the entries of its log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use waxwing_crypto::membership::{
    Body, Genesis, InviteSeed, Join, Leave, NewEpoch, NewInvite, NewMember, RecoverySecret, Resume, Revoke,
    Role, Roster, SignedEntry, Target,
};
use waxwing_crypto::state_key::{Holder, KeyList, SealedStateKeys, StateKeys};
use waxwing_crypto::{CreationProof, Digest, MeshId, NodeId, SealingKey, SealingPublicKey, SigningKey};
use waxwing_protocol::link::{
    Challenge, EnteringHello, Features, GoAway, Hello, Mark, MemberHello, Progress,
};

use super::{Broker, Dialled, Link, TestClock, rng};

/// What a node shows whose state is not what a test is about: more than any login before it.
pub fn ahead() -> Progress {
    static LOGINS: AtomicU64 = AtomicU64::new(1);
    Progress { login: LOGINS.fetch_add(1, Ordering::Relaxed) << 20, through: 0, rows: 0 }
}

/// A node's keys.
pub struct Keys {
    pub name: &'static str,
    pub signing: SigningKey,
    pub sealing: SealingPublicKey,
}

impl Keys {
    pub fn new(name: &'static str) -> Self {
        let sealing = SealingKey::generate(&mut rng()).public().unwrap();
        Self { name, signing: SigningKey::generate(&mut rng()), sealing }
    }

    pub fn id(&self) -> NodeId {
        self.signing.public().node_id()
    }

    pub fn member(&self) -> NewMember {
        NewMember {
            name: self.name.parse().unwrap(),
            signing: self.signing.public(),
            sealing: self.sealing.clone(),
            host: Digest::from_bytes([0; 32]),
        }
    }
}

/// A mesh as its founder knows it.
pub struct Mesh {
    pub roster: Roster,
    /// Its log, as far as this copy of the mesh has seen it.
    pub log: Vec<SignedEntry>,
    pub genesis: SignedEntry,
    pub founder: Keys,
    pub recovery: SigningKey,
    pub invite: InviteSeed,
    state_keys: SealedStateKeys,
    clock: TestClock,
}

impl Mesh {
    /// Founds a mesh, without telling anybody.
    pub fn new(clock: &TestClock) -> Self {
        let founder = Keys::new("founder");
        let recovery = RecoverySecret::generate(&mut rng()).signing_key();
        let state_keys = StateKeys::found(&mut rng()).seal_to(&founder.sealing, &mut rng()).unwrap();
        let genesis = Genesis {
            name: "test".parse().unwrap(),
            founder: founder.member(),
            recovery: recovery.public(),
            state_keys: state_keys.clone(),
        };
        let (genesis, roster) = Roster::found(clock.now(), genesis, &founder.signing).unwrap();
        let invite = InviteSeed::generate(&mut rng());
        Self {
            roster,
            log: vec![genesis.clone()],
            genesis,
            founder,
            recovery,
            invite,
            state_keys,
            clock: clock.clone(),
        }
    }

    /// Founds a mesh on a broker, with an invite for many.
    pub async fn found(broker: &Broker) -> Self {
        let mut mesh = Self::new(&broker.clock);
        let mut link = mesh.enter(broker, &mesh.founder.signing).await;
        link.append(&mesh.genesis).await.unwrap();
        let invite = mesh.invite_entry(100_000, Duration::from_secs(3_600));
        mesh.commit(broker, invite).await;
        mesh
    }

    /// Founds a mesh with two more members.
    pub async fn with_two(broker: &Broker) -> (Self, Keys, Keys) {
        let mut mesh = Self::found(broker).await;
        let alpha = mesh.join(broker, "alpha").await;
        let beta = mesh.join(broker, "beta").await;
        (mesh, alpha, beta)
    }

    pub fn id(&self) -> MeshId {
        self.roster.mesh()
    }

    /// As somebody knows it who is not there for what comes later.
    pub fn snapshot(&self) -> Self {
        let copy = |key: &SigningKey| SigningKey::from_seed(&key.reveal_seed());
        let founder = Keys {
            name: self.founder.name,
            signing: copy(&self.founder.signing),
            sealing: self.founder.sealing.clone(),
        };
        Self {
            roster: self.roster.clone(),
            log: self.log.clone(),
            genesis: self.genesis.clone(),
            founder,
            recovery: copy(&self.recovery),
            invite: self.invite.clone(),
            state_keys: self.state_keys.clone(),
            clock: self.clock.clone(),
        }
    }

    /// An invite entry by the founder, with this mesh's invite key.
    pub fn invite_entry(&self, uses: u32, lasts: Duration) -> SignedEntry {
        let invite = NewInvite {
            key: self.invite.signing_key().public(),
            sealing: self.invite.sealing_key().public().unwrap(),
            role: Role::Member,
            uses,
            expires: self.clock.now().plus(lasts),
            name: None,
            state_keys: self.state_keys.clone(),
        };
        self.entry(Body::Invite(invite), &[&self.founder.signing])
    }

    pub fn entry(&self, body: Body, keys: &[&SigningKey]) -> SignedEntry {
        self.roster.entry(self.clock.now(), body).sign(keys)
    }

    pub fn join_entry(&self, keys: &Keys) -> SignedEntry {
        let invite = self.invite.signing_key();
        let join = Join { member: keys.member(), invite: invite.public() };
        self.entry(Body::Join(join), &[&invite, &keys.signing])
    }

    pub fn revoke_entry(&self, keys: &Keys) -> SignedEntry {
        let revoke = Revoke { target: Target::Node(keys.id()), reason: "test".parse().unwrap(), epoch: None };
        self.entry(Body::Revoke(revoke), &[&self.recovery])
    }

    pub fn leave_entry(&self, keys: &Keys) -> SignedEntry {
        self.entry(Body::Leave(Leave { node: keys.id() }), &[&keys.signing])
    }

    /// The next epoch's keys, sealed to everybody who would get them if this entry ended `ending`.
    pub fn key_list(&self, ending: Option<&Target>) -> KeyList {
        let epoch = self.roster.epoch() + 1;
        let keys = StateKeys::found(&mut rng()).next(epoch, &mut rng()).unwrap();
        let holders = self.roster.key_holders(self.clock.now(), ending);
        KeyList::seal(self.id(), &keys, &holders, &mut rng()).unwrap()
    }

    /// A list of so many slots, whosever.
    pub fn key_list_for(&self, slots: usize) -> KeyList {
        let keys = StateKeys::found(&mut rng()).next(self.roster.epoch() + 1, &mut rng()).unwrap();
        let holders = vec![(Holder::Node(self.founder.id()), self.founder.sealing.clone()); slots];
        KeyList::seal(self.id(), &keys, &holders, &mut rng()).unwrap()
    }

    pub fn epoch_entry(&self, list: &KeyList) -> SignedEntry {
        let epoch = NewEpoch { n: list.head().epoch, keys: list.root() };
        self.entry(Body::Epoch(epoch), &[&self.founder.signing])
    }

    /// Appends an entry over the founder's link.
    pub async fn commit(&mut self, broker: &Broker, entry: SignedEntry) {
        let mut link = self.login(broker, &self.founder).await;
        link.append(&entry).await.unwrap();
        self.learn(entry);
    }

    /// Takes an entry that the broker has.
    pub fn learn(&mut self, entry: SignedEntry) {
        self.roster.apply(&entry).unwrap();
        self.log.push(entry);
    }

    /// A resume of the log as it is known here, by its founder.
    pub fn resume_entry(&self) -> SignedEntry {
        self.entry(Body::Resume(Resume { head: self.roster.head() }), &[&self.founder.signing])
    }

    /// Adds a node.
    pub async fn join(&mut self, broker: &Broker, name: &'static str) -> Keys {
        let keys = Keys::new(name);
        self.commit(broker, self.join_entry(&keys)).await;
        keys
    }

    /// Adds many members that no broker knows yet.
    pub fn join_many(&mut self, count: usize) {
        let invite = self.invite.signing_key();
        for n in 0..count {
            let signing = SigningKey::generate(&mut rng());
            let name = format!("many-{n}").parse().unwrap();
            let member = NewMember { name, signing: signing.public(), ..self.founder.member() };
            let join = Join { member, invite: invite.public() };
            let entry = self.entry(Body::Join(join), &[&invite, &signing]);
            self.learn(entry);
        }
    }

    pub async fn login(&self, broker: &Broker, keys: &Keys) -> Link {
        self.try_login(broker, keys).await.unwrap()
    }

    pub async fn try_login(&self, broker: &Broker, keys: &Keys) -> Result<Link, GoAway> {
        self.try_login_showing(broker, keys, None).await
    }

    /// Logs in with a mark.
    pub async fn try_login_showing(
        &self,
        broker: &Broker,
        keys: &Keys,
        mark: Option<Mark>,
    ) -> Result<Link, GoAway> {
        let dialled = Dialled::dial(broker).await;
        let hello = MemberHello { mark, ..self.member_hello(broker, &dialled.challenge, keys) };
        dialled.login_with(Hello::Member(hello), &keys.signing, &self.log).await
    }

    pub fn member_hello(&self, broker: &Broker, challenge: &Challenge, keys: &Keys) -> MemberHello {
        let head = self.roster.head();
        MemberHello {
            nonce: challenge.nonce,
            url: broker.url.clone(),
            mesh: self.id(),
            node: keys.id(),
            head,
            version: 0,
            features: Features::needed(),
            progress: ahead(),
            mark: None,
        }
    }

    pub async fn enter(&self, broker: &Broker, key: &SigningKey) -> Link {
        self.try_enter(broker, key).await.unwrap()
    }

    pub async fn try_enter(&self, broker: &Broker, key: &SigningKey) -> Result<Link, GoAway> {
        self.try_enter_with(broker, key, |_| None).await
    }

    /// Enters with a proof made for this nonce.
    pub async fn try_enter_with(
        &self,
        broker: &Broker,
        key: &SigningKey,
        prove: impl FnOnce(&[u8; 32]) -> Option<CreationProof>,
    ) -> Result<Link, GoAway> {
        let dialled = Dialled::dial(broker).await;
        let hello = EnteringHello {
            nonce: dialled.challenge.nonce,
            url: broker.url.clone(),
            mesh: self.id(),
            key: key.public(),
            version: 0,
            features: Features::needed(),
            creation: prove(&dialled.challenge.nonce),
        };
        dialled.login(Hello::Entering(hello), key).await
    }
}
