//! TLS under the links, where there is any: version 1.3, a certificate from files or one of the broker's own.
//!
//! ```text
//! files   chain and key in PEM, given by an operator; loaded anew when they change, and links go on
//! own     a key made at first start and kept in the data folder; nodes know it by its pin, not by a CA
//! ```
//!
//! Every link does a whole handshake: there is no resumption, so each shows the certificate of its moment.

mod files;
mod own;

use std::future::pending;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use waxwing_crypto::Pin;
use waxwing_protocol::BrokerUrl;

use self::files::Files;
use crate::config::Transport;
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// What a broker with TLS answers with.
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
    /// What nodes know the broker's own key by. None if a CA vouches for it.
    pin: Option<Pin>,
    files: Option<Files>,
}

impl Tls {
    /// What this transport needs; none if it is plain.
    ///
    /// # Errors
    /// `Config` for a certificate or key that cannot be used.
    pub(crate) fn open(transport: Transport, data: &Path, urls: &[BrokerUrl]) -> Result<Option<Self>> {
        let provider = Arc::new(ring::default_provider());
        let (key, files, pin) = match transport {
            Transport::Plain => return Ok(None),
            Transport::Files { cert, key } => {
                let (files, key) = Files::open(cert, key, &provider)?;
                (key, Some(files), None)
            }
            Transport::SelfSigned => {
                let key = own::load(data, urls, &provider)?;
                let pin = pin(&key)?;
                (key, None, Some(pin))
            }
        };
        let current = Arc::new(Current(RwLock::new(Arc::new(key))));
        let acceptor = acceptor(provider, Arc::clone(&current))?;
        Ok(Some(Self { acceptor, current, pin, files }))
    }

    /// What nodes must know to recognise the broker without a CA.
    pub(crate) const fn pin(&self) -> Option<Pin> {
        self.pin
    }

    /// Does the handshake. Whoever calls bounds it in time and bytes.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<TlsStream<S>> {
        self.acceptor.accept(stream).await
    }
}

/// Loads the certificate anew whenever its files have changed. Never ends.
pub(crate) async fn watch(tls: Option<&Tls>, metrics: &Metrics) {
    let files = tls.and_then(|tls| Some((tls, tls.files.as_ref()?)));
    match files {
        Some((tls, files)) => {
            files.watch(tls.acceptor.config().crypto_provider(), &tls.current, metrics).await;
        }
        None => pending().await,
    }
}

/// The certificate and key of the moment.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    fn set(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn acceptor(provider: Arc<CryptoProvider>, current: Arc<Current>) -> Result<TlsAcceptor> {
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]);
    let builder = builder.map_err(|err| Error::Internal(err.into()))?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(current);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What a key is recognised by.
fn pin(key: &CertifiedKey) -> Result<Pin> {
    let certificate = key.cert.first().map(CertificateDer::as_ref).unwrap_or_default();
    let certificate = CertificateDer::from(certificate);
    let parsed = ParsedCertificate::try_from(&certificate).map_err(|err| Error::Internal(err.into()))?;
    Ok(Pin::of(parsed.subject_public_key_info().as_ref()))
}
