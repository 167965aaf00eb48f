//! A peer's server: a process of this run's own, on a folder and a port of its own, that ends with it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// A server that does not listen by then never will.
const LISTENS_WITHIN: Duration = Duration::from_secs(15);
/// Where Debian has servers that are no program of a user's.
const PLACES: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];

/// A server that listens on loopback.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    // After the process, which is gone when it goes.
    _folder: TempDir,
}

impl Server {
    /// Starts a program with what this gives it, for a folder and a port.
    pub(crate) async fn start(
        program: &str,
        arguments: impl FnOnce(&std::path::Path, u16) -> Result<Vec<String>>,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("waxwing-compare-").tempdir()?;
        // Free a moment ago: whoever takes it meanwhile makes the start fail, and nothing else.
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let mut child = Command::new(find(program)?)
            .args(arguments(folder.path(), port)?)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let deadline = Instant::now() + LISTENS_WITHIN;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = child.try_wait()? {
                bail!("{program} ended as it started ({status})");
            }
            if Instant::now() >= deadline {
                bail!("{program} does not listen after {LISTENS_WITHIN:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { child, port, _folder: folder })
    }

    /// Its process, while it has not ended.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it, and waits until it is gone. What it has not written by then is in a folder that goes with it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// Where a program is.
pub(crate) fn find(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(PLACES.map(PathBuf::from));
    let found = places.map(|place| place.join(program)).find(|file| file.is_file());
    found.with_context(|| format!("{program} is not installed: apt-get install {program}"))
}

/// What a program says its version is, on its first line.
pub(crate) async fn version(program: &str, argument: &str) -> Result<String> {
    let output = Command::new(find(program)?).arg(argument).output().await?;
    // mosquitto says it together with its help, and some on stderr.
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned())
}
