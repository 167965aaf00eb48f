//! The process of the command: started, passed on signals, waited for.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use serde::Serialize;
use tokio::process::{self, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use crate::failure::{Failure, Result};

/// Signals that wait to be passed on.
const SIGNALS: usize = 16;
/// Between two looks whether something is left.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// It runs, or has ended and nobody has been told.
pub(in crate::commands) struct Child {
    process: process::Child,
    signals: mpsc::Receiver<Signal>,
    /// It leads a group: what it has started is meant as well.
    group: Option<Pid>,
}

/// How it has ended.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::commands) enum Ended {
    /// By itself, with this code.
    ExitCode(i32),
    /// By this signal.
    Signal(i32),
}

impl Ended {
    /// The same, as a shell says it.
    pub(in crate::commands) fn exit(self) -> ExitCode {
        let code = match self {
            Self::ExitCode(code) => code,
            Self::Signal(signal) => 128 + signal,
        };
        ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ExitCode(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
        }
    }
}

impl Child {
    /// Starts the command. Signals are caught before, so that none is lost.
    pub(in crate::commands) fn start(command: &[OsString], environment: &[(&str, OsString)]) -> Result<Self> {
        Self::spawn(command, environment, false)
    }

    /// The same in a process group of its own, so that all it starts can be stopped with it. At a terminal it stays in this one's:
    /// no other could read what is typed.
    pub(in crate::commands) fn lead(command: &[OsString], environment: &[(&str, OsString)]) -> Result<Self> {
        Self::spawn(command, environment, !io::stdin().is_terminal())
    }

    fn spawn(command: &[OsString], environment: &[(&str, OsString)], leads: bool) -> Result<Self> {
        let signals = signals().map_err(|error| Failure::failed(format!("cannot catch signals: {error}")))?;
        let [program, arguments @ ..] = command else {
            return Err(Failure::usage("there is no command to run"));
        };
        let mut command = Command::new(program);
        command.args(arguments).envs(environment.iter().cloned());
        if leads {
            command.process_group(0);
        }
        let process = command.spawn().map_err(|error| {
            let message = format!("{} cannot be started: {error}", program.display());
            // As shells have it.
            let code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
            Failure::cannot_run(code, message)
        })?;
        let group = pid(&process).filter(|_| leads);
        Ok(Self { process, signals, group })
    }

    /// Its number, while it runs.
    pub(in crate::commands) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits for its end, passing signals on.
    pub(in crate::commands) async fn wait(&mut self) -> Result<Ended> {
        loop {
            tokio::select! {
                ended = self.process.wait() => {
                    let ended = ended.map_err(|error| Failure::failed(format!("cannot wait for it: {error}")))?;
                    let by = || ended.signal().map(Ended::Signal);
                    return Ok(ended.code().map(Ended::ExitCode).or_else(by).unwrap_or(Ended::ExitCode(1)));
                }
                Some(signal) = self.signals.recv() => self.send(signal),
            }
        }
    }

    /// Tells it to stop, and ends it if it has not in this time; and what it has started, if it leads a group.
    pub(in crate::commands) async fn stop(&mut self, within: Duration) -> Result<Ended> {
        let deadline = Instant::now() + within;
        self.send(Signal::TERM);
        let ended = match timeout_at(deadline, self.wait()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.send(Signal::KILL);
                self.wait().await
            }
        };
        self.leave_nothing(deadline).await;
        ended
    }

    /// It may have ended in this moment.
    fn send(&self, signal: Signal) {
        let _ = match (self.group, pid(&self.process)) {
            (Some(group), _) => kill_process_group(group, signal),
            (None, Some(pid)) => kill_process(pid, signal),
            (None, None) => Ok(()),
        };
    }

    /// Waits until nothing of its group is left, and ends what is there after that.
    async fn leave_nothing(&self, deadline: Instant) {
        let Some(group) = self.group else { return };
        while test_kill_process_group(group).is_ok() {
            if Instant::now() >= deadline {
                let _ = kill_process_group(group, Signal::KILL);
                return;
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

/// None once it has been waited for: then another may have its number.
fn pid(process: &process::Child) -> Option<Pid> {
    process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?))
}

/// Signals that are the command's, as they come.
fn signals() -> io::Result<mpsc::Receiver<Signal>> {
    let (caught, signals) = mpsc::channel(SIGNALS);
    // What is typed at a terminal goes to all who are at it, the command among them.
    let typed = io::stdin().is_terminal();
    let all = [
        (SignalKind::interrupt(), Signal::INT, typed),
        (SignalKind::quit(), Signal::QUIT, typed),
        (SignalKind::terminate(), Signal::TERM, false),
        (SignalKind::hangup(), Signal::HUP, false),
        (SignalKind::user_defined1(), Signal::USR1, false),
        (SignalKind::user_defined2(), Signal::USR2, false),
    ];
    for (kind, passed_on, has_it) in all {
        let (mut signal, caught) = (signal(kind)?, caught.clone());
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                if !has_it && caught.send(passed_on).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(signals)
}
