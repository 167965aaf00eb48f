//! The state folder: where everything is, who may read it, and the lock that keeps a second node out.
//!
//! ```text
//! STATE/
//!   lock            kernel lock, held for the life of the process, as one on the folder itself; in it the node's process id
//!   logs/           of processes in the background, a file per day
//!   config.toml     with --state; else in the user's configuration folder
//!   node.sock       with --state; else in the user's runtime folder
//!   tokens.json     of apps that come over TCP (0600): what each hashes to
//!   meshes/NAME/
//!     identity.json keys (0600)
//!     host.json     which host this node belongs to
//!     node.db       messages, log, sessions
//!   entering/ID/    the same while a join is under way; becomes meshes/NAME when it is done
//!   leaving/NAME/   of a mesh that this node has left, while it is being deleted
//! ```

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::interval;
use tracing::warn;
use waxwing_crypto::Name;

use crate::error::{Error, Result};

/// How often, and how long, a lock that somebody holds is waited for. Looking at one takes microseconds; a node holds it
/// for life.
const LOOKS: u32 = 5;
const LOOK: Duration = Duration::from_millis(20);
/// How often a node looks whether its lock file is still there.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// A state folder, not locked.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the folder for a command that works on it and ends.
    pub(crate) fn lock(&self) -> Result<Lock> {
        let lock = self.take()?;
        lock.file.set_len(0).map_err(Error::file("cannot write", &lock.path))?;
        Ok(lock)
    }

    /// Takes the folder for a node, which can then be found by its process id.
    pub(crate) fn lock_for_node(&self) -> Result<Lock> {
        let lock = self.lock()?;
        note_process(&lock.file).map_err(Error::file("cannot write", &lock.path))?;
        Ok(lock)
    }

    /// The process id of the node that runs on this folder. A lock file that nobody holds is no obstacle.
    pub(crate) fn running(&self) -> Result<Option<u32>> {
        let path = self.lock_path();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::File { what: "cannot open", path, source }),
        };
        match file.try_lock_shared() {
            Ok(()) => return Ok(None),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(source)) => {
                return Err(Error::File { what: "cannot lock", path, source });
            }
        }
        let text = fs::read_to_string(&path).map_err(Error::file("cannot read", &path))?;
        match text.trim_end().parse() {
            Ok(pid) if pid > 1 => Ok(Some(pid)),
            _ => Err(Error::Conflict(format!(
                "another command is at work on {}: try again when it is done",
                self.0.display()
            ))),
        }
    }

    /// The kernel's lock on the folder, which is made if there is none: on the folder itself, which keeps others out, and on a
    /// file in it, where they find who that is. A file can be deleted under a process that holds it; what is in the folder
    /// would then be another's too.
    fn take(&self) -> Result<Lock> {
        private_folder(&self.0)?;
        self.make_or_find_private()?;
        let path = self.lock_path();
        let folder = self.take_folder()?;
        let file = open_lock(&path).map_err(Error::file("cannot open", &path))?;
        for _ in 0..LOOKS {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { file, path, _folder: folder }),
                // It may only be somebody who looks whether a node is running.
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
                Err(TryLockError::Error(source)) => {
                    return Err(Error::File { what: "cannot lock", path, source });
                }
            }
        }
        Err(Error::AlreadyRunning(self.0.clone()))
    }

    /// None where the file system has no locks on folders: then the file's alone is held.
    fn take_folder(&self) -> Result<Option<File>> {
        let folder = File::open(&self.0).map_err(Error::file("cannot open", &self.0))?;
        match folder.try_lock() {
            Ok(()) => Ok(Some(folder)),
            Err(TryLockError::WouldBlock) => Err(Error::AlreadyRunning(self.0.clone())),
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    /// A folder that somebody has made for us, with nothing of ours in it yet, is made private. One that others could look
    /// into while there was is not: what is in it may be known.
    fn make_or_find_private(&self) -> Result<()> {
        let is_new = !self.lock_path().exists();
        if is_new {
            let private = fs::Permissions::from_mode(0o700);
            fs::set_permissions(&self.0, private).map_err(Error::file("cannot make private", &self.0))?;
        }
        must_be_private(&self.0)?;
        let meshes = self.0.join("meshes");
        if meshes.exists() { must_be_private(&meshes) } else { Ok(()) }
    }

    fn lock_path(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Where tokens of the local API are kept.
    pub(crate) fn tokens(&self) -> PathBuf {
        self.0.join("tokens.json")
    }

    /// Folder of a mesh.
    pub(crate) fn mesh(&self, name: &Name) -> PathBuf {
        self.0.join("meshes").join(name.as_str())
    }

    /// Folder of a join under way, by a name of the caller's.
    pub(crate) fn entering(&self, id: &str) -> PathBuf {
        self.0.join("entering").join(id)
    }

    /// The mesh of this name, or the only one.
    pub(crate) fn only(&self, name: Option<&Name>) -> Result<Name> {
        let mut meshes = self.meshes()?;
        let Some(name) = name else {
            return match meshes.pop() {
                Some(mesh) if meshes.is_empty() => Ok(mesh),
                Some(mesh) => {
                    meshes.push(mesh);
                    let names: Vec<_> = meshes.iter().map(Name::as_str).collect();
                    Err(Error::Usage(format!("this node is in {}: say which with --mesh", names.join(", "))))
                }
                None => Err(Error::NotFound("this node is in no mesh".into())),
            };
        };
        let found = meshes.into_iter().find(|mesh| mesh == name);
        found.ok_or_else(|| Error::UnknownMesh(format!("this node is in no mesh called {name}")))
    }

    /// Takes a mesh's folder out of its place, at once and for good, and deletes it. What cannot be deleted now is at the
    /// next start.
    pub(crate) fn remove_mesh(&self, name: &Name) -> Result<()> {
        self.clean();
        let (from, leaving) = (self.mesh(name), self.leaving());
        private_folder(&leaving)?;
        fs::rename(&from, leaving.join(name.as_str())).map_err(Error::file("cannot remove", &from))?;
        from.parent().map_or(Ok(()), sync_folder)?;
        self.clean();
        Ok(())
    }

    /// Deletes what was left behind.
    pub(crate) fn clean(&self) {
        let leaving = self.leaving();
        if let Err(error) = fs::remove_dir_all(&leaving)
            && error.kind() != io::ErrorKind::NotFound
        {
            warn!(folder = %leaving.display(), %error, "the rest of a mesh that this node has left cannot be deleted");
        }
    }

    fn leaving(&self) -> PathBuf {
        self.0.join("leaving")
    }

    /// The meshes joined, by name.
    pub(crate) fn meshes(&self) -> Result<Vec<Name>> {
        let folder = self.0.join("meshes");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
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
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
    _folder: Option<File>,
}

impl Drop for Lock {
    /// Leaves the file as it was. One that was killed leaves its process id in it, which means nothing without the lock.
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}

impl Lock {
    /// Puts a node's lock file back whenever somebody has deleted it, so that the node is found again. Nobody has come in
    /// meanwhile: the folder itself is locked too.
    pub(crate) async fn keep(&mut self) -> Infallible {
        let mut ticks = interval(KEEP_EVERY);
        loop {
            ticks.tick().await;
            if is_at(&self.file, &self.path) {
                continue;
            }
            match self.put_back() {
                Ok(()) => {
                    warn!(lock = %self.path.display(), "the lock file was deleted while it was held: it is there again");
                }
                Err(error) => {
                    warn!(lock = %self.path.display(), %error, "the lock file was deleted, and cannot be made again");
                }
            }
        }
    }

    fn put_back(&mut self) -> io::Result<()> {
        let file = open_lock(&self.path)?;
        file.try_lock()?;
        note_process(&file)?;
        self.file = file;
        Ok(())
    }
}

/// Whether a file that is open is the one at this path.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |found: io::Result<fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
    id(file.metadata()) == id(fs::metadata(path))
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

/// Writes this process's id. One write of a few bytes: a reader sees all of it or nothing.
fn note_process(mut file: &File) -> io::Result<()> {
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

/// Checks that nobody but its owner can do anything with a file or folder.
pub(crate) fn must_be_private(path: &Path) -> Result<()> {
    let found = fs::metadata(path).map_err(Error::file("cannot look at", path))?;
    if found.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::TooOpen { path: path.to_path_buf(), is_folder: found.is_dir() })
}

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
        && error.kind() != io::ErrorKind::NotFound
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
    fn a_lock_file_that_is_deleted_lets_nobody_in_and_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("state"));
        let mut node = home.lock_for_node().unwrap();
        fs::remove_file(home.lock_path()).unwrap();
        assert!(matches!(home.lock(), Err(Error::AlreadyRunning(_))));
        assert!(!is_at(&node.file, &node.path));
        node.put_back().unwrap();
        assert!(is_at(&node.file, &node.path));
        assert_eq!(home.running().unwrap(), Some(std::process::id()));
    }

    #[test]
    fn a_node_is_found_by_its_lock_and_a_stale_lock_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("state"));
        assert_eq!(home.running().unwrap(), None);
        let node = home.lock_for_node().unwrap();
        assert_eq!(home.running().unwrap(), Some(std::process::id()));
        drop(node);
        assert_eq!(home.running().unwrap(), None);
        fs::write(home.lock_path(), "4711\n").unwrap();
        assert_eq!(home.running().unwrap(), None, "that one was killed");
        let command = home.lock().unwrap();
        assert_eq!(home.running().unwrap_err().exit_code(), 8, "what holds it is no node");
        drop(command);
    }

    #[test]
    fn a_folder_that_others_can_look_into_is_refused_with_what_mends_it_and_an_empty_one_is_made_private() {
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        open(&state, 0o755);
        drop(Home::new(state.clone()).lock().unwrap());
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
        for mode in [0o750, 0o705, 0o770, 0o711] {
            open(&state, mode);
            let refused = Home::new(state.clone()).lock().unwrap_err();
            assert_eq!((refused.exit_code(), refused.code()), (2, "too_open"), "{mode:o}");
            assert_eq!(refused.hint().unwrap(), format!("chmod 700 {}", state.display()));
        }
        open(&state, 0o700);
        fs::create_dir(state.join("meshes")).unwrap();
        open(&state.join("meshes"), 0o755);
        assert_eq!(Home::new(state).lock().unwrap_err().code(), "too_open");
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
