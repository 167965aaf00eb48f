//! `repair`: a mesh's database, made anew from what can be read of one that is damaged. On a folder that no node is running on.
//!
//! ```text
//! node.db --kept as--> node.db.damaged-1 --row by row--> node.db.repairing --in the place of--> node.db
//! ```
//!
//! Killed on the way, the same command goes on: until the last step the damaged file is where it was. If anything is lost,
//! counters may be, and what was given may be given again. So the node then goes on as one that was restored from a backup: under
//! new keys, in new lanes.

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use waxwing_crypto::membership::Roster;
use waxwing_crypto::{MeshId, Name};
use waxwing_sqlite::Connection;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::home::{self, Home};
use crate::host;
use crate::identity::Identity;
use crate::mesh::Admitted;
use crate::store::salvage::{self, Salvaged};
use crate::store::{self, log, meta, whole};

/// Ids of lost messages that are named.
const NAMED: u32 = 1_000;
/// Bytes of a database file before its first table.
const HEADER: usize = 100;

/// What came of it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Repaired {
    /// The mesh.
    pub mesh: Name,
    /// The damaged database; none if it was whole, and nothing was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damaged: Option<PathBuf>,
    /// Every table.
    pub tables: Vec<Salvaged>,
    /// Messages of this node's apps that are known to be lost, by their ids.
    pub lost_sends: Vec<String>,
    /// Where the broker is, is not known any more.
    pub broker_lost: bool,
}

impl Repaired {
    /// Whether everything was read. Otherwise the node goes on under new keys.
    pub fn is_complete(&self) -> bool {
        !self.tables.iter().any(Salvaged::is_incomplete)
    }
}

/// Makes a mesh's database anew, of the only mesh or the one named, if it is damaged.
///
/// # Errors
/// `AlreadyRunning`; `Usage` if it is not clear which mesh is meant; `UnknownMesh`; `WrongHost`; `Incompatible` if a newer
/// program has written it; `Damaged` if not even its tables or the beginning of the membership log can be read: then nothing is changed.
pub async fn repair(config: &Config, only: Option<&Name>) -> Result<Repaired> {
    let home = Home::new(config.state.clone());
    let _lock = home.lock()?;
    let mesh = home.only(only)?;
    Admitted::check(&home, &mesh, &host::evidence(config.host_id.as_deref()))?;
    let folder = home.mesh(&mesh);
    let identity = Identity::load(&folder)?;
    let file = folder.join("node.db");
    let (_, under_way) = kept_as(&folder, &file)?;
    if !under_way && is_whole(&file, &identity).await {
        let (tables, lost_sends) = (Vec::new(), Vec::new());
        return Ok(Repaired { mesh, damaged: None, tables, lost_sends, broker_lost: false });
    }
    let damaged = keep(&folder, &file)?;
    let made = folder.join("node.db.repairing");
    let source = folder.join("node.db.repairing-from");
    discard(&[&made, &source])?;
    let built = build(&made, &damaged, &source, &identity).await;
    discard(&[&source])?;
    // SQLite has it while the log is read.
    remove(&beside(&damaged, "-shm"))?;
    let Built { tables, lost_sends, broker_lost } = match built {
        Ok(built) => built,
        Err(error) => {
            discard(&[&made])?;
            return Err(error);
        }
    };
    let repaired = Repaired { mesh, damaged: Some(damaged), tables, lost_sends, broker_lost };
    if !repaired.is_complete() {
        // Before the database: it follows newer keys, whenever it is opened.
        identity.renewed().save(&folder)?;
    }
    put_in_place(&folder, &made)?;
    Ok(repaired)
}

/// Whether there is nothing to do.
async fn is_whole(file: &Path, identity: &Identity) -> bool {
    whole_in(file, identity).await.unwrap_or(false)
}

async fn whole_in(file: &Path, identity: &Identity) -> waxwing_sqlite::Result<bool> {
    let mut db = store::to_look(file).open()?;
    let entries = meta::count(&mut db, "SELECT count(*) FROM log").await?;
    Ok(whole::faults(&mut db).await?.is_empty()
        && salvage::unsound(&mut db, &identity.storage.keys()).await?.is_none()
        && sound_entries(&mut db, identity.mesh).await == entries)
}

/// The damaged database under a name of its own, under which nobody changes it: both are the same file until it is replaced.
fn keep(folder: &Path, file: &Path) -> Result<PathBuf> {
    let (kept, is_there) = kept_as(folder, file)?;
    if is_there {
        return Ok(kept);
    }
    let link = |from: &Path, to: &Path| fs::hard_link(from, to).map_err(Error::file("cannot keep", to));
    // First, so that whoever finds the file finds its log.
    let log = beside(file, "-wal");
    if log.exists() {
        remove(&beside(&kept, "-wal"))?;
        link(&log, &beside(&kept, "-wal"))?;
    }
    link(file, &kept)?;
    home::sync_folder(folder)?;
    Ok(kept)
}

