//! What an operator can set, with the defaults in one place.

mod settings;
mod transport;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use waxwing_protocol::{BrokerUrl, limits, link};

pub use self::settings::{SETTINGS, Setting, reference};
pub use self::transport::TlsFiles;
pub(crate) use self::transport::{Transport, own_url};
use crate::admin::Admin;
use crate::clock::Clock;
use crate::error::{Error, Result};

/// Configuration of a broker, and the form of its file. Only the data folder has no default.
///
/// What each value is for stands in [`SETTINGS`], which the reference is made from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder for the store. Empty until somebody says.
    pub data: PathBuf,
    /// Address to listen on.
    pub listen: SocketAddr,
    /// URLs that nodes may dial this broker by, `wss://host:port`. Empty: the listen address, and on loopback the
    /// loopback names with its port. A node that signs another is refused as `wrong_broker`.
    pub urls: Vec<String>,
    /// No TLS, although other machines can reach the address: something in front of this broker has it.
    pub plaintext: bool,
    /// The certificate, if it is in files.
    pub tls: TlsFiles,
    /// How much the broker takes on.
    pub limits: Limits,
    /// How long a stopping broker waits for its links to end, in seconds.
    pub grace_seconds: u64,
    /// How many nodes may come back in a second after a stop: they are told to spread by that.
    pub reconnects_per_second: u32,
    /// Where operators ask how it is.
    pub admin: Admin,
    /// Where the time comes from.
    #[serde(skip)]
    pub clock: Clock,
}

/// How much a broker takes on.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most envelopes in one node's queue; then senders are told `queue_full` and try again.
    pub queue_items: u64,
    /// Most envelope bytes in one node's queue.
    pub queue_bytes: u64,
    /// Most items in flight on one link, per direction. At most 1,024.
    pub window_items: u32,
    /// Most envelope bytes in flight on one link, per direction. 1 to 8 MiB.
    pub window_bytes: u32,
    /// How long an accepted wire id is remembered, in days. At least 8; a message may live 5 days less.
    pub dedupe_days: u32,
    /// Most connections at once. More wait to be accepted.
    pub connections: u32,
    /// Most of them that have not logged in. Beyond that, a newcomer takes the place of whoever has waited longest.
    pub strangers: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_items: 100_000,
            queue_bytes: 1024 * 1024 * 1024,
            window_items: limits::WINDOW_ITEMS as u32,
            window_bytes: limits::WINDOW_BYTES as u32,
            dedupe_days: 35,
            connections: 16_384,
            strangers: 1_024,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::new(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7900)),
            urls: Vec::new(),
            plaintext: false,
            tls: TlsFiles::default(),
            limits: Limits::default(),
            grace_seconds: 10,
            reconnects_per_second: 1_000,
            admin: Admin::default(),
            clock: Clock::default(),
        }
    }
}

impl Config {
    /// The defaults, with this data folder.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), ..Self::default() }
    }

    /// Reads a configuration file (TOML). Paths in it are relative to its folder.
    ///
    /// # Errors
    /// `Config` if it is not there, cannot be read, or has a key or value that cannot be.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = |err: &dyn std::fmt::Display| Error::Config(format!("{}: {err}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|err| failed(&err))?;
        let mut config: Self = toml::from_str(&text).map_err(|err| failed(&err))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for path in [Some(&mut config.data), config.tls.cert.as_mut(), config.tls.key.as_mut()] {
            if let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) {
                *path = folder.join(&*path);
            }
        }
        Ok(config)
    }

    /// Whether every value is one that the broker can work with.
    ///
    /// # Errors
    /// `Config`, naming the value.
    pub fn check(&self) -> Result<()> {
        if self.data.as_os_str().is_empty() {
            return Err(Error::Config("data: say which folder the broker keeps its store in".into()));
        }
        if self.reconnects_per_second == 0 {
            return Err(Error::Config("reconnects_per_second is 0: nobody could come back".into()));
        }
        self.limits.check()?;
        self.parsed_urls().map(drop)
    }

    /// The URLs named, as nodes dial them.
    fn parsed_urls(&self) -> Result<Vec<BrokerUrl>> {
        let parse = |url: &String| match url.parse::<BrokerUrl>() {
            Ok(url) if url.pin().is_some() => {
                Err(Error::Config(format!("urls: `{url}`: leave the pin out, it is this broker's to tell")))
            }
            Ok(url) => Ok(url),
            Err(err) => Err(Error::Config(format!("urls: {err}"))),
        };
        self.urls.iter().map(parse).collect()
    }

    /// How long a stopping broker waits for its links.
    pub(crate) const fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds)
    }
}

