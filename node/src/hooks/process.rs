//! One process of a hook: what it is given, what it may do, and how it ends.
//!
//! It is the leader of a process group of its own, and when it ends, or its time is over, or it has said too much, or the
//! node stops, the whole group is killed. There is no shell anywhere: the event comes on standard input.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use super::check::{self, Unfit};
use super::{Hook, Job};
use crate::config::Config;

/// Where hooks find programs, wherever the node was started.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// What is taken over from the node: where the user's files are, by which `waxwing` finds this node too.
const KEPT: [&str; 4] = ["HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"];
/// Output is kept up to here; more of it ends the hook.
const OUTPUT: usize = 64 * 1024;
/// And shown up to here, from its end.
const SHOWN: usize = 1_024;
/// What was killed is gone by then, unless the kernel is stuck.
const GONE_WITHIN: Duration = Duration::from_secs(1);

/// How a hook failed, and the end of what it said.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) why: Why,
    pub(super) said: String,
}

/// How a hook failed.
#[derive(Debug)]
pub(super) enum Why {
    /// It was changed since the node has started.
    Unfit(Unfit),
    /// The system cannot start it.
    Start(io::Error),
    /// It says so itself.
    Exit(ExitStatus),
    /// It took too long.
    Timeout,
    /// It said too much.
    Output,
}

impl Why {
    /// The word that it is counted under.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Unfit(_) => "unfit",
            Self::Start(_) => "not_started",
            Self::Exit(_) => "failed",
            Self::Timeout => "timeout",
            Self::Output => "output",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit(unfit) => write!(f, "{unfit}"),
            Self::Start(error) => write!(f, "it cannot be started: {error}"),
            Self::Exit(status) => write!(f, "{status}"),
            Self::Timeout => f.write_str("it took longer than hook_timeout, and was killed"),
            Self::Output => write!(f, "it printed more than {OUTPUT} bytes, and was killed"),
        }
    }
}

/// All of a hook's environment that does not depend on the event.
pub(super) fn environment(config: &Config) -> Vec<(&'static str, OsString)> {
    let kept = KEPT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut all: Vec<_> = kept.collect();
    all.push(("PATH", PATH.into()));
    all.push(("LANG", "C.UTF-8".into()));
    all.push(("WAXWING_SOCKET", config.socket().into()));
    if config.is_explicit() {
        all.push(("WAXWING_STATE", config.state.clone().into()));
    }
    all
}

/// Runs a hook for one event, to its end. It is killed with this future.
pub(super) async fn run(hook: &Hook, job: &Job) -> Result<(), Failed> {
    let silent = |why| Failed { why, said: String::new() };
    check::fit(&hook.path).map_err(|unfit| silent(Why::Unfit(unfit)))?;
    let (mut child, mut output) = start(hook, job).map_err(|error| silent(Why::Start(error)))?;
    let group = Group::of(&child);
    let stdin = child.stdin.take();
    let mut said = Vec::new();
    let ended = tokio::select! {
        status = child.wait() => status.map_err(Why::Start),
        never = feed(stdin, &job.input) => match never {},
        () = listen(&mut output, &mut said) => Err(Why::Output),
        () = sleep(hook.timeout) => Err(Why::Timeout),
    };
    drop(group);
    let why = match ended {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => Why::Exit(status),
        Err(why) => {
            // Collected, so that no dead process is left; it was killed, and cannot refuse.
            let _ = timeout(GONE_WITHIN, child.wait()).await;
            why
        }
    };
    take_rest(&output, &mut said);
    Err(Failed { why, said: shown(&said) })
}

fn start(hook: &Hook, job: &Job) -> io::Result<(Child, Receiver)> {
    let (output, input) = io::pipe()?;
    let output = Receiver::from_owned_fd(OwnedFd::from(output))?;
    let child = Command::new(&hook.path)
        .env_clear()
        .envs(hook.environment.iter().cloned())
        .env("WAXWING_MESH", job.mesh.as_str())
        .env("WAXWING_EVENT", hook.kind.as_str())
        .current_dir(&hook.folder)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(OwnedFd::from(input.try_clone()?))
        .stderr(OwnedFd::from(input))
        .spawn()?;
    Ok((child, output))
}

/// Kills everything that a hook has started and that has not left its group, when dropped.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(id.cast_signed())))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // There may be nobody left. Then the number is nobody's either: the kernel has just to come round to it.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Gives it the event. One that does not read it need not.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) -> Infallible {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
    pending().await
}

/// Keeps what it says. Returns when that is too much.
async fn listen(output: &mut Receiver, said: &mut Vec<u8>) {
    while let Ok(1..) = output.read_buf(said).await {
        if said.len() > OUTPUT {
            return;
        }
    }
    pending::<()>().await;
}

/// What it has said and nobody has read yet, without waiting for more.
fn take_rest(output: &Receiver, said: &mut Vec<u8>) {
    let mut part = [0; 4_096];
    while said.len() <= OUTPUT
        && let Ok(length @ 1..) = output.try_read(&mut part)
    {
        said.extend_from_slice(&part[..length]);
    }
}

/// The end of what it has said, on one line, with nothing in it that a terminal obeys.
fn shown(said: &[u8]) -> String {
    let end = String::from_utf8_lossy(&said[said.len().saturating_sub(SHOWN)..]);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    end.trim().chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hook_says_is_shown_in_part_and_obeyed_by_no_terminal() {
        assert_eq!(shown(b"one\n\x1b[2Jtwo\xff\r\n"), "one  [2Jtwo\u{fffd}");
        assert_eq!(shown(&vec![b'x'; OUTPUT]).len(), SHOWN);
        assert_eq!(shown(b""), "");
    }
}
