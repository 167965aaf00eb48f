//! A real broker on port 0 in a temporary folder, a mesh with real keys, and raw links to it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use getrandom::SysRng;
use rand_core::UnwrapErr;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use waxwing_broker::{Clock, Config};
use waxwing_crypto::membership::{
    Body, Genesis, InviteSeed, Join, Leave, NewInvite, NewMember, RecoverySecret, Revoke, Role, Roster,
    SignedEntry, Target,
};
use waxwing_crypto::state_key::{SealedStateKeys, StateKeys};
use waxwing_crypto::{
    Digest, Fingerprint, MeshId, NodeId, Priority, Receipt, SealingKey, SealingPublicKey, SigningKey,
    Timestamp, WireId,
};
use waxwing_protocol::link::{
    Challenge, Deliver, Delivery, EnteringHello, Envelope, ErrorFrame, Frame, GoAway, Hello, LogAppend,
    LogGet, MemberHello, Notice, NoticeKind, Outcome, SUBPROTOCOL, Send, SendItem, Sent, Settle, Settlement,
    ToBroker, ToBrokerLogin, ToNode, ToNodeLogin, Welcome, decode, encode,
};

/// Everything here takes milliseconds; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}

/// A broker under test.
pub struct Broker {
    pub url: String,
    pub addr: SocketAddr,
    pub dir: Arc<TempDir>,
    pub clock: TestClock,
    config: Config,
    stop: oneshot::Sender<()>,
    running: JoinHandle<waxwing_broker::Result<()>>,
}

