//! `waxwing broker install-service` and `uninstall-service`: the broker as a service of systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use crate::cli::{InstallService, Service};
use crate::commands::Context;
use crate::failure::{Failure, Result};

/// The unit's name.
const UNIT: &str = "waxwing-broker.service";
/// How a unit of ours begins. Another's is not touched.
const MARK: &str = "# Written by `waxwing broker install-service`.";
/// What both kinds of service have. Exit codes 2 to 5 are the same at every start.
const SERVICE: &str = "\
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=2 3 4 5
TimeoutStopSec=30
LimitNOFILE=65536
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
";
/// What only the system's manager can give: a user of its own, and next to nothing of the machine.
const SYSTEM: &str = "\
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

/// Whose service manager.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Scope {
    System,
    User,
}

/// What was done.
#[derive(Serialize)]
struct Done {
    unit: PathBuf,
    changed: bool,
}

pub(crate) fn install(context: &Context, arguments: &InstallService) -> Result<()> {
    let scope = Scope::of(&arguments.service);
    let text = unit(context, scope, arguments.config.as_deref())?;
    if arguments.print {
        return context.output.print(&serde_json::json!({ "unit": text }), || text.clone());
    }
    let path = scope.path()?;
    ours(&path)?;
    let cannot = |err: std::io::Error| Failure::failed(format!("cannot write {}: {err}", path.display()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(cannot)?;
    }
    fs::write(&path, text).map_err(cannot)?;
    readable(&path).map_err(cannot)?;
    scope.systemctl(&["daemon-reload"])?;
    scope.systemctl(&["enable", "--now", UNIT])?;
    let done = Done { unit: path, changed: true };
    context.output.print(&done, || format!("{} is enabled and started", done.unit.display()))?;
    context.output.note(scope.next());
    Ok(())
}

pub(crate) fn uninstall(context: &Context, arguments: &Service) -> Result<()> {
    let scope = Scope::of(arguments);
    let path = scope.path()?;
    ours(&path)?;
    let changed = path.exists();
    if changed {
        scope.systemctl(&["disable", "--now", UNIT])?;
        fs::remove_file(&path)
            .map_err(|err| Failure::failed(format!("cannot remove {}: {err}", path.display())))?;
        scope.systemctl(&["daemon-reload"])?;
    }
    let done = Done { unit: path, changed };
    context.output.print(&done, || match done.changed {
        true => format!("{} is stopped and removed; what it has stored stays", done.unit.display()),
        false => format!("there is no {}", done.unit.display()),
    })
}

/// Whether a unit file is ours, or there is none.
fn ours(path: &Path) -> Result<()> {
    match fs::read_to_string(path) {
        Ok(text) if !text.starts_with(MARK) => {
            let message = format!("{} was written by somebody else", path.display());
            Err(Failure::conflict(message).hint("move it away first"))
        }
        _ => Ok(()),
    }
}

/// A unit has no secret in it, and systemd complains of one that it may not read.
fn readable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

fn unit(context: &Context, scope: Scope, config: Option<&Path>) -> Result<String> {
    let program =
        std::env::current_exe().map_err(|err| Failure::failed(format!("which program am I? {err}")))?;
    let mut command = format!("{} broker run", quoted(&program));
    if let Some(config) = config {
        let config =
            fs::canonicalize(config).map_err(|err| Failure::usage(format!("{}: {err}", config.display())))?;
        command.push_str(&format!(" --config {}", quoted(&config)));
    }
    // For the system's service the manager makes the folder; a user's has its own.
    let data = match scope {
        Scope::System => "/var/lib/waxwing-broker".into(),
        Scope::User => super::data_folder(&context.config()?),
    };
    command.push_str(&format!(" --data {}", quoted(&data)));
    let (own, target) = match scope {
        Scope::System => (SYSTEM, "multi-user.target"),
        Scope::User => ("", "default.target"),
    };
    Ok(format!(
        "{MARK}\n[Unit]\nDescription=Waxwing broker\nWants=network-online.target\nAfter=network-online.target\n\n\
         [Service]\nType=exec\nExecStart={command}\n{SERVICE}{own}\n[Install]\nWantedBy={target}\n"
    ))
}

/// A path as one word of a unit's command.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b));
    if plain {
        return text;
    }
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{text}\"")
}

impl Scope {
    fn of(service: &Service) -> Self {
        let root = rustix::process::geteuid().is_root();
        if service.system || (root && !service.user) { Self::System } else { Self::User }
    }

    fn path(self) -> Result<PathBuf> {
        if self == Self::System {
            return Ok(Path::new("/etc/systemd/system").join(UNIT));
        }
        let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".config"));
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let config =
            config.or_else(home).ok_or_else(|| Failure::usage("neither XDG_CONFIG_HOME nor HOME is set"))?;
        Ok(config.join("systemd/user").join(UNIT))
    }

    fn systemctl(self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("systemctl");
        if self == Self::User {
            command.arg("--user");
        }
        let shown = format!("systemctl {}", arguments.join(" "));
        let output = command.args(arguments).output().map_err(|err| {
            Failure::failed(format!("cannot run `{shown}`: {err}"))
                .hint("without systemd, have your supervisor run `waxwing broker run`")
        })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::failed(format!("`{shown}` failed: {}", said.trim())))
    }

    const fn next(self) -> &'static str {
        match self {
            Self::System => {
                "Its data is in /var/lib/waxwing-broker, its log in `journalctl -u waxwing-broker`. How it is: \
                 `waxwing broker status --data /var/lib/waxwing-broker`"
            }
            Self::User => {
                "Its log is in `journalctl --user -u waxwing-broker`. So that it runs while you are not logged in: \
                 `loginctl enable-linger`"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        assert_eq!(quoted(Path::new("/usr/bin/waxwing")), "/usr/bin/waxwing");
        assert_eq!(quoted(Path::new("/a b/50%/\"$x\\")), r#""/a b/50%%/\"$$x\\""#);
    }
}
