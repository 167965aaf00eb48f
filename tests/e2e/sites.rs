//! Places that commands and processes run at: a state folder, an environment, and a machine of their own if there is one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;
use waxwing_client::Client;
use waxwing_client::api::{LinkState, MeshHealth};
use waxwing_lab::{Machine, Output, Process, eventually};

use crate::support::{PROGRAM, WITHIN};

/// Where something runs.
pub(crate) struct Site {
    folder: PathBuf,
    machine: Option<Machine>,
    environment: Vec<String>,
}

impl Site {
    /// A place on this machine.
    pub(crate) fn here(folder: &Path, name: &str) -> Self {
        Self { folder: folder.join(name), machine: None, environment: Vec::new() }
    }

    /// A place on a machine of its own.
    pub(crate) fn on(machine: &Machine, folder: &Path, name: &str) -> Self {
        Self { machine: Some(machine.clone()), ..Self::here(folder, name) }
    }

    /// The same with an environment variable.
    pub(crate) fn with(mut self, name: &str, value: &Path) -> Self {
        self.environment.push(format!("{name}={}", value.display()));
        self
    }

    /// Its state folder, or its broker's data folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn words(&self, arguments: &[&str]) -> Vec<OsString> {
        let unset = ["WAXWING_STATE", "WAXWING_HOST_ID", "RUST_LOG", "SSL_CERT_FILE", "SSL_CERT_DIR"];
        let mut words: Vec<OsString> = vec!["env".into()];
        words.extend(unset.iter().flat_map(|name| ["-u".into(), name.into()]));
        words.extend(self.environment.iter().map(OsString::from));
        words.extend([PROGRAM.into(), "--json".into(), "--state".into(), self.folder.clone().into()]);
        words.extend(arguments.iter().map(OsString::from));
        match &self.machine {
            Some(machine) => machine.wrap(words),
            None => words,
        }
    }

    /// Runs a command with something on its stdin.
    pub(crate) async fn run(&self, arguments: &[&str], stdin: &str) -> Output {
        let words = self.words(arguments);
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // A command that does not read its input closes it, which is its right.
        drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()).await);
        let output = timeout(WITHIN, child.wait_with_output()).await.expect("the command ends").unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The document of a command that must succeed.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        self.run(arguments, "").await.json().unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
    }

    /// The code and message of a command that must fail.
    pub(crate) async fn fails(&self, arguments: &[&str], exit: i32) -> (String, String) {
        let output = self.run(arguments, "").await;
        assert_eq!((output.code, output.stdout.as_str()), (Some(exit), ""), "{arguments:?}: {output:?}");
        let document: Value = serde_json::from_str(output.stderr.lines().last().unwrap()).unwrap();
        let text = |name: &str| document["error"][name].as_str().unwrap().to_owned();
        (text("code"), text("message"))
    }

    /// A process that runs here, not started yet.
    pub(crate) fn process(&self, name: &str, arguments: &[&str]) -> Process {
        Process::new(name, self.words(arguments), self.folder.with_extension("log"))
    }

    /// A broker that runs here, not started yet.
    pub(crate) fn broker(&self, arguments: &[&str]) -> Process {
        let data = self.folder.join("broker");
        let run = ["broker", "run", "--admin", "127.0.0.1:0", "--data", data.to_str().unwrap()];
        self.process("broker", &[&run[..], arguments].concat())
    }

    /// This place's node, running.
    pub(crate) async fn node(&self) -> Process {
        let mut node = self.process("node", &["node", "up", "--foreground"]);
        node.start().await.unwrap_or_else(|error| panic!("{error}"));
        node
    }

    /// Its mesh's health, once it is as it should be.
    pub(crate) async fn health(&self, what: &str, is: impl Fn(&MeshHealth) -> bool) -> MeshHealth {
        let client = Client::new(self.folder.join("node.sock"));
        let look = async || client.health().await.ok()?.meshes.into_iter().next().filter(&is);
        eventually(WITHIN, what, look).await.unwrap()
    }

    /// Waits until its link is up.
    pub(crate) async fn linked(&self) -> MeshHealth {
        self.health("the link is up", |mesh| mesh.link.state == LinkState::Up).await
    }

    /// Sends a message, and sees it delivered.
    pub(crate) async fn delivers(&self, to: &str, text: &str) {
        let sent = self.json(&["send", to, text, "--wait", "delivered", "--timeout", "60s"]).await;
        assert_eq!((&sent["state"], &sent["reached"]), (&"delivered".into(), &true.into()), "{sent}");
    }
}
