//! The certificate that nodes check: whether it can be used, for how long, and for which names.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, RootCertStore};
use waxwing_protocol::BrokerUrl;

use super::Finding;
use crate::config::{Config, Transport};
use crate::error::BoxError;
use crate::tls::Tls;

/// What is looked at.
const CHECK: &str = "certificate";
/// Whoever renews certificates has done so by then.
const RENEWED_BEFORE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Looks at the files of a broker that has its certificate from files.
pub(super) fn examine(config: &Config) -> Option<Finding> {
    let (cert, key) = (config.tls.cert.clone()?, config.tls.key.clone()?);
    let show = format!("openssl x509 -in {} -noout -subject -ext subjectAltName -dates", cert.display());
    let transport = Transport::Files { cert: cert.clone(), key };
    let checked = config
        .advertised(config.listen, &transport)
        .and_then(|urls| Tls::open(transport, &config.data, &urls).map(|_| urls));
    let urls = match checked {
        Ok(urls) => urls,
        Err(err) => return Some(Finding::wrong(CHECK, err.to_string(), show)),
    };
    let now = Duration::from_millis(config.clock.now().as_millis());
    Some(match (judge(&cert, &urls, now), judge(&cert, &urls, now + RENEWED_BEFORE)) {
        (Ok(Some(why)), _) => Finding::wrong(CHECK, format!("nodes refuse {}: {why}", cert.display()), show),
        (Ok(None), Ok(Some(_))) => {
            let detail = format!("{} ends within 14 days, and was not renewed", cert.display());
            Finding::warning(CHECK, detail, show)
        }
        (Ok(None), Ok(None)) => {
            Finding::ok(CHECK, format!("{} is good for every URL, for 14 days at least", cert.display()))
        }
        (Err(err), _) | (_, Err(err)) => Finding::wrong(CHECK, format!("{}: {err}", cert.display()), show),
    })
}

/// What a node would object to at a moment, as far as that can be known without its CAs: dates and names.
fn judge(path: &Path, urls: &[BrokerUrl], at: Duration) -> Result<Option<String>, BoxError> {
    let chain = CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()?;
    let (Some((leaf, between)), Some(last)) = (chain.split_first(), chain.last()) else {
        return Err("it holds no certificate".into());
    };
    let mut roots = RootCertStore::empty();
    roots.add(last.clone())?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
    for url in urls {
        let name = ServerName::try_from(url.host().to_string())?;
        let verified = verifier.verify_server_cert(leaf, between, &name, &[], UnixTime::since_unix_epoch(at));
        if let Err(rustls::Error::InvalidCertificate(why)) = verified
            && is_certain(&why)
        {
            return Ok(Some(why.to_string()));
        }
    }
    Ok(None)
}

/// Whether a fault is one whatever CAs a node trusts.
const fn is_certain(why: &CertificateError) -> bool {
    matches!(
        why,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use waxwing_crypto::Timestamp;

    use super::*;
    use crate::clock::Clock;
    use crate::config::TlsFiles;
    use crate::doctor::Verdict;

    /// 1 June 2030.
    const NOW: u64 = 1_906_502_400_000;

    fn examined(name: &str, last: (i32, u8, u8)) -> Finding {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(last.0, last.1, last.2);
        fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
        fs::write(&key, pair.serialize_pem()).unwrap();
        let config = Config {
            urls: vec!["wss://mesh.example:7900".into()],
            tls: TlsFiles { cert: Some(cert), key: Some(key) },
            clock: Clock::new(|| Timestamp::from_millis(NOW)),
            ..Config::new(dir.path())
        };
        examine(&config).unwrap()
    }

    #[test]
    fn an_end_that_is_near_or_past_and_a_wrong_name_are_found() {
        assert_eq!(examined("mesh.example", (2030, 9, 1)).verdict, Verdict::Ok);
        assert_eq!(examined("mesh.example", (2030, 6, 10)).verdict, Verdict::Warning);
        let past = examined("mesh.example", (2030, 5, 30));
        assert!(past.verdict == Verdict::Wrong && past.detail.contains("expired"), "{past:?}");
        let other = examined("other.example", (2030, 9, 1));
        assert!(other.verdict == Verdict::Wrong && other.detail.contains("name"), "{other:?}");
        assert!(other.mend.unwrap().starts_with("openssl x509 -in "));
        assert!(examine(&Config::new("x")).is_none(), "there is none to look at");
    }
}
