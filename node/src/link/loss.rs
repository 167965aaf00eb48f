//! A broker that has lost its store, or whose log is not the one held here: what the link does before mail flows.
//!
//! Under another store id everything that was accepted and not receipted is sent again. A log that parts from ours is
//! taken in its place only if an admin has resumed it; while the mesh waits for that, this node goes on with its own.

use tracing::{info, warn};
use waxwing_crypto::Signature;
use waxwing_crypto::mark::MeshPass;
use waxwing_crypto::membership::SignedEntry;
use waxwing_crypto::storage::Place;
use waxwing_protocol::limits;
use waxwing_protocol::link::{LogUpload, LogWanted, Mark, Progress};

use super::dial::Connection;
use super::simple::Unanswered;
use super::{Ended, connection};
use crate::mesh::Mesh;
use crate::store::{log, meta, outbox};

/// The newest mark that the broker has given.
pub(super) async fn mark(mesh: &Mesh) -> Result<Option<Mark>, Ended> {
    meta::mark(&mesh.db).await.map_err(|error| database(&error))
}

/// What the broker lacks of the log, in parts.
pub(super) async fn missing(mesh: &Mesh, wanted: &LogWanted) -> Result<Vec<LogUpload>, Ended> {
    warn!("the broker has lost this mesh's log: this node brings it back");
    let held = wanted.have.filter(|have| mesh.roster(|roster| roster.holds(*have)));
    let after = held.map_or(0, |have| have.seq);
    let entries = log::after(&mesh.db, after).await.map_err(|error| database(&error))?;
    let mut pass = pass(mesh).await?;
    let mut parts = Vec::new();
    let mut rest = &entries[..];
    loop {
        let (part, more) = rest.split_at(page(rest));
        let place = after + (entries.len() - rest.len()) as u64;
        let (entries, last) = (part.to_vec(), more.is_empty());
        parts.push(LogUpload { after: place, entries, last, pass: pass.take() });
        if last {
            return Ok(parts);
        }
        rest = more;
    }
}

/// As many entries as one frame takes.
fn page(entries: &[SignedEntry]) -> usize {
    let mut left = limits::LOG_PAGE_BYTES;
    let fits = |entry: &&SignedEntry| {
        let rest = left.checked_sub(entry.bytes.len() + entry.signatures.len() * Signature::SIZE);
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    entries.iter().take(limits::LOG_PAGE).take_while(fits).count()
}

/// Judges the welcome: whose log it is, and which store's.
pub(super) async fn welcomed(mesh: &Mesh, connection: &mut Connection, parted: bool) -> Result<(), Ended> {
    let (head, waits) = (connection.welcome.head, connection.welcome.waits);
    mesh.set_resume_wanted(waits.then(|| head.into_iter().collect())).await;
    if !waits && (parted || mesh.parts_from(head)) {
        take_resumed_log(mesh, connection).await?;
        return Err(Ended::Lost(
            "the log of this mesh is another one now, and this node has taken it".into(),
        ));
    }
    note_welcome(mesh, connection).await
}

/// Fetches the broker's log, and takes it if an admin has resumed it.
async fn take_resumed_log(mesh: &Mesh, connection: &mut Connection) -> Result<(), Ended> {
    let entries = connection.log_after(0).await.map_err(|unanswered| match unanswered {
        Unanswered::Denied(error) => Ended::Lost(error.detail),
        Unanswered::Lost(error) => error.into(),
    })?;
    mesh.adopt(entries).await.map_err(|error| connection::ended(error.into()))
}

/// Commits the welcome. Another life of the store has none of what was accepted: all of it that is not receipted is to be
/// sent again.
async fn note_welcome(mesh: &Mesh, connection: &Connection) -> Result<(), Ended> {
    let known = meta::bytes(&mesh.db, meta::STORE).await.map_err(|error| database(&error))?;
    let is_new = known.as_deref() != Some(&connection.store.as_bytes()[..]);
    let login = next_login(mesh, connection).await?;
    let offered = connection.welcome.pass.as_ref();
    let is_known = pass(mesh).await?.as_ref() == offered;
    let sealed =
        offered.filter(|_| !is_known).map(|pass| mesh.keys.seal(&mut crate::rng(), PASS, pass.reveal()));
    let noted = mesh.writer.welcomed(login, connection.store, sealed).await;
    let again = noted?;
    if known.is_some() && is_new {
        info!(messages = again, "the broker's store is a new one: what was not receipted is sent again");
    }
    Ok(())
}

/// The number that the broker gave this login. One that does not rise would make this very state stale.
async fn next_login(mesh: &Mesh, connection: &Connection) -> Result<u64, Ended> {
    let login = connection.welcome.login.unwrap_or(0);
    let before = progress(mesh).await?.login;
    if before < login && login <= Progress::MAX {
        return Ok(login);
    }
    Err(Ended::Lost(format!("the broker calls this login {login}, and the last one was {before}")))
}

/// How far this node has come.
pub(super) async fn progress(mesh: &Mesh) -> Result<Progress, Ended> {
    let read = async {
        Ok(Progress {
            login: meta::number(&mesh.db, meta::LOGIN).await?,
            through: meta::number(&mesh.db, meta::THROUGH).await?,
            rows: outbox::rows(&mesh.db).await?,
        })
    };
    read.await.map_err(|error: waxwing_sqlite::Error| database(&error))
}

/// Where the mesh's pass is kept.
const PASS: Place<'static> = Place { table: "meta", column: "value", row: b"pass" };

async fn pass(mesh: &Mesh) -> Result<Option<MeshPass>, Ended> {
    let Some(sealed) = meta::bytes(&mesh.db, meta::PASS).await.map_err(|error| database(&error))? else {
        return Ok(None);
    };
    let opened =
        mesh.keys.open(PASS, &sealed).map_err(|error| Ended::Database(format!("the pass: {error}")))?;
    Ok(opened.as_slice().try_into().ok().map(MeshPass::from_bytes))
}

fn database(error: &waxwing_sqlite::Error) -> Ended {
    Ended::Database(error.to_string())
}
