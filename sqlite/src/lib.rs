//! SQLite files as Waxwing keeps its stores: durable, written by one connection, and read by a few.
//!
//! A statement is a text and its values: [`query()`], [`query_as`] and [`query_scalar`], run on an [`Executor`]. What that is decides
//! where the work is done:
//!
//! - a [`Connection`] does it at once, on the thread that asks. A writer has a thread of its own, so a statement costs what SQLite
//!   takes for it, and nothing to hand it to somebody else and back;
//! - [`Readers`] do it on a thread that may block, one hop for a whole statement with all of its rows;
//! - [`Readers::brief`] does it on the thread that asks, for what takes less time than that hop.
//!
//! Every commit is on the disk when it returns (`synchronous=FULL`, write-ahead log); [`Options::open`] asks SQLite whether it is so.

mod connection;
mod error;
mod log;
mod migrate;
mod options;
mod query;
mod readers;
mod row;
mod thread;
mod value;

pub use connection::Connection;
pub use error::{Error, Result};
pub use migrate::{Migrations, version};
pub use options::{Options, has_journal, log_file, was_closed};
pub use query::{Executor, On, Query, QueryAs, QueryScalar, query, query_as, query_scalar};
pub use readers::{Brief, Lent, Readers};
pub use row::{Column, FromRow, Index, Row};
pub use thread::on_own_thread;
pub use value::Value;

#[cfg(test)]
mod tests;
