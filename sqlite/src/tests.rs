//! What the stores rely on.

use std::ops::ControlFlow;

use super::*;

const SCHEMA: Migrations = Migrations(&["CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, body BLOB)"]);

fn store() -> (tempfile::TempDir, Connection, Readers) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(&folder.path().join("store.db"));
    let mut writer = options.clone().create().open().unwrap();
    SCHEMA.run(&mut writer).unwrap();
    (folder, writer, options.read_only().readers(2))
}

async fn insert(db: &mut Connection, id: i64, name: Option<&str>, body: &[u8]) -> Result<u64> {
    query("INSERT INTO t VALUES (?, ?, ?)").bind(id).bind(name).bind(body).execute(db).await
}

#[tokio::test]
async fn what_is_written_is_read_by_every_kind_of_executor() {
    let (_folder, mut writer, readers) = store();
    assert_eq!(insert(&mut writer, 1, Some("one"), b"\x00\xff").await.unwrap(), 1);
    insert(&mut writer, 2, None, b"").await.unwrap();
    let all = "SELECT id, name, body FROM t ORDER BY id";
    let expected = vec![(1, Some("one".to_owned()), vec![0, 255]), (2, None, vec![])];
    let read: Vec<(i64, Option<String>, Vec<u8>)> = query_as(all).fetch_all(&mut writer).await.unwrap();
    assert_eq!(read, expected);
    let by_readers: Vec<(i64, Option<String>, Vec<u8>)> = query_as(all).fetch_all(&readers).await.unwrap();
    assert_eq!(by_readers, expected);
    let mut lent = readers.acquire().await.unwrap();
    let name: Option<String> = query_scalar("SELECT name FROM t WHERE id = $2 AND id > $1")
        .bind(0_i64)
        .bind(2_i64)
        .fetch_one(&mut lent)
        .await
        .unwrap();
    assert_eq!(name, None);
}

#[tokio::test]
async fn a_row_is_found_damaged_not_misread() {
    let (_folder, mut writer, _) = store();
    insert(&mut writer, 1, Some("one"), b"x").await.unwrap();
    let row = query("SELECT * FROM t").fetch_one(&mut writer).await.unwrap();
    assert!(matches!(row.try_get::<i64, _>("name"), Err(Error::Damaged(what)) if what == "name"));
    assert!(matches!(row.try_get::<i64, _>("nothing"), Err(Error::Damaged(_))));
    assert!(matches!(row.try_get::<&str, _>("name"), Ok("one")));
}

#[tokio::test]
async fn readers_cannot_write_and_give_nothing_once_closed() {
    let (_folder, _writer, readers) = store();
    query("DELETE FROM t").execute(&readers).await.unwrap_err();
    let lent = readers.acquire().await.unwrap();
    drop(lent);
    readers.close().await;
    assert!(matches!(query("SELECT 1").fetch_one(&readers).await, Err(Error::Closed)));
}

#[tokio::test]
async fn reading_stops_where_there_is_enough() {
    let (_folder, mut writer, readers) = store();
    for id in 0..100 {
        insert(&mut writer, id, None, b"x").await.unwrap();
    }
    let three = query("SELECT id FROM t ORDER BY id").fold(&readers, 0, |count, _| {
        Ok(if count == 2 { ControlFlow::Break(3) } else { ControlFlow::Continue(count + 1) })
    });
    assert_eq!(three.await.unwrap(), 3);
}

#[tokio::test]
async fn a_statement_given_up_leaves_its_connection_to_nobody_and_the_next_gets_one() {
    let (_folder, _writer, readers) = store();
    for _ in 0..10 {
        let slow = query(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT max(i) FROM n",
        );
        tokio::select! {
            biased;
            _ = slow.fetch_one(&readers) => {}
            () = tokio::task::yield_now() => {}
        }
    }
    query("SELECT 1").fetch_one(&readers).await.unwrap();
}

#[tokio::test]
async fn a_store_is_durable_or_does_not_open() {
    let (folder, mut writer, _) = store();
    let synchronous: i64 = query_scalar("PRAGMA synchronous").fetch_one(&mut writer).await.unwrap();
    assert_eq!(synchronous, 2);
    let journal: String = query_scalar("PRAGMA journal_mode").fetch_one(&mut writer).await.unwrap();
    assert_eq!(journal, "wal");
    assert!(!was_closed(&folder.path().join("store.db")));
    writer.close().unwrap();
    assert!(was_closed(&folder.path().join("store.db")));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (_folder, mut writer, _) = store();
    SCHEMA.run(&mut writer).unwrap();
    writer.run("PRAGMA user_version = 99").unwrap();
    assert!(matches!(SCHEMA.run(&mut writer), Err(Error::Newer { found: 99, known: 1 })));
}

