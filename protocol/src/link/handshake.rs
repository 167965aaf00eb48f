//! Login: challenge, hello, welcome.
//!
//! The broker speaks first. The node signs the challenge together with the URL it dialled, so that a broker it was
//! lured to cannot use the answer at another. No clocks are compared to decide a login.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use waxwing_crypto::mark::{MarkCode, MeshPass};
use waxwing_crypto::membership::{LogHead, SignedEntry};
use waxwing_crypto::{CreationProof, MeshId, NodeId, Purpose, Signed, SigningKey, Timestamp, VerifyingKey};

use super::codec::{DecodeError, Frame, decode_value, encode_value};
use super::features::Features;
use crate::id::{RunId, StoreId};

/// Frames of a broker before the login is done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ToNodeLogin {
    /// The first frame after the upgrade.
    #[serde(rename = "challenge")]
    Challenge(Challenge),
    /// The broker lacks what this node holds of its mesh's log, and asks for it before it can decide the login.
    #[serde(rename = "log_wanted")]
    LogWanted(LogWanted),
    /// The login is good.
    #[serde(rename = "welcome")]
    Welcome(Welcome),
    /// The login is refused, and the link ends.
    #[serde(rename = "goaway")]
    GoAway(super::GoAway),
}

impl Frame for ToNodeLogin {
    const NAMES: &'static [&'static str] = &["challenge", "log_wanted", "welcome", "goaway"];
}

/// Frames of a node before the login is done.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum ToBrokerLogin {
    /// The answer to the challenge: a [`Hello`] in signed bytes.
    #[serde(rename = "hello")]
    Hello(Signed),
    /// A part of the log, when it is wanted.
    #[serde(rename = "log.upload")]
    LogUpload(LogUpload),
}

impl Frame for ToBrokerLogin {
    const NAMES: &'static [&'static str] = &["hello", "log.upload"];
}

/// What the broker wants signed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Challenge {
    /// 32 random bytes, used once.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 32],
    /// The life of the store behind this broker.
    pub store: StoreId,
    /// The broker's clock.
    pub clock: Timestamp,
    /// Minor versions of v1 that this broker serves. A node that speaks none of them does not answer.
    pub versions: Vec<u32>,
}

/// What a node answers. Travels as [`Signed`] bytes, signed with [`Purpose::Login`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Hello {
    /// From a member, signed by its current signing key: the whole protocol is open to it.
    #[serde(rename = "member")]
    Member(MemberHello),
    /// From a key that may enter (a founder's, an invite's, or one that a node is about to give up or has given up),
    /// signed by it: such a link may read the log and append its one entry, and nothing else.
    #[serde(rename = "entering")]
    Entering(EnteringHello),
}

/// A member's login.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MemberHello {
    /// The challenge's nonce.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 32],
    /// The URL this node dialled.
    pub url: String,
    /// The mesh.
    pub mesh: MeshId,
    /// The node.
    pub node: NodeId,
    /// The end of the log that the node holds.
    pub head: LogHead,
    /// How far this node has come. A copy of its state that is behind is found out by it.
    pub progress: Progress,
    /// The newest mark that the node has committed, if a broker has given it one. A store that was set back is found out
    /// by it.
    pub mark: Option<Mark>,
    /// The minor version that the node speaks: one of the challenge's.
    pub version: u32,
    /// What the node needs, and how much of it at least.
    pub features: Features,
}

/// How far a node's state has come: three numbers that never fall, each durable before it is shown. Of two copies of one
/// state only one can go on, since the broker gives `login` and `through`: the other shows less than what the broker
/// was shown last, and is refused as `stale_state`. Belongs to a signing key: a new one begins with zeros.
///
/// In order: one state is behind another if its `login` is lower, or the same with a lower `through` or `rows`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Progress {
    /// The number of the last login whose welcome is committed; 0 before the first.
    pub login: u64,
    /// The last delivery of that login that is settled; 0 if none is.
    pub through: u64,
    /// The highest number ever given to a row of the outbox.
    pub rows: u64,
}

impl Progress {
    /// Most that each number may be: what a broker refuses to count beyond.
    pub const MAX: u64 = 1 << 62;

