//! The store: the only place with SQL, one file per table.
//!
//! ```text
//! db        connections, statements and rows of SQLite and of PostgreSQL, as one
//! sqlite    the store in a file: opened, checked, migrated
//! postgres  the store on a server: reached, locked, migrated
//! the rest  a table each, the same for both
//! ```
//!
//! One connection writes, owned by the writer ([`crate::accept`]); a few read. Every function takes what runs a
//! statement, so that the same serves a pool and a transaction; a transaction is opened by the writer alone.

mod db;
mod key;
mod notice;
mod postgres;
mod sqlite;

pub(crate) mod branch;
pub(crate) mod change_id;
pub(crate) mod copy;
pub(crate) mod dedupe;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod mesh;
pub(crate) mod meta;
pub(crate) mod node;
pub(crate) mod prekey;
pub(crate) mod queue;
pub(crate) mod record;
pub(crate) mod server;
pub(crate) mod space;
pub(crate) mod tables;

#[cfg(test)]
pub(crate) use db::counting;
pub(crate) use db::{Connection, Pool};
pub(crate) use key::{LoginNumber, NodeKey, Place, QueueKey, Rank, Ranks, Seq};

use crate::config::Database;
use crate::error::{Error, Result};

/// Connections that read. Links read their backlog through them, one page at a time.
pub(crate) const READERS: u32 = 4;

/// An open store.
pub(crate) struct Store {
    /// For the writer.
    pub(crate) writer: Connection,
    /// For everybody else.
    pub(crate) readers: Pool,
}

impl Store {
    /// Opens or makes a store, and brings its schema up to date.
    ///
    /// # Errors
    /// `NewerSchema` if a newer broker has been here; `Damaged` if it was not closed and is not whole; `InUse` if another broker
    /// has it; `Unavailable` if its server cannot be reached or takes no writes; `Config` if the server does not keep what it
    /// confirms; `Internal` if it cannot be used, or does not promise what an answer after its commit relies on.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        match database {
            Database::Sqlite(path) => sqlite::open(path).await,
            Database::Postgres(url) => postgres::open(url).await,
        }
    }
}

/// Connects the writer anew to a server that was away. One try.
///
/// # Errors
/// `Unavailable` while it still is; `Internal` for a store in a file, of which nothing comes back.
pub(crate) async fn reopen(database: &Database) -> Result<Connection> {
    match database {
        Database::Sqlite(_) => Err(Error::Internal("a file that has failed is not opened again".into())),
        Database::Postgres(url) => postgres::reopen(url).await,
    }
}

/// The version of the schema that this broker brings a store to, on either database.
pub(crate) fn schema_version() -> i64 {
    postgres::newest()
}

/// Writes what is there already, so that a commit shows whether the disk takes one.
pub(crate) async fn touch(db: &mut Connection) -> Result<()> {
    db::query("UPDATE meta SET m = m").execute(db).await.map(drop)
}

#[cfg(test)]
pub(crate) mod testing {
    //! A migrated database, in memory or on a server, and short names for rows in it.
    //!
    //! With `WAXWING_TEST_DATABASE=postgres` in the environment every test of the store, the writer and the broker runs on a server.

    use waxwing_crypto::{MeshId, NodeId};
    use waxwing_lab_postgres::Server;

    use super::*;

    pub(crate) use super::sqlite::plan;

    pub(crate) async fn database() -> Connection {
        match on_a_server() {
            Some(database) => Store::open(&database).await.unwrap().writer,
            None => sqlite::in_memory().into(),
        }
    }

    /// An empty database on a server, if that is where tests are to run.
    pub(crate) fn on_a_server() -> Option<Database> {
        let server = Server::asked_for()?;
        Some(server.url(&server.database().unwrap()).parse().unwrap())
    }

    pub(crate) fn node(n: u8) -> NodeKey {
        NodeKey { mesh: MeshId::from_bytes([0xee; 16]), node: NodeId::from_bytes([n; 16]) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_have_the_same_schema_versions_and_every_file_of_them_is_taken() {
        let steps = |database: &str| {
            let folder = format!("{}/../migrations/broker/{database}", env!("CARGO_MANIFEST_DIR"));
            let mut steps: Vec<_> =
                std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
            steps.sort();
            steps
        };
        let names = |database: &str| -> Vec<_> {
            steps(database).iter().map(|step| step.file_name().unwrap().to_owned()).collect()
        };
        assert_eq!(names("sqlite"), names("postgres"));
        let text: Vec<_> =
            steps("sqlite").iter().map(|step| std::fs::read_to_string(step).unwrap()).collect();
        assert_eq!(sqlite::MIGRATIONS.0, text);
        assert_eq!(schema_version(), crate::error::schema(text.len()));
    }
}