#[test]
fn a_file_that_nobody_writes_gets_nothing_beside_it_whatever_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a?b#c%d.db");
    let mut writer = Options::new(&path).create().open().unwrap();
    SCHEMA.run(&mut writer).unwrap();
    writer.close().unwrap();
    let mut copy = Options::new(&path).immutable().open().unwrap();
    assert_eq!(version(&mut copy).unwrap(), 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_is_no_database_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.db");
    std::fs::write(&path, [b'x'; 4096]).unwrap();
    assert!(Options::new(&path).open().unwrap_err().is_damage());
}

#[tokio::test]
async fn a_statement_over_many_rows_is_run_for_each_of_them() {
    let (_folder, mut writer, readers) = store();
    let rows = (1..=3_i64).flat_map(|id| [Value::from(id), Value::Null, Value::from(vec![1])]);
    let inserted = query("INSERT INTO t VALUES (?, ?, ?)").bind_all(rows).execute_each(&mut writer);
    assert_eq!(inserted.await.unwrap(), 3);
    let ids = [2_i64, 9, 1].map(Value::from);
    let wanted = || query("SELECT id, body FROM t WHERE id = ?").bind_all(ids.clone());
    for mut found in
        [wanted().fetch_each(&mut writer).await.unwrap(), wanted().fetch_each(&readers).await.unwrap()]
    {
        let ids: Vec<i64> = found.iter().map(|row| row.try_get("id").unwrap()).collect();
        assert_eq!(ids, [2, 1], "in the order of asking; of what is not there, nothing");
        assert_eq!(found[0].take_bytes(1_usize).unwrap(), [1]);
        assert!(matches!(found[0].take_bytes(0_usize), Err(Error::Damaged(_))));
    }
    let twice = [1_i64, 1].map(Value::from);
    let refused = query("INSERT INTO t (id) VALUES (?)").bind_all(twice).execute_each(&mut writer);
    assert!(matches!(refused.await, Err(Error::Sqlite(_))));
}

#[tokio::test]
async fn of_what_is_deleted_from_a_copy_no_byte_stays_and_no_log() {
    let (folder, mut writer, _) = store();
    insert(&mut writer, 1, None, b"sesame, open sesame").await.unwrap();
    let path = folder.path().join("copy.db");
    query("VACUUM INTO ?").bind(path.to_str().unwrap()).execute(&mut writer).await.unwrap();
    let holds = || std::fs::read(&path).unwrap().windows(6).any(|bytes| bytes == b"sesame");
    assert!(holds());
    let mut copy = Options::new(&path).copy().open().unwrap();
    query("DELETE FROM t").execute(&mut copy).await.unwrap();
    assert!(!holds() && !log_file(&path).exists());
}

#[tokio::test]
async fn what_blocks_on_a_thread_of_its_own_holds_up_nobody() {
    let (go_on, gone_on) = std::sync::mpsc::channel();
    let blocked = on_own_thread("test", async move { gone_on.recv() });
    // The one thread of this runtime gets here while that waits.
    let (ended, ()) = tokio::join!(blocked, async move { go_on.send("on").unwrap() });
    assert_eq!(ended.unwrap(), Ok("on"));
}

#[tokio::test]
async fn a_thread_that_panics_is_an_error() {
    let ended: std::io::Result<()> = on_own_thread("test", async { panic!("as the test has it") }).await;
    assert!(ended.unwrap_err().to_string().contains("panicked"));
}

#[tokio::test]
async fn what_is_brief_is_done_on_the_thread_that_asks_for_it() {
    let (_folder, mut writer, readers) = store();
    insert(&mut writer, 1, Some("one"), b"x").await.unwrap();
    let here = std::thread::current().id();
    let names = async |on: On<'_>| {
        let begin = (Vec::new(), None);
        let visit = |(mut names, _): (Vec<String>, _), row: Row| {
            names.push(row.try_get("name")?);
            Ok(ControlFlow::Continue((names, Some(std::thread::current().id()))))
        };
        query("SELECT name FROM t").fold(on, begin, visit).await.unwrap()
    };
    assert_eq!(names(readers.brief().into()).await, (vec!["one".to_owned()], Some(here)));
    let (read, there) = names((&readers).into()).await;
    assert!(read == ["one"] && there != Some(here));
}
