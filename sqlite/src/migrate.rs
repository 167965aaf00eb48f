//! The schema, and bringing it up to date. SQLite's `user_version` is the number of steps that were made.

use rusqlite_migration::{M, Migrations as Steps};

use crate::{Connection, Error, Result};

/// The steps of a schema, the oldest first. One that was released is never changed.
#[derive(Clone, Copy, Debug)]
pub struct Migrations(pub &'static [&'static str]);

impl Migrations {
    /// The version that they lead to.
    #[must_use]
    pub const fn newest(&self) -> usize {
        self.0.len()
    }

    /// Makes those steps that were not made, each in a transaction.
    ///
    /// # Errors
    /// `Newer` if the schema is not of these; `Migration`; SQLite's.
    pub fn run(&self, db: &mut Connection) -> Result<()> {
        let found = version(db)?;
        if found > self.newest() {
            return Err(Error::Newer { found, known: self.newest() });
        }
        let steps = Steps::new(self.0.iter().map(|sql| M::up(sql)).collect());
        steps.to_latest(&mut db.db).map_err(|error| {
            if let rusqlite_migration::Error::RusqliteError { err, .. } = error {
                return err.into();
            }
            Error::Migration(error.to_string())
        })
    }
}

/// How many steps were made in this database: 0 if nothing was.
///
/// # Errors
/// SQLite's.
pub fn version(db: &mut Connection) -> Result<usize> {
    let version: i64 = db.db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    usize::try_from(version).map_err(|_| Error::Damaged("user_version".into()))
}
