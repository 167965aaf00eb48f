//! Statements over many rows, and what every table needs to read one.
//!
//! sqlx costs about 75 µs per statement, whatever it does, so a batch is a handful of multi-row statements. Each is
//! built for a few fixed row counts, so that a connection prepares it once per count and never again.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::error::{Error, Result};

/// Row counts that a statement is built for. A factor of four apart: at most three statements per size.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];

/// One statement in each of the sizes. Lives as long as the program.
pub(super) struct RowsSql([String; SIZES.len()]);

impl RowsSql {
    /// `head`, then one group of `columns` placeholders per row, then `tail`.
    ///
    /// The placeholders have no numbers: for each numbered one SQLite searches a list at every execution, which makes
    /// 2,816 of them cost milliseconds. (PostgreSQL knows only numbered ones: this is the place to make the difference.)
    pub(super) fn new(head: &str, columns: usize, tail: &str) -> Self {
        let group = format!("({})", vec!["?"; columns].join(","));
        Self(SIZES.map(|rows| format!("{head} {} {tail}", vec![group.as_str(); rows].join(","))))
    }

    /// Splits rows into chunks, each with the statement for exactly so many.
    pub(super) fn exact<'r, T>(
        &'static self,
        mut rows: &'r [T],
    ) -> impl Iterator<Item = (&'static str, &'r [T])> {
        std::iter::from_fn(move || {
            let (size, sql) = SIZES.iter().zip(&self.0).find(|(size, _)| **size <= rows.len())?;
            let (chunk, rest) = rows.split_at(*size);
            rows = rest;
            #[cfg(test)]
            counting::one_more();
            Some((sql.as_str(), chunk))
        })
    }

    /// As [`RowsSql::exact`], in fewer statements: the last chunk is filled up by repeating its last row. For
    /// statements to which a row named twice is the same as once.
    pub(super) fn padded<'r, T>(
        &'static self,
        rows: &'r [T],
    ) -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'r T>)> {
        rows.chunks(SIZES[0]).filter_map(|chunk| {
            let last = chunk.last()?;
            let (size, sql) = SIZES.iter().zip(&self.0).rev().find(|(size, _)| **size >= chunk.len())?;
            #[cfg(test)]
            counting::one_more();
            Some((sql.as_str(), chunk.iter().chain(std::iter::repeat_n(last, size - chunk.len()))))
        })
    }
}

/// A blob of a fixed size: an id or a digest.
pub(super) fn array<const N: usize>(row: &SqliteRow, column: usize) -> Result<[u8; N]> {
    row.try_get::<&[u8], _>(column)?.try_into().map_err(|_| Error::damaged("an id has a wrong length"))
}

/// A number that is never negative.
pub(super) fn number(row: &SqliteRow, column: usize) -> Result<u64> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| Error::damaged("a number is negative"))
}

/// A number as SQL knows it. What exceeds it (the year 292 million) is as good as its largest.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// How many of these statements a test has made.
#[cfg(test)]
pub(crate) mod counting {
    use std::cell::Cell;

    thread_local!(static MADE: Cell<usize> = const { Cell::new(0) });

    pub(super) fn one_more() {
        MADE.set(MADE.get() + 1);
    }

    /// Those made since the last time.
    pub(crate) fn take() -> usize {
        MADE.take()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static SQL: LazyLock<RowsSql> = LazyLock::new(|| RowsSql::new("INSERT INTO t VALUES", 2, "RETURNING a"));

    #[test]
    fn rows_are_split_into_the_fixed_sizes() {
        let sizes = |n: usize| SQL.exact(&vec![0; n]).map(|(_, chunk)| chunk.len()).collect::<Vec<_>>();
        assert!(sizes(0).is_empty());
        assert_eq!(sizes(3), [1, 1, 1]);
        assert_eq!(sizes(500), [256, 64, 64, 64, 16, 16, 16, 4]);
        let (sql, _) = SQL.exact(&[0; 1]).next().unwrap();
        assert_eq!(sql, "INSERT INTO t VALUES (?,?) RETURNING a");
    }

    #[test]
    fn a_padded_chunk_repeats_its_last_row() {
        let rows: Vec<_> = (0..300).collect();
        let chunks: Vec<Vec<_>> = SQL.padded(&rows).map(|(_, rows)| rows.copied().collect()).collect();
        assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [256, 64]);
        assert_eq!(chunks[1][43..46], [299, 299, 299]);
        for (sql, rows) in SQL.padded(&[1; 5]) {
            assert_eq!(sql.matches("(?,?)").count(), rows.count());
        }
    }
}
