//! A member's true keys, in the hands of somebody who says with them what he likes.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use getrandom::SysRng;
use rand_core::UnwrapErr;
use waxwing_crypto::membership::{
    Body, InviteSeed, InviteToken, Join, LogHead, NewMember, Roster, SignedEntry,
};
use waxwing_crypto::sealing::{
    CounterRange, Header, Kind, Nack, NackReason, Parties, Plaintext, Prekey, PrekeyId, ReceiptSecret,
    SendingSession,
};
use waxwing_crypto::state_key::StateKeys;
use waxwing_crypto::storage::{StorageKey, StorageKeys};
use waxwing_crypto::{
    Digest, Fingerprint, Name, NodeId, Priority, SealingKey, SigningKey, SpaceId, Timestamp, WireId,
};
use waxwing_protocol::link::{
    Change, ChangeOutcome, Delivery, Envelope, LogAppend, LogGet, Notice, NoticeKind, Outcome, PrekeyGet,
    PrekeyPut, Send, SendItem, Settle, Settlement, SpaceWrite, ToBroker, ToNode,
};

use crate::error::{Error, Result};
use crate::raw::Link;

/// How long what it sends lives.
const LIVES: Duration = Duration::from_secs(3_600);

/// A member that is no node: it does only what a test tells it to.
#[derive(Debug)]
pub struct Member {
    /// Its link.
    pub link: Link,
    /// Its key, with which everything can be signed.
    pub key: SigningKey,
    /// The log as it knows it.
    pub roster: Roster,
    /// The mesh's state keys, as the invite had them.
    pub(super) keys: StateKeys,
    broker: SocketAddr,
    storage: StorageKeys,
    sent: u64,
    /// Requests so far.
    req: u64,
    /// The last delivery settled.
    through: u64,
}

/// A message, and the lies about it.
#[derive(Clone, Debug)]
pub struct Letter {
    /// What is written beside the box as the end of the sender's log.
    pub log: LogHead,
    /// Who the opening says it is from.
    pub from: NodeId,
    /// Who the opening says it is to.
    pub to: NodeId,
    /// Its place in the lane.
    pub counter: u64,
    /// Counters that it says will never come.
    pub void: Vec<CounterRange>,
    /// The app's id.
    pub id: String,
    /// Media type of the body.
    pub content_type: String,
    /// Metadata.
    pub meta: Bytes,
    /// Thread.
    pub thread: Option<String>,
    /// Leave the opening out.
    pub without_opening: bool,
    /// Flip a bit of the box.
    pub damaged: bool,
}

impl Member {
    /// Joins by an invite, logs in, and publishes nothing.
    ///
    /// # Errors
    /// If the broker does not let it in.
    pub async fn join(url: &str, token: &str, name: &str) -> Result<Self> {
        let broker = url.strip_prefix("ws://").and_then(|address| address.parse().ok());
        let broker = broker.ok_or_else(|| wrong(&format!("{url} is no address")))?;
        let token: InviteToken = token.parse().map_err(|_| wrong("a bad token"))?;
        let invite = token.seed().signing_key();
        let mut rng = UnwrapErr(SysRng);
        let (key, sealing) = (SigningKey::generate(&mut rng), SealingKey::generate(&mut rng));
        let mut entering = Link::entering(broker, token.mesh(), &invite).await?;
        let log = log_after(&mut entering, 0).await?;
        let mut roster = Roster::replay(&log).map_err(crypto)?;
        let keys = state_keys(&log, token.seed())?;
        let name: Name = name.parse().map_err(|_| wrong("a bad name"))?;
        let (signing, sealing) = (key.public(), sealing.public().map_err(crypto)?);
        let member = NewMember { name, signing, sealing, host: Digest::from_bytes([0; 32]) };
        let join = Body::Join(Join { member, invite: invite.public() });
        let entry = roster.entry(now(), join).sign(&[&invite, &key]);
        roster.apply(&entry).map_err(crypto)?;
        entering.append(&[entry]).await?;
        let storage = StorageKey::generate(&mut rng).keys();
        let node = key.public().node_id();
        let mut link = Link::member(broker, roster.mesh(), node, roster.head(), &key).await?;
        link.transmit(&ToBroker::Settle(Settle { through: 0, items: Vec::new() })).await?;
        Ok(Self { link, key, roster, keys, broker, storage, sent: 0, req: 100, through: 0 })
    }

    /// Its id.
    pub fn node(&self) -> NodeId {
        self.key.public().node_id()
    }

    /// Logs in again, by which the link before is ended.
    ///
    /// # Errors
    /// If the broker refuses.
    pub async fn login(&mut self) -> Result<()> {
        let head = self.roster.head();
        self.link = Link::member(self.broker, self.roster.mesh(), self.node(), head, &self.key).await?;
        self.through = 0;
        self.link.transmit(&ToBroker::Settle(Settle { through: 0, items: Vec::new() })).await
    }

