//! Whether a database is whole, and of which schema.
//!
//! One that was not closed is looked at, page by page, before it is used: whatever ended the process may have ended more. That
//! takes longer the more there is, so a start waits only a while for it; then it goes on beside the node, and stops the mesh if
//! it finds something.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;
use waxwing_sqlite::{Executor, Options};

use super::MIGRATIONS;
use crate::error::{Error, Result};

/// A start waits so long for a look at every page.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many steps of SQLite's the look goes on for after the mesh was told to stop.
const STEPS: i32 = 10_000;

/// A look at every page of a database that was not closed.
#[derive(Debug)]
pub(crate) struct Check {
    file: PathBuf,
    found: JoinHandle<waxwing_sqlite::Result<Vec<String>>>,
}

impl Check {
    /// Begins to look, and has all that the database's log holds written into it and synced: what an earlier process was not told
    /// to be on the disk may only seem to be. The check is given back if it takes longer than a start waits.
    ///
    /// # Errors
    /// `Damaged`; `Database` if that cannot be written.
    pub(crate) async fn begin(
        file: PathBuf,
        stop: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Option<Self>> {
        let (to_look, stop) = (Options::new(&file).read_only(), stop.clone());
        let found = tasks.spawn_blocking(move || {
            let mut db = to_look.open()?;
            db.go_on_while(STEPS, move || !stop.is_cancelled())?;
            let found: Vec<String> = db.ask("PRAGMA quick_check(5)")?;
            Ok(found.into_iter().filter(|line| line != "ok").collect())
        });
        let options = Options::new(&file);
        let mut check = Self { file, found };
        let whole = match timeout(PATIENCE, &mut check.found).await {
            Ok(found) => check.judge(found).map(|()| None),
            Err(_) => {
                info!(database = %check.file.display(), "it is large, and being looked at while it is used");
                Ok(Some(check))
            }
        }?;
        // It waits for whoever else has the database, and blocks meanwhile.
        let written = tasks.spawn_blocking(move || options.open()?.run("PRAGMA wal_checkpoint(TRUNCATE)"));
        written.await.unwrap_or(Err(waxwing_sqlite::Error::Closed))?;
        Ok(whole)
    }

    /// Waits until damage is found, or for ever.
    ///
    /// # Errors
    /// `Damaged`, always.
    pub(crate) async fn damage(mut self) -> Result<()> {
        let found = (&mut self.found).await;
        self.judge(found)?;
        info!(database = %self.file.display(), "every page is whole");
        std::future::pending().await
    }

    fn judge(
        &self,
        found: Result<waxwing_sqlite::Result<Vec<String>>, tokio::task::JoinError>,
    ) -> Result<()> {
        let damaged = |what: String| Err(Error::Damaged(format!("{}: {what}", self.file.display())));
        match found {
            Ok(Ok(faults)) if faults.is_empty() => Ok(()),
            Ok(Ok(faults)) => damaged(faults.join("; ")),
            Ok(Err(error)) if error.is_damage() => damaged(error.to_string()),
            // Told to stop, or not to be read just now: whoever needs the page says so.
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }
}

/// What is wrong with its pages and indexes, as far as it is worth listing.
pub(crate) async fn faults(db: impl Executor<'_>) -> waxwing_sqlite::Result<Vec<String>> {
    let found: Vec<String> = waxwing_sqlite::query_scalar("PRAGMA integrity_check(5)").fetch_all(db).await?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}

/// The newest change that it has, and the newest that this program knows.
pub(crate) async fn schemas(db: impl Executor<'_>) -> waxwing_sqlite::Result<(i64, i64)> {
    let found: i64 = waxwing_sqlite::query_scalar("PRAGMA user_version").fetch_one(db).await?;
    Ok((found, MIGRATIONS.newest() as i64))
}
