//! The process of the command: started, passed on signals, waited for.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use tokio::process::{self, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::failure::{Failure, Result};

/// Signals that wait to be passed on.
const SIGNALS: usize = 16;

/// It runs, or has ended and nobody has been told.
pub(in crate::commands) struct Child {
    process: process::Child,
    signals: mpsc::Receiver<Signal>,
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
        let signals = signals().map_err(|error| Failure::failed(format!("cannot catch signals: {error}")))?;
        let [program, arguments @ ..] = command else {
            return Err(Failure::usage("there is no command to run"));
        };
        let started = Command::new(program).args(arguments).envs(environment.iter().cloned()).spawn();
        let process = started.map_err(|error| {
            let message = format!("{} cannot be started: {error}", program.display());
            // As shells have it.
            let code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
            Failure::cannot_run(code, message)
        })?;
        Ok(Self { process, signals })
    }

    /// Its number, while it runs.
    pub(in crate::commands) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Waits for its end, passing signals on.
    pub(in crate::commands) async fn wait(&mut self) -> Result<Ended> {
        let pid = self.process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        loop {
            tokio::select! {
                ended = self.process.wait() => {
                    let ended = ended.map_err(|error| Failure::failed(format!("cannot wait for it: {error}")))?;
                    let by = || ended.signal().map(Ended::Signal);
                    return Ok(ended.code().map(Ended::ExitCode).or_else(by).unwrap_or(Ended::ExitCode(1)));
                }
                Some(signal) = self.signals.recv() => if let Some(pid) = pid {
                    // It may have ended in this moment.
                    let _ = kill_process(pid, signal);
                },
            }
        }
    }

    /// Tells it to stop, and ends it if it has not in this time.
    pub(in crate::commands) async fn stop(&mut self, within: Duration) -> Result<Ended> {
        if let Some(pid) = self.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            // It may have ended in this moment.
            let _ = kill_process(pid, Signal::TERM);
        }
        if let Ok(ended) = timeout(within, self.wait()).await {
            return ended;
        }
        let _ = self.process.start_kill();
        self.wait().await
    }
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
