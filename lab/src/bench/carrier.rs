//! A broker, and members on raw links to it: mail carried with no node's disk in the way. Envelopes are noise of the size that a
//! message takes.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use getrandom::SysRng;
use rand_core::{Rng as _, UnwrapErr};
use tokio::time::Instant;
use waxwing_crypto::{Fingerprint, NodeId, Priority, Receipt, Timestamp, WireId};
use waxwing_protocol::link::{
    Deliver, Delivery, Outcome, Send, SendItem, Settle, Settlement, ToBroker, ToNode,
};

use super::{Progress, now};
use crate::error::{Error, Result};
use crate::members::{self, Member};
use crate::process::Process;
use crate::raw::Link;

/// Bytes of an envelope: what a message of 1 KiB takes once it is sealed.
const ENVELOPE: usize = 1_400;
/// Items of one frame.
const FRAME: usize = 256;
/// Frames under way: a full window.
const FRAMES: usize = 4;
/// Envelopes that wait for one absent member. Usual queues take 100,000.
pub(super) const QUEUE: usize = 100_000;

/// A broker with members.
pub(super) struct Carrier {
    pub(super) broker: Process,
    addr: SocketAddr,
    /// Founder, recipient, filler, and those who are away.
    members: Vec<Member>,
    /// The file of its store, if it is in one.
    pub(super) store: PathBuf,
}

impl Carrier {
    /// Starts a broker in a folder, on a database server if one is named, with so many members who are away.
    pub(super) async fn start(
        program: &Path,
        folder: &Path,
        name: &str,
        away: usize,
        database: Option<&str>,
    ) -> Result<Self> {
        let (config, data) = (folder.join(format!("{name}.toml")), folder.join(name));
        // The limits on speed are for nodes; here the broker itself is asked.
        let database = database.map(|url| format!("database = {url:?}\n")).unwrap_or_default();
        let limits = "[limits]\nsend_items = 1000000\nsend_items_burst = 1000000\nsend_bytes = 4294967296\n\
                    send_bytes_burst = 4294967296\n";
        // It may have a password in it.
        let file = File::options().write(true).create_new(true).mode(0o600).open(&config);
        let written = file.and_then(|mut file| file.write_all(format!("{database}{limits}").as_bytes()));
        written.map_err(Error::io("writing a configuration"))?;
        let mut words: Vec<OsString> = vec![program.into()];
        words.extend(["--json", "broker", "run", "--listen", "127.0.0.1:0"].map(OsString::from));
        words.extend(["--config".into(), config.into(), "--data".into(), data.clone().into()]);
        let mut broker = Process::new(name, words, folder.join(format!("{name}.log")));
        let ready = broker.start().await?;
        let addr = ready["url"].as_str().and_then(|url| url.strip_prefix("ws://")?.parse().ok());
        let addr = addr.ok_or_else(|| Error::Unreadable(format!("no address in {ready}")))?;
        let members = members::found(addr, 3 + away, now()).await?.members;
        Ok(Self { broker, addr, members, store: data.join("broker.db") })
    }

    /// Queues mail for members who are away.
    pub(super) async fn fill(&mut self, count: usize, progress: &impl Progress) -> Result<()> {
        let mut link = self.members[2].login(self.addr).await?;
        let mut done = 0;
        for absent in &self.members[3..] {
            let share = QUEUE.min(count - done);
            let mut sending = Sending::new(absent.node(), share);
            while !sending.is_answered() {
                sending.step(&mut link).await?;
                progress.done((done + sending.answered) as u64);
            }
            done += share;
        }
        Ok(())
    }

    /// Carries messages from one member to another. Returns how many per second.
    pub(super) async fn carry(&mut self, count: usize) -> Result<f64> {
        let mut from = self.members[0].login(self.addr).await?;
        let mut to = self.members[1].login(self.addr).await?;
        let mut sending = Sending::new(self.members[1].node(), count);
        let began = Instant::now();
        let sender = async {
            while !sending.is_answered() || sending.notices < count {
                sending.step(&mut from).await?;
            }
            Ok::<_, Error>(())
        };
        tokio::try_join!(sender, receive(&mut to, count))?;
        Ok(count as f64 / began.elapsed().as_secs_f64())
    }

