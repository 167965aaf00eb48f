//! A copy of a store for whoever needs it later: consistent, checked, private, and without the store's id. A broker that
//! starts on it is a new store to its nodes, which is what makes them send again what they have no receipt for.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use waxwing_sqlite::{Lent, Options, query};

use super::{inspect, sqlite};
use crate::error::{Error, Result};

/// Tables whose rows say which life of the store this is.
const IDENTITY: [&str; 2] = ["meta", "run"];

/// Where a copy is made before it takes its name.
pub(crate) fn partial(to: &Path) -> PathBuf {
    let mut path = to.as_os_str().to_owned();
    path.push(".partial");
    path.into()
}

/// Copies a database to a file that must not exist.
///
/// # Errors
/// `Exists` if the file is there; `Damaged` if the copy is not whole; `Internal` if it cannot be written. The file is not
/// there then.
pub(crate) async fn copy(db: &mut Lent, to: &Path) -> Result<()> {
    if to.exists() {
        return Err(Error::Exists(to.to_owned()));
    }
    let partial = partial(to);
    let made = make(db, &partial).await.and_then(|()| publish(&partial, to));
    if made.is_err() {
        // What is not whole is of no use to anybody.
        let _ = fs::remove_file(&partial);
    }
    made
}

/// As [`copy`], in the place of what was there.
pub(crate) async fn replace(db: &mut Lent, to: &Path) -> Result<()> {
    let partial = partial(to);
    make(db, &partial).await?;
    fs::rename(&partial, to)?;
    sync_folder(to)
}

async fn make(db: &mut Lent, to: &Path) -> Result<()> {
    if let Err(err) = fs::remove_file(to)
        && err.kind() != ErrorKind::NotFound
    {
        return Err(err.into());
    }
    // Private from its first moment. SQLite fills a file that is empty.
    drop(File::options().create_new(true).write(true).mode(0o600).open(to)?);
    let name =
        to.to_str().ok_or_else(|| Error::Config(format!("{}: its name is not UTF-8", to.display())))?;
    query("VACUUM INTO $1").bind(name).execute(db).await?;
    strip(to).await?;
    File::open(to)?.sync_all()?;
    Ok(())
}

/// Takes the store's identity out, down to the bytes, and checks what is left.
async fn strip(path: &Path) -> Result<()> {
    let mut db = Options::new(path).copy().readers(1).acquire().await?;
    for table in IDENTITY {
        if sqlite::has_table(&mut db, table).await? {
            query(format!("DELETE FROM {table}")).execute(&mut db).await?;
        }
    }
    let wrong = inspect::integrity(&mut db, inspect::Depth::Full).await?;
    match wrong.first() {
        None => Ok(()),
        Some(wrong) => Err(Error::Damaged(format!("the copy is not whole: {wrong}"))),
    }
}

/// Gives the copy its name, unless somebody has taken that meanwhile.
fn publish(partial: &Path, to: &Path) -> Result<()> {
    match renameat_with(CWD, partial, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Err(Error::Exists(to.to_owned())),
        // Some file systems cannot promise it; it was not there a moment ago.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) if !to.exists() => fs::rename(partial, to)?,
        Err(err) => return Err(std::io::Error::from(err).into()),
    }
    sync_folder(to)
}

fn sync_folder(of: &Path) -> Result<()> {
    let folder = of.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(File::open(folder)?.sync_all()?)
}
