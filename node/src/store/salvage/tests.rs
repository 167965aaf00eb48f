//! Databases with rows in them, damaged where the damage is known to be.

use std::fs;
use std::path::Path;

use super::*;
use crate::store::{close, meta, open};

/// Rows of each table that is filled.
const ROWS: i64 = 2_000;
const PAGE: u64 = 4_096;

/// A database with an outbox, a dedupe table and a few events, closed; and which pages a table has, of its last level.
async fn filled(path: &Path) {
    let (mut db, readers) = open(path).await.unwrap();
    let sql = [
        "INSERT INTO outbox (client_id, wire_id, fingerprint, recipient, to_node, to_app, from_app, priority, counter, \
         expires, queued_at, size, kind, wants_read) SELECT 'id-' || value, randomblob(16), randomblob(32), \
         zeroblob(16), 'beta', '', '', 1, value, 1, 1, 300, 0, 0 FROM generate",
        "INSERT INTO outbox_content SELECT value, randomblob(300) FROM generate",
        "INSERT INTO dedupe SELECT zeroblob(16), 'id-' || value, randomblob(16), value FROM generate",
        "INSERT INTO event SELECT value, NULL, value, '{}' FROM generate",
    ];
    for sql in sql {
        let sql = sql.replace(
            "FROM generate",
            &format!("FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {ROWS}) SELECT value FROM n)"),
        );
        waxwing_sqlite::query(sql).execute(&mut db).await.unwrap();
    }
    meta::set_text(&mut db, meta::BROKER, "ws://there").await.unwrap();
    close(db, readers).await.unwrap();
}

/// The pages of a table or an index that hold its rows, in their order.
async fn leaves(path: &Path, name: &str) -> Vec<u64> {
    let (mut db, readers) = open(path).await.unwrap();
    let rows =
        waxwing_sqlite::query("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path")
            .bind(name);
    let pages = rows.fetch_all(&mut db).await.unwrap();
    let pages = pages.iter().map(|row| unsigned(row.try_get("pageno").unwrap())).collect();
    close(db, readers).await.unwrap();
    pages
}

fn spoil(path: &Path, page: u64) {
    let mut bytes = fs::read(path).unwrap();
    let from = usize::try_from((page - 1) * PAGE).unwrap();
    bytes[from..from + PAGE as usize].fill(0xa5);
    fs::write(path, bytes).unwrap();
}

/// What can be saved.
async fn salvage(folder: &Path, damaged: &Path) -> (Vec<Salvaged>, Vec<String>) {
    let (mut db, readers) = open(&folder.join("new.db")).await.unwrap();
    attach(&mut db, damaged).await.unwrap();
    let tables = copy(&mut db).await.unwrap();
    let lost = lost_sends(&mut db, 10_000).await;
    let sound: String =
        waxwing_sqlite::query_scalar("PRAGMA main.integrity_check").fetch_one(&mut db).await.unwrap();
    assert_eq!(sound, "ok");
    readers.close().await;
    db.close().unwrap();
    (tables, lost)
}

fn of<'a>(tables: &'a [Salvaged], name: &str) -> &'a Salvaged {
    tables.iter().find(|table| table.table == name).unwrap()
}

#[tokio::test]
async fn a_whole_database_is_copied_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("100% whole?.db");
    filled(&path).await;
    let (tables, lost) = salvage(folder.path(), &path).await;
    assert!(lost.is_empty() && !tables.iter().any(Salvaged::is_incomplete), "{tables:?}");
    for table in ["outbox", "dedupe", "event"] {
        assert_eq!(of(&tables, table).rows, ROWS as u64, "{table}");
    }
}

#[tokio::test]
async fn of_a_table_with_damaged_pages_every_other_row_is_saved_and_the_lost_ones_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.db");
    filled(&path).await;
    let pages = leaves(&path, "outbox").await;
    // The first, the last, and two in the middle that do not touch.
    let spoilt = [0, pages.len() / 3, pages.len() / 2, pages.len() - 1].map(|n| pages[n]);
    spoilt.iter().for_each(|page| spoil(&path, *page));
    let (tables, lost) = salvage(folder.path(), &path).await;
    let outbox = of(&tables, "outbox");
    assert_eq!(outbox.rows + outbox.lost, ROWS as u64, "{outbox:?}");
    assert!(
        outbox.lost > 0 && outbox.lost < 4 * 40 && !outbox.more,
        "a page has less than forty: {outbox:?}"
    );
    assert_eq!(lost.len() as u64, outbox.lost);
    assert!(lost.contains(&"id-1".to_owned()) && lost.contains(&format!("id-{ROWS}")), "{lost:?}");
    assert!(tables.iter().all(|table| table.table == "outbox" || !table.is_incomplete()), "{tables:?}");
}

#[tokio::test]
async fn of_a_table_by_key_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.db");
    filled(&path).await;
    let pages = leaves(&path, "dedupe").await;
    let spoilt = [pages.len() / 3, pages.len() / 2].map(|n| pages[n]);
    spoilt.iter().for_each(|page| spoil(&path, *page));
    let (tables, _) = salvage(folder.path(), &path).await;
    let dedupe = of(&tables, "dedupe");
    assert_eq!(dedupe.rows + dedupe.lost, ROWS as u64, "{dedupe:?}");
    assert!(dedupe.lost > 0 && dedupe.lost < 200 && !dedupe.more, "those of two pages: {dedupe:?}");
}

#[tokio::test]
async fn a_damaged_index_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.db");
    filled(&path).await;
    for index in ["sqlite_autoindex_outbox_1", "dedupe_age"] {
        leaves(&path, index).await.into_iter().for_each(|page| spoil(&path, page));
    }
    let (tables, _) = salvage(folder.path(), &path).await;
    assert!(!tables.iter().any(Salvaged::is_incomplete), "{tables:?}");
    assert_eq!(of(&tables, "outbox").rows, ROWS as u64);
}

#[tokio::test]
async fn what_no_index_knows_of_is_said_to_be_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.db");
    filled(&path).await;
    let pages = leaves(&path, "event").await;
    spoil(&path, pages[pages.len() / 2]);
    let (tables, _) = salvage(folder.path(), &path).await;
    let event = of(&tables, "event");
    assert!(event.more && event.rows < ROWS as u64 && event.rows > ROWS as u64 - 600, "{event:?}");
}
