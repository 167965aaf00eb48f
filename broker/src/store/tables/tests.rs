use std::path::Path;

use waxwing_lab_postgres::Server;
use waxwing_sqlite::{query_as, query_scalar};

use super::*;
use crate::config::Database;
use crate::store::Store;

/// So many that every table takes more than one page.
const ROWS: i64 = 300;

async fn in_a_file(folder: &Path) -> Connection {
    Store::open(&Database::Sqlite(folder.join("broker.db"))).await.unwrap().writer
}

/// An empty store on a server, if there is one.
async fn on_a_server() -> Option<(Connection, &'static Server, String)> {
    let server = Server::shared()?;
    let name = server.database().unwrap();
    let store = Store::open(&server.url(&name).parse().unwrap()).await.unwrap();
    Some((store.writer, server, name))
}

/// A value that the schema takes, another in each row wherever it can be.
fn cell(table: &str, (column, kind): (&str, Column), n: i64) -> Cell {
    let notice = n % 2 == 1;
    match kind {
        Int => Cell::Int(match (table, column) {
            ("meta", "id") => Some(1),
            (_, "waits" | "offered") => Some(n % 2),
            ("queue", "rank") => Some(n % 4),
            ("queue", "kind") => Some(n % 2),
            ("record", "kind" | "stands") => Some(n % 3),
            ("record", "of_seq" | "why" | "touched" | "touched_at") if notice => None,
            ("record", "bound") => None,
            ("record", "seq") | ("record", "ends") => Some(i64::MAX - n),
            (_, "held") => Some(0),
            _ => Some(n),
        }),
        Bytes => {
            let size = match (table, column) {
                ("queue", "sender") if notice => return Cell::Bytes(None),
                ("queue", "body") if notice => 0,
                (_, "body" | "sealed" | "entry") => 1_000,
                (_, "signature") => 64,
                ("meta", "secret") | ("space", "space") => 32,
                (_, "head_hash" | "head" | "fingerprint" | "root" | "sealed_to" | "key" | "digest") => 32,
                _ => 16,
            };
            // Beyond 127 too: bytes are compared without a sign.
            let mut bytes = vec![(n % 251) as u8; size];
            let end = size.saturating_sub(8);
            bytes[end..].copy_from_slice(&n.to_be_bytes()[..size - end]);
            Cell::Bytes(Some(bytes))
        }
    }
}

/// Rows in every table.
pub(crate) async fn fill(db: &mut Connection) {
    for table in all() {
        let last = if table.name == "meta" { 1 } else { ROWS };
        let row = |n| table.columns.iter().map(|column| cell(table.name, *column, n)).collect();
        let rows: Vec<Vec<Cell>> = (1..=last).map(row).collect();
        let bound =
            table.insert.execute(db, &rows, |values, row| row.iter().for_each(|cell| cell.bind(values)));
        assert_eq!(bound.await.unwrap(), last as u64, "{}", table.name);
        table.number_on(db).await.unwrap();
    }
}

async fn copy_all(from: &mut Connection, to: &mut Connection) {
    for table in all() {
        let mut told = Vec::new();
        table.copy(from, to, |rows| told.push(rows)).await.unwrap();
        assert_eq!(*told.last().unwrap(), table.count(to).await.unwrap());
        assert!(table.name == "meta" || told.len() > 1, "{} took one page", table.name);
    }
}

#[tokio::test]
async fn from_a_file_to_a_server_and_back_every_value_is_the_same_and_numbers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = in_a_file(folder.path()).await;
    fill(&mut file).await;
    let held = digest(&mut file).await.unwrap();
    assert!(held.iter().all(|table| table.rows == if table.table == "meta" { 1 } else { ROWS as u64 }));
    let Some((mut server, ..)) = on_a_server().await else { return };
    copy_all(&mut file, &mut server).await;
    assert_eq!(digest(&mut server).await.unwrap(), held);

    let other = tempfile::tempdir().unwrap();
    let mut back = in_a_file(other.path()).await;
    copy_all(&mut server, &mut back).await;
    assert_eq!(digest(&mut back).await.unwrap(), held);

    for db in [&mut server, &mut back] {
        let next = "INSERT INTO run (run, first) VALUES ($1, 1) RETURNING id";
        let row = query(next).bind(&[0xff; 16]).fetch_one(db).await.unwrap();
        assert_eq!(number(&row, 0).unwrap(), ROWS as u64 + 1);
    }
}

