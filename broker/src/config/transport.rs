//! Where a broker listens, with or without TLS, and the URLs that nodes dial it by.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use url::Host;
use waxwing_protocol::BrokerUrl;

use super::Config;
use crate::error::{Error, Result};

/// A certificate in files. Both are named, or neither.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub cert: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
}

/// What is under a broker's links.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Transport {
    /// TCP alone.
    Plain,
    /// TLS with a certificate from files.
    Files {
        /// The chain.
        cert: PathBuf,
        /// Its key.
        key: PathBuf,
    },
    /// TLS with a certificate that the broker makes for itself, known by its pin.
    SelfSigned,
}

impl Config {
    /// Whether a broker may listen there, as it is configured. To be asked before binding; [`crate::run`] asks again.
    ///
    /// # Errors
    /// `Config`, with what to say instead.
    pub fn check_listen(&self, listen: SocketAddr) -> Result<()> {
        let transport = self.transport(listen)?;
        self.advertised(listen, &transport).map(drop)
    }

    /// What is under the links.
    pub(crate) fn transport(&self, listen: SocketAddr) -> Result<Transport> {
        match (&self.tls.cert, &self.tls.key) {
            (Some(_), Some(_)) if self.plaintext => {
                Err(Error::Config("plaintext and a certificate contradict each other: leave one out".into()))
            }
            (Some(cert), Some(key)) => Ok(Transport::Files { cert: cert.clone(), key: key.clone() }),
            (Some(_), None) => Err(Error::Config("tls.cert without tls.key: name both files".into())),
            (None, Some(_)) => Err(Error::Config("tls.key without tls.cert: name both files".into())),
            (None, None) if self.plaintext || is_loopback(listen.ip()) => Ok(Transport::Plain),
            (None, None) => Ok(Transport::SelfSigned),
        }
    }

    /// The URLs that nodes may dial: those named, else what follows from where this broker listens.
    pub(crate) fn advertised(&self, listen: SocketAddr, transport: &Transport) -> Result<Vec<BrokerUrl>> {
        let tls = *transport != Transport::Plain;
        let named = self.parsed_urls()?;
        if let Some(plain) = named.iter().find(|url| tls && !url.is_tls()) {
            let why = "is without TLS, and this broker has TLS: write wss://";
            return Err(Error::Config(format!("urls: {plain} {why}")));
        }
        if !named.is_empty() {
            return Ok(named);
        }
        if listen.ip().to_canonical().is_unspecified() {
            return Err(unnamed(listen, tls));
        }
        let own = own_url(listen, tls);
        if !is_loopback(listen.ip()) {
            return Ok(vec![own]);
        }
        let names = ["127.0.0.1", "localhost", "[::1]"].iter().filter_map(|name| Host::parse(name).ok());
        let mut urls = vec![own];
        for url in names.map(|host| BrokerUrl::new(tls, host, listen.port())) {
            if !urls.contains(&url) {
                urls.push(url);
            }
        }
        Ok(urls)
    }
}

/// The URL of a listen address.
pub(crate) fn own_url(listen: SocketAddr, tls: bool) -> BrokerUrl {
    BrokerUrl::new(tls, host(listen.ip()), listen.port())
}

/// Nobody dials an address that stands for all of them.
fn unnamed(listen: SocketAddr, tls: bool) -> Error {
    let scheme = if tls { "wss" } else { "ws" };
    let example = outward().map_or_else(|| "HOST".to_owned(), |ip| host(ip).to_string());
    Error::Config(format!(
        "{listen} stands for every address of this host, and nodes dial one: say which, for example \
         --advertise {scheme}://{example}:{}",
        listen.port()
    ))
}

/// The address by which this host reaches others, if it has a route to any. Nothing is sent.
fn outward() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?; // Set aside for documentation (RFC 5737): only the route counts.
    socket.local_addr().ok().map(|addr| addr.ip())
}

fn host(ip: IpAddr) -> Host {
    match ip.to_canonical() {
        IpAddr::V4(ip) => Host::Ipv4(ip),
        IpAddr::V6(ip) => Host::Ipv6(ip),
    }
}