    /// Whether a state that shows this is older than one that has shown the other.
    pub const fn is_behind(&self, shown: &Self) -> bool {
        self.login < shown.login
            || self.login == shown.login && (self.through < shown.through || self.rows < shown.rows)
    }
}

/// The login of a key that may enter a mesh.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct EnteringHello {
    /// The challenge's nonce.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 32],
    /// The URL this node dialled.
    pub url: String,
    /// The mesh. A founder names the one its genesis will make.
    pub mesh: MeshId,
    /// The founder's signing key, the invite's, or the one that a node has or had.
    pub key: VerifyingKey,
    /// The minor version that the node speaks: one of the challenge's.
    pub version: u32,
    /// What the node needs, and how much of it at least.
    pub features: Features,
    /// Proof that a founder has the broker's creation token. A broker that is open does not look at it.
    pub creation: Option<CreationProof>,
}

impl Hello {
    /// Signs this hello.
    ///
    /// # Errors
    /// `DecodeError` if it cannot be encoded (the URL is over-long).
    pub fn sign(&self, key: &SigningKey) -> Result<Signed, DecodeError> {
        Ok(Signed::new(key, Purpose::Login, encode_value(self)?.to_vec()))
    }

    /// Reads a hello whose signature has *not* been checked: enough to find the key that must have signed it. Use
    /// [`Hello::verify`] before believing a word.
    ///
    /// # Errors
    /// `DecodeError::BadFrame` if it is not a hello.
    pub fn peek(signed: &Signed) -> Result<Self, DecodeError> {
        decode_value(&signed.bytes, "hello")
    }

    /// Whether `key` signed it.
    ///
    /// # Errors
    /// `BadSignature` if it did not.
    pub fn verify(signed: &Signed, key: &VerifyingKey) -> Result<(), waxwing_crypto::Error> {
        signed.verified(key, Purpose::Login).map(|_| ())
    }

    /// The challenge answered.
    pub const fn nonce(&self) -> &[u8; 32] {
        match self {
            Self::Member(hello) => &hello.nonce,
            Self::Entering(hello) => &hello.nonce,
        }
    }

    /// The URL dialled.
    pub fn url(&self) -> &str {
        match self {
            Self::Member(hello) => &hello.url,
            Self::Entering(hello) => &hello.url,
        }
    }

    /// The mesh.
    pub const fn mesh(&self) -> MeshId {
        match self {
            Self::Member(hello) => hello.mesh,
            Self::Entering(hello) => hello.mesh,
        }
    }

    /// The minor version spoken.
    pub const fn version(&self) -> u32 {
        match self {
            Self::Member(hello) => hello.version,
            Self::Entering(hello) => hello.version,
        }
    }

    /// What the node needs.
    pub const fn features(&self) -> &Features {
        match self {
            Self::Member(hello) => &hello.features,
            Self::Entering(hello) => &hello.features,
        }
    }
}

/// How far a broker's store had come when it answered. The node commits the newest together with what it answers, and
/// shows it at login.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Mark {
    /// The life of the store.
    pub store: StoreId,
    /// Its opening.
    pub run: RunId,
    /// Rises with every commit.
    pub m: u64,
    /// Proves that the broker has given it: see [`waxwing_crypto::mark::StoreSecret`].
    #[serde(with = "serde_bytes")]
    pub code: MarkCode,
}

/// Asks for a log.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogWanted {
    /// The end of the log that the broker holds of this mesh; none if it holds none.
    pub have: Option<LogHead>,
    /// Most bytes of entries that it takes.
    pub most: u64,
}

/// A part of a node's log, in order. If the broker's head is a place in it, what follows that place will do; otherwise
/// all of it, from the genesis on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LogUpload {
    /// The place before the first entry of this frame: 0, or the broker's head, in the first; where the one before ended
    /// in the others.
    pub after: u64,
    /// At most [`crate::limits::LOG_PAGE`] entries.
    pub entries: Vec<SignedEntry>,
    /// Nothing follows.
    pub last: bool,
    /// What a closed broker gave this mesh; in the first frame.
    pub pass: Option<MeshPass>,
}

