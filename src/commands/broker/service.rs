//! `waxwing broker install-service` and `uninstall-service`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::at;
use crate::cli::{BrokerService, ServiceOf};
use crate::commands::Context;
use crate::failure::{Failure, Result};
use crate::service::{Scope, Service};

/// What a user's manager gives it beside what every service has: a broker runs no program but itself.
const USER: &str = "\
RestartSec=2
MemoryDenyWriteExecute=yes
";
/// What only the system's manager can give: a user of its own, and next to nothing of the machine.
const SYSTEM: &str = "\
RestartSec=2
MemoryDenyWriteExecute=yes
DynamicUser=yes
StateDirectory=waxwing-broker
StateDirectoryMode=0700
CapabilityBoundingSet=
AmbientCapabilities=
DevicePolicy=closed
PrivateDevices=yes
PrivateTmp=yes
PrivateUsers=yes
ProcSubset=pid
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
";

pub(crate) fn install(context: &Context, arguments: &BrokerService) -> Result<()> {
    let database = arguments.database.as_deref();
    let service = service(context, scope(&arguments.service), arguments.config.as_deref(), database)?;
    if arguments.print { service.print(context) } else { service.install(context) }
}

pub(crate) fn uninstall(context: &Context, arguments: &ServiceOf) -> Result<()> {
    service(context, scope(arguments), None, None)?.uninstall(context)
}

fn scope(of: &ServiceOf) -> Scope {
    let root = rustix::process::geteuid().is_root();
    if of.system || (root && !of.user) { Scope::System } else { Scope::User }
}

fn service(
    context: &Context,
    scope: Scope,
    config: Option<&Path>,
    database: Option<&str>,
) -> Result<Service> {
    let mut arguments: Vec<OsString> = ["broker", "run"].map(Into::into).to_vec();
    if let Some(config) = config {
        let config =
            fs::canonicalize(config).map_err(|err| Failure::usage(format!("{}: {err}", config.display())))?;
        arguments.extend(["--config".into(), config.into()]);
    }
    // For the system's service the manager makes the folder; a user's has its own.
    let data = match scope {
        Scope::System => PathBuf::from("/var/lib/waxwing-broker"),
        Scope::User => super::data_folder(&context.config()?),
    };
    let log = data.join("launchd.log");
    arguments.extend(["--data".into(), data.into()]);
    if let Some(url) = database {
        at::database("--database", url)?;
        arguments.extend(["--database".into(), url.into()]);
    }
    let (unit, next) = match scope {
        Scope::System => (
            SYSTEM,
            "Its data is in /var/lib/waxwing-broker, its log in `journalctl -u waxwing-broker`. How it is: \
             `waxwing broker status --data /var/lib/waxwing-broker`",
        ),
        Scope::User => (
            USER,
            "Its log is in `journalctl --user -u waxwing-broker`. So that it runs while you are not logged in: \
             `loginctl enable-linger`",
        ),
    };
    let (unit, next) = (unit.to_owned(), next.to_owned());
    Ok(Service { name: "broker", scope, arguments, environment: Vec::new(), unit, next, log })
}