    /// Carries messages one at a time. Returns how long each took, from its frame to the notice of its delivery.
    pub(super) async fn carry_singly(&mut self, count: usize) -> Result<Vec<Duration>> {
        let mut from = self.members[0].login(self.addr).await?;
        let mut to = self.members[1].login(self.addr).await?;
        let recipient = self.members[1].node();
        let receiver = tokio::spawn(async move { receive(&mut to, count).await });
        let mut took = Vec::with_capacity(count);
        for _ in 0..count {
            let mut sending = Sending::new(recipient, 1);
            let began = Instant::now();
            while !sending.is_answered() || sending.notices == 0 {
                sending.step(&mut from).await?;
            }
            took.push(began.elapsed());
        }
        receiver.await.map_err(|err| Error::Unreadable(err.to_string()))??;
        Ok(took)
    }
}

/// Messages on their way from one link.
struct Sending {
    to: NodeId,
    count: usize,
    sent: usize,
    answered: usize,
    notices: usize,
    under_way: usize,
    req: u64,
    body: Bytes,
    expires: Timestamp,
}

impl Sending {
    fn new(to: NodeId, count: usize) -> Self {
        let mut body = vec![0; ENVELOPE];
        UnwrapErr(SysRng).fill_bytes(&mut body);
        let expires = now().plus(Duration::from_secs(3_600));
        let (sent, answered, notices, under_way) = (0, 0, 0, 0);
        Self { to, count, sent, answered, notices, under_way, req: 0, body: body.into(), expires }
    }

    const fn is_answered(&self) -> bool {
        self.answered == self.count
    }

    /// Hands over what there is room for, and takes one frame.
    async fn step(&mut self, link: &mut Link) -> Result<()> {
        while self.under_way < FRAMES && self.sent < self.count {
            let items: Vec<_> = (0..FRAME.min(self.count - self.sent)).map(|_| self.item()).collect();
            self.sent += items.len();
            self.under_way += 1;
            self.req += 1;
            link.transmit(&ToBroker::Send(Send { req: self.req, rows: self.req, items })).await?;
        }
        let frame = link.receive::<ToNode>().await?;
        if let ToNode::Deliver(deliver) = &frame {
            self.notices += deliver.items.len();
            return settle(link, deliver).await;
        }
        let ToNode::Sent(sent) = frame else { return unexpected(&frame) };
        if let Some(refused) =
            sent.outcomes.iter().find(|outcome| !matches!(outcome, Outcome::Accepted { .. }))
        {
            return Err(Error::Unreadable(format!("the broker does not accept an item: {refused:?}")));
        }
        self.answered += sent.outcomes.len();
        self.under_way -= 1;
        Ok(())
    }

    fn item(&self) -> SendItem {
        let mut id = [0; 32];
        UnwrapErr(SysRng).fill_bytes(&mut id);
        let mut wire = [0; 16];
        wire.copy_from_slice(&id[..16]);
        SendItem {
            to: self.to,
            id: WireId::from_bytes(wire),
            fp: Fingerprint::from_bytes(id),
            pri: Priority::Next,
            exp: self.expires,
            seal: 0,
            first: false,
            env: self.body.clone(),
        }
    }
}

/// Takes messages, and settles each frame of them.
async fn receive(link: &mut Link, count: usize) -> Result<()> {
    let mut got = 0;
    while got < count {
        let frame = link.receive::<ToNode>().await?;
        if let ToNode::Deliver(deliver) = &frame {
            got += deliver.items.len();
            settle(link, deliver).await?;
        } else {
            unexpected(&frame)?;
        }
    }
    Ok(())
}

async fn settle(link: &mut Link, deliver: &Deliver) -> Result<()> {
    let Some(last) = deliver.items.last() else { return Ok(()) };
    let receipts = deliver.items.iter().filter_map(|item| match item {
        Delivery::Envelope(_) => Some(Settlement::Receipt(Receipt::from_bytes([7; 16]))),
        Delivery::Notice(_) => None,
    });
    let settle = Settle { through: last.number(), items: receipts.collect() };
    link.transmit(&ToBroker::Settle(settle)).await
}

fn unexpected(frame: &ToNode) -> Result<()> {
    match frame {
        ToNode::Error(error) => Err(Error::Unreadable(error.detail.clone())),
        ToNode::GoAway(goaway) => Err(Error::Unreadable(goaway.detail.clone())),
        ToNode::Sent(_)
        | ToNode::Deliver(_)
        | ToNode::Done(_)
        | ToNode::Prekeys(_)
        | ToNode::Log(_)
        | ToNode::MeshNotice(_)
        | ToNode::Keys(_)
        | ToNode::QueueShown(_)
        | ToNode::SpaceWritten(_)
        | ToNode::SpaceChanges(_)
        | ToNode::SpaceOffered(_) => Ok(()),
    }
}
