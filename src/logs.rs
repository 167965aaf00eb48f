//! Logs: to stderr for people on a terminal, as JSON lines otherwise; to files, a new one each day, for a process in the
//! background.

use std::io::{self, IsTerminal as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::Subscriber;

use crate::failure::{Failure, Result};

/// What the long-lived processes log unless told otherwise.
const SERVING: &str = "info,sqlx=warn";
/// What `-v` asks for.
const VERBOSE: &str = "debug,sqlx=warn,hyper=info,tungstenite=info,tokio_tungstenite=info";
/// How the names of log files end.
const SUFFIX: &str = "log";

/// Logs of a process that stays: always on.
pub(crate) fn serving(verbose: bool) {
    start(serving_filter(verbose));
}

/// Logs of a command that ends: only when asked for.
pub(crate) fn passing(verbose: bool) {
    if verbose {
        start(VERBOSE);
    }
}

/// Logs of a process in the background: `FOLDER/NAME.DATE.log`, JSON lines, the last `files` of them.
pub(crate) fn detached(verbose: bool, folder: &Path, name: &str, files: usize) -> Result<()> {
    let cannot =
        |err: &dyn std::fmt::Display| Failure::failed(format!("cannot log to {}: {err}", folder.display()));
    private_folder(folder).map_err(|err| cannot(&err))?;
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(name)
        .filename_suffix(SUFFIX)
        .max_log_files(files)
        .build(folder)
        .map_err(|err| cannot(&err))?;
    let filter = filter(serving_filter(verbose));
    Subscriber::builder().with_env_filter(filter).json().with_writer(appender).init();
    Ok(())
}

/// Makes a folder that only this user can enter.
pub(crate) fn private_folder(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

const fn serving_filter(verbose: bool) -> &'static str {
    if verbose { VERBOSE } else { SERVING }
}

fn filter(default: &str) -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default))
}

fn start(default: &str) {
    let builder = Subscriber::builder().with_env_filter(filter(default)).with_writer(io::stderr);
    if io::stderr().is_terminal() {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        builder.with_ansi(!plain).init();
    } else {
        builder.json().init();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_files_go_and_those_of_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["node.2020-01-01.log", "node.2020-01-02.log", "node.stderr", "broker.2020-01-01.log"];
        for name in names {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        detached(false, folder.path(), "node", 2).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left.len(), 4, "{left:?}");
        assert_eq!((&left[0][..], &left[3][..]), (names[3], names[2]));
        assert!(!left.contains(&names[0].to_owned()) && left.contains(&names[1].to_owned()), "{left:?}");
    }
}
