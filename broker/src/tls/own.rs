//! A broker's own certificate. What lasts is the key; the certificate around it is signed anew at each start, since nobody
//! looks at more of it than the key.

use std::path::Path;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::CertifiedKey;
use waxwing_protocol::BrokerUrl;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::secret;

/// Where the key is, in the data folder. Without it, every node that has its pin refuses this broker.
const FILE: &str = "tls-key.pem";

/// The key of this data folder, made if there is none, with a certificate for these URLs.
///
/// # Errors
/// `Config` if the file cannot be read or written, or holds no key.
pub(super) fn load(data: &Path, urls: &[BrokerUrl], provider: &CryptoProvider) -> Result<CertifiedKey> {
    let internal = |err: rcgen::Error| Error::Internal(err.into());
    let path = data.join(FILE);
    let pem = secret::keep(&path, || {
        let key = KeyPair::generate().map_err(internal)?;
        Ok(Zeroizing::new(key.serialize_pem()))
    })?;
    let key = KeyPair::from_pem(&pem)
        .map_err(|err| Error::Config(format!("{} holds no key: {err}; restore it", path.display())))?;
    let hosts: Vec<_> = urls.iter().map(|url| url.host().to_string()).collect();
    let mut params = CertificateParams::new(hosts).map_err(internal)?;
    params.distinguished_name.push(DnType::CommonName, "waxwing broker");
    let certificate = params.self_signed(&key).map_err(internal)?;
    let der = PrivatePkcs8KeyDer::from(key.serialize_der());
    CertifiedKey::from_der(vec![certificate.der().clone()], der.into(), provider)
        .map_err(|err| Error::Internal(err.into()))
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring;

    use super::*;
    use crate::tls::pin;

    #[test]
    fn the_pin_survives_a_restart_and_another_name_and_goes_with_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let provider = ring::default_provider();
        let urls = |text: &str| vec![text.parse().unwrap()];
        let first = pin(&load(dir.path(), &urls("wss://10.0.0.1:1"), &provider).unwrap()).unwrap();
        let second = pin(&load(dir.path(), &urls("wss://[fd00::1]:1"), &provider).unwrap()).unwrap();
        assert_eq!(first, second);
        let other = tempfile::tempdir().unwrap();
        let other = pin(&load(other.path(), &urls("wss://broker.example:1"), &provider).unwrap()).unwrap();
        assert_ne!(first, other);
        std::fs::write(dir.path().join(FILE), "cut o").unwrap();
        let error = load(dir.path(), &urls("wss://a:1"), &provider).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("restore"), "{error}");
    }
}