/// The system's clock, and what a test adds to it.
#[derive(Clone, Default)]
pub struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub fn now(&self) -> Timestamp {
        Clock::system().now().plus(Duration::from_millis(self.0.load(Ordering::SeqCst)))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Broker {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let clock = TestClock::default();
        let mut config = Config::new(dir.path());
        let told = clock.clone();
        config.clock = Clock::new(move || told.now());
        change(&mut config);
        Self::run(config, dir, clock).await
    }

    async fn run(config: Config, dir: Arc<TempDir>, clock: TestClock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { drop(stopped.await) };
        let broker = waxwing_broker::run(config.clone(), listener, shutdown);
        let running = tokio::spawn(async move {
            let ended = broker.await;
            if let Err(err) = &ended {
                eprintln!("the broker stopped: {err}");
            }
            ended
        });
        Self { url: format!("ws://{addr}"), addr, dir, clock, config, stop, running }
    }

    /// Waits until it serves.
    pub async fn ready(&self) {
        Dialled::dial(self).await;
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Stops it, and waits until it has stopped.
    pub async fn stop(self) -> (Config, Arc<TempDir>, TestClock) {
        drop(self.stop);
        timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
        (self.config, self.dir, self.clock)
    }

    /// How it ended by itself.
    pub async fn ended(self) -> waxwing_broker::Result<()> {
        self.running.await.unwrap()
    }

    /// Stops it, and starts another on the same folder.
    pub async fn restart(self) -> Self {
        let (config, dir, clock) = self.stop().await;
        Self::run(config, dir, clock).await
    }
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
        Self { roster, genesis, founder, recovery, invite, state_keys, clock: clock.clone() }
    }

    /// Founds a mesh on a broker, with an invite for many.
    pub async fn found(broker: &Broker) -> Self {
        let mut mesh = Self::new(&broker.clock);
        let mut link = mesh.enter(broker, &mesh.founder.signing).await;
        link.append(&mesh.genesis).await.unwrap();
        let invite = mesh.invite_entry(1_000, Duration::from_secs(3_600));
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

    /// Appends an entry over the founder's link.
    pub async fn commit(&mut self, broker: &Broker, entry: SignedEntry) {
        let mut link = self.login(broker, &self.founder).await;
        link.append(&entry).await.unwrap();
        self.roster.apply(&entry).unwrap();
    }

    /// Adds a node.
    pub async fn join(&mut self, broker: &Broker, name: &'static str) -> Keys {
        let keys = Keys::new(name);
        self.commit(broker, self.join_entry(&keys)).await;
        keys
    }

    pub async fn login(&self, broker: &Broker, keys: &Keys) -> Link {
        self.try_login(broker, keys).await.unwrap()
    }

    pub async fn try_login(&self, broker: &Broker, keys: &Keys) -> Result<Link, GoAway> {
        let dialled = Dialled::dial(broker).await;
        let hello = Hello::Member(self.member_hello(broker, &dialled.challenge, keys));
        dialled.login(hello, &keys.signing).await
    }

    pub fn member_hello(&self, broker: &Broker, challenge: &Challenge, keys: &Keys) -> MemberHello {
        let head = self.roster.head();
        MemberHello {
            nonce: challenge.nonce,
            url: broker.url.clone(),
            mesh: self.id(),
            node: keys.id(),
            head,
        }
    }

    pub async fn enter(&self, broker: &Broker, key: &SigningKey) -> Link {
        self.try_enter(broker, key).await.unwrap()
    }

    pub async fn try_enter(&self, broker: &Broker, key: &SigningKey) -> Result<Link, GoAway> {
        let dialled = Dialled::dial(broker).await;
        let hello = EnteringHello {
            nonce: dialled.challenge.nonce,
            url: broker.url.clone(),
            mesh: self.id(),
            key: key.public(),
        };
        dialled.login(Hello::Entering(hello), key).await
    }
}

type Socket = WebSocketStream<TcpStream>;

/// A connection that has been challenged.
pub struct Dialled {
    pub socket: Socket,
    pub challenge: Challenge,
}

impl Dialled {
    pub async fn dial(broker: &Broker) -> Self {
        let mut socket = dial(broker).await;
        let ToNodeLogin::Challenge(challenge) = receive(&mut socket).await.unwrap() else {
            panic!("no challenge")
        };
        Self { socket, challenge }
    }

    pub async fn login(mut self, hello: Hello, key: &SigningKey) -> Result<Link, GoAway> {
        let signed = hello.sign(key).unwrap();
        transmit(&mut self.socket, &ToBrokerLogin::Hello(signed)).await;
        match receive(&mut self.socket).await.unwrap() {
            ToNodeLogin::Welcome(welcome) => {
                Ok(Link { socket: self.socket, welcome, stash: VecDeque::new(), req: 0 })
            }
            ToNodeLogin::GoAway(goaway) => Err(goaway),
            ToNodeLogin::Challenge(_) => panic!("a second challenge"),
        }
    }
}

pub async fn dial(broker: &Broker) -> Socket {
    let stream = TcpStream::connect(broker.addr).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut request = format!("{}/v1/link", broker.url).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().unwrap());
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], SUBPROTOCOL);
    socket
}

pub async fn transmit(socket: &mut Socket, frame: &impl Frame) {
    socket.send(Message::Binary(encode(frame).unwrap())).await.unwrap();
}

/// The next frame, or none if the broker has closed.
pub async fn receive<F: Frame>(socket: &mut Socket) -> Option<F> {
    timeout(PATIENCE, next(socket)).await.expect("the broker says nothing")
}

async fn next<F: Frame>(socket: &mut Socket) -> Option<F> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => return Some(decode(&bytes).unwrap()),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
            Some(Ok(other)) => panic!("{other:?}"),
        }
    }
}

/// A link that has logged in. Frames that a step does not wait for are kept for later ones.
pub struct Link {
    pub socket: Socket,
    pub welcome: Welcome,
    stash: VecDeque<ToNode>,
    req: u64,
}

impl Link {
    pub async fn transmit(&mut self, frame: &ToBroker) {
        transmit(&mut self.socket, frame).await;
    }

    pub async fn raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    pub fn next_req(&mut self) -> u64 {
        self.req += 1;
        self.req
    }

