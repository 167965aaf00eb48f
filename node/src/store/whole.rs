//! Whether a database is whole, and of which schema.

use sqlx::SqliteExecutor;

use super::MIGRATIONS;

/// What is wrong with its pages and indexes, as far as it is worth listing.
pub(crate) async fn faults(db: impl SqliteExecutor<'_>) -> sqlx::Result<Vec<String>> {
    let found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(5)").fetch_all(db).await?;
    Ok(found.into_iter().filter(|line| line != "ok").collect())
}

/// The newest change that it has, and the newest that this program knows.
pub(crate) async fn schemas(db: impl SqliteExecutor<'_>) -> sqlx::Result<(i64, i64)> {
    let found: i64 =
        sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations").fetch_one(db).await?;
    Ok((found, MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)))
}