/// The login is good.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Welcome {
    /// Number of this login: one above every one the broker has given this node or been shown by it. None on an entering
    /// link.
    pub login: Option<u64>,
    /// The end of the broker's log. None if it holds no such mesh yet (a founder's entering link).
    pub head: Option<LogHead>,
    /// The broker has lost its store, or was set back: until an admin appends a `resume`, the mesh carries mail, and its
    /// log takes no other entry.
    pub waits: bool,
    /// Shown to this broker should it ever lack the mesh. None on an entering link.
    pub pass: Option<MeshPass>,
    /// What this broker allows.
    pub limits: Limits,
    /// What this broker has.
    pub features: Features,
    /// The broker's clock.
    pub clock: Timestamp,
}

/// What a broker allows on one link.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Limits {
    /// Most items in flight per direction.
    pub items: u32,
    /// Most envelope bytes in flight per direction.
    pub bytes: u32,
    /// How long the broker remembers an accepted wire id, in milliseconds.
    pub dedupe: u64,
    /// A node's lease ends so long after the last frame that came from it, in milliseconds; and with it the records that
    /// are bound to it.
    pub lease: u64,
}

impl Limits {
    /// Longest lifetime of a message under these limits.
    pub fn ttl_max(&self) -> Duration {
        Duration::from_millis(self.dedupe).saturating_sub(crate::limits::TTL_MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use waxwing_crypto::Digest;

    use super::*;

    #[test]
    fn a_state_is_behind_by_its_login_and_in_one_login_by_either_number() {
        let progress = |login, through, rows| Progress { login, through, rows };
        let shown = progress(5, 5, 5);
        for behind in
            [progress(4, 9, 9), progress(5, 4, 5), progress(5, 5, 4), progress(5, 4, 9), progress(5, 9, 4)]
        {
            assert!(behind.is_behind(&shown), "{behind:?}");
        }
        for not_behind in [shown, progress(6, 0, 0), progress(5, 6, 5), progress(5, 5, 6)] {
            assert!(!not_behind.is_behind(&shown), "{not_behind:?}");
        }
        assert!(
            Progress::MAX > u64::from(u32::MAX) && i64::try_from(Progress::MAX).is_ok(),
            "a database keeps it"
        );
    }

    #[test]
    fn a_hello_says_what_it_was_made_of_and_who_has_signed_it() {
        let (key, other) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]));
        let (nonce, url, mesh) = ([7; 32], "wss://broker.example".to_owned(), MeshId::from_bytes([3; 16]));
        let features = Features::of(30);
        let hellos = [
            Hello::Member(MemberHello {
                nonce,
                url: url.clone(),
                mesh,
                node: NodeId::from_bytes([4; 16]),
                head: LogHead { seq: 1, hash: Digest::from_bytes([5; 32]) },
                progress: Progress::default(),
                mark: None,
                version: 9,
                features: features.clone(),
            }),
            Hello::Entering(EnteringHello {
                nonce,
                url: url.clone(),
                mesh,
                key: key.public(),
                version: 9,
                features: features.clone(),
                creation: None,
            }),
        ];
        for hello in hellos {
            assert_eq!((*hello.nonce(), hello.url(), hello.mesh(), hello.version()), (nonce, &*url, mesh, 9));
            assert_eq!(*hello.features(), features);
            let signed = hello.sign(&key).unwrap();
            assert_eq!(Hello::peek(&signed).unwrap(), hello);
            assert!(Hello::verify(&signed, &key.public()).is_ok());
            assert!(Hello::verify(&signed, &other.public()).is_err());
        }
        assert!(Hello::peek(&Signed::new(&key, Purpose::Login, b"no hello".to_vec())).is_err());
    }

    #[test]
    fn a_message_ends_before_its_id_is_forgotten() {
        let limits = Limits { items: 1, bytes: 1, dedupe: 30 * 24 * 60 * 60 * 1_000, lease: 1 };
        let longest = limits.ttl_max();
        assert!(
            longest > Duration::from_secs(24 * 60 * 60)
                && longest + crate::limits::TTL_MARGIN == Duration::from_millis(limits.dedupe)
        );
        assert_eq!(Limits { dedupe: 1, ..limits }.ttl_max(), Duration::ZERO);
    }
}