    /// The first frame, kept or to come, of which `pick` makes something.
    pub async fn wait_for<T>(&mut self, mut pick: impl FnMut(&ToNode) -> Option<T>) -> T {
        for index in 0..self.stash.len() {
            if let Some(picked) = pick(&self.stash[index]) {
                self.stash.remove(index);
                return picked;
            }
        }
        loop {
            let frame: ToNode = receive(&mut self.socket).await.expect("the broker has closed");
            match pick(&frame) {
                Some(picked) => return picked,
                None => self.stash.push_back(frame),
            }
        }
    }

    pub async fn send(&mut self, items: Vec<SendItem>) -> Vec<Outcome> {
        let req = self.post(items).await;
        self.sent(req).await
    }

    /// Sends, without waiting for the outcomes.
    pub async fn post(&mut self, items: Vec<SendItem>) -> u64 {
        let req = self.next_req();
        self.transmit(&ToBroker::Send(Send { req, items })).await;
        req
    }

    pub async fn sent(&mut self, req: u64) -> Vec<Outcome> {
        self.wait_for(|frame| match frame {
            ToNode::Sent(sent) if sent.req == req => Some(sent.outcomes.clone()),
            _ => None,
        })
        .await
    }

    /// The next answer to a send, whichever it is.
    pub async fn next_sent(&mut self) -> Sent {
        self.wait_for(|frame| match frame {
            ToNode::Sent(sent) => Some(sent.clone()),
            _ => None,
        })
        .await
    }

    /// Deliveries, which must be notices, until there are so many.
    pub async fn until_notices(&mut self, count: usize) -> Vec<Notice> {
        let mut notices = Vec::new();
        while notices.len() < count {
            for item in self.deliver().await.items {
                let Delivery::Notice(notice) = item else { panic!("{item:?}") };
                notices.push(notice);
            }
        }
        notices
    }

    /// Deliveries, which must be envelopes, until there are so many.
    pub async fn until_envelopes(&mut self, count: usize) -> Vec<Delivery> {
        let mut items = Vec::new();
        while items.len() < count {
            items.extend(self.deliver().await.items);
        }
        assert_eq!(envelopes(&items).len(), count);
        items
    }

    /// Whether a frame of this kind has come that nobody has waited for.
    fn has(&self, is: impl Fn(&ToNode) -> bool) -> bool {
        self.stash.iter().any(is)
    }

    pub fn has_deliver(&self) -> bool {
        self.has(|frame| matches!(frame, ToNode::Deliver(_)))
    }

    pub fn has_envelope(&self) -> bool {
        self.has(|frame| matches!(frame, ToNode::Deliver(deliver) if !envelopes(&deliver.items).is_empty()))
    }

    pub fn has_notice(&self) -> bool {
        self.has(|frame| match frame {
            ToNode::Deliver(deliver) => deliver.items.iter().any(|item| matches!(item, Delivery::Notice(_))),
            _ => false,
        })
    }

    pub fn has_sent(&self) -> bool {
        self.has(|frame| matches!(frame, ToNode::Sent(_)))
    }

    /// Waits until the broker has closed.
    pub async fn is_closed(&mut self) {
        assert!(receive::<ToNode>(&mut self.socket).await.is_none());
    }

    /// Settles on a link that may be closed by now.
    pub async fn try_settle(&mut self, through: u64, items: Vec<Settlement>) {
        let frame = encode(&ToBroker::Settle(Settle { through, items })).unwrap();
        drop(self.socket.send(Message::Binary(frame)).await);
    }

    /// Sends on a link that may be closed by now.
    pub async fn try_send(&mut self, items: Vec<SendItem>) {
        let frame = encode(&ToBroker::Send(Send { req: 1, items })).unwrap();
        drop(self.socket.send(Message::Binary(frame)).await);
    }

    pub async fn send_one(&mut self, item: SendItem) -> Outcome {
        self.send(vec![item]).await[0]
    }

    pub async fn deliver(&mut self) -> Deliver {
        self.wait_for(|frame| match frame {
            ToNode::Deliver(deliver) => Some(deliver.clone()),
            _ => None,
        })
        .await
    }

