//! One real process of the program under test.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::error::{Error, Result};

/// A process that has not said it is ready by then never will. Generous: test machines are busy.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// A process asked to stop ends within 10 s by its own promise; the rest is the machine's.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
/// How much of a log an error shows.
const LOG_LINES: usize = 60;

/// A process that can be killed and started again with the same arguments. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    command: Vec<OsString>,
    log: PathBuf,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// Held open, so that the process never writes into a closed pipe.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// A process not started yet: its name in messages, what to run, and where its stderr goes.
    pub fn new(name: impl Into<String>, command: Vec<OsString>, log: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), command, log: log.into(), running: None }
    }

    /// Starts it and waits for its ready line, one JSON object on stdout, which is returned.
    ///
    /// # Errors
    /// `Process` with its log if it ends, or says nothing, instead.
    pub async fn start(&mut self) -> Result<serde_json::Value> {
        self.kill().await?;
        let mut child = self.spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| self.failed("has no stdout"))?;
        let mut lines = BufReader::new(stdout).lines();
        let line = match timeout(READY_WITHIN, lines.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(_) => {
                let status = child.wait().await.map_err(Error::io("waiting for a process"))?;
                return Err(self.failed(&format!("ended before it was ready ({status})")));
            }
            Err(_) => return Err(self.failed("did not get ready in time")),
        };
        self.running = Some(Running { child, _stdout: lines });
        serde_json::from_str(&line)
            .map_err(|_| self.failed(&format!("is ready with {line:?}, which is not JSON")))
    }

    /// Kills it as the kernel would, between any two instructions, and waits until it is gone.
    ///
    /// # Errors
    /// If the system cannot.
    pub async fn kill(&mut self) -> Result<()> {
        match self.running.take() {
            Some(mut running) => running.child.kill().await.map_err(Error::io("killing a process")),
            None => Ok(()),
        }
    }

    /// Asks it to stop (SIGTERM), and waits until it has.
    ///
    /// # Errors
    /// `Process` if it does not within its own promise.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        let pid = self.running.as_ref().and_then(|running| running.child.id());
        let pid = pid.and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let Some(pid) = pid else {
            return Err(self.failed("is not running"));
        };
        kill_process(pid, Signal::TERM).map_err(|err| Error::Io("signalling a process", err.into()))?;
        self.ended(STOPPED_WITHIN).await
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// `Process` with its log if it does not within the time given.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let Some(mut running) = self.running.take() else {
            return Err(self.failed("is not running"));
        };
        match timeout(within, running.child.wait()).await {
            Ok(status) => status.map_err(Error::io("waiting for a process")),
            Err(_) => Err(self.failed(&format!("did not end within {within:?}"))),
        }
    }

    /// How it has ended, if it did so by itself.
    ///
    /// # Errors
    /// If the system cannot say.
    pub fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        match &mut self.running {
            Some(running) => running.child.try_wait().map_err(Error::io("looking for a process")),
            None => Ok(None),
        }
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref()?.child.id()
    }

    /// Whether it was started and not killed or stopped since.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// All it has logged, over every start.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Where its log is.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The last lines of its log, with its name.
    pub fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        format!("--- {}\n{end}", self.name)
    }

    /// Replaces what the next start runs.
    pub(crate) fn set_command(&mut self, command: Vec<OsString>) {
        self.command = command;
    }

    fn spawn(&self) -> Result<Child> {
        let log = open_log(&self.log)?;
        command(&self.command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(Error::io("starting a process"))
    }

    fn failed(&self, what: &str) -> Error {
        Error::Process { process: self.name.clone(), what: what.to_owned(), log: self.log_end() }
    }
}

/// A command that nothing in this process's environment changes, and that does not outlive it.
pub(crate) fn command(words: &[OsString]) -> Command {
    let (program, arguments) =
        words.split_first().map_or((OsString::new(), &[][..]), |(p, a)| (p.clone(), a));
    let mut command = Command::new(program);
    command.args(arguments).kill_on_drop(true);
    for variable in ["WAXWING_STATE", "WAXWING_APP", "WAXWING_HOST_ID", "RUST_LOG", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command
}

fn open_log(path: &Path) -> Result<File> {
    OpenOptions::new().create(true).append(true).open(path).map_err(Error::io("opening a log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(folder: &Path, script: &str) -> Process {
        Process::new("sh", ["sh", "-c", script].map(OsString::from).to_vec(), folder.join("log"))
    }

    #[tokio::test]
    async fn starts_dies_and_starts_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell(folder.path(), r#"echo up >&2; echo '{"port":7}'; exec sleep 100"#);
        for _ in 0..2 {
            assert_eq!(process.start().await.unwrap()["port"], 7);
            process.kill().await.unwrap();
        }
        assert_eq!(process.log(), "up\nup\n");
        process.start().await.unwrap();
        assert!(!process.stop().await.unwrap().success());
    }

    #[tokio::test]
    async fn a_process_that_does_not_get_ready_shows_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = shell(folder.path(), "echo no luck >&2; exit 4");
        let error = process.start().await.unwrap_err().to_string();
        assert!(error.contains("no luck") && error.contains('4'), "{error}");
    }
}
