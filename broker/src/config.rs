//! What an operator can set, with the defaults in one place.

mod database;
mod limits;
mod settings;
mod transport;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use waxwing_crypto::MeshId;
use waxwing_protocol::BrokerUrl;

pub use self::database::{BadDatabase, Database, PostgresUrl};
pub use self::limits::{Limits, MeshLimits, MeshSettings};
pub use self::settings::{SETTINGS, Setting, reference};
pub use self::transport::TlsFiles;
pub(crate) use self::transport::{Transport, own_url};
use crate::admin::Admin;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::folder::Folder;

/// Configuration of a broker, and the form of its file. Only the data folder has no default.
///
/// What each value is for stands in [`SETTINGS`], which the reference is made from.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder for the store. Empty until somebody says.
    pub data: PathBuf,
    /// Where the store is. None: in `broker.db` in the data folder.
    pub database: Option<Database>,
    /// Address to listen on.
    pub listen: SocketAddr,
    /// URLs that nodes may dial this broker by, `wss://host:port`. Empty: the listen address, and on loopback the
    /// loopback names with its port. A node that signs another is refused as `wrong_broker`.
    pub urls: Vec<String>,
    /// No TLS, although other machines can reach the address: something in front of this broker has it.
    pub plaintext: bool,
    /// The certificate, if it is in files.
    pub tls: TlsFiles,
    /// Who may found a mesh. None: open on an address and by URLs of this machine only, closed otherwise.
    pub founding: Option<Founding>,
    /// How much the broker takes on.
    pub limits: Limits,
    /// What is different for one mesh, by its id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub mesh: BTreeMap<MeshId, MeshSettings>,
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

/// Who may found a mesh on a broker.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Founding {
    /// Whoever can connect.
    Open,
    /// Whoever has its creation token.
    Closed,
}

impl FromStr for Founding {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "open" => Ok(Self::Open),
            "closed" => Ok(Self::Closed),
            _ => Err("it is open or closed"),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::new(),
            database: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7900)),
            urls: Vec::new(),
            plaintext: false,
            tls: TlsFiles::default(),
            founding: None,
            limits: Limits::default(),
            mesh: BTreeMap::new(),
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
        let mut config = Self::parse(&text).map_err(|err| failed(&err))?;
        if config.database.as_ref().is_some_and(Database::has_password) {
            let mode = std::fs::metadata(path).map_err(|err| failed(&err))?.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                let why = format!(
                    "it has a password, and others have access (mode {mode:03o}): chmod 600 {}",
                    path.display()
                );
                return Err(failed(&why));
            }
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        for path in [Some(&mut config.data), config.tls.cert.as_mut(), config.tls.key.as_mut()] {
            if let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) {
                *path = folder.join(&*path);
            }
        }
        Ok(config)
    }

    /// What is in a configuration file.
    ///
    /// # Errors
    /// `Config` with the line, if it has a key or value that cannot be.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|err| {
            // Not with the line itself, which may have a password.
            let before = err.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            Error::Config(format!("line {}: {}", before.matches('\n').count() + 1, err.message()))
        })
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
        self.limits.check("limits")?;
        for mesh in self.mesh.keys() {
            self.limits_of(mesh).check(&format!("mesh.{mesh}.limits"))?;
        }
        self.parsed_urls().map(drop)
    }

    /// Where the store is.
    pub fn store(&self) -> Database {
        self.database.clone().unwrap_or_else(|| Database::Sqlite(Folder::database(&self.data)))
    }

    /// The limits in force for one mesh.
    pub(crate) fn limits_of(&self, mesh: &MeshId) -> Limits {
        self.mesh.get(mesh).map_or(self.limits, |own| self.limits.with(&own.limits))
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

    /// Who may found a mesh on a broker that listens there and goes by these URLs. One that a proxy lets others reach is not
    /// open by itself either.
    pub(crate) fn founding(&self, listen: SocketAddr, urls: &[BrokerUrl]) -> Founding {
        let here = listen.ip().to_canonical().is_loopback() && urls.iter().all(BrokerUrl::is_loopback);
        self.founding.unwrap_or(if here { Founding::Open } else { Founding::Closed })
    }

    /// How long a stopping broker waits for its links.
    pub(crate) const fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_seconds)
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
    fn only_a_broker_that_others_cannot_reach_is_open_by_itself() {
        let founding = |config: &Config, listen: &str| {
            let listen = listen.parse().unwrap();
            let urls = config.advertised(listen, &config.transport(listen).unwrap()).unwrap();
            config.founding(listen, &urls)
        };
        let mut config = Config::new("x");
        assert_eq!(founding(&config, "127.0.0.1:1"), Founding::Open);
        assert_eq!(founding(&config, "10.0.0.1:1"), Founding::Closed);
        config.urls = vec!["wss://mesh.example".into()];
        assert_eq!(founding(&config, "127.0.0.1:1"), Founding::Closed, "behind a proxy");
        config.founding = Some(Founding::Open);
        assert_eq!(founding(&config, "10.0.0.1:1"), Founding::Open);
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(toml::from_str::<Config>("data = 'x'\n[limits]\nqueue_items = 5").is_ok());
        assert!(toml::from_str::<Config>("data = 'x'\nqueue = 5").is_err());
        assert!(toml::from_str::<Config>("data = 'x'\n[limits]\nqueue = 5").is_err());
    }

    #[test]
    fn a_mesh_has_limits_of_its_own_over_those_for_all() {
        let (one, other) = (MeshId::from_bytes([1; 16]), MeshId::from_bytes([2; 16]));
        let file = |line| format!("data = 'x'\n[limits]\nqueue_items = 5\n[mesh.{one}.limits]\n{line}");
        let config: Config = toml::from_str(&file("queue_bytes = 400000\nsend_items = 7")).unwrap();
        config.check().unwrap();
        let of = |mesh| config.limits_of(&mesh);
        assert_eq!((of(one).queue_items, of(one).queue_bytes, of(one).send_items), (5, 400_000, 7));
        assert_eq!(of(other), config.limits);
        for unknown in ["queue = 1", "window_items = 5", "links = 3"] {
            assert!(toml::from_str::<Config>(&file(unknown)).is_err(), "{unknown}");
        }
        assert!(toml::from_str::<Config>("data = 'x'\n[mesh.somebody.limits]").is_err(), "no mesh id");
        let wrong: Config = toml::from_str(&file("queue_bytes = 1")).unwrap();
        let said = wrong.check().unwrap_err().to_string();
        assert!(said.contains(&format!("mesh.{one}.limits.queue_bytes is 1")), "{said}");
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
