//! What was done to the files of one folder, in order.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::vfs;

/// One thing done to a file.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// It was made.
    Created(PathBuf),
    /// Bytes were written at a place.
    Written(PathBuf, u64, Vec<u8>),
    /// It was cut to a length.
    Cut(PathBuf, u64),
    /// It was deleted.
    Deleted(PathBuf),
    /// All that was done to it before is on the disk.
    Synced(PathBuf),
}

impl Event {
    pub(crate) fn file(&self) -> &Path {
        match self {
            Self::Created(file)
            | Self::Written(file, _, _)
            | Self::Cut(file, _)
            | Self::Deleted(file)
            | Self::Synced(file) => file,
        }
    }
}

/// The events of one folder.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<Vec<Event>>);

impl Events {
    /// Holds everybody else's back while one thing is done: they are noted in the order in which they are done.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes what is done to the databases of a folder, from when it is made until it is dropped.
#[derive(Debug)]
pub(crate) struct Recording {
    folder: PathBuf,
    events: Arc<Events>,
}

impl Recording {
    /// Begins with a folder in which there is no database yet. Connections that this process opens there from now on are
    /// recorded; all others are not touched.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let folder = folder.canonicalize()?;
        let events = Arc::new(Events::default());
        vfs::record(folder.clone(), &events)?;
        Ok(Self { folder, events })
    }

    /// How many things were done so far. What is acknowledged now was done by then.
    pub(crate) fn moment(&self) -> usize {
        self.events.lock().len()
    }

    /// All of them.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.events.lock().clone()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        vfs::forget(&self.folder);
    }
}
