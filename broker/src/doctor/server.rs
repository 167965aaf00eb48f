//! The PostgreSQL server that a store is on: whether it keeps what it confirms, who has the right to write, and whether it takes up what
//! messages leave behind.

use waxwing_crypto::Timestamp;
use waxwing_protocol::finding::span;

use super::Finding;
use crate::config::PostgresUrl;
use crate::error::Result;
use crate::folder::Holder;
use crate::store::Connection;
use crate::store::server::{self, Leavings, Server, WriterSession};

/// Rows of the queue that are gone and not taken up: ten times as many as the server is told to wait for.
const LEFT: u64 = 1_000_000;

/// Looks at the server, over a connection that only reads.
pub(super) async fn examine(
    db: &mut Connection,
    url: &PostgresUrl,
    now: Timestamp,
    holder: Option<&Holder>,
    arguments: &str,
) -> Vec<Result<Finding>> {
    let server = match server::settings(db).await {
        Ok(server) => server,
        Err(err) => return vec![Err(err)],
    };
    vec![
        Ok(role(&server, url)),
        Ok(durability(&server, url)),
        server::writer(db).await.map(|writer| lock(writer.as_ref(), url, holder, arguments)),
        server::leavings(db).await.map(|left| vacuum(&server, left.as_ref(), url, now)),
    ]
}

/// A statement for its administrator.
fn psql(url: &PostgresUrl, statement: &str) -> String {
    format!("psql '{url}' -c \"{statement}\"")
}

fn role(server: &Server, url: &PostgresUrl) -> Finding {
    const CHECK: &str = "server";
    let version = &server.version;
    if server.is_standby {
        let detail =
            format!("PostgreSQL {version}, a standby: it takes no writes, and a broker waits until it does");
        let promote = psql(url, "SELECT pg_promote()");
        return Finding::wrong(
            CHECK,
            detail,
            format!("{promote}    (or name the primary's host in the URL)"),
        );
    }
    Finding::ok(CHECK, format!("PostgreSQL {version}, which takes writes"))
}

/// Whether a commit that it confirms is on its disk.
fn durability(server: &Server, url: &PostgresUrl) -> Finding {
    const CHECK: &str = "durability";
    for (setting, value) in [("fsync", &server.fsync), ("full_page_writes", &server.full_page_writes)] {
        if value != "on" {
            return Finding::wrong(
                CHECK,
                format!(
                    "{setting} is {value}: what the server confirms may be lost; a broker refuses to start"
                ),
                format!(
                    "{}; then restart the server",
                    psql(url, &format!("ALTER SYSTEM SET {setting} = on"))
                ),
            );
        }
    }
    let commit = match server.synchronous_commit.as_str() {
        kept @ ("on" | "remote_apply") => format!("synchronous_commit is {kept}"),
        other => format!("synchronous_commit is {other}, and on for the broker, which says so itself"),
    };
    let standbys = match server.standbys.as_str() {
        "" => "no standby is waited for".to_owned(),
        names => format!("a commit waits for standbys ({names})"),
    };
    Finding::ok(CHECK, format!("fsync and full_page_writes are on, {commit}; {standbys}"))
}

/// Whether the right to write is where it should be: with the broker that runs here, or with nobody.
fn lock(
    writer: Option<&WriterSession>,
    url: &PostgresUrl,
    holder: Option<&Holder>,
    arguments: &str,
) -> Finding {
    const CHECK: &str = "lock";
    let session = |writer: &WriterSession| {
        let from = writer.from.as_deref().unwrap_or("the server's own machine");
        format!("server process {}, from {from}", writer.pid)
    };
    match (writer, holder) {
        (Some(writer), Some(_)) => Finding::ok(CHECK, format!("held by a broker ({})", session(writer))),
        (None, None) => Finding::ok(CHECK, "held by nobody: a broker can start"),
        (None, Some(holder)) => Finding::wrong(
            CHECK,
            format!("process {} runs on this data folder, and does not have the store", holder.pid),
            format!("waxwing broker status{arguments}"),
        ),
        (Some(writer), None) => Finding::warning(
            CHECK,
            format!(
                "a broker of another data folder has the store ({}); one started here is refused",
                session(writer)
            ),
            format!(
                "stop that broker; if its host is gone for good: {}",
                psql(url, &format!("SELECT pg_terminate_backend({})", writer.pid))
            ),
        ),
    }
}

fn vacuum(server: &Server, left: Option<&Leavings>, url: &PostgresUrl, now: Timestamp) -> Finding {
    const CHECK: &str = "vacuum";
    if server.autovacuum != "on" {
        let on = psql(url, "ALTER SYSTEM SET autovacuum = on");
        let reload = psql(url, "SELECT pg_reload_conf()");
        let detail = "autovacuum is off: what delivered messages leave behind is never taken up";
        return Finding::wrong(CHECK, detail, format!("{on}; {reload}"));
    }
    let Some(left) = left else { return Finding::ok(CHECK, "the server has no figures of the queue yet") };
    let (live, dead) = (left.live, left.dead);
    let last =
        left.vacuumed.map_or_else(|| "not yet".to_owned(), |at| format!("{} ago", span(now.since(at))));
    let detail = format!(
        "of the queue, {dead} rows are gone and still take room, beside {live}; last vacuumed: {last}"
    );
    if dead > LEFT && dead > live {
        return Finding::warning(CHECK, detail, psql(url, "VACUUM (VERBOSE) queue"));
    }
    Finding::ok(CHECK, detail)
}
