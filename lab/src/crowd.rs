//! A mesh of many members that are seen as online and are no nodes: what a thousand look like to one node, at a cost that a
//! test can bear. Each has true keys, a link of its own, and a record of presence bound to its lease.

use std::net::SocketAddr;
use std::sync::Arc;

use waxwing_crypto::NodeId;
use waxwing_crypto::membership::InviteToken;
use waxwing_protocol::link::{Bye, Change, ChangeOutcome, SpaceWrite, ToBroker, ToNode};

use crate::bench::now;
use crate::error::{Error, Result};
use crate::members::{self, Founded, Member};
use crate::raw::Link;
use crate::records::Writer;

/// A mesh, and who is in it.
#[derive(Debug)]
pub struct Crowd {
    url: String,
    broker: SocketAddr,
    mesh: Founded,
}

/// One of them, with a link.
#[derive(Debug)]
pub struct Present {
    crowd: Arc<Crowd>,
    n: usize,
    link: Link,
}

/// One of them, without.
#[derive(Debug)]
pub struct Away {
    crowd: Arc<Crowd>,
    n: usize,
}

/// The only number of a request on a link, but for that of a goodbye.
const REQUEST: u64 = 1;

impl Crowd {
    /// Founds a mesh of so many members on the broker at this URL. None of them is there yet.
    ///
    /// # Errors
    /// If the broker does not take it.
    pub async fn found(url: &str, count: usize) -> Result<Arc<Self>> {
        let broker = url.strip_prefix("ws://").and_then(|address| address.parse().ok());
        let broker = broker.ok_or_else(|| wrong(&format!("{url} is no address")))?;
        let mesh = members::found(broker, count, now()).await?;
        Ok(Arc::new(Self { url: url.to_owned(), broker, mesh }))
    }

    /// An invite for true nodes.
    ///
    /// # Errors
    /// If the URL is too long for one.
    pub fn token(&self) -> Result<String> {
        let mesh = self.member(0).mesh;
        let token = InviteToken::new(&self.url, mesh, self.mesh.invite.clone(), None);
        token.map(|token| token.reveal().to_string()).map_err(|error| wrong(&error.to_string()))
    }

    /// Lets a member log in and say that it is there. Once each.
    ///
    /// # Errors
    /// If the broker does not take it.
    pub async fn arrive(self: &Arc<Self>, n: usize) -> Result<Present> {
        let member = self.member(n);
        let Member { mesh, head, key, .. } = member;
        let mut present = Away { crowd: Arc::clone(self), n }.back().await?;
        let life = present.link.store;
        let writer = Writer { mesh: *mesh, keys: &self.mesh.keys, log_seq: head.seq, life, key };
        let (space, put) = writer.presence(1, '0')?;
        let write = SpaceWrite { req: REQUEST, space, changes: vec![Change::Put(put)] };
        present.link.transmit(&ToBroker::SpaceWrite(write)).await?;
        let outcomes = |frame| {
            let ToNode::SpaceWritten(written) = frame else { return None };
            Some(written.outcomes)
        };
        match present.answer(outcomes).await?[..] {
            [ChangeOutcome::Applied { .. }] => Ok(present),
            _ => Err(wrong("the presence of a member was not taken")),
        }
    }

    fn member(&self, n: usize) -> &Member {
        &self.mesh.members[n]
    }
}

impl Present {
    /// Its id.
    pub fn node(&self) -> NodeId {
        self.crowd.member(self.n).node
    }

    /// Listens, and answers pings, until the link ends.
    pub async fn listens(&mut self) {
        while self.link.receive::<ToNode>().await.is_ok() {}
    }

    /// Its link is lost, without a word.
    pub fn cut(self) -> Away {
        Away { crowd: self.crowd, n: self.n }
    }

    /// It says goodbye, and goes.
    ///
    /// # Errors
    /// If the link was lost before the answer.
    pub async fn says_goodbye(mut self) -> Result<()> {
        self.link.transmit(&ToBroker::Bye(Bye { req: REQUEST + 1 })).await?;
        self.answer(|frame| matches!(frame, ToNode::Done(done) if done.req == REQUEST + 1).then_some(()))
            .await
    }

    /// The first frame to come of which `pick` makes something.
    async fn answer<T>(&mut self, pick: impl Fn(ToNode) -> Option<T>) -> Result<T> {
        loop {
            if let Some(picked) = pick(self.link.receive().await?) {
                return Ok(picked);
            }
        }
    }
}

impl Away {
    /// It logs in again.
    ///
    /// # Errors
    /// If the broker refuses.
    pub async fn back(self) -> Result<Present> {
        let link = self.crowd.member(self.n).login(self.crowd.broker).await?;
        Ok(Present { crowd: self.crowd, n: self.n, link })
    }
}

fn wrong(what: &str) -> Error {
    Error::Unreadable(format!("a crowd: {what}"))
}