    /// Publishes a new prekey, whose secret it forgets. `after`: the number of the one before.
    ///
    /// # Errors
    /// If the broker does not take it.
    pub async fn publish(&mut self, after: Option<PrekeyId>) -> Result<PrekeyId> {
        let mut rng = UnwrapErr(SysRng);
        let minted = Prekey::mint(&mut rng, &self.key, self.node(), after, now());
        let (prekey, secret) = minted.map_err(crypto)?;
        let req = self.next_req();
        self.link.transmit(&ToBroker::PrekeyPut(PrekeyPut { req, prekey })).await?;
        self.answer(|frame| matches!(frame, ToNode::Done(done) if done.req == req).then_some(())).await?;
        Ok(secret.id())
    }

    /// A letter without a lie in it.
    pub fn letter(&mut self, to: NodeId) -> Letter {
        self.sent += 1;
        Letter {
            log: self.roster.head(),
            from: self.node(),
            to,
            counter: self.sent,
            void: Vec::new(),
            id: format!("hostile-{}", self.sent),
            content_type: "text/plain".to_owned(),
            meta: Bytes::new(),
            thread: None,
            without_opening: false,
            damaged: false,
        }
    }

    /// Sends a letter to a node. Says what the broker made of it.
    ///
    /// # Errors
    /// If the node has no prekey, or the link is gone.
    pub async fn send(&mut self, to: NodeId, letter: &Letter, seal: u32) -> Result<Outcome> {
        let prekey = self.prekey(to).await?;
        let item = self.sealed(to, letter, seal, &prekey)?;
        let req = self.next_req();
        self.link.transmit(&ToBroker::Send(Send { req, rows: self.sent, items: vec![item] })).await?;
        self.answer(|frame| {
            let ToNode::Sent(sent) = frame else { return None };
            sent.outcomes.first().copied().filter(|_| sent.req == req)
        })
        .await
    }

    fn sealed(&self, to: NodeId, letter: &Letter, seal: u32, prekey: &Prekey) -> Result<SendItem> {
        let mut rng = UnwrapErr(SysRng);
        let parties = Parties { mesh: self.roster.mesh(), from: letter.from, to: letter.to };
        // Whoever it pretends to be for, the key is the recipient's.
        let prekey = Prekey { node: letter.to, ..prekey.clone() };
        let opened =
            SendingSession::open(&mut rng, &self.storage, &self.key, &parties, &prekey, letter.log, now());
        let plaintext = self.plaintext(letter)?;
        let id = self.storage.wire_id(&plaintext.id);
        let (priority, expires) = (Priority::default(), now().plus(LIVES));
        let header = Header { mesh: self.roster.mesh(), from: self.node(), to, id, priority, expires };
        let with_opening = !letter.without_opening;
        let sealed = opened.map_err(crypto)?.seal(&mut rng, &header, &plaintext, now(), with_opening);
        let mut env = sealed.and_then(|sealed| sealed.encode()).map_err(crypto)?.to_vec();
        if letter.damaged
            && let Some(last) = env.last_mut()
        {
            *last ^= 1;
        }
        let fp = Fingerprint::from_bytes([7; 32]);
        Ok(SendItem { to, id, fp, pri: priority, exp: expires, seal, first: true, env: env.into() })
    }

    fn plaintext(&self, letter: &Letter) -> Result<Plaintext> {
        Ok(Plaintext {
            id: letter.id.parse().map_err(|_| wrong("a bad id"))?,
            counter: letter.counter,
            void: letter.void.clone(),
            receipt_secret: ReceiptSecret::from_bytes([7; 16]),
            from_app: None,
            to_app: None,
            kind: Kind::Message,
            content_type: letter.content_type.clone(),
            body: Bytes::from(format!("the body of {}", letter.id)),
            meta: letter.meta.clone(),
            reply_to: None,
            thread: letter.thread.clone(),
            wants_read: false,
            sent_at: now(),
        })
    }

    /// The newest prekey of a node.
    async fn prekey(&mut self, node: NodeId) -> Result<Prekey> {
        let req = self.next_req();
        self.link.transmit(&ToBroker::PrekeyGet(PrekeyGet { req, nodes: vec![node] })).await?;
        let shown = self
            .answer(|frame| {
                let ToNode::Prekeys(shown) = frame else { return None };
                (shown.req == req).then(|| shown.prekeys.first().cloned())
            })
            .await?;
        let signed = shown.and_then(|shown| shown.prekey).ok_or_else(|| wrong("no prekey"))?;
        let signer = self.roster.member(&node).map(|member| member.signing);
        let signer = signer.ok_or_else(|| wrong("no such member"))?;
        Prekey::verify(&signed, node, &signer).map_err(crypto)
    }

    /// Waits until the recipient of what it sent has refused it. Says why.
    ///
    /// # Errors
    /// If the link is gone, or the refusal does not hold.
    pub async fn refusal(&mut self, by: NodeId, id: WireId) -> Result<NackReason> {
        let signed = self
            .answer(|frame| {
                let ToNode::Deliver(deliver) = frame else { return None };
                deliver.items.iter().find_map(|item| match item {
                    Delivery::Notice(Notice { id: of, kind: NoticeKind::Nack { nack }, .. }) if *of == id => {
                        Some(nack.clone())
                    }
                    Delivery::Notice(_) | Delivery::Envelope(_) => None,
                })
            })
            .await?;
        let signer = self.roster.member(&by).map(|member| member.signing);
        let signer = signer.ok_or_else(|| wrong("no such member"))?;
        Nack::verify(&signed, &signer, self.node(), id).map(|nack| nack.reason).map_err(crypto)
    }

