//! An entering link: one that may only read the log and append one entry.

use tokio::time::sleep;
use waxwing_crypto::membership::{Genesis, Roster, SignedEntry};
use waxwing_crypto::{CreationToken, Error as CryptoError, MeshId, SigningKey};
use waxwing_protocol::BrokerUrl;
use waxwing_protocol::link::{
    Challenge, Code, EnteringHello, ErrorFrame, Features, Hello, Log, LogAppend, LogGet, ToBroker, ToNode,
};

use crate::error::{Error, Result};
use crate::link::dial::{self, Answer, Connection, DialError};
use crate::link::{pause, refused};

/// Attempts at one request, while the broker wants to be asked later.
const ATTEMPTS: usize = 5;

/// A link that may only read the log and append one entry.
pub(super) struct Entering {
    pub(super) connection: Connection,
    next: u64,
}

/// Why an entering link did not get what it asked for.
pub(super) enum Refused {
    /// The log has moved on.
    Conflict,
    /// For good.
    Denied(ErrorFrame),
    /// Nothing is known: the link broke.
    Lost(DialError),
}

impl Refused {
    pub(super) fn into_error(self, broker: &BrokerUrl) -> Error {
        match self {
            Self::Conflict => {
                Error::Unreachable { url: broker.dialled(), cause: "the log keeps changing".into() }
            }
            Self::Denied(ErrorFrame { code: Code::NotAllowed, detail, .. }) => Error::NotAuthorised(detail),
            Self::Denied(ErrorFrame { code: Code::RateLimited, detail, .. }) => {
                Error::Unreachable { url: broker.dialled(), cause: detail }
            }
            Self::Denied(ErrorFrame { code: Code::ResumeWanted, detail, .. }) => {
                Error::Unreachable { url: broker.dialled(), cause: detail }
            }
            Self::Denied(error) => Error::Incompatible(error.detail),
            Self::Lost(error) => dial_error(broker, error),
        }
    }
}

fn dial_error(broker: &BrokerUrl, error: DialError) -> Error {
    match error {
        DialError::GoAway(goaway) if goaway.again.is_none() => refused(&goaway),
        DialError::Untrusted(cause) => Error::Untrusted { url: broker.dialled(), cause },
        DialError::Incompatible(why) | DialError::Unsupported(why) => Error::Incompatible(why),
        error @ (DialError::GoAway(_) | DialError::Unreachable(_)) => {
            Error::Unreachable { url: broker.dialled(), cause: error.to_string() }
        }
    }
}

impl Entering {
    /// Founds a mesh and logs in to it. The log's time is the broker's, so the genesis is made when the challenge has
    /// told it.
    pub(super) async fn found(
        broker: &BrokerUrl,
        genesis: Genesis,
        key: &SigningKey,
        creation: Option<&CreationToken>,
    ) -> Result<(Self, SignedEntry, MeshId)> {
        let mut founded = Err(CryptoError::Malformed("genesis"));
        let hello = |challenge: &Challenge, version| {
            founded = Roster::found(challenge.clock, genesis, key);
            let mesh = founded.as_ref().map_or(MeshId::from_bytes([0; 16]), |(_, roster)| roster.mesh());
            Hello::Entering(EnteringHello {
                nonce: challenge.nonce,
                url: broker.dialled(),
                mesh,
                key: key.public(),
                version,
                features: Features::needed(),
                creation: creation.map(|token| token.prove(&challenge.nonce, mesh)),
            })
        };
        let connection = login(broker, hello, key).await?;
        let (entry, roster) = founded?;
        Ok((Self { connection, next: 1 }, entry, roster.mesh()))
    }

    pub(super) async fn dial(broker: &BrokerUrl, mesh: MeshId, key: &SigningKey) -> Result<Self> {
        let hello = |challenge: &Challenge, version| {
            Hello::Entering(EnteringHello {
                nonce: challenge.nonce,
                url: broker.dialled(),
                mesh,
                key: key.public(),
                version,
                features: Features::needed(),
                creation: None,
            })
        };
        let connection = login(broker, hello, key).await?;
        Ok(Self { connection, next: 1 })
    }

    /// Every entry after one.
    pub(super) async fn log(&mut self, after: u64) -> Result<Vec<SignedEntry>, Refused> {
        let mut entries: Vec<SignedEntry> = Vec::new();
        loop {
            let after = after + entries.len() as u64;
            let page = self.call(|req| ToBroker::LogGet(LogGet { req, after })).await?;
            let head = page.head.map_or(0, |head| head.seq);
            let got = page.entries.len() as u64;
            entries.extend(page.entries);
            if got == 0 || after + got >= head {
                return Ok(entries);
            }
        }
    }

    pub(super) async fn append(&mut self, entry: &SignedEntry) -> Result<(), Refused> {
        self.call(|req| ToBroker::LogAppend(LogAppend { req, entry: entry.clone() })).await.map(|_| ())
    }

    /// Asks, again and again while the broker wants to be asked later.
    async fn call(&mut self, request: impl Fn(u64) -> ToBroker) -> Result<Log, Refused> {
        for _ in 1..ATTEMPTS {
            match self.ask(&request).await {
                Err(Refused::Denied(ErrorFrame { code: Code::RateLimited, after, .. })) => {
                    sleep(pause(after)).await;
                }
                answer => return answer,
            }
        }
        self.ask(&request).await
    }

    async fn ask(&mut self, request: impl Fn(u64) -> ToBroker) -> Result<Log, Refused> {
        let req = self.next;
        self.next += 1;
        let socket = &mut self.connection.socket;
        dial::send(socket, &request(req)).await.map_err(Refused::Lost)?;
        loop {
            match dial::receive::<ToNode>(socket).await.map_err(Refused::Lost)? {
                ToNode::Log(log) if log.req == Some(req) => return Ok(log),
                ToNode::Error(error) if error.code == Code::LogConflict => return Err(Refused::Conflict),
                ToNode::Error(error) => return Err(Refused::Denied(error)),
                ToNode::GoAway(goaway) => return Err(Refused::Lost(DialError::GoAway(goaway))),
                // Pushed to everybody: the pages asked for have it too.
                ToNode::Log(_)
                | ToNode::Sent(_)
                | ToNode::Deliver(_)
                | ToNode::Done(_)
                | ToNode::QueueShown(_)
                | ToNode::MeshNotice(_)
                | ToNode::Prekeys(_) => {}
            }
        }
    }
}

/// Logs in as entering. Such a link is never asked for a log.
async fn login(
    broker: &BrokerUrl,
    hello: impl FnOnce(&Challenge, u32) -> Hello,
    key: &SigningKey,
) -> Result<Connection> {
    match dial::dial(broker, hello, key).await {
        Ok(Answer::Welcome(connection)) => Ok(connection),
        Ok(Answer::LogWanted(_)) => {
            Err(Error::Incompatible("the broker asks a newcomer for the log of the mesh".into()))
        }
        Err(error) => Err(dial_error(broker, error)),
    }
}
