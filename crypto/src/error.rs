//! What can be wrong with something from outside, sorted by what the caller does next.

/// Why a key, entry, opening, envelope or token was not accepted.
///
/// No variant carries what it was about: an error may be logged and shown, a secret may not.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The bytes are not of the form they claim. Names the thing, for the log.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A signature does not hold, or was made by the wrong key.
    #[error("the signature on this {0} does not hold")]
    BadSignature(&'static str),
    /// Not shown to be part of what was signed.
    #[error("this {0} is not part of what was signed")]
    BadProof(&'static str),
    /// A sealed box does not open. One answer for every way to fail, so that it teaches nothing.
    #[error("this box does not open")]
    DoesNotOpen,
    /// The key that would open it is not held. It may come.
    #[error("the key of this epoch is not there")]
    NoKey,
    /// What is signed inside a box is for something else than the box: its maker has taken another's words.
    #[error("this {0} was signed for something else")]
    Elsewhere(&'static str),
    /// Larger than the limit for its kind.
    #[error("{0} is too large")]
    TooLarge(&'static str),
    /// This session has sealed as much, or for as long, as it may: open a new one.
    #[error("this session has ended")]
    SessionEnded,
    /// A well-formed, well-signed entry that the rules of the log do not allow at this point.
    #[error("the membership log does not allow this: {0}")]
    NotAllowed(crate::membership::Rule),
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
