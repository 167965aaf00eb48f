//! One file per verb. Each turns arguments into one call, and its answer into print.

pub(crate) mod ack;
pub(crate) mod broker;
pub(crate) mod demo;
pub(crate) mod inbox;
pub(crate) mod invite;
pub(crate) mod join;
pub(crate) mod mesh;
pub(crate) mod node;
pub(crate) mod peers;
pub(crate) mod send;
mod stop;

use std::path::PathBuf;

use waxwing_client::api::MeshQuery;
use waxwing_client::{Client, Name};
use waxwing_node::Config;

use crate::cli::Global;
use crate::failure::{Failure, Result};
use crate::output::Output;

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
            output: Output::new(global.json),
            verbose: global.verbose,
            mesh: global.mesh,
            state: global.state,
        }
    }

    /// Where this node's state is, and how it behaves.
    pub(crate) fn config(&self) -> Result<Config> {
        Ok(Config::resolve(self.state.clone())?)
    }

    /// The running node. Nothing is dialled yet.
    pub(crate) fn client(&self) -> Result<Client> {
        crate::logs::passing(self.verbose);
        Ok(Client::new(self.config()?.socket()))
    }

    /// The mesh asked for.
    pub(crate) fn mesh_query(&self) -> MeshQuery {
        MeshQuery { mesh: self.mesh.clone() }
    }
}

/// This host's name as a node's: lower case, up to the first dot, everything else a hyphen.
fn host_name() -> Result<Name> {
    let host = rustix::system::uname();
    node_name(&host.nodename().to_string_lossy()).ok_or_else(|| {
        Failure::usage("this host's name gives no name for a node").hint("give one on the command line")
    })
}

fn node_name(host: &str) -> Option<Name> {
    let label = host.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let plain: String =
        label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(Name::MAX).collect();
    plain.trim_matches('-').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_name_becomes_a_nodes() {
        for (host, name) in [("Build-1.example.org", "build-1"), ("Anna's Mac", "anna-s-mac"), ("_x_", "x")] {
            assert_eq!(node_name(host).unwrap().as_str(), name);
        }
        assert_eq!(node_name(&"x".repeat(80)).unwrap().as_str().len(), 63);
        for host in ["", "...", "__", "漢字"] {
            assert_eq!(node_name(host), None, "{host}");
        }
    }
}
