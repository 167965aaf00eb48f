//! Configuration: flag over environment over file over default.

use std::env;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};

/// How long a stopping node waits for what is under way.
pub(crate) const GRACE: std::time::Duration = std::time::Duration::from_secs(10);

/// Where a node's state is and how it behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The state folder.
    pub state: PathBuf,
    /// What stands in for the host's own evidence, if set: `host_id` in the file, or `WAXWING_HOST_ID`.
    pub host_id: Option<String>,
    /// Most messages in the outbox that are not delivered yet.
    pub outbox_messages: u64,
    /// Most bytes of them.
    pub outbox_bytes: u64,
    socket: PathBuf,
}

/// The file's form. Unknown keys are errors: a misspelt one must not be ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileConfig {
    host_id: Option<String>,
    outbox_messages: Option<u64>,
    outbox_bytes: Option<u64>,
}

impl Config {
    /// Finds the state folder (`--state`, else `WAXWING_STATE`, else `$XDG_STATE_HOME/waxwing`) and reads the
    /// configuration file that belongs to it.
    ///
    /// # Errors
    /// `Usage` if no folder can be found, or the file is not valid.
    pub fn resolve(state: Option<PathBuf>) -> Result<Self> {
        let explicit = state.or_else(|| var("WAXWING_STATE"));
        let (state, file, socket) = match explicit {
            Some(state) => {
                let state = absolute(&state)?;
                let file = state.join("config.toml");
                let socket = state.join("node.sock");
                (state, file, socket)
            }
            None => Self::user_folders()?,
        };
        let file = Self::read(&file)?;
        Ok(Self {
            state,
            socket,
            host_id: env::var("WAXWING_HOST_ID").ok().or(file.host_id),
            outbox_messages: file.outbox_messages.unwrap_or(1_000_000),
            outbox_bytes: file.outbox_bytes.unwrap_or(5 * 1024 * 1024 * 1024),
        })
    }

    /// The Unix socket that apps talk to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn user_folders() -> Result<(PathBuf, PathBuf, PathBuf)> {
        let home = |variable: &str, fallback: &str| {
            let base = var(variable).or_else(|| var("HOME").map(|home| home.join(fallback)));
            base.map(|base| base.join("waxwing")).ok_or_else(|| {
                Error::Usage(format!("neither {variable} nor HOME is set: say where with --state"))
            })
        };
        let state = home("XDG_STATE_HOME", ".local/state")?;
        let file = home("XDG_CONFIG_HOME", ".config")?.join("config.toml");
        let runtime = var("XDG_RUNTIME_DIR").map_or_else(|| state.clone(), |folder| folder.join("waxwing"));
        Ok((state, file, runtime.join("node.sock")))
    }

    fn read(path: &Path) -> Result<FileConfig> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(FileConfig::default()),
            Err(source) => {
                return Err(Error::File { what: "cannot read", path: path.to_path_buf(), source });
            }
        };
        toml::from_str(&text).map_err(|error| Error::Usage(format!("{}: {error}", path.display())))
    }
}

/// An environment variable that is set and not empty.
fn var(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::file("cannot resolve", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), "outbox_mesages = 3").unwrap();
        let error = Config::resolve(Some(folder.path().to_path_buf())).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("outbox_mesages"), "{error}");
        std::fs::write(folder.path().join("config.toml"), "outbox_messages = 3").unwrap();
        assert_eq!(Config::resolve(Some(folder.path().to_path_buf())).unwrap().outbox_messages, 3);
    }
}
