//! What this machine has for a server: its binaries, and a user to run it as.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{BINARIES, Error, Result};

/// Whom it runs as: PostgreSQL refuses to be root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User(Option<(u32, u32)>);

impl User {
    /// The one that Debian's package makes, or nobody's, if we are root; otherwise us.
    pub(crate) fn find() -> io::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let users = fs::read_to_string("/etc/passwd")?;
        let ids = |name: &str| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let mut fields = line.split(':').skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        };
        Ok(Self(Some(ids("postgres").or_else(|| ids("nobody")).unwrap_or((65_534, 65_534)))))
    }

    pub(crate) fn own(self, path: &Path) -> io::Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        match self.0 {
            Some((user, group)) => std::os::unix::fs::chown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    pub(crate) fn become_it(self, command: &mut Command) {
        if let Some((user, group)) = self.0 {
            command.uid(user).gid(group);
        }
    }
}

/// The newest that is installed.
pub(crate) fn binaries() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(BINARIES) {
        return Ok(named.into());
    }
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = debian.map(|version| version.path().join("bin")).collect();
    found.sort_by_key(|path| version(path));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = found.into_iter().rev().chain(std::env::split_paths(&path));
    found.into_iter().find(|folder| folder.join("initdb").exists()).ok_or(Error::NotInstalled)
}

fn version(binaries: &Path) -> u32 {
    let name = binaries.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    name.and_then(|name| name.parse().ok()).unwrap_or(0)
}
