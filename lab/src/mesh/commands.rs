//! What a node's commands do.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::Lab;
use crate::error::{Error, Result};
use crate::process::command;

/// A command that has not ended by then never will.
const COMMAND_WITHIN: Duration = Duration::from_secs(60);

/// What a command did.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed as data.
    pub stdout: String,
    /// What it printed beside it.
    pub stderr: String,
}

impl Lab {
    /// Runs a command of this node with something on its stdin.
    ///
    /// # Errors
    /// If it cannot be run, or does not end. How it ends is in the output.
    pub async fn run(&self, node: &str, arguments: &[&str], stdin: &[u8]) -> Result<Output> {
        let mut child = command(&self.words(node, arguments))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(Error::io("starting a command"))?;
        if let Some(mut pipe) = child.stdin.take() {
            // A command that does not read its input closes it, which is its right.
            let _ = pipe.write_all(stdin).await;
        }
        let output = timeout(COMMAND_WITHIN, child.wait_with_output()).await;
        let output =
            output.map_err(|_| Error::Timeout { what: arguments.join(" "), within: COMMAND_WITHIN })?;
        let output = output.map_err(Error::io("running a command"))?;
        Ok(Output {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command of this node with `--json`, and reads the document it prints.
    ///
    /// # Errors
    /// If it does not succeed, with what it said.
    pub async fn json(&self, node: &str, arguments: &[&str]) -> Result<Value> {
        let mut words = vec!["--json"];
        words.extend_from_slice(arguments);
        self.run(node, &words, b"").await?.json()
    }

    /// The command line of a node's command, on its host.
    pub(super) fn words(&self, node: &str, arguments: &[&str]) -> Vec<OsString> {
        let mut words: Vec<OsString> =
            vec![self.program.clone().into(), "--state".into(), self.state(node).into()];
        words.extend(arguments.iter().map(OsString::from));
        let words = self.in_environment(node, words);
        match self.hosts.get(node) {
            Some(host) => host.wrap(words),
            None => words,
        }
    }

    /// The same with the variables that were set for whoever runs it.
    pub(super) fn in_environment(&self, name: &str, mut words: Vec<OsString>) -> Vec<OsString> {
        if let Some(variables) = self.environments.get(name) {
            words.splice(0..0, std::iter::once(OsString::from("env")).chain(variables.iter().cloned()));
        }
        words
    }
}

impl Output {
    /// The JSON document it printed, if it succeeded.
    ///
    /// # Errors
    /// `Process` with what it said otherwise.
    pub fn json(&self) -> Result<Value> {
        let failed = |what: &str| Error::Process {
            process: "a command".to_owned(),
            what: what.to_owned(),
            log: format!("{}{}", self.stdout, self.stderr),
        };
        match self.code {
            Some(0) => serde_json::from_str(&self.stdout).map_err(|_| failed("printed no JSON document")),
            Some(code) => Err(failed(&format!("ended with {code}"))),
            None => Err(failed("was ended by a signal")),
        }
    }
}
