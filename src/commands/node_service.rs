//! `waxwing node install-service` and `uninstall-service`.

use std::ffi::OsString;

use waxwing_node::{Config, Origin};
use waxwing_protocol::finding::Finding;

use super::Context;
use crate::cli::NodeService;
use crate::failure::{Failure, Result};
use crate::service::{Scope, Service};

/// What is a node's own. It asks the kernel for the network cards, which may be what its host is known by (`AF_NETLINK`). It may run hooks, which live under the same rules: so none that breaks every other interpreter
/// (`MemoryDenyWriteExecute`), and none that needs name spaces, which many kernels give no user.
const UNIT: &str = "\
RestartSec=5
WatchdogSec=60
TasksMax=512
RestrictAddressFamilies=AF_NETLINK
";
/// Where a node looks for its files, if it is told nothing: a service manager may know others than a shell.
const FOLDERS: [&str; 2] = ["XDG_STATE_HOME", "XDG_CONFIG_HOME"];

pub(crate) fn install(context: &Context, arguments: &NodeService) -> Result<()> {
    let config = context.config()?;
    let service = service(&config)?;
    if arguments.print {
        return service.print(context);
    }
    // One that the service runs is known by its unit.
    if let Some(pid) = waxwing_node::running(&config)?
        && !service.path()?.exists()
    {
        let message = format!("the node is running already (process {pid}), by no service");
        return Err(Failure::already_running(message).hint("stop it with `waxwing node down` first"));
    }
    service.install(context)
}

pub(crate) fn uninstall(context: &Context) -> Result<()> {
    service(&context.config()?)?.uninstall(context)
}

/// Whether it is a service, and the one that it should be.
pub(super) fn finding(context: &Context, config: &Config) -> Option<Finding> {
    const CHECK: &str = "service";
    let service = service(config).ok()?;
    let (path, text) = (service.path().ok()?, service.text().ok()?);
    let install = context.command("node install-service");
    Some(match std::fs::read_to_string(&path) {
        Ok(found) if found == text => Finding::ok(CHECK, format!("{} is as it should be", path.display())),
        Ok(_) => {
            let detail = format!("{} is not what this program would write for this node", path.display());
            Finding::warning(CHECK, detail, install)
        }
        Err(_) => Finding::ok(CHECK, format!("none; `{install}` makes the node one")),
    })
}

/// The service of this user's node.
fn service(config: &Config) -> Result<Service> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut environment = Vec::new();
    if config.is_explicit() {
        arguments.extend(["--state".into(), config.state.clone().into()]);
    } else {
        environment.extend(FOLDERS.into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?))));
    }
    let values = config.values();
    let set = values.iter().filter(|value| value.origin == Origin::Environment);
    let set = set.filter_map(|value| Some((value.setting.variable?, value.value.clone()?)));
    environment.extend(set.filter(|(name, _)| *name != "WAXWING_STATE"));
    arguments.extend(["node", "up", "--foreground"].map(OsString::from));
    Ok(Service {
        name: "node",
        scope: Scope::User,
        arguments,
        environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        unit: UNIT.to_owned(),
        next:
            "Its log is in `journalctl --user -u waxwing-node`. So that it runs while you are not logged in: \
               `loginctl enable-linger`. How it is: `waxwing node status`"
                .to_owned(),
        log: config.state.join("launchd.log"),
    })
}
