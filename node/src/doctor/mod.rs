//! What its owner should know about a node, whether it runs or not. Nothing is changed.
//!
//! Each check gives findings; one that is not in order comes with the command that mends it, or shows more.

mod access;
mod broker;
mod mesh;

use std::path::Path;

use waxwing_protocol::api::Health;
use waxwing_protocol::finding::size;
pub use waxwing_protocol::finding::{Finding, Verdict};

use crate::config::Config;
use crate::home::Home;
use crate::hooks;

/// Less room is used up by a few days of mail.
const SCARCE: u64 = 1024 * 1024 * 1024;
/// Less is used up by the logs of the databases alone, and then nothing is stored.
const NONE_LEFT: u64 = 128 * 1024 * 1024;

/// How a command goes on from here: `node up` becomes the whole of it, with the state folder.
pub type Command<'a> = &'a dyn Fn(&str) -> String;

/// Looks at everything. `health` is what the running node says of itself.
pub async fn examine(config: &Config, health: Option<&Health>, command: Command<'_>) -> Vec<Finding> {
    if !config.state.is_dir() {
        let detail = format!("{} is not there: no node has run on it", config.state.display());
        return vec![Finding::wrong("folder", detail, command("up"))];
    }
    let mut findings = access::examine(config);
    findings.push(hooks(config));
    findings.push(disk(&config.state));
    let home = Home::new(config.state.clone());
    match home.meshes() {
        Ok(meshes) if meshes.is_empty() => {
            findings.push(Finding::warning("meshes", "this node is in none", command("join TOKEN")));
        }
        Ok(meshes) => {
            for name in meshes {
                let health =
                    health.and_then(|health| health.meshes.iter().find(|health| health.mesh == name));
                findings.extend(mesh::examine(config, &home, &name, health, command).await);
            }
        }
        Err(error) => {
            findings.push(Finding::wrong(
                "meshes",
                error.to_string(),
                format!("ls -l {}", config.state.display()),
            ));
        }
    }
    findings
}

/// Whether everything that is to be run after events can be, and is its owner's alone.
fn hooks(config: &Config) -> Finding {
    const CHECK: &str = "hooks";
    match hooks::check(config) {
        Ok(()) => Finding::ok(CHECK, format!("{} configured", config.hooks.len())),
        Err(error) => {
            let mend = error.hint().unwrap_or_default();
            Finding::wrong(CHECK, error.to_string(), mend)
        }
    }
}

/// How much room there is.
fn disk(state: &Path) -> Finding {
    const CHECK: &str = "disk";
    let mend = format!("df -h {}", state.display());
    match rustix::fs::statvfs(state) {
        Ok(disk) => room(disk.f_bavail.saturating_mul(disk.f_frsize), mend),
        Err(error) => Finding::wrong(CHECK, error.to_string(), mend),
    }
}

fn room(free: u64, mend: String) -> Finding {
    let detail = format!("{} left", size(free));
    match free {
        0..NONE_LEFT => Finding::wrong("disk", detail, mend),
        NONE_LEFT..SCARCE => Finding::warning("disk", detail, mend),
        _ => Finding::ok("disk", detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fills_up_is_told_before_it_is_full() {
        let verdict = |free| room(free, String::new()).verdict;
        assert_eq!(verdict(0), Verdict::Wrong);
        assert_eq!(verdict(NONE_LEFT), Verdict::Warning);
        assert_eq!(verdict(SCARCE), Verdict::Ok);
    }
}
