//! The token without which nobody founds a mesh on a broker that is closed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rand_core::UnwrapErr;
use waxwing_crypto::CreationToken;
use waxwing_protocol::BrokerUrl;
use zeroize::Zeroizing;

use crate::config::{Config, Founding};
use crate::error::{Error, Result};
use crate::secret;

/// Where the token of a data folder is.
pub(crate) fn file(data: &Path) -> PathBuf {
    data.join("creation.token")
}

/// The token of this broker, made if it has none; none if it is open.
///
/// # Errors
/// `Config` if the file cannot be read or written, or holds no token.
pub(crate) fn load(config: &Config, listen: SocketAddr, urls: &[BrokerUrl]) -> Result<Option<CreationToken>> {
    if config.founding(listen, urls) == Founding::Open {
        return Ok(None);
    }
    let path = file(&config.data);
    let text = secret::keep(&path, || {
        let token = CreationToken::generate(&mut UnwrapErr(getrandom::SysRng));
        Ok(Zeroizing::new(format!("{}\n", *token.reveal())))
    })?;
    let no_token = || format!("{} holds no creation token: remove it, and a new one is made", path.display());
    text.parse().map(Some).map_err(|_| Error::Config(no_token()))
}
