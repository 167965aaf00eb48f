//! A log that others work on while it is written.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::Instant;

use super::room;
use crate::{Connection, Migrations, Options, log_file, query, query_scalar};

const SCHEMA: Migrations = Migrations(&["CREATE TABLE t (id INTEGER PRIMARY KEY, body BLOB)"]);
const SOON: Duration = Duration::from_secs(60);

fn store() -> (tempfile::TempDir, PathBuf, Connection) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut writer = Options::new(&path).create().open().unwrap();
    SCHEMA.run(&mut writer).unwrap();
    (folder, path, writer)
}

async fn insert(db: &mut Connection, id: usize, size: usize) {
    let body = vec![u8::try_from(id % 255).unwrap(); size];
    query("INSERT INTO t VALUES (?, ?)").bind(id as i64).bind(body).execute(db).await.unwrap();
}

/// Rows that the database has, of what a crash would leave of it now.
async fn rows_after_a_crash(path: &Path) -> i64 {
    let folder = tempfile::tempdir().unwrap();
    let left = folder.path().join("left.db");
    // Nothing is folded in between the two: the log is too short for that.
    std::fs::copy(log_file(path), log_file(&left)).unwrap();
    std::fs::copy(path, &left).unwrap();
    let mut left = Options::new(&left).open().unwrap();
    assert_eq!(left.ask::<String>("PRAGMA integrity_check").unwrap(), ["ok"]);
    query_scalar("SELECT count(*) FROM t WHERE length(body) > 0").fetch_one(&mut left).await.unwrap()
}

/// What the log says at its beginning: how often it has begun anew, and what its frames are known by.
fn header(path: &Path) -> [u8; 32] {
    let mut header = [0; 32];
    std::fs::File::open(log_file(path)).unwrap().read_exact(&mut header).unwrap();
    header
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(log_file(path)).unwrap().len()
}

/// A commit that folded all of a long log in would be as long as thousands of others.
#[tokio::test]
async fn a_long_log_is_folded_in_beside_the_commits_and_begins_anew() {
    const MANY: usize = 60_000;
    let (_folder, path, mut writer) = store();
    query("PRAGMA synchronous = off").execute(&mut writer).await.unwrap();
    insert(&mut writer, 0, 1).await;
    let first = header(&path);
    let begun_anew = async {
        for id in 1..MANY {
            insert(&mut writer, id, 3_000).await;
            if id % 100 == 0 && header(&path) != first {
                return true;
            }
        }
        false
    };
    assert!(begun_anew.await, "{} bytes of log", length(&path));
    assert!(std::fs::metadata(&path).unwrap().len() > 8 * 1024 * 1024);
    writer.close().unwrap();
    assert!(!log_file(&path).exists(), "nobody else has the file open");
}

#[tokio::test]
async fn room_is_made_ahead_of_a_log_that_grows_and_takes_nothing_that_was_committed() {
    let (_folder, path, mut writer) = store();
    let (mut ahead, mut id) = (0, 0);
    let began = Instant::now();
    while ahead < 20 && began.elapsed() < SOON {
        let before = length(&path);
        // One page, or hundreds in one transaction.
        insert(&mut writer, id, if id % 50 == 0 { 1_000_000 } else { 3_000 }).await;
        id += 1;
        // It was longer than the commit needed.
        ahead += u32::from(length(&path) == before && before > 0);
        if id % 16 == 0 {
            assert_eq!(rows_after_a_crash(&path).await, id as i64);
        }
    }
    assert_eq!(ahead, 20, "of {id} commits so many had room");
    assert_eq!(rows_after_a_crash(&path).await, id as i64);
    writer.close().unwrap();
    assert!(!log_file(&path).exists());
}

#[tokio::test]
async fn nothing_is_written_behind_a_log_that_somebody_is_at_the_end_of() {
    let (_folder, path, mut writer) = store();
    insert(&mut writer, 1, 100).await;
    let before = length(&path);
    let make = || room::make(&Options::new(&path), before + 1, &AtomicBool::new(false));
    writer.run("BEGIN IMMEDIATE").unwrap();
    make().unwrap_err();
    assert_eq!(length(&path), before);
    writer.run("ROLLBACK").unwrap();
    make().unwrap();
    assert!(length(&path) > before);
    assert_eq!(rows_after_a_crash(&path).await, 1);
}

#[tokio::test]
async fn a_log_that_nobody_makes_longer_has_no_more_room_than_it_had() {
    let (_folder, path, mut writer) = store();
    for id in 0..20 {
        insert(&mut writer, id, 100).await;
    }
    assert!(length(&path) < 64 * room::PAGE, "what is short is let be");
    assert_eq!(rows_after_a_crash(&path).await, 20);
}
