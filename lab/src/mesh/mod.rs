//! A throwaway mesh: one broker, a proxy before it, and nodes, each a real process with a folder of its own.

mod commands;
mod direct;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use waxwing_client::{Client, NodeId, api};

use crate::apps::{Reader, Sender};
use crate::error::{Error, Result};
use crate::history::Recorder;
use crate::host::Host;
use crate::process::Process;
use crate::proxy::Proxy;
use crate::wait::eventually;

pub use self::commands::Output;

/// The mesh's name.
const MESH: &str = "lab";
/// What each node's process runs.
const NODE_UP: [&str; 4] = ["--json", "node", "up", "--foreground"];
/// A node that is not linked by then never will be. Longer than the longest reconnect delay.
const LINKED_WITHIN: Duration = Duration::from_secs(45);

/// A broker and its nodes, in a temporary folder that goes with it.
///
/// Processes are called by name: `broker`, and each node by its own. If a test panics, the end of every log is shown.
#[derive(Debug)]
pub struct Lab {
    program: PathBuf,
    // Before the folder, so that they are gone when it goes.
    processes: BTreeMap<String, Process>,
    folder: TempDir,
    proxy: Proxy,
    /// Nodes dial the broker itself, not the proxy: where that is, once it runs.
    direct: Option<String>,
    /// What founding a mesh takes at that broker, if it takes anything.
    creation_token: Option<PathBuf>,
    ids: BTreeMap<String, NodeId>,
    founder: Option<String>,
    recovery_words: String,
    hosts: BTreeMap<String, Host>,
    environments: BTreeMap<String, Vec<OsString>>,
}

impl Lab {
    /// The name the broker is called by.
    pub const BROKER: &'static str = "broker";