#[tokio::test]
async fn a_digest_tells_any_two_stores_apart_and_names_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = in_a_file(folder.path()).await;
    fill(&mut db).await;
    let held = digest(&mut db).await.unwrap();
    for (change, table) in [
        ("UPDATE meta SET secret = zeroblob(32)", "meta"),
        ("UPDATE queue SET body = x'00' WHERE seq = 299", "queue"),
        ("UPDATE record SET of_seq = 0 WHERE id = 1", "record"),
        ("UPDATE run SET id = 9999 WHERE id = 300", "run"),
        ("DELETE FROM dedupe WHERE seq = 300", "dedupe"),
        ("UPDATE change_id SET expires = -expires WHERE seq = 1", "change_id"),
    ] {
        db.begin().await.unwrap();
        assert_eq!(query(change).execute(&mut db).await.unwrap(), 1, "{change}");
        let changed = digest(&mut db).await.unwrap();
        let differ: Vec<_> =
            held.iter().zip(&changed).filter(|(a, b)| a != b).map(|(a, _)| a.table).collect();
        assert_eq!(differ, [table], "{change}");
        query("ROLLBACK").execute(&mut db).await.unwrap();
    }
    assert_eq!(digest(&mut db).await.unwrap(), held);
}

/// A table as a database describes it: its name, its columns, and how many of them are its key.
type Described = (String, Vec<(String, &'static str)>, usize);

fn described() -> Vec<Described> {
    let mut tables: Vec<_> = all()
        .iter()
        .map(|table| {
            let columns = table.columns.iter();
            let columns = columns
                .map(|(name, kind)| ((*name).to_owned(), if matches!(kind, Int) { "int" } else { "bytes" }));
            (table.name.to_owned(), columns.collect(), table.key)
        })
        .collect();
    tables.sort();
    tables
}

#[tokio::test]
async fn every_table_and_column_of_a_file_is_taken_in_the_order_of_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let mut db = in_a_file(folder.path()).await;
    let Connection::Sqlite(held) = &mut db else { panic!("a file") };
    let names: Vec<String> = query_scalar(
        r"SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\_%' ESCAPE '\' ORDER BY name",
    )
    .fetch_all(held.get())
    .await
    .unwrap();
    let mut found: Vec<Described> = Vec::new();
    for name in names {
        let sql = format!("SELECT name, type, pk FROM pragma_table_info('{name}') ORDER BY cid");
        let rows: Vec<(String, String, i64)> = query_as(sql).fetch_all(held.get()).await.unwrap();
        let keyed = rows.iter().take_while(|(.., place)| *place > 0).count();
        let columns =
            rows.into_iter().map(|(name, kind, _)| (name, if kind == "INTEGER" { "int" } else { "bytes" }));
        // Its slots have a place that is unique, and no key of their own.
        let key = if name == "key_slot" { 3 } else { keyed };
        found.push((name, columns.collect(), key));
    }
    assert_eq!(found, described());
}

#[tokio::test]
async fn every_table_and_column_of_a_server_is_taken_and_all_that_it_numbers() {
    let Some((mut db, server, name)) = on_a_server().await else { return };
    let asked = r"SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || is_identity FROM information_schema.columns
                 WHERE table_schema = current_schema() AND table_name NOT LIKE '\_%' ORDER BY table_name, ordinal_position";
    let found = server.sql(&name, asked).unwrap();
    let mut expected = Vec::new();
    for (table, columns, _) in described() {
        let numbered = all().iter().any(|one| one.name == table && one.numbered);
        for (column, kind) in columns {
            let kind = if kind == "int" { "bigint" } else { "bytea" };
            let identity = if numbered && column == "id" { "YES" } else { "NO" };
            expected.push(format!("{table} {column} {kind} {identity}"));
        }
    }
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
    assert!(all()[0].is_empty(&mut db).await.unwrap());
}
