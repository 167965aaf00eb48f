//! The data folder: private to its owner, and to one broker at a time.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A data folder that this process holds. The lock goes with the value, or with the process.
#[derive(Debug)]
pub(crate) struct Folder {
    _lock: File,
}

impl Folder {
    /// Makes the folder if absent, private if empty, and takes its lock.
    ///
    /// # Errors
    /// `Config` if it has files and others have access to it; `InUse` if another broker holds it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |err| Error::Config(format!("{}: {err}", path.display()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            // One just made by hand may become private. In one with files, something has been in the open already.
            if fs::read_dir(path).map_err(failed)?.next().is_some() {
                let path = path.display();
                return Err(Error::Config(format!(
                    "{path} has mode {mode:03o}: others have access. chmod 700 {path}"
                )));
            }
            fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("broker.lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse(path.to_owned())),
            Err(TryLockError::Error(err)) => Err(failed(err)),
        }
    }

    /// The database in a data folder.
    pub(crate) fn database(path: &Path) -> PathBuf {
        path.join("broker.db")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_broker_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let held = Folder::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(Folder::open(&path), Err(Error::InUse(_))));
        drop(held);
        Folder::open(&path).unwrap();
    }

    #[test]
    fn an_empty_folder_is_made_private_and_one_with_files_must_be() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        mode(0o755);
        drop(Folder::open(dir.path()).unwrap());
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
        mode(0o750);
        let err = Folder::open(dir.path()).unwrap_err();
        assert!(err.to_string().contains("has mode 750"), "{err}");
    }
}
