//! Where the store is: a file, or a PostgreSQL server.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sqlx::postgres::PgConnectOptions;
use url::Url;

/// Where a broker's store is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Database {
    /// In a file.
    Sqlite(PathBuf),
    /// On a server.
    Postgres(PostgresUrl),
}

/// Why a text names no database.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadDatabase {
    /// Another scheme.
    #[error("a database is sqlite:///PATH or postgres://USER@HOST:PORT/NAME")]
    Scheme,
    /// Not an absolute path.
    #[error("the path of a database begins at the root: sqlite:///var/lib/waxwing/broker.db")]
    Path,
    /// Not a URL of a server, or with options that are not known.
    #[error(
        "this is no URL of a PostgreSQL database, as in postgres://waxwing@db.example:5432/waxwing?sslmode=verify-full"
    )]
    Url,
    /// No name after the host.
    #[error("the URL names no database: postgres://HOST/NAME")]
    Name,
}

impl Database {
    /// Whether its text has a password in it.
    pub fn has_password(&self) -> bool {
        matches!(self, Self::Postgres(PostgresUrl(url)) if url.password().is_some() || has_secret(url))
    }

    /// The file, if it is in one.
    pub(crate) fn file(&self) -> Option<&std::path::Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl FromStr for Database {
    type Err = BadDatabase;

    fn from_str(text: &str) -> Result<Self, BadDatabase> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            let path = PathBuf::from(path);
            let names_a_file = path.is_absolute() && path.file_name().is_some();
            return if names_a_file { Ok(Self::Sqlite(path)) } else { Err(BadDatabase::Path) };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return PostgresUrl::new(text).map(Self::Postgres);
        }
        Err(BadDatabase::Scheme)
    }
}

/// Without the password.
impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite://{}", path.display()),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Database {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // The value itself is not in the error: it may have a password.
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Without the password.
impl Serialize for Database {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A PostgreSQL database, as its clients name one: `postgres://USER@HOST:PORT/NAME?OPTIONS`. What it does not say is as libpq
/// has it: `PGHOST`, `PGUSER`, `PGPASSWORD` and so on, and the password file.
#[derive(Clone, Eq, PartialEq)]
pub struct PostgresUrl(Url);

impl PostgresUrl {
    fn new(text: &str) -> Result<Self, BadDatabase> {
        let url = Url::parse(text).map_err(|_| BadDatabase::Url)?;
        let options: PgConnectOptions = text.parse().map_err(|_| BadDatabase::Url)?;
        if url.path().trim_start_matches('/').is_empty() && options.get_database().is_none() {
            return Err(BadDatabase::Name);
        }
        Ok(Self(url))
    }

    /// What a connection is made with.
    pub(crate) fn options(&self) -> PgConnectOptions {
        // It was parsed when it was made.
        self.0.as_str().parse().unwrap_or_default()
    }
}

/// Without the password, and without the options, which may have one.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut url = self.0.clone();
        url.set_query(None);
        // It fails for a URL without a host, which has no password.
        let _ = url.set_password(None);
        url.fmt(f)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn has_secret(url: &Url) -> bool {
    url.query_pairs().any(|(name, _)| name == "password")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_no_text_that_is_made_of_a_database() {
        for text in [
            "postgres://waxwing:sesame@db.example:5432/mail?sslmode=require",
            "postgresql://waxwing@db.example/mail?password=sesame",
        ] {
            let database: Database = text.parse().unwrap();
            assert!(database.has_password());
            let shown = format!("{database} {database:?} {}", serde_json::to_string(&database).unwrap());
            assert!(shown.contains("db.example") && !shown.contains("sesame"), "{shown}");
        }
        assert!(!"postgres://waxwing@db.example/mail".parse::<Database>().unwrap().has_password());
    }

    #[test]
    fn what_is_no_database_is_refused_without_being_repeated() {
        for (text, why) in [
            ("mysql://u:sesame@h/d", BadDatabase::Scheme),
            ("/var/lib/broker.db", BadDatabase::Scheme),
            ("sqlite://broker.db", BadDatabase::Path),
            ("sqlite:///", BadDatabase::Path),
            ("postgres://u:sesame@h:99999/d", BadDatabase::Url),
        ] {
            let refused = text.parse::<Database>().unwrap_err();
            assert_eq!(refused, why, "{text}");
            assert!(!refused.to_string().contains("sesame"));
        }
        assert_eq!("sqlite:///a/b.db".parse(), Ok(Database::Sqlite("/a/b.db".into())));
    }
}
