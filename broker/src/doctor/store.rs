//! The database: whether it is whole, of which schema, how full its queues are, and whether the clock agrees with it.

use std::time::Duration;

use waxwing_protocol::finding::{size, span};

use super::{Finding, server};
use crate::config::{Config, Database};
use crate::error::Error;
use crate::folder::Holder;
use crate::store::inspect::{self, Depth, QueueState};
use crate::store::{Connection, schema_version};

/// Queues that are listed.
const QUEUES: u32 = 5;
/// A clock that is so far behind what the store has seen is wrong.
const BEHIND: Duration = Duration::from_secs(300);
/// No clock that is right is before this: 2025.
const EPOCH: u64 = 1_735_689_600_000;

/// Looks at the database, over a connection that only reads.
pub(super) async fn examine(config: &Config, holder: Option<&Holder>, arguments: &str) -> Vec<Finding> {
    let database = config.store();
    if database.file().is_some_and(|path| !path.exists()) {
        let detail = "there is none yet: the first start makes it";
        return vec![Finding::ok("database", detail)];
    }
    let (mut db, first) = match open(&database, holder, arguments).await {
        Ok(opened) => opened,
        Err(finding) => return vec![finding],
    };
    let mut findings = vec![first];
    let mut asked = Vec::new();
    if let Database::Postgres(url) = &database {
        asked.extend(server::examine(&mut db, url, config.clock.now(), holder, arguments).await);
    }
    asked.extend([
        schema(&mut db, &database).await,
        clock(&mut db, config).await,
        queues(&mut db, config).await,
        meshes(&mut db).await,
    ]);
    for finding in asked {
        findings.push(finding.unwrap_or_else(|err| match err {
            Error::Damaged(what) => damaged(&what, arguments),
            Error::Config(_)
            | Error::InUse(_)
            | Error::Unavailable(_)
            | Error::DiskFull(_)
            | Error::Listen { .. }
            | Error::NewerSchema { .. }
            | Error::Unreachable(_)
            | Error::Exists(_)
            | Error::OnServer(_)
            | Error::NotEmpty(_)
            | Error::Differs(_)
            | Error::Internal(_) => Finding::wrong("database", err.to_string(), look_at(&database)),
        }));
    }
    findings
}

/// Opens it, and looks whether it is whole or answers. What is damaged or away cannot be asked more.
async fn open(
    database: &Database,
    holder: Option<&Holder>,
    arguments: &str,
) -> Result<(Connection, Finding), Finding> {
    match database {
        Database::Sqlite(path) => {
            let mut db = inspect::file(path).await.map_err(|err| damaged(&err.to_string(), arguments))?;
            let whole = whole(&mut db, holder, arguments).await;
            if whole.verdict == super::Verdict::Ok { Ok((db.into(), whole)) } else { Err(whole) }
        }
        Database::Postgres(url) => match inspect::look(database).await {
            Ok(db) => Ok((db, Finding::ok("database", format!("{url} answers")))),
            Err(err) => Err(Finding::wrong("database", format!("{url}: {err}"), look_at(database))),
        },
    }
}

/// How somebody looks at it by hand.
fn look_at(database: &Database) -> String {
    match database {
        Database::Sqlite(path) => format!("ls -l {}", path.display()),
        Database::Postgres(url) => format!("psql {url} -c 'SELECT version()'"),
    }
}

async fn whole(db: &mut waxwing_sqlite::Lent, holder: Option<&Holder>, arguments: &str) -> Finding {
    match inspect::integrity(db, Depth::Full).await {
        Ok(wrong) if wrong.is_empty() => {
            let open = if holder.is_some() { ", seen beside the running broker" } else { "" };
            Finding::ok("database", format!("every page and index is whole{open}"))
        }
        Ok(wrong) => damaged(&wrong.join("; "), arguments),
        Err(err) => damaged(&err.to_string(), arguments),
    }
}

