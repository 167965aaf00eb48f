use waxwing_lab_postgres::Server;

use super::*;
use crate::store::tables::tests::fill;

async fn filled(database: &Database) {
    let mut db = Store::open(database).await.unwrap().writer;
    fill(&mut db).await;
    db.close().await.unwrap();
}

fn untold(_: Step, _: u64, _: u64) {}

async fn held(database: &Database) -> Vec<Contents> {
    tables::digest(&mut inspect::look(database).await.unwrap()).await.unwrap()
}

fn data_of(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join("data")
}

/// A folder with a file's place in it, and an empty database on a server, if there is one.
fn places() -> Option<(tempfile::TempDir, Database, &'static Server, String)> {
    let server = Server::shared()?;
    let folder = tempfile::tempdir().unwrap();
    // Private, as a broker's is.
    drop(Folder::open(&data_of(&folder)).unwrap());
    let file = Database::Sqlite(data_of(&folder).join("broker.db"));
    Some((folder, file, server, server.database().unwrap()))
}

#[tokio::test]
async fn a_store_goes_to_a_server_and_back_whole() {
    let Some((_folder, file, server, name)) = places() else { return };
    let other = tempfile::tempdir().unwrap();
    let back = Database::Sqlite(other.path().join("made/broker.db"));
    let to: Database = server.url(&name).parse().unwrap();
    filled(&file).await;
    let before = held(&file).await;
    let mut told = Vec::new();
    let moved = migrate(&file, &to, |step, done, all| told.push((step, done, all))).await.unwrap();
    assert_eq!(moved.tables.len(), before.len());
    assert_eq!(held(&to).await, before);
    let (rows, end) = (moved.rows, |step| told.iter().rev().find(|(one, ..)| *one == step).copied());
    assert_eq!(end(Step::Copying), Some((Step::Copying, rows, rows)));
    assert_eq!(end(Step::Comparing), Some((Step::Comparing, 2 * rows, 2 * rows)));
    migrate(&to, &back, untold).await.unwrap();
    assert_eq!(held(&back).await, before);
    assert_eq!(held(&file).await, before, "what was left behind is as it was");
}

#[tokio::test]
async fn a_target_with_a_store_is_refused_and_stays_as_it_is() {
    let Some((_folder, file, server, name)) = places() else { return };
    let to: Database = server.url(&name).parse().unwrap();
    filled(&file).await;
    filled(&to).await;
    server.sql(&name, "DELETE FROM queue").unwrap();
    let before = held(&to).await;
    for (from, to) in [(&file, &to), (&to, &file)] {
        let refused = migrate(from, to, untold).await.unwrap_err();
        assert!(matches!(refused, Error::NotEmpty(_)), "{refused}");
    }
    assert_eq!(held(&to).await, before);
}

#[tokio::test]
async fn a_row_changed_under_way_fails_the_comparison_and_the_target_stays_empty() {
    let Some((_folder, file, server, name)) = places() else { return };
    let to: Database = server.url(&name).parse().unwrap();
    filled(&file).await;
    drop(Store::open(&to).await.unwrap());
    let meddler = "CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS
                     'BEGIN NEW.expires := NEW.expires + (NEW.seq = 77)::int; RETURN NEW; END';
                   CREATE TRIGGER meddler BEFORE INSERT ON queue FOR EACH ROW EXECUTE FUNCTION meddle()";
    server.sql(&name, meddler).unwrap();
    let differs = migrate(&file, &to, untold).await.unwrap_err();
    assert!(matches!(differs, Error::Differs("queue")), "{differs}");
    assert!(held(&to).await.iter().all(|table| table.rows == 0));
    server.sql(&name, "DROP TRIGGER meddler ON queue").unwrap();
    migrate(&file, &to, untold).await.expect("and another try finds nothing in its way");
}

#[tokio::test]
async fn what_somebody_has_open_is_not_moved() {
    let Some((folder, file, server, name)) = places() else { return };
    let to: Database = server.url(&name).parse().unwrap();
    filled(&file).await;
    // A broker of this folder, and one of another folder that has the same file.
    let broker = Folder::open(&data_of(&folder)).unwrap();
    assert!(matches!(migrate(&file, &to, untold).await, Err(Error::InUse(_))));
    drop(broker);
    let elsewhere = Store::open(&file).await.unwrap();
    assert!(matches!(migrate(&file, &to, untold).await, Err(Error::InUse(_))));
    elsewhere.readers.close().await;
    elsewhere.writer.close().await.unwrap();
    let there = Store::open(&to).await.unwrap();
    assert!(matches!(migrate(&file, &to, untold).await, Err(Error::InUse(_))));
    drop(there);
    migrate(&file, &to, untold).await.unwrap();
}

#[tokio::test]
async fn where_no_broker_has_run_there_is_nothing_to_move() {
    let Some((folder, file, server, name)) = places() else { return };
    let to: Database = server.url(&name).parse().unwrap();
    for (from, to) in [(&file, &to), (&to, &file), (&file, &file)] {
        let refused = migrate(from, to, untold).await.unwrap_err();
        assert!(matches!(refused, Error::Config(_)), "{refused}");
    }
    assert!(!data_of(&folder).join("broker.db").exists(), "and nothing is made");
    drop(Store::open(&file).await.unwrap());
    assert!(matches!(migrate(&file, &to, untold).await, Err(Error::Config(_))), "a schema alone is no store");
}
