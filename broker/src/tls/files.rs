//! A certificate in files that somebody else renews.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncReadExt as _;
use tokio::time::sleep;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::Current;
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// How often the files are looked at. Whoever renews a certificate does so days ahead.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// More than any chain or key has.
const MAX: u64 = 1024 * 1024;

/// Where chain and key are, and what is in use of them.
pub(super) struct Files {
    cert: PathBuf,
    key: PathBuf,
    in_use: Mutex<Content>,
}

/// What was read, or why it could not be.
#[derive(Clone, Eq, PartialEq)]
enum Content {
    Pair { chain: Zeroizing<Vec<u8>>, key: Zeroizing<Vec<u8>> },
    Unreadable(String),
}

impl Files {
    /// Loads the pair that a broker starts with.
    ///
    /// # Errors
    /// `Config`, naming the file and what is wrong with it.
    pub(super) fn open(
        cert: PathBuf,
        key: PathBuf,
        provider: &CryptoProvider,
    ) -> Result<(Self, CertifiedKey)> {
        let read = |path: &Path| std::fs::read(path).map_err(|err| unreadable(path, &err));
        let content = match (read(&cert), read(&key)) {
            (Ok(chain), Ok(key)) => Content::Pair { chain: chain.into(), key: key.into() },
            (Err(why), _) | (_, Err(why)) => Content::Unreadable(why),
        };
        let files = Self { cert, key, in_use: Mutex::new(content.clone()) };
        let loaded = files.parse(&content, provider).map_err(Error::Config)?;
        Ok((files, loaded))
    }

    /// Puts a new pair in the old one's place as often as there is one.
    pub(super) async fn watch(&self, provider: &CryptoProvider, current: &Current, metrics: &Metrics) {
        let mut judged = self.in_use.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut seen = judged.clone();
        loop {
            sleep(LOOK_EVERY).await;
            let found = self.read().await;
            if found != seen {
                // Perhaps half of a change: judged when it has stayed as it is.
                seen = found;
            } else if found != judged {
                match self.parse(&found, provider) {
                    Ok(key) => {
                        current.set(key);
                        metrics.certificates_loaded.inc();
                        metrics.certificate_stale.set(0);
                        info!(cert = %self.cert.display(), "new certificate in use");
                    }
                    Err(why) => {
                        metrics.certificate_stale.set(1);
                        warn!(%why, "the new certificate cannot be used: the old one stays in use");
                    }
                }
                judged = found;
            }
        }
    }

    async fn read(&self) -> Content {
        match (read(&self.cert).await, read(&self.key).await) {
            (Ok(chain), Ok(key)) => Content::Pair { chain, key },
            (Err(why), _) | (_, Err(why)) => Content::Unreadable(why),
        }
    }

    fn parse(&self, content: &Content, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
        let (chain, key) = match content {
            Content::Pair { chain, key } => (chain, key),
            Content::Unreadable(why) => return Err(why.clone()),
        };
        let (cert_path, key_path) = (self.cert.display(), self.key.display());
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|err| format!("{cert_path} is no PEM chain: {err}"))?;
        if chain.is_empty() {
            return Err(format!("{cert_path} holds no certificate"));
        }
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|err| format!("{key_path} holds no key: {err}"))?;
        CertifiedKey::from_der(chain, key, provider)
            .map_err(|err| format!("{cert_path} and {key_path} do not fit together: {err}"))
    }
}

async fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut content = Zeroizing::new(Vec::new());
    let file = tokio::fs::File::open(path).await.map_err(|err| unreadable(path, &err))?;
    file.take(MAX).read_to_end(&mut content).await.map_err(|err| unreadable(path, &err))?;
    Ok(content)
}

fn unreadable(path: &Path, err: &std::io::Error) -> String {
    format!("{}: {err}", path.display())
}