impl Limits {
    fn check(&self) -> Result<()> {
        let within = |what: &str, value: u64, from: u64, to: u64| {
            if (from..=to).contains(&value) {
                Ok(())
            } else {
                Err(Error::Config(format!("limits.{what} is {value}, and may be {from} to {to}")))
            }
        };
        within("queue_items", self.queue_items, 1, u64::MAX)?;
        within("queue_bytes", self.queue_bytes, limits::ENVELOPE as u64, u64::MAX)?;
        within("window_items", self.window_items.into(), 1, limits::WINDOW_ITEMS as u64)?;
        within("window_bytes", self.window_bytes.into(), limits::FRAME as u64, limits::WINDOW_BYTES as u64)?;
        within("dedupe_days", self.dedupe_days.into(), limits::DEDUPE_DAYS_MIN.into(), 3_650)?;
        within("connections", self.connections.into(), 1, u32::MAX.into())?;
        within("strangers", self.strangers.into(), 1, 65_536)
    }

    /// Most connections that have not logged in: others must find a place too.
    pub(crate) fn strangers(&self) -> u32 {
        self.strangers.min(self.connections / 2).max(1)
    }

    /// How long an accepted wire id is remembered.
    pub(crate) const fn dedupe(&self) -> Duration {
        Duration::from_secs(self.dedupe_days as u64 * 24 * 60 * 60)
    }

    /// The part that nodes are told.
    pub(crate) fn told(&self) -> link::Limits {
        let dedupe = u64::try_from(self.dedupe().as_millis()).unwrap_or(u64::MAX);
        link::Limits { items: self.window_items, bytes: self.window_bytes, dedupe }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_named() {
        let mut config = Config::new("x");
        config.check().unwrap();
        config.limits.dedupe_days = 7;
        assert!(config.check().unwrap_err().to_string().contains("limits.dedupe_days is 7"));
        let config = Config { urls: vec!["http://a".into()], ..Config::new("x") };
        assert!(config.check().unwrap_err().to_string().contains("http://a"));
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<Config>("data = 'x'\n[limits]\nqueue_items = 5").is_ok());
        assert!(toml::from_str::<Config>("data = 'x'\nqueue = 5").is_err());
        assert!(toml::from_str::<Config>("data = 'x'\n[limits]\nqueue = 5").is_err());
    }

    #[test]
    fn a_file_says_what_it_does_not_leave_to_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.toml");
        let text =
            "data = 'store'\nlisten = '[::1]:7'\n[limits]\nqueue_items = 5\n[tls]\ncert = '/c'\nkey = 'k'";
        std::fs::write(&path, text).unwrap();
        let config = Config::read(&path).unwrap();
        let (data, key) = (folder.path().join("store"), folder.path().join("k"));
        assert_eq!((config.data, config.tls.key), (data, Some(key)), "relative to the file");
        assert_eq!(config.tls.cert, Some("/c".into()));
        assert_eq!((config.listen.port(), config.limits.queue_items, config.grace_seconds), (7, 5, 10));
        std::fs::write(&path, "").unwrap();
        let error = Config::read(&path).unwrap().check().unwrap_err();
        assert!(error.to_string().contains("data"), "{error}");
    }

    #[test]
    fn a_file_that_is_absent_or_wrong_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broker.toml");
        for text in [None, Some("listen = 'here'"), Some("lisen = '127.0.0.1:1'"), Some("[")] {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let error = Config::read(&path).unwrap_err().to_string();
            assert!(error.contains("broker.toml"), "{text:?}: {error}");
        }
    }
}