    /// What is delivered until the tail, without settling.
    pub async fn until_tail(&mut self) -> Vec<Delivery> {
        let mut items = Vec::new();
        loop {
            let deliver = self.deliver().await;
            items.extend(deliver.items);
            if deliver.tail {
                return items;
            }
        }
    }

    /// The next envelope.
    pub async fn envelope(&mut self) -> Envelope {
        loop {
            let deliver = self.deliver().await;
            match &deliver.items[..] {
                [] => {}
                [Delivery::Envelope(envelope)] => return envelope.clone(),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next notice.
    pub async fn notice(&mut self) -> Notice {
        loop {
            let deliver = self.deliver().await;
            match &deliver.items[..] {
                [] => {}
                [Delivery::Notice(notice)] => return notice.clone(),
                other => panic!("{other:?}"),
            }
        }
    }

    pub async fn settle(&mut self, through: u64, items: Vec<Settlement>) {
        self.transmit(&ToBroker::Settle(Settle { through, items })).await;
    }

    /// Settles one frame with receipts.
    pub async fn receipt(&mut self, items: &[Delivery]) {
        let Some(last) = items.last() else { return };
        let receipts = items.iter().filter_map(|item| match item {
            Delivery::Envelope(envelope) => Some(Settlement::Receipt(receipt(&envelope.id))),
            Delivery::Notice(_) => None,
        });
        self.settle(last.number(), receipts.collect()).await;
    }

    pub async fn append(&mut self, entry: &SignedEntry) -> Result<waxwing_protocol::link::Log, ErrorFrame> {
        let req = self.next_req();
        self.transmit(&ToBroker::LogAppend(LogAppend { req, entry: entry.clone() })).await;
        self.log(req).await
    }

    pub async fn log_get(&mut self, after: u64) -> waxwing_protocol::link::Log {
        let req = self.next_req();
        self.transmit(&ToBroker::LogGet(LogGet { req, after })).await;
        self.log(req).await.unwrap()
    }

    async fn log(&mut self, req: u64) -> Result<waxwing_protocol::link::Log, ErrorFrame> {
        self.wait_for(|frame| match frame {
            ToNode::Log(log) if log.req == Some(req) => Some(Ok(log.clone())),
            ToNode::Error(error) if error.req == Some(req) => Some(Err(error.clone())),
            _ => None,
        })
        .await
    }

    pub async fn error(&mut self) -> ErrorFrame {
        self.wait_for(|frame| match frame {
            ToNode::Error(error) => Some(error.clone()),
            _ => None,
        })
        .await
    }

    pub async fn goaway(&mut self) -> GoAway {
        self.wait_for(|frame| match frame {
            ToNode::GoAway(goaway) => Some(goaway.clone()),
            _ => None,
        })
        .await
    }

    /// Asks something, and waits for the answer: whatever was handed over before has been read by then.
    pub async fn round_trip(&mut self) {
        self.log_get(u64::MAX).await;
    }
}

/// An item with a wire id and body made from a number.
pub fn item(clock: &TestClock, to: &Keys, n: u32) -> SendItem {
    SendItem {
        to: to.id(),
        id: wire(n),
        fp: Fingerprint::from_bytes([n as u8; 32]),
        pri: Priority::Next,
        exp: clock.now().plus(Duration::from_secs(7 * 24 * 60 * 60)),
        seal: 0,
        first: false,
        env: Bytes::from(format!("envelope {n}")),
    }
}

pub fn wire(n: u32) -> WireId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    WireId::from_bytes(bytes)
}

pub fn receipt(id: &WireId) -> Receipt {
    Receipt::from_bytes(*id.as_bytes())
}

pub fn delivered(id: WireId) -> NoticeKind {
    NoticeKind::Delivered { receipt: receipt(&id) }
}

/// The envelopes among deliveries.
pub fn envelopes(items: &[Delivery]) -> Vec<&Envelope> {
    items
        .iter()
        .filter_map(|item| match item {
            Delivery::Envelope(envelope) => Some(envelope),
            Delivery::Notice(_) => None,
        })
        .collect()
}