/// Whether only this machine can reach an address.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::new("x");
        change(&mut config);
        config
    }

    fn urls(config: &Config, listen: &str) -> Vec<String> {
        let listen = listen.parse().unwrap();
        let transport = config.transport(listen).unwrap();
        let urls = config.advertised(listen, &transport).unwrap();
        urls.iter().map(ToString::to_string).collect()
    }

    fn refused(config: &Config, listen: &str) -> String {
        config.check_listen(listen.parse().unwrap()).unwrap_err().to_string()
    }

    fn files(config: &mut Config) {
        config.tls = TlsFiles { cert: Some("c".into()), key: Some("k".into()) };
    }

    #[test]
    fn off_loopback_there_is_tls_unless_somebody_says_otherwise() {
        let transport = |change: fn(&mut Config), listen: &str| {
            config(change).transport(listen.parse().unwrap()).unwrap()
        };
        let in_files = Transport::Files { cert: "c".into(), key: "k".into() };
        for listen in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:7900", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(transport(|_| (), listen), Transport::Plain, "{listen}");
            assert_eq!(transport(files, listen), in_files, "{listen}");
        }
        for listen in ["0.0.0.0:7900", "[::]:7900", "192.168.1.1:7900"] {
            assert_eq!(transport(|_| (), listen), Transport::SelfSigned, "{listen}");
            assert_eq!(transport(files, listen), in_files, "{listen}");
            assert_eq!(transport(|config| config.plaintext = true, listen), Transport::Plain, "{listen}");
        }
    }

    #[test]
    fn half_a_certificate_and_contradictions_are_refused() {
        let half = config(|config| config.tls.cert = Some("c".into()));
        assert!(refused(&half, "127.0.0.1:1").contains("name both"));
        let half = config(|config| config.tls.key = Some("k".into()));
        assert!(refused(&half, "10.0.0.1:1").contains("name both"));
        let both = config(|config| {
            files(config);
            config.plaintext = true;
        });
        assert!(refused(&both, "10.0.0.1:1").contains("contradict"));
        let plain = config(|config| config.urls = vec!["ws://10.0.0.1:1".into()]);
        assert!(refused(&plain, "10.0.0.1:1").contains("write wss://"));
        let pinned = format!("wss://a:1#pin={}", waxwing_crypto::Pin::of(b""));
        assert!(
            refused(&config(|config| config.urls = vec![pinned]), "10.0.0.1:1").contains("leave the pin out")
        );
    }

    #[test]
    fn without_urls_the_listen_address_counts_and_on_loopback_its_names() {
        let loopback = urls(&config(|_| ()), "127.0.0.2:7900");
        for url in ["ws://127.0.0.1:7900", "ws://localhost:7900", "ws://[::1]:7900", "ws://127.0.0.2:7900"] {
            assert!(loopback.iter().any(|known| known == url), "{url}");
        }
        assert_eq!(urls(&config(|_| ()), "127.0.0.1:7900").len(), 3, "none of them twice");
        assert_eq!(urls(&config(|_| ()), "10.0.0.1:7900"), ["wss://10.0.0.1:7900"]);
        assert_eq!(urls(&config(|_| ()), "[::ffff:10.0.0.1]:7900"), ["wss://10.0.0.1:7900"]);
        let proxied = config(|config| config.urls = vec!["wss://Mesh.example/".into()]);
        assert_eq!(urls(&proxied, "127.0.0.1:1"), ["wss://mesh.example:443"]);
    }

    #[test]
    fn an_address_that_stands_for_all_needs_a_url_that_is_dialled() {
        for listen in ["0.0.0.0:7900", "[::]:7900"] {
            let error = refused(&config(|_| ()), listen);
            assert!(error.contains("--advertise wss://") && error.contains(":7900"), "{error}");
            let plain = refused(&config(|config| config.plaintext = true), listen);
            assert!(plain.contains("--advertise ws://"), "{plain}");
            let named = config(|config| config.urls = vec!["wss://a:1".into()]);
            assert_eq!(urls(&named, listen), ["wss://a:1"]);
        }
    }
}
