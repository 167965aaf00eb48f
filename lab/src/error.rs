//! Why a throwaway mesh did not do what it was asked.

use std::time::Duration;

/// Why the lab gave up. Each names the process and shows what it said, because that is what a reader needs next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A process did not start, or ended when it should not have.
    #[error("{process} {what}\n{log}")]
    Process {
        /// Which process.
        process: String,
        /// What happened.
        what: String,
        /// The end of its log.
        log: String,
    },
    /// A condition did not come true in time.
    #[error("not within {within:?}: {what}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        within: Duration,
    },
    /// A node did not answer as it should.
    #[error(transparent)]
    Client(#[from] waxwing_client::Error),
    /// A file or socket of the lab's own failed.
    #[error("{0}: {1}")]
    Io(&'static str, #[source] std::io::Error),
    /// What a process printed cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

impl Error {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Io(what, error)
    }
}

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
