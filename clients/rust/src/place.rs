//! Where a node is reached.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use waxwing_crypto::AccessToken;

/// Where a node listens, and what it lets this client in by.
#[derive(Clone, Debug)]
pub enum Place {
    /// Its socket: it lets in its own user.
    Socket(PathBuf),
    /// A port of this machine: it lets in whoever has a token.
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The token.
        token: AccessToken,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => path.display().fmt(f),
            Self::Tcp { address, .. } => address.fmt(f),
        }
    }
}
