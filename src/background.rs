//! Processes in the background: starting one and knowing that it runs, stopping one and knowing that it is gone.
//!
//! A process started here is this same program, in a session of its own. Until it is ready, what it prints goes to
//! `logs/NAME.stderr`, and if it ends instead, its own error is the one that is shown. Which process runs is told by the
//! kernel's lock on its folder, never by a file that a dead one may have left.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, setsid, test_kill_process};
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use waxwing_node::Config;

use crate::failure::{Failure, Result};
use crate::logs;

/// A process that is not ready by then may still become it, but nobody waits any longer.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A process asked to stop is gone by then, by its own promise.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// After it has let go of its folder, a process has only to leave.
const LEFT_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks whether it is so.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Most of a dying process's words that are read.
const LAST_WORDS: u64 = 64 * 1024;

/// What is to be started: `waxwing ARGUMENTS --detached`.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// What it is called in messages and in the names of its logs.
    pub(crate) name: &'static str,
    pub(crate) config: &'a Config,
    pub(crate) verbose: bool,
    pub(crate) arguments: Vec<OsString>,
}

/// A process that was started, and may be ready soon.
#[derive(Debug)]
pub(crate) struct Started {
    name: &'static str,
    child: Child,
    stderr: PathBuf,
    /// How much of the file earlier processes have written.
    begin: u64,
}

/// What a command prints to stderr when it fails, with `--json`.
#[derive(Deserialize)]
struct Said {
    error: Failure,
}

impl Launch<'_> {
    /// Starts it.
    pub(crate) fn start(&self) -> Result<Started> {
        let cannot = |err: &std::io::Error| Failure::failed(format!("cannot start the {}: {err}", self.name));
        let logs = self.config.logs();
        logs::private_folder(&logs).map_err(|err| cannot(&err))?;
        let stderr = logs.join(format!("{}.stderr", self.name));
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&stderr);
        let file = file.map_err(|err| cannot(&err))?;
        let begin = file.metadata().map_err(|err| cannot(&err))?.len();
        let child = self.command(file).and_then(|mut command| command.spawn());
        let child = child.map_err(|err| cannot(&err))?;
        Ok(Started { name: self.name, child, stderr, begin })
    }

    fn command(&self, stderr: File) -> std::io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        if self.config.is_explicit() {
            command.arg("--state").arg(&self.config.state);
        }
        if self.verbose {
            command.arg("--verbose");
        }
        command.arg("--json").args(&self.arguments).arg("--detached");
        // Its own folder, so that it keeps no other file system busy.
        command.current_dir(&self.config.state);
        command.stdin(Stdio::null()).stdout(stderr.try_clone()?).stderr(stderr);
        Ok(command)
    }
}

impl Started {
    /// Waits until it is ready, by what `is_ready` sees of it, and gives its process id.
    ///
    /// # Errors
    /// Its own, if it ends instead.
    pub(crate) async fn ready(&mut self, mut is_ready: impl AsyncFnMut(u32) -> bool) -> Result<u32> {
        let pid = self.child.id();
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(failure) = self.ended() {
                return Err(failure);
            }
            if is_ready(pid).await {
                return Ok(pid);
            }
            if Instant::now() >= deadline {
                return Err(Failure::failed(format!(
                    "the {} (process {pid}) is not ready after {} s",
                    self.name,
                    READY_WITHIN.as_secs()
                ))
                .hint(format!("its log is beside {}", self.stderr.display())));
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Why it has ended, if it has: in its own words, if it had any.
    pub(crate) fn ended(&mut self) -> Option<Failure> {
        let status = self.child.try_wait().unwrap_or_default()?;
        Some(self.last_words(status))
    }

    fn last_words(&self, status: ExitStatus) -> Failure {
        let mut words = String::new();
        let read = File::open(&self.stderr).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.begin))?;
            file.take(LAST_WORDS).read_to_string(&mut words)
        });
        let said =
            read.ok().and_then(|_| words.lines().rev().find_map(|line| serde_json::from_str(line).ok()));
        match said {
            Some(Said { error }) => error,
            None => Failure::failed(format!("the {} ended ({status})", self.name))
                .hint(format!("what it said is in {}", self.stderr.display())),
        }
    }
}

/// Leaves the terminal, and whatever else would end with the shell that started this process.
pub(crate) fn detach() -> Result<()> {
    setsid().map(drop).map_err(|err| Failure::failed(format!("cannot start a session: {err}")))
}

/// Asks a process to stop (SIGTERM), and waits until `runs` says that it is gone. At most ten seconds.
pub(crate) async fn stop(name: &str, pid: u32, runs: impl Fn() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process.ok_or_else(|| Failure::failed(format!("{pid} is no process id")))?;
    match kill_process(process, Signal::TERM) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(err) => return Err(Failure::failed(format!("cannot stop the {name} (process {pid}): {err}"))),
    }
    while runs()? {
        if begin.elapsed() >= GONE_WITHIN {
            let seconds = GONE_WITHIN.as_secs();
            return Err(Failure::failed(format!("the {name} (process {pid}) still runs after {seconds} s"))
                .hint(format!("`kill -9 {pid}` ends it; nothing that was accepted is lost")));
        }
        sleep(LOOK_AGAIN).await;
    }
    let begin = Instant::now();
    while is_there(process) && begin.elapsed() < LEFT_WITHIN {
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Whether a process is there, and not only its entry until somebody collects it.
fn is_there(process: Pid) -> bool {
    match std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())) {
        Ok(stat) => !stat.rsplit(") ").next().is_some_and(|state| state.starts_with(['Z', 'X'])),
        Err(_) => !Path::new("/proc/self").exists() && test_kill_process(process).is_ok(),
    }
}
