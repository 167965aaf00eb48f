//! The data folder: private to its owner, and to one broker at a time. Its lock file says which process that is, and where
//! it listens, also after it has ended.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use waxwing_crypto::mark::PassKey;

use crate::error::{Error, Result};
use crate::store::meta::random;

/// How often, and how long, a lock that somebody holds is waited for. Looking at one takes microseconds; a broker holds
/// it for life.
const LOOKS: u32 = 5;
const LOOK: Duration = Duration::from_millis(20);

/// The broker of a data folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Where it answers operators.
    pub admin: Option<SocketAddr>,
    /// Whether it runs. Otherwise it is the last one that did.
    pub runs: bool,
}

/// Who runs on a data folder, or did last. A lock file that nobody holds is no obstacle to the next.
///
/// # Errors
/// `Config` if the folder cannot be read.
pub fn holder(data: &Path) -> Result<Option<Holder>> {
    let path = lock_path(data);
    let failed = |err| Error::Config(format!("{}: {err}", path.display()));
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(failed(err)),
    };
    let runs = match lock.try_lock_shared() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(err)) => return Err(failed(err)),
    };
    let text = fs::read_to_string(&path).map_err(failed)?;
    Ok(read(&text, runs))
}

/// `PID ADDRESS [ADMIN]`.
fn read(text: &str, runs: bool) -> Option<Holder> {
    let mut words = text.split_whitespace();
    let pid = words.next()?.parse().ok().filter(|pid| *pid > 1)?;
    let addr = words.next()?.parse().ok()?;
    Some(Holder { pid, addr, admin: words.next().and_then(|admin| admin.parse().ok()), runs })
}

fn lock_path(data: &Path) -> PathBuf {
    data.join("broker.lock")
}

/// A data folder that this process holds. The lock goes with the value, or with the process.
#[derive(Debug)]
pub(crate) struct Folder {
    lock: File,
    path: PathBuf,
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
            .open(lock_path(path))
            .map_err(failed)?;
        take(&lock, path)?;
        Ok(Self { lock, path: lock_path(path) })
    }

    /// Says in the lock file where this process listens.
    ///
    /// # Errors
    /// `Config` if it cannot be written.
    pub(crate) fn announce(&mut self, addr: SocketAddr, admin: SocketAddr) -> Result<()> {
        let text = format!("{} {addr} {admin}\n", std::process::id());
        // One write of a few bytes: a reader sees all of it or nothing.
        let written = self.lock.set_len(0).and_then(|()| self.lock.write_all(text.as_bytes()));
        written.map_err(|err| Error::Config(format!("{}: {err}", self.path.display())))
    }

    /// The key that makes passes of meshes. A file of its own, so that it survives the loss of the database.
    ///
    /// # Errors
    /// `Config` if it cannot be read or made, or is no key.
    pub(crate) fn pass_key(data: &Path) -> Result<PassKey> {
        let path = data.join("pass.key");
        let failed = |err: &dyn std::fmt::Display| Error::Config(format!("{}: {err}", path.display()));
        match fs::read(&path) {
            Ok(key) => match key.try_into() {
                Ok(key) => Ok(PassKey::from_bytes(key)),
                Err(_) => Err(failed(&"it has not 32 bytes: put back the file that was there, or remove it")),
            },
            Err(err) if err.kind() == ErrorKind::NotFound => {
                let key = random::<32>()?;
                write_new(data, &path, &key).map_err(|err| failed(&err))?;
                Ok(PassKey::from_bytes(key))
            }
            Err(err) => Err(failed(&err)),
        }
    }

    /// The database in a data folder.
    pub(crate) fn database(path: &Path) -> PathBuf {
        path.join("broker.db")
    }
}

/// Writes a file that is its owner's alone, whole or not at all.
fn write_new(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let _ = fs::remove_file(&draft);
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

/// The kernel's lock, unless another broker has it.
fn take(lock: &File, path: &Path) -> Result<()> {
    for _ in 0..LOOKS {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            // It may only be somebody who looks whether a broker is running.
            Err(TryLockError::WouldBlock) => sleep(LOOK),
            Err(TryLockError::Error(err)) => return Err(Error::Config(format!("{}: {err}", path.display()))),
        }
    }
    Err(Error::InUse(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7900);
    const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7901);

    #[test]
    fn one_broker_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let mut held = Folder::open(&path).unwrap();
        held.announce(ADDR, ADMIN).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(matches!(Folder::open(&path), Err(Error::InUse(_))));
        let me = Holder { pid: std::process::id(), addr: ADDR, admin: Some(ADMIN), runs: true };
        assert_eq!(holder(&path).unwrap(), Some(me));
        drop(held);
        assert_eq!(holder(&path).unwrap(), Some(Holder { runs: false, ..me }));
        assert_eq!(holder(dir.path()).unwrap(), None);
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
