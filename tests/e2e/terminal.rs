//! A person at a terminal: a state folder of their own, commands in it, and some that go on running.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use waxwing_client::Client;
use waxwing_lab::Output;

use crate::support::{PROGRAM, WITHIN};

/// A command in a state folder, with nothing of this process's settings.
pub(crate) fn command(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    for variable in ["WAXWING_STATE", "WAXWING_APP", "WAXWING_HOST_ID", "RUST_LOG", "NO_COLOR"] {
        command.env_remove(variable);
    }
    command.arg("--state").arg(state).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub(crate) async fn output(command: &mut Command) -> Output {
    let output = timeout(WITHIN, command.output()).await.expect("the command ends").unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A state folder whose processes in the background go with it.
pub(crate) struct Desk {
    folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("waxwing-desk-").tempdir().unwrap() }
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        output(&mut command(&self.state(), arguments)).await
    }

    /// The document of a command that must succeed.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--json"], arguments].concat()).await;
        output.json().unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// The error of a command that must fail.
    pub(crate) async fn fails(&self, arguments: &[&str], exit: i32) -> Value {
        let output = self.run(&[&["--json"], arguments].concat()).await;
        assert_eq!((output.code, output.stdout.as_str()), (Some(exit), ""), "{arguments:?}: {output:?}");
        let document: Value = serde_json::from_str(output.stderr.lines().last().unwrap()).unwrap();
        document["error"].clone()
    }

    /// Everything up, with a broker on a free port.
    pub(crate) async fn up(&self) -> Value {
        self.json(&["up", "--listen", "127.0.0.1:0", "--name", "here"]).await
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.state().join("node.sock"))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let down = std::process::Command::new(PROGRAM)
            .arg("--state")
            .arg(self.state())
            .arg("down")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !std::thread::panicking() {
            assert!(down.unwrap().success(), "something is left behind in {}", self.state().display());
        }
    }
}

/// A command that goes on running, line by line.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Running {
    pub(crate) fn start(state: &Path, arguments: &[&str]) -> Self {
        let mut child =
            command(state, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// The next line it prints.
    pub(crate) async fn line(&mut self) -> String {
        let line = timeout(WITHIN, self.lines.next_line()).await.expect("a line in time").unwrap();
        line.expect("it goes on")
    }

    /// The next document it prints.
    pub(crate) async fn document(&mut self) -> Value {
        let line = self.line().await;
        let document: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert_eq!(document["schema"], 1);
        document
    }

    /// Waits until it ends by itself.
    pub(crate) async fn end(mut self) -> Output {
        let mut stdout = String::new();
        while let Some(line) = timeout(WITHIN, self.lines.next_line()).await.expect("it ends").unwrap() {
            stdout.push_str(&line);
            stdout.push('\n');
        }
        let ended = self.child.wait_with_output().await.unwrap();
        Output { code: ended.status.code(), stdout, stderr: String::from_utf8(ended.stderr).unwrap() }
    }

    /// Ends it, as Ctrl-C would.
    pub(crate) async fn stop(mut self) {
        self.child.kill().await.unwrap();
    }
}
