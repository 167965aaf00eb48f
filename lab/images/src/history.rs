//! What a database held at each acknowledgement, and what an image of it must hold.

use std::io;
use std::path::{Path, PathBuf};

use crate::contents::Contents;
use crate::recording::{Event, Recording};
use crate::window::{Window, Windows};

/// The acknowledgements of whoever keeps a database in a folder, from its first file on.
#[derive(Debug)]
pub struct History<T> {
    recording: Recording,
    database: PathBuf,
    known: Vec<Known<T>>,
}

/// An acknowledgement.
#[derive(Debug)]
struct Known<T> {
    moment: usize,
    contents: Contents,
    note: T,
}

/// An image that is not what it must be.
#[derive(Debug)]
pub struct Broken(String);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<T> History<T> {
    /// Begins with a folder in which there is no database yet, and the name that it will have.
    ///
    /// # Errors
    /// If the folder is not there, or SQLite refuses.
    pub fn of(folder: &Path, database: &str) -> io::Result<Self> {
        let (recording, database) = (Recording::of(folder)?, folder.join(database));
        Ok(Self { recording, database, known: Vec::new() })
    }

    /// Somebody was told that something is done: all that the database holds now must be there from now on. Between two of these, there
    /// may be one transaction at most.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn acknowledge(&mut self, note: T) -> waxwing_sqlite::Result<()> {
        let moment = self.recording.moment();
        let contents = Contents::read(&self.database).await?;
        self.known.push(Known { moment, contents, note });
        Ok(())
    }

    /// How many acknowledgements there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// The recording, sync by sync.
    #[must_use]
    pub fn windows(&self) -> Windows {
        Windows::new(self.recording.events(), |_, _| false)
    }

    /// The same on a disk that lets pass the last sync before an acknowledgement. None if nothing was changed for it.
    #[must_use]
    pub fn windows_without_the_sync_of(&self, acknowledgement: usize) -> Option<Windows> {
        let before = self.known.get(acknowledgement.checked_sub(1)?)?;
        let known = self.known.get(acknowledgement)?;
        if known.contents == before.contents {
            return None;
        }
        let events = self.recording.events();
        let last = events[..known.moment].iter().rposition(|event| matches!(event, Event::Synced(_)))?;
        Some(Windows::new(events, |at, _| at == last))
    }

    /// The same on a disk that lets every sync of the database itself pass, and none of its log.
    #[must_use]
    pub fn windows_without_syncs_of_the_database(&self) -> Windows {
        let database = self.database.file_name();
        Windows::new(self.recording.events(), |_, file| file.file_name() == database)
    }

    /// The first sync at which the image with the least in it is not as it must be.
    ///
    /// # Errors
    /// If an image cannot be written.
    pub async fn broken(&self, mut windows: Windows) -> io::Result<Option<Broken>> {
        while let Some(window) = windows.advance() {
            let image = window.image(&window.least())?;
            if let Err(broken) = self.judge(window, image.path()).await {
                return Ok(Some(broken));
            }
        }
        Ok(None)
    }

    /// What was acknowledged by then, if an image holds that and at most one transaction more; none if nothing was.
    ///
    /// # Errors
    /// If it cannot be read, or holds anything else.
    pub async fn judge(&self, window: &Window, image: &Path) -> Result<Option<&T>, Broken> {
        let count = self.known.partition_point(|known| known.moment <= window.moment());
        let Some(last) = count.checked_sub(1).and_then(|last| self.known.get(last)) else { return Ok(None) };
        let image = image.join(self.database.file_name().unwrap_or_default());
        let found = Contents::read(&image).await;
        let found = found.map_err(|error| Broken(format!("it cannot be read: {error}")))?;
        let next = self.known.get(count);
        if found == last.contents || next.is_some_and(|next| found == next.contents) {
            return Ok(Some(&last.note));
        }
        let differs = found.differences(&last.contents);
        Err(Broken(format!(
            "of {count} acknowledgements it does not hold all, or something else: {differs:?}"
        )))
    }
}