    /// The next envelope for it.
    ///
    /// # Errors
    /// If the link is gone.
    pub async fn envelope(&mut self) -> Result<Envelope> {
        let picked = |frame: &ToNode| {
            let ToNode::Deliver(deliver) = frame else { return None };
            deliver.items.iter().find_map(|item| match item {
                Delivery::Envelope(envelope) => Some(envelope.clone()),
                Delivery::Notice(_) => None,
            })
        };
        self.answer(picked).await
    }

    /// Refuses an envelope by a nack that holds, with this for its log.
    ///
    /// # Errors
    /// If the link is gone.
    pub async fn refuse(
        &mut self,
        envelope: &Envelope,
        reason: NackReason,
        log: Option<LogHead>,
    ) -> Result<()> {
        let nack = Nack { to: envelope.from, id: envelope.id, seal: envelope.seal, reason, log };
        let nack = Settlement::Nack(nack.sign(&self.key).map_err(crypto)?);
        self.settle(envelope.n, nack).await
    }

    /// Settles what came up to a number, of which the last is an envelope and all others are notices.
    ///
    /// # Errors
    /// If the link is gone.
    pub async fn settle(&mut self, through: u64, settlement: Settlement) -> Result<()> {
        self.through = through;
        self.link.transmit(&ToBroker::Settle(Settle { through, items: vec![settlement] })).await
    }

    /// Asks the broker to append an entry to the log. Says why it does not, if it does not.
    ///
    /// # Errors
    /// If the link is gone.
    pub async fn append(&mut self, entry: SignedEntry) -> Result<Result<(), String>> {
        let req = self.next_req();
        self.link.transmit(&ToBroker::LogAppend(LogAppend { req, entry })).await?;
        self.answer(|frame| {
            if let ToNode::Error(error) = frame {
                return (error.req == Some(req)).then(|| Err(error.detail.clone()));
            }
            matches!(frame, ToNode::Log(log) if log.req == Some(req)).then_some(Ok(()))
        })
        .await
    }

    /// Asks the broker for changes of a space. Says what became of each.
    ///
    /// # Errors
    /// If the link is gone.
    pub async fn change(&mut self, space: SpaceId, changes: Vec<Change>) -> Result<Vec<ChangeOutcome>> {
        let req = self.next_req();
        self.link.transmit(&ToBroker::SpaceWrite(SpaceWrite { req, space, changes })).await?;
        self.answer(|frame| {
            let ToNode::SpaceWritten(written) = frame else { return None };
            (written.req == req).then(|| written.outcomes.clone())
        })
        .await
    }

    /// An entry for the end of the log, signed with its key, whatever it may do.
    pub fn entry(&self, body: Body) -> SignedEntry {
        self.roster.entry(now(), body).sign(&[&self.key])
    }

    /// What a message of its is called at the broker.
    ///
    /// # Errors
    /// If that is no id.
    pub fn wire_id(&self, id: &str) -> Result<WireId> {
        Ok(self.storage.wire_id(&id.parse().map_err(|_| wrong("a bad id"))?))
    }

    /// The first frame to come of which `pick` makes something. Others are ignored.
    async fn answer<T>(&mut self, pick: impl Fn(&ToNode) -> Option<T>) -> Result<T> {
        loop {
            let frame: ToNode = self.link.receive().await?;
            if let Some(picked) = pick(&frame) {
                return Ok(picked);
            }
            if let ToNode::GoAway(goaway) = frame {
                return Err(wrong(&goaway.detail));
            }
        }
    }

    const fn next_req(&mut self) -> u64 {
        self.req += 1;
        self.req
    }
}

/// The state keys that an invite's entry has for whoever joins by it.
fn state_keys(log: &[SignedEntry], seed: &InviteSeed) -> Result<StateKeys> {
    let key = seed.signing_key().public();
    let sealed = log.iter().find_map(|entry| {
        let Body::Invite(invite) = entry.parse().ok()?.body else { return None };
        (invite.key == key).then_some(invite.state_keys)
    });
    sealed.ok_or_else(|| wrong("no such invite"))?.open(&seed.sealing_key()).map_err(crypto)
}

async fn log_after(link: &mut Link, after: u64) -> Result<Vec<SignedEntry>> {
    link.transmit(&ToBroker::LogGet(LogGet { req: 1, after })).await?;
    let frame = link.receive().await?;
    let ToNode::Log(log) = frame else { return Err(wrong("an answer that is no log")) };
    Ok(log.entries)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn wrong(what: &str) -> Error {
    Error::Unreadable(format!("the hostile member: {what}"))
}

fn crypto(error: waxwing_crypto::Error) -> Error {
    wrong(&error.to_string())
}
