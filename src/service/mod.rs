//! A long-lived process as a service of the system: systemd's, or launchd's on a Mac. The same for node and broker.

mod launchd;
mod systemd;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use crate::commands::Context;
use crate::failure::{Failure, Result};

/// Who runs services here.
const MANAGER: &str = if cfg!(target_os = "macos") { "launchd" } else { "systemd" };

/// What is to be a service.
pub(crate) struct Service {
    /// `node` or `broker`: what its command is called, and its unit.
    pub(crate) name: &'static str,
    /// Whose service manager.
    pub(crate) scope: Scope,
    /// What is run: this program, with these arguments.
    pub(crate) arguments: Vec<OsString>,
    /// What its environment must have for it to find what this command finds.
    pub(crate) environment: Vec<(String, String)>,
    /// Lines of the unit that are this service's own.
    pub(crate) unit: String,
    /// What to know about it once it runs.
    pub(crate) next: String,
    /// Where it logs to under launchd, which keeps no log.
    pub(crate) log: PathBuf,
}

/// Whose service manager.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scope {
    /// The machine's.
    System,
    /// This user's.
    User,
}

/// What was done.
#[derive(Serialize)]
struct Done {
    unit: PathBuf,
    changed: bool,
}

impl Service {
    /// The text of its unit, or of its property list.
    pub(crate) fn text(&self) -> Result<String> {
        let program =
            std::env::current_exe().map_err(|err| Failure::failed(format!("which program am I? {err}")))?;
        Ok(if MANAGER == "launchd" { launchd::text(self, &program) } else { systemd::text(self, &program) })
    }

    /// Where that belongs.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        if MANAGER == "launchd" {
            launchd::path(self.name, self.scope)
        } else {
            systemd::path(self.name, self.scope)
        }
    }

    /// Who has written it.
    fn written(&self) -> String {
        format!("Written by `waxwing {} install-service`.", self.name)
    }

    /// How a text of ours begins. Another's is not touched.
    fn mark(&self) -> String {
        let written = self.written();
        if MANAGER == "launchd" { launchd::marked(&written) } else { systemd::marked(&written) }
    }

    /// Prints the text and changes nothing.
    pub(crate) fn print(&self, context: &Context) -> Result<()> {
        let text = self.text()?;
        context.output.print(&serde_json::json!({ "unit": text }), || text.clone())
    }

    /// Writes it, and has it run from now on.
    pub(crate) fn install(&self, context: &Context) -> Result<()> {
        let (path, text) = (self.path()?, self.text()?);
        self.ours(&path)?;
        write(&path, &text)
            .map_err(|err| Failure::failed(format!("cannot write {}: {err}", path.display())))?;
        self.tell(&path, true)?;
        let done = Done { unit: path, changed: true };
        context.output.print(&done, || format!("{} is enabled and started", done.unit.display()))?;
        context.output.note(&self.next);
        Ok(())
    }

    /// Stops and removes it. What it has stored stays.
    pub(crate) fn uninstall(&self, context: &Context) -> Result<()> {
        let path = self.path()?;
        self.ours(&path)?;
        let changed = path.exists();
        if changed {
            self.tell(&path, false)?;
        }
        let done = Done { unit: path, changed };
        context.output.print(&done, || match done.changed {
            true => format!("{} is stopped and removed; what it has stored stays", done.unit.display()),
            false => format!("there is no {}", done.unit.display()),
        })
    }

    /// Has the manager take it up, or let it go and forget it.
    fn tell(&self, path: &Path, up: bool) -> Result<()> {
        let manager = |arguments: &[&str]| {
            let program = if MANAGER == "launchd" { "launchctl" } else { "systemctl" };
            manager(program, arguments, self.name)
        };
        let forget = || {
            fs::remove_file(path)
                .map_err(|err| Failure::failed(format!("cannot remove {}: {err}", path.display())))
        };
        if MANAGER == "launchd" {
            launchd::tell(self.name, self.scope, path, up, manager, forget)
        } else {
            systemd::tell(self.name, self.scope, up, manager, forget)
        }
    }

    /// Whether what is there is ours, or nothing is.
    fn ours(&self, path: &Path) -> Result<()> {
        match fs::read_to_string(path) {
            Ok(text) if !text.starts_with(&self.mark()) => {
                let message = format!("{} was written by somebody else", path.display());
                Err(Failure::conflict(message).hint("move it away first"))
            }
            _ => Ok(()),
        }
    }
}

/// There is no secret in it, and systemd complains of one that it may not read.
fn write(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

/// Runs the manager's own command.
fn manager(program: &str, arguments: &[&str], name: &str) -> Result<()> {
    let shown = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output().map_err(|err| {
        let run = if name == "node" { "node up --foreground" } else { "broker run" };
        Failure::failed(format!("cannot run `{shown}`: {err}"))
            .hint(format!("without {MANAGER}, have your supervisor run `waxwing {run}`"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Failure::failed(format!("`{shown}` failed: {}", said.trim())))
}

/// This user's folder.
fn home() -> Result<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).ok_or_else(|| Failure::usage("HOME is not set"))
}