/// That name, and whether the file has it already.
fn kept_as(folder: &Path, file: &Path) -> Result<(PathBuf, bool)> {
    let id = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    let own = id(file).map_err(Error::file("cannot look at", file))?;
    let mut number = 1;
    loop {
        let kept = folder.join(format!("node.db.damaged-{number}"));
        match id(&kept) {
            Ok(found) if found == own => return Ok((kept, true)),
            Ok(_) => number += 1,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((kept, false)),
            Err(error) => return Err(Error::file("cannot look at", &kept)(error)),
        }
    }
}

struct Built {
    tables: Vec<Salvaged>,
    lost_sends: Vec<String>,
    broker_lost: bool,
}

/// A new database of what can be read.
async fn build(made: &Path, damaged: &Path, source: &Path, identity: &Identity) -> Result<Built> {
    let (mut db, readers) = store::open(made).await?;
    let built = fill(&mut db, made, damaged, source, identity).await;
    store::close(db, readers).await?;
    let synced = fs::File::open(made).and_then(|file| file.sync_all());
    synced.map_err(Error::file("cannot sync", made))?;
    built
}

async fn fill(
    db: &mut Connection,
    made: &Path,
    damaged: &Path,
    source: &Path,
    identity: &Identity,
) -> Result<Built> {
    if salvage::attach(db, damaged).await.is_err() {
        let _ = waxwing_sqlite::query("DETACH DATABASE damaged").execute(&mut *db).await;
        with_header_of(db, made, damaged, source).await?;
        salvage::attach(db, source)
            .await
            .map_err(|error| Error::Damaged(format!("nothing of it can be read: {error}")))?;
    }
    let (found, known) = (salvage::schema(db).await, whole::schemas(&mut *db).await?.1);
    if found.is_some_and(|found| found > known) {
        return Err(Error::Incompatible("this database was written by a newer waxwing: use that one".into()));
    }
    let mut tables = salvage::copy(db).await?;
    let entries = sound_entries(db, identity.mesh).await;
    if entries == 0 {
        return Err(Error::Damaged("the beginning of the membership log cannot be read".into()));
    }
    let unsound = salvage::unsound(db, &identity.storage.keys()).await?;
    salvage::finish(db, &mut tables, &unsound, entries).await?;
    let lost_sends = salvage::lost_sends(db, NAMED).await;
    let broker_lost = meta::text(&mut *db, meta::BROKER).await.ok().flatten().is_none();
    waxwing_sqlite::query("DETACH DATABASE damaged").execute(db).await?;
    Ok(Built { tables, lost_sends, broker_lost })
}

/// How many entries of the membership log, from the first on, can be read and belong together.
async fn sound_entries(db: &mut Connection, mesh: MeshId) -> u64 {
    let mut roster: Option<Roster> = None;
    for seq in 1.. {
        let Ok(Some(entry)) = log::at(&mut *db, seq).await else { return seq - 1 };
        let grown = match &mut roster {
            Some(roster) => roster.apply(&entry).is_ok(),
            None => match Roster::replay(&[entry]) {
                Ok(founded) if founded.mesh() == mesh => {
                    roster = Some(founded);
                    true
                }
                Ok(_) | Err(_) => false,
            },
        };
        if !grown {
            return seq - 1;
        }
    }
    0
}

/// A copy of a database whose first bytes are damaged, with those of a new one in their place: they say how a file is to be read,
/// and are alike in all databases of this program.
async fn with_header_of(db: &mut Connection, made: &Path, damaged: &Path, copy: &Path) -> Result<()> {
    /// Pages of the file, and its free pages: nothing is known of them, and the file's size is believed.
    const UNKNOWN: std::ops::Range<usize> = 28..40;
    waxwing_sqlite::query("PRAGMA main.wal_checkpoint(TRUNCATE)").execute(db).await?;
    let mut header = [0; HEADER];
    let read = fs::File::open(made).and_then(|mut file| file.read_exact(&mut header));
    read.map_err(Error::file("cannot read", made))?;
    header[UNKNOWN].fill(0);
    let copied = |from: &Path, to: &Path| fs::copy(from, to).map_err(Error::file("cannot copy", from));
    copied(damaged, copy)?;
    let log = beside(damaged, "-wal");
    if log.exists() {
        copied(&log, &beside(copy, "-wal"))?;
    }
    let mut file =
        fs::OpenOptions::new().write(true).open(copy).map_err(Error::file("cannot write", copy))?;
    let written = file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&header));
    written.map_err(Error::file("cannot write", copy))
}

/// Puts the new database where the damaged one was. Its log goes first: it would be taken for that of the new one.
fn put_in_place(folder: &Path, made: &Path) -> Result<()> {
    let file = folder.join("node.db");
    for rest in ["-wal", "-shm"] {
        remove(&beside(&file, rest))?;
    }
    home::sync_folder(folder)?;
    fs::rename(made, &file).map_err(Error::file("cannot replace", &file))?;
    home::sync_folder(folder)
}

/// Removes databases that nobody needs, whole.
fn discard(databases: &[&Path]) -> Result<()> {
    for database in databases {
        for rest in ["", "-wal", "-shm"] {
            remove(&beside(database, rest))?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file("cannot remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A file that SQLite has beside a database.
fn beside(database: &Path, rest: &str) -> PathBuf {
    let mut path = OsString::from(database);
    path.push(rest);
    path.into()
}
