//! An entering link: one that may only read the log and append one entry.

use std::time::Duration;

use tokio::time::sleep;
use waxwing_crypto::membership::{Genesis, LogHead, Roster, SignedEntry};
use waxwing_crypto::{CreationToken, Error as CryptoError, MeshId, SigningKey, Timestamp};
use waxwing_protocol::BrokerUrl;
use waxwing_protocol::link::{Challenge, Code, EnteringHello, ErrorFrame, Features, Hello};

use super::dial::{self, Answer, Connection, DialError};
use super::refused;
use super::simple::Unanswered;
use crate::error::{Error, Result};

/// Pauses before a broker that did not answer is dialled again.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// A link that may only read the log and append one entry.
pub(crate) struct Entering(Connection);

/// Why an entering link did not get what it asked for.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The log has moved on.
    Conflict,
    /// For good.
    Denied(ErrorFrame),
    /// Nothing is known: the link broke.
    Lost(DialError),
}

impl Refused {
    pub(crate) fn into_error(self, broker: &BrokerUrl) -> Error {
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
    pub(crate) async fn found(
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
        let connection = login(broker, hello, key).await.map_err(|error| {
            // No mesh is missed here: it is the token that is.
            if let Error::NoSuchMesh(why) = error { Error::NotAuthorised(why) } else { error }
        })?;
        let (entry, roster) = founded?;
        Ok((Self(connection), entry, roster.mesh()))
    }

    pub(crate) async fn dial(broker: &BrokerUrl, mesh: MeshId, key: &SigningKey) -> Result<Self> {
        Self::dial_with(broker, mesh, key, None).await
    }

    /// Dials after a link was lost before its answer came: a broker that restarts is given the time for it.
    pub(crate) async fn dial_again(
        broker: &BrokerUrl,
        mesh: MeshId,
        key: &SigningKey,
        creation: Option<&CreationToken>,
    ) -> Result<Self> {
        for pause in PAUSES {
            match Self::dial_with(broker, mesh, key, creation).await {
                Err(Error::Unreachable { .. }) => sleep(pause).await,
                dialled => return dialled,
            }
        }
        Self::dial_with(broker, mesh, key, creation).await
    }

    async fn dial_with(
        broker: &BrokerUrl,
        mesh: MeshId,
        key: &SigningKey,
        creation: Option<&CreationToken>,
    ) -> Result<Self> {
        let hello = |challenge: &Challenge, version| {
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
        Ok(Self(connection))
    }

    /// The broker's time at the login.
    pub(crate) const fn clock(&self) -> Timestamp {
        self.0.welcome.clock
    }

    /// Where the broker's log ends; none if it holds no such mesh.
    pub(crate) const fn head(&self) -> Option<LogHead> {
        self.0.welcome.head
    }

    /// Whether the mesh waits for an admin's `resume`: then its log takes no other entry.
    pub(crate) const fn waits(&self) -> bool {
        self.0.welcome.waits
    }

    /// The broker's log after a place.
    pub(crate) async fn log(&mut self, after: u64) -> Result<Vec<SignedEntry>, Refused> {
        Ok(self.0.log_after(after).await?)
    }

    /// Appends the one entry.
    pub(crate) async fn append(&mut self, entry: &SignedEntry) -> Result<(), Refused> {
        Ok(self.0.append(entry).await?)
    }
}

impl From<Unanswered> for Refused {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Denied(error) if error.code == Code::LogConflict => Self::Conflict,
            Unanswered::Denied(error) => Self::Denied(error),
            Unanswered::Lost(error) => Self::Lost(error),
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
