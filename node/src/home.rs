//! The state folder: where everything is, who may read it, and the lock that keeps a second node out.
//!
//! ```text
//! STATE/
//!   lock            kernel lock, held for the life of the process
//!   config.toml     with --state; else in the user's configuration folder
//!   node.sock       with --state; else in the user's runtime folder
//!   meshes/NAME/
//!     identity.json keys (0600)
//!     host.json     which host this node belongs to
//!     node.db       messages, log, sessions
//!   entering/ID/    the same while a join is under way; becomes meshes/NAME when it is done
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use waxwing_crypto::Name;

use crate::error::{Error, Result};

/// A state folder, not locked.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Takes the folder for this process, making it if there is none.
    pub(crate) fn lock(&self) -> Result<Lock> {
        private_folder(&self.0)?;
        let path = self.0.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(Error::file("cannot open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(Error::AlreadyRunning(self.0.clone())),
            Err(TryLockError::Error(source)) => Err(Error::File { what: "cannot lock", path, source }),
        }
    }

    /// Folder of a mesh.
    pub(crate) fn mesh(&self, name: &Name) -> PathBuf {
        self.0.join("meshes").join(name.as_str())
    }

    /// Folder of a join under way, by a name of the caller's.
    pub(crate) fn entering(&self, id: &str) -> PathBuf {
        self.0.join("entering").join(id)
    }

    /// The meshes joined, by name.
    pub(crate) fn meshes(&self) -> Result<Vec<Name>> {
        let folder = self.0.join("meshes");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(Error::File { what: "cannot read", path: folder, source });
            }
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::file("cannot read", &folder))?;
            let name = entry.file_name();
            match name.to_str().and_then(|name| name.parse().ok()) {
                Some(name) => names.push(name),
                None => {
                    return Err(Error::Damaged(format!("{} is not a mesh", entry.path().display())));
                }
            }
        }
        names.sort();
        Ok(names)
    }
}

/// The kernel's lock on a state folder, released when dropped or killed.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not used: closing it releases the lock")] File);

/// Makes a folder that only this user can enter, with its parents.
pub(crate) fn private_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file("cannot make", path))
}

/// Writes a file that only this user can read, so that it is there whole or not at all: created new under another
/// name, synced, renamed, and the folder synced.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_extension("new");
    let failed = |what| Error::file(what, path);
    if let Err(error) = fs::remove_file(&temporary)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(failed("cannot replace")(error));
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed("cannot write"))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed("cannot write"))?;
    fs::rename(&temporary, path).map_err(failed("cannot write"))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes what was created or renamed in a folder survive a power cut.
pub(crate) fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::file("cannot sync", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn one_process_at_a_time_holds_a_state_folder() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("state"));
        let lock = home.lock().unwrap();
        assert!(matches!(home.lock(), Err(Error::AlreadyRunning(_))));
        drop(lock);
        home.lock().unwrap();
    }

    #[test]
    fn what_is_written_is_private_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
