//! TLS to a broker: version 1.3, and whom to believe.
//!
//! With a pin, the broker is whoever holds the pinned key; names, dates and CAs do not count. Without one, a CA that this host
//! trusts must vouch for the host's name. Either way the handshake's signature is verified, and each link does a whole
//! handshake.

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, IpAddr, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, OtherError, RootCertStore,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;
use waxwing_crypto::Pin;
use waxwing_protocol::BrokerUrl;

use super::dial::DialError;
use crate::error::Untrusted;

/// Does the handshake.
pub(super) async fn connect(
    broker: &BrokerUrl,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, DialError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&[&TLS13]).map_err(|error| unreachable(&error))?;
    let mut config = match broker.pin() {
        Some(pin) => {
            let verifier = Arc::new(Pinned { pin, provider });
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        }
        None => builder.with_root_certificates(roots().await?).with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = server_name(broker)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| failed(broker, &error))
}

/// The CAs that this host trusts now.
async fn roots() -> Result<RootCertStore, DialError> {
    let loaded =
        spawn_blocking(rustls_native_certs::load_native_certs).await.map_err(|error| unreachable(&error))?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(loaded.certs);
    if roots.is_empty() {
        return Err(DialError::Untrusted(Untrusted::NoAuthorities));
    }
    Ok(roots)
}

fn server_name(broker: &BrokerUrl) -> Result<ServerName<'static>, DialError> {
    match broker.host() {
        Host::Domain(name) => ServerName::try_from(name.clone()).map_err(|error| unreachable(&error)),
        Host::Ipv4(ip) => Ok(ServerName::IpAddress(IpAddr::V4((*ip).into()))),
        Host::Ipv6(ip) => Ok(ServerName::IpAddress(IpAddr::V6((*ip).into()))),
    }
}

fn unreachable(error: &dyn std::error::Error) -> DialError {
    DialError::Unreachable(error.to_string())
}

/// What a failed handshake means.
fn failed(broker: &BrokerUrl, error: &io::Error) -> DialError {
    let Some(tls) = error.get_ref().and_then(|cause| cause.downcast_ref::<TlsError>()) else {
        return DialError::Unreachable(format!("the TLS handshake failed: {error}"));
    };
    if let TlsError::InvalidCertificate(why) = tls {
        DialError::Untrusted(untrusted(broker, why))
    } else if matches!(tls, TlsError::InvalidMessage(_)) {
        DialError::Unreachable("what answers there does not speak TLS".into())
    } else {
        DialError::Unreachable(format!("the TLS handshake failed: {tls}"))
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library's list is open; what is not named is told in its words"
)]
fn untrusted(broker: &BrokerUrl, why: &CertificateError) -> Untrusted {
    match why {
        CertificateError::Other(OtherError(cause)) => match cause.downcast_ref::<Untrusted>() {
            Some(untrusted) => untrusted.clone(),
            None => Untrusted::Unusable(cause.to_string()),
        },
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Untrusted::Name(broker.host().to_string())
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Untrusted::Expired,
        CertificateError::UnknownIssuer => Untrusted::Issuer,
        other => Untrusted::Unusable(other.to_string()),
    }
}

/// Believes one key, and nothing else.
#[derive(Debug)]
struct Pinned {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let found = Pin::of(certificate.subject_public_key_info().as_ref());
        if found == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        let cause = Untrusted::Pin { pinned: self.pin, found };
        Err(TlsError::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(cause)))))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("only TLS 1.3 is spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