/// What is damaged is replaced by a backup: nodes send again what it does not have.
fn damaged(what: &str, arguments: &str) -> Finding {
    let mend = format!(
        "waxwing broker down{arguments}; then put a backup in the place of broker.db, and remove broker.db-wal and \
         broker.db-shm"
    );
    Finding::wrong("database", format!("damaged: {what}"), mend)
}

async fn schema(db: &mut Connection, database: &Database) -> crate::Result<Finding> {
    let known = schema_version();
    Ok(match inspect::schema(db).await? {
        Some(found) if found == known => Finding::ok("schema", format!("version {found}, this program's")),
        Some(found) if found > known => Finding::wrong(
            "schema",
            format!("version {found}, and this program knows {known}"),
            "waxwing --version    (run the newer one)",
        ),
        Some(found) => {
            let keeps = if database.file().is_some() { "keeps a copy and " } else { "" };
            Finding::ok("schema", format!("version {found}: the next start {keeps}migrates to {known}"))
        }
        None => Finding::ok("schema", format!("none yet: the next start makes version {known}")),
    })
}

async fn clock(db: &mut Connection, config: &Config) -> crate::Result<Finding> {
    const MEND: &str = "timedatectl set-ntp true";
    let now = config.clock.now();
    if now.as_millis() < EPOCH {
        return Ok(Finding::wrong("clock", "it says a year before 2025", MEND));
    }
    let latest = if inspect::schema(db).await?.is_some() { inspect::latest(db).await? } else { None };
    Ok(match latest.map(|latest| latest.since(now)) {
        Some(behind) if behind > BEHIND => Finding::wrong(
            "clock",
            format!("it is {} behind the last message: expiries would be late", span(behind)),
            MEND,
        ),
        _ => Finding::ok("clock", "not behind what the store has seen"),
    })
}

/// Whether some wait for their admins: the broker has lost its store, or was restored.
async fn meshes(db: &mut Connection) -> crate::Result<Finding> {
    if inspect::schema(db).await? != Some(schema_version()) {
        return Ok(Finding::ok("meshes", "not looked at: another schema"));
    }
    let all = crate::store::mesh::all(db).await?;
    let waiting = all.iter().filter(|(_, waits)| *waits).count();
    Ok(match waiting {
        0 => Finding::ok("meshes", format!("{} in the store", all.len())),
        _ => Finding::warning(
            "meshes",
            format!("{waiting} of {} wait for an admin since the store was lost", all.len()),
            "waxwing mesh resume    (at the node of an admin)",
        ),
    })
}

async fn queues(db: &mut Connection, config: &Config) -> crate::Result<Finding> {
    if inspect::schema(db).await?.is_none() {
        return Ok(Finding::ok("queues", "none yet"));
    }
    let fullest = inspect::fullest(db, QUEUES).await?;
    let now = config.clock.now();
    let line = |queue: &QueueState| {
        let age = queue.oldest.map(|oldest| format!(", the oldest for {}", span(now.since(oldest))));
        let (envelopes, bytes, age) = (queue.envelopes, size(queue.bytes), age.unwrap_or_default());
        format!("{envelopes} for {:.8} ({bytes}{age})", queue.node.to_string())
    };
    let detail = fullest.iter().map(line).collect::<Vec<_>>().join("; ");
    let limits = config.limits;
    let is_full = |queue: &&QueueState| {
        queue.envelopes >= limits.queue_items / 5 * 4 || queue.bytes >= limits.queue_bytes / 5 * 4
    };
    Ok(match fullest.iter().find(is_full) {
        Some(queue) => Finding::warning(
            "queues",
            format!("{detail}; senders to the fullest will soon be told `queue_full`"),
            format!("start node {:.8}, or revoke it", queue.node.to_string()),
        ),
        None if fullest.is_empty() => Finding::ok("queues", "empty"),
        None => Finding::ok("queues", format!("waiting: {detail}")),
    })
}
