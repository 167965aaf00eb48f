//! One file per verb. Each turns arguments into one call, and its answer into print.

pub(crate) mod accept_host;
pub(crate) mod ack;
pub(crate) mod apps;
mod ask;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod broker;
pub(crate) mod claim;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod down;
mod elsewhere;
pub(crate) mod events;
pub(crate) mod inbox;
pub(crate) mod invite;
pub(crate) mod join;
pub(crate) mod kv;
mod leases;
pub(crate) mod leave;
mod links;
pub(crate) mod list;
pub(crate) mod lock;
pub(crate) mod man;
pub(crate) mod members;
pub(crate) mod membership;
pub(crate) mod mesh;
pub(crate) mod node;
pub(crate) mod node_service;
pub(crate) mod outbox;
pub(crate) mod peers;
pub(crate) mod profile;
pub(crate) mod prove;
pub(crate) mod repair;
pub(crate) mod request;
pub(crate) mod rotate_keys;
pub(crate) mod run;
pub(crate) mod send;
pub(crate) mod serve;
mod stop;
pub(crate) mod token;
pub(crate) mod topic;
pub(crate) mod trace;
pub(crate) mod up;
mod words;

use std::path::{Path, PathBuf};

use waxwing_client::api::MeshQuery;
use waxwing_client::{Client, Name, Timestamp};
use waxwing_node::Config;

use crate::cli::Global;
use crate::failure::{Failure, Result};
use crate::output::{Output, time};

/// Names the app that a command is, to it.
const APP: &str = "WAXWING_APP";
/// Proves that to the node. As good as the app's own memory, which is where it comes from.
const REGISTRATION: &str = "WAXWING_REGISTRATION";
/// The mesh that it is registered in: in another it proves nothing.
const REGISTRATION_MESH: &str = "WAXWING_REGISTRATION_MESH";

/// What every command is given.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) output: Output,
    pub(crate) verbose: bool,
    pub(crate) mesh: Option<Name>,
    state: Option<PathBuf>,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self {
            output: Output::new(global.json, global.quiet),
            verbose: global.verbose,
            mesh: global.mesh,
            state: global.state,
        }
    }

    /// The state folder, if one was named on the command line.
    pub(crate) fn state(&self) -> Option<&Path> {
        self.state.as_deref()
    }

    /// A command to go on with, on the same state folder.
    pub(crate) fn command(&self, rest: &str) -> String {
        match &self.state {
            Some(state) => format!("waxwing --state {} {rest}", state.display()),
            None => format!("waxwing {rest}"),
        }
    }

    /// What to do next in a mesh that the node is in from now on.
    pub(crate) fn next_in(&self, mesh: &Name, running: bool) -> String {
        let next = if running { format!("peers --mesh {mesh}") } else { "node up".to_owned() };
        format!("next: {}", self.command(&next))
    }

    /// Where this node's state is, and how it behaves.
    pub(crate) fn config(&self) -> Result<Config> {
        Ok(Config::resolve(self.state.clone())?)
    }

    /// The running node. Nothing is dialled yet.
    pub(crate) fn client(&self) -> Result<Client> {
        crate::logs::passing(self.verbose);
        match self.elsewhere()? {
            Some(client) => Ok(client),
            None => Ok(Client::new(self.config()?.socket())),
        }
    }

    /// The running node, spoken to as an app. What `waxwing run` has started proves to be the app that it is.
    pub(crate) fn acting(&self, app: Option<Name>) -> Result<Client> {
        let client = self.client()?;
        let Some(app) = app else { return Ok(client) };
        let named = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let own = named(APP).as_deref() == Some(app.as_str());
        let of = named(REGISTRATION_MESH);
        let elsewhere = self.mesh.as_ref().zip(of).is_some_and(|(mesh, of)| mesh.as_str() != of);
        let registration = named(REGISTRATION).filter(|_| own && !elsewhere && self.state.is_none());
        let client = client.app(app);
        let Some(registration) = registration else { return Ok(client) };
        let registration = registration
            .parse()
            .map_err(|_| Failure::usage(format!("${REGISTRATION} is no registration")))?;
        Ok(client.registration(registration))
    }

    /// The node that the environment names, unless the command line names a state folder.
    fn elsewhere(&self) -> Result<Option<Client>> {
        if self.state.is_some() { Ok(None) } else { elsewhere::named() }
    }

    /// The node that the environment names, or that runs on this state folder, if one does.
    pub(crate) fn running(&self, config: &Config) -> Result<Option<Client>> {
        if let Some(client) = self.elsewhere()? {
            return Ok(Some(client));
        }
        let running = waxwing_node::running(config)?;
        Ok(running.map(|_| Client::new(config.socket())))
    }

    /// Says how old it is what was shown of others, if it is not as of now.
    pub(crate) fn note_age(&self, current: bool, as_of: Option<Timestamp>) {
        if current {
            return;
        }
        self.output.note(&match as_of {
            Some(as_of) => format!("no link to the broker: this is how it was at {}", time(as_of)),
            None => "no link to the broker since this node joined: nothing is known of others".to_owned(),
        });
    }

    /// The mesh asked for.
    pub(crate) fn mesh_query(&self) -> MeshQuery {
        MeshQuery { mesh: self.mesh.clone() }
    }
}
