//! One run of the command: what it is given, and what is made of what it says.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};

use data_encoding::BASE64;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use waxwing_client::Reply;
use waxwing_client::api::{ReplyError, RequestItem};
use waxwing_protocol::limits;

use super::Served;

/// So much of the end of what it says on stderr is told to whoever asked.
const SHOWN: usize = 1_024;
/// And so much is looked at.
const STDERR: u64 = 1024 * 1024;

/// Runs it for a request. It is killed with this future, and whatever it has started.
pub(super) async fn answer(served: &Served, request: RequestItem) -> Result<Reply, ReplyError> {
    let body = match (&request.body, &request.body_base64) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(base64)) => BASE64.decode(base64.as_bytes()).unwrap_or_default(),
        (None, None) => Vec::new(),
    };
    let mut child = start(served, &request)?;
    let group = Group::of(&child);
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ended = async {
        let ended = child.wait().await;
        // What it has left behind says nothing more, and holds nothing up.
        drop(group);
        ended
    };
    let ((), said, complained, ended) =
        tokio::join!(feed(stdin, &body), all(stdout, limits::BODY as u64 + 1), all(stderr, STDERR), ended,);
    let status = ended.map_err(|error| refuse("failed", format!("it cannot be waited for: {error}")))?;
    if !status.success() {
        return Err(refuse(&word(status), end_of(&complained)));
    }
    if said.len() > limits::BODY {
        return Err(refuse("too_large", "its answer is larger than 256 KiB".to_owned()));
    }
    Ok(match String::from_utf8(said) {
        Ok(text) => text.into(),
        Err(other) => Reply { body_base64: Some(BASE64.encode(other.as_bytes())), ..Reply::default() },
    })
}

fn start(served: &Served, request: &RequestItem) -> Result<Child, ReplyError> {
    let [program, arguments @ ..] = &served.command[..] else {
        return Err(refuse("cannot_run", "there is no command".to_owned()));
    };
    let from = match &request.from_app {
        Some(app) => format!("{app}@{}", request.from),
        None => request.from.to_string(),
    };
    let started = Command::new(program)
        .args(arguments)
        .envs(served.environment.iter().cloned())
        .env("WAXWING_REQUEST", request.id.as_str())
        .env("WAXWING_FROM", from)
        .env("WAXWING_CONTENT_TYPE", &request.content_type)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    started.map_err(|error| {
        let why = if error.kind() == ErrorKind::NotFound {
            "there is no such program".into()
        } else {
            error.to_string()
        };
        refuse("cannot_run", why)
    })
}

/// All that it has started, killed with this.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may be gone already.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A command that does not read what is asked may answer all the same.
async fn feed(stdin: Option<ChildStdin>, body: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(body).await;
    }
}

/// All that comes, up to a limit. What is beyond it is read, and forgotten.
async fn all(from: Option<impl AsyncRead + Unpin>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        // What was read until it failed is what there is.
        let _ = (&mut from).take(limit).read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    }
    bytes
}

/// `exit_3`, `signal_9`
fn word(status: ExitStatus) -> String {
    let by = || status.signal().map(|signal| format!("signal_{signal}"));
    status.code().map(|code| format!("exit_{code}")).or_else(by).unwrap_or_else(|| "failed".to_owned())
}

/// The end of what it has said.
fn end_of(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let text = text.trim_end();
    let from = text.char_indices().rev().nth(SHOWN / 4).map_or(0, |(at, _)| at);
    text[from..].to_owned()
}

fn refuse(code: &str, message: String) -> ReplyError {
    ReplyError { code: Some(code.to_owned()), message: Some(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_failure_is_its_end_and_whole_characters() {
        assert_eq!(end_of(b"no such revision\n"), "no such revision");
        let long = "ü".repeat(5_000) + "at last";
        let shown = end_of(long.as_bytes());
        assert!(shown.ends_with("at last") && shown.len() <= SHOWN, "{}", shown.len());
        assert_eq!(end_of(&[0xff, b'x', b'\n']), "\u{fffd}x");
    }
}