    /// A broker with nobody connected.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start(program: impl Into<PathBuf>) -> Result<Self> {
        let mut lab = Self::without_broker(program).await?;
        lab.add_broker(None)?;
        lab.restart(Self::BROKER).await?;
        Ok(lab)
    }

    /// A folder and a proxy, for a test that brings its own broker: the proxy must be told where it is, and the broker
    /// to go by the proxy's URL.
    ///
    /// # Errors
    /// If there is no room or no port.
    pub async fn without_broker(program: impl Into<PathBuf>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("waxwing-lab-").tempdir();
        Ok(Self {
            program: program.into(),
            processes: BTreeMap::new(),
            folder: folder.map_err(Error::io("making a temporary folder"))?,
            proxy: Proxy::start().await?,
            direct: None,
            creation_token: None,
            ids: BTreeMap::new(),
            founder: None,
            recovery_words: String::new(),
            hosts: BTreeMap::new(),
            environments: BTreeMap::new(),
        })
    }

    /// A broker and these nodes, all linked. The first founds the mesh and is its admin.
    ///
    /// # Errors
    /// If any of it does not start.
    pub async fn mesh(program: impl Into<PathBuf>, nodes: &[&str]) -> Result<Self> {
        let mut lab = Self::start(program).await?;
        for node in nodes {
            lab.add(node).await?;
        }
        Ok(lab)
    }

    /// The same by a broker with these settings, as its configuration file has them.
    ///
    /// # Errors
    /// If any of it does not start.
    pub async fn mesh_by(program: impl Into<PathBuf>, settings: &str, nodes: &[&str]) -> Result<Self> {
        let mut lab = Self::without_broker(program).await?;
        lab.add_broker(Some(settings))?;
        lab.restart(Self::BROKER).await?;
        for node in nodes {
            lab.add(node).await?;
        }
        Ok(lab)
    }

    /// Lets a node run on another host: to be said before it is added, or while it is stopped.
    pub fn set_host(&mut self, node: &str, host: Option<Host>) {
        match host {
            Some(host) => drop(self.hosts.insert(node.to_owned(), host)),
            None => drop(self.hosts.remove(node)),
        }
        self.reset_command(node);
    }

    /// Gives a node's processes, or the broker's, these variables beside those of this process: to be said while it is stopped.
    pub fn set_environment(&mut self, name: &str, variables: &[(&str, &Path)]) {
        let assign = |(name, value): &(&str, &Path)| {
            let mut word = OsString::from(name);
            word.push("=");
            word.push(value);
            word
        };
        self.environments.insert(name.to_owned(), variables.iter().map(assign).collect());
        self.reset_command(name);
    }

    fn reset_command(&mut self, name: &str) {
        if self.processes.contains_key(name) {
            let words = if name == Self::BROKER { self.broker_words() } else { self.words(name, &NODE_UP) };
            self.process(name).set_command(words);
        }
    }

    /// Makes a node a member, the first one by founding the mesh, starts it, and waits until it is linked and every node
    /// that runs knows it.
    ///
    /// # Errors
    /// If a command fails, or the node does not get linked or known.
    pub async fn add(&mut self, node: &str) -> Result<()> {
        self.enrol(node).await?;
        self.restart(node).await?;
        self.linked(node).await?;
        let id = self.id(node);
        for other in self.ids.keys().filter(|name| self.processes.get(*name).is_some_and(Process::is_running))
        {
            let client = self.client(other);
            let knows = async || {
                let peers = client.peers(&api::MeshQuery::default()).await.ok()?;
                peers.peers.iter().any(|peer| peer.id == id).then_some(())
            };
            eventually(LINKED_WITHIN, &format!("{other} knows {node}"), knows).await?;
        }
        Ok(())
    }

    /// Makes a node a member and does not start it.
    ///
    /// # Errors
    /// If a command fails.
    pub async fn enrol(&mut self, node: &str) -> Result<()> {
        self.enrol_by(node, &api::InviteRequest::default()).await
    }

    /// As [`Lab::enrol`], by such an invite.
    ///
    /// # Errors
    /// If a command fails.
    pub async fn enrol_by(&mut self, node: &str, invite: &api::InviteRequest) -> Result<()> {
        let made = match &self.founder {
            None => {
                let url = self.url();
                let token = self.creation_token.as_ref().map(|file| file.to_string_lossy());
                let mut words = vec!["mesh", "create", MESH, "--broker", &url, "--node", node];
                words.extend(token.iter().flat_map(|file| ["--creation-token", file]));
                let made = self.json(node, &words).await?;
                self.recovery_words = made["recovery_words"].as_str().unwrap_or_default().to_owned();
                made
            }
            Some(founder) => {
                let invite = self.client(founder).invite(invite).await?;
                return self.enrol_with(node, &invite.token).await;
            }
        };
        self.enrolled(node, &made)
    }

    /// As [`Lab::enrol`], by the token of an invite that was made before. Nobody else need be online.
    ///
    /// # Errors
    /// If the command fails.
    pub async fn enrol_with(&mut self, node: &str, token: &str) -> Result<()> {
        let join = ["--json", "join", "-", "--name", node];
        let made = self.run(node, &join, token.as_bytes()).await?.json()?;
        self.enrolled(node, &made)
    }

    fn enrolled(&mut self, node: &str, made: &Value) -> Result<()> {
        let id = made["node_id"].as_str().and_then(|id| id.parse().ok());
        let id = id.ok_or_else(|| Error::Unreadable(format!("no node id in {made}")))?;
        self.ids.insert(node.to_owned(), id);
        self.founder.get_or_insert_with(|| node.to_owned());
        let words = self.words(node, &NODE_UP);
        let process = Process::new(node, words, self.path(&format!("{node}.log")));
        self.processes.insert(node.to_owned(), process);
        Ok(())
    }

    /// Kills a process with SIGKILL.
    ///
    /// # Errors
    /// If the system cannot.
    pub async fn kill(&mut self, name: &str) -> Result<()> {
        if name == Self::BROKER {
            self.proxy.set_broker(None);
        }
        self.process(name).kill().await
    }

    /// Starts a process, killing it first if it runs, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not get ready.
    pub async fn restart(&mut self, name: &str) -> Result<()> {
        let ready = self.process(name).start().await?;
        if name == Self::BROKER {
            let address = ready["url"].as_str().and_then(|url| url.strip_prefix("ws://")?.parse().ok());
            let address = address.ok_or_else(|| Error::Unreadable(format!("no address in {ready}")))?;
            self.proxy.set_broker(Some(address));
        }
        Ok(())
    }

    /// Asks a process to stop, and waits until it has.
    ///
    /// # Errors
    /// If it does not.
    pub async fn stop(&mut self, name: &str) -> Result<Option<i32>> {
        Ok(self.process(name).stop().await?.code())
    }

    /// Waits until a node's link is up.
    ///
    /// # Errors
    /// `Timeout` if it does not come up.
    pub async fn linked(&self, node: &str) -> Result<()> {
        let linked = async || self.is_linked(node).await.then_some(());
        eventually(LINKED_WITHIN, &format!("{node} is linked"), linked).await
    }

    /// Waits until a node knows that its link is down: what is asked before then may wait for an answer as long as it is let.
    ///
    /// # Errors
    /// If it does not come to know it.
    pub async fn unlinked(&self, node: &str) -> Result<()> {
        let unlinked = async || (!self.is_linked(node).await).then_some(());
        eventually(LINKED_WITHIN, &format!("{node} is not linked"), unlinked).await
    }

    /// Whether a node's link is up.
    pub async fn is_linked(&self, node: &str) -> bool {
        let health = self.client(node).health().await;
        health.is_ok_and(|health| health.meshes.iter().all(|mesh| mesh.link.state == api::LinkState::Up))
    }

    /// Loses the broker's store, as if its disk were gone: without any warning.
    ///
    /// # Errors
    /// If the broker does not start again.
    pub async fn lose_store(&mut self) -> Result<()> {
        self.kill(Self::BROKER).await?;
        let files =
            std::fs::read_dir(self.state(Self::BROKER)).map_err(Error::io("reading the broker's folder"))?;
        for file in files {
            let file = file.map_err(Error::io("reading the broker's folder"))?;
            if file.file_name().to_string_lossy().starts_with("broker.db") {
                std::fs::remove_file(file.path()).map_err(Error::io("deleting the broker's store"))?;
            }
        }
        self.restart(Self::BROKER).await
    }

    /// A process, to look at its log or wait for its end.
    ///
    /// # Panics
    /// If there is none of this name: the test is wrong.
    #[expect(clippy::panic, reason = "a misspelt name is a mistake in the test")]
    pub fn process(&mut self, name: &str) -> &mut Process {
        self.processes.get_mut(name).unwrap_or_else(|| panic!("no process is called {name}"))
    }

    /// An app's handle on a node.
    pub fn client(&self, node: &str) -> Client {
        Client::new(self.state(node).join("node.sock"))
    }

    /// An app that sends from a node.
    pub fn sender(&self, node: &str, record: &Recorder) -> Sender {
        Sender { node: node.to_owned(), client: self.client(node), record: record.clone() }
    }

    /// An app that reads every mailbox of a node, from the beginning.
    pub fn reader(&self, node: &str, record: &Recorder) -> Reader {
        Reader { node: node.to_owned(), client: self.client(node), record: record.clone(), cursor: 0 }
    }

    /// A node's id.
    ///
    /// # Panics
    /// If there is none of this name: the test is wrong.
    #[expect(clippy::panic, reason = "a misspelt name is a mistake in the test")]
    pub fn id(&self, node: &str) -> NodeId {
        *self.ids.get(node).unwrap_or_else(|| panic!("no node is called {node}"))
    }

    /// What the founder was shown once.
    pub fn recovery_words(&self) -> &str {
        &self.recovery_words
    }

    /// The wire between nodes and broker.
    pub const fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Where nodes dial.
    pub fn url(&self) -> String {
        self.direct.clone().unwrap_or_else(|| self.proxy.url())
    }

    /// The folder that everything is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A node's state folder, or the broker's data folder.
    pub fn state(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    fn add_broker(&mut self, settings: Option<&str>) -> Result<()> {
        if let Some(settings) = settings {
            std::fs::write(self.settings(), settings).map_err(Error::io("writing the broker's settings"))?;
        }
        let process = Process::new(Self::BROKER, self.broker_words(), self.path("broker.log"));
        self.processes.insert(Self::BROKER.to_owned(), process);
        Ok(())
    }

    /// What the broker's process runs.
    fn broker_words(&self) -> Vec<OsString> {
        let (url, settings) = (self.proxy.url(), self.settings());
        let mut words: Vec<OsString> = vec![self.program.clone().into()];
        words.extend(
            ["--json", "broker", "run", "--listen", "127.0.0.1:0", "--advertise", &url, "--data"]
                .map(OsString::from),
        );
        words.push(self.path(Self::BROKER).into_os_string());
        if settings.exists() {
            words.extend(["--config".into(), settings.into()]);
        }
        self.in_environment(Self::BROKER, words)
    }

    /// The file with the broker's settings, if it has any.
    fn settings(&self) -> PathBuf {
        self.path("broker.toml")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for process in self.processes.values() {
                eprintln!("{}", process.log_end());
            }
        }
    }
}
