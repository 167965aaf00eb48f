//! Rows that lie together.
//!
//! What a node sends at once has ids one after the other, and so have the places of what it settles. To walk from the first of them to
//! the last takes a fraction of the time that it takes to look for each. What lies between and is not wanted is walked over too, so that
//! a walk ends after so many rows, and those behind its end are looked for one by one.

use std::cmp::Ordering;

use waxwing_sqlite::{On, Row};

use super::{Keyed, Value, Values};
use crate::error::{Error, Result};

/// Fewest for which one walks.
const FEWEST: usize = 4;
/// Most rows of a walk that are not wanted.
const BESIDE: usize = 8;

/// What is expected of the rows that are looked for.
#[derive(Clone, Copy)]
pub(super) enum Mostly {
    /// They are there.
    There,
    /// They are not.
    New,
}

/// A walk over rows that have all of a key in common but the last column.
pub(super) struct Near {
    pub(super) sql: String,
    width: usize,
    mostly: Mostly,
}

impl Near {
    /// A walk that reads these columns, which begin with the key.
    pub(super) fn new(rows: &Keyed, read: &str, mostly: Mostly) -> Self {
        let Keyed { table, key, .. } = rows;
        let (last, common) = key.split_last().map_or(("", &[][..]), |(last, common)| (*last, common));
        let common: String = common.iter().map(|column| format!("{column} = ? AND ")).collect();
        let sql = format!(
            "SELECT {read} FROM {table} WHERE {common}{last} BETWEEN ? AND ? ORDER BY {last} LIMIT ?"
        );
        Self { sql, width: key.len(), mostly }
    }

    /// Adds to `found` what it finds of these keys, and returns those that are still to be looked for.
    pub(super) async fn fetch<'v>(
        &'static self,
        keys: Values<'v>,
        db: &mut On<'_>,
        found: &mut Vec<Row>,
    ) -> Result<Values<'v>> {
        let mut sorted: Vec<&[Value<'v>]> = keys.0.chunks_exact(self.width).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut left = Values(Vec::new());
        for group in sorted.chunk_by(|a, b| a[..self.width - 1] == b[..self.width - 1]) {
            let behind = if group.len() < FEWEST { group } else { self.walk(group, db, found).await? };
            left.0.extend(behind.iter().copied().flatten().cloned());
        }
        Ok(left)
    }

    /// Adds what it finds of a group, and returns those that lie behind where it ended.
    async fn walk<'k, 'v>(
        &'static self,
        group: &'k [&'k [Value<'v>]],
        db: &mut On<'_>,
        found: &mut Vec<Row>,
    ) -> Result<&'k [&'k [Value<'v>]]> {
        let most = BESIDE
            + match self.mostly {
                Mostly::There => group.len(),
                Mostly::New => group.len() / 4,
            };
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(group) };
        let values = first.iter().chain(&last[self.width - 1..]).cloned().map(Into::into);
        let query = waxwing_sqlite::query(&*self.sql).bind_all(values).bind(most as i64);
        let rows = query.fetch_all(&mut *db).await?;
        let to_its_end = rows.len() < most;
        let mut wanted = group;
        for row in rows {
            let mut at = Ordering::Less;
            while let Some((key, rest)) = wanted.split_first() {
                at = self.compare(key, &row)?;
                match at {
                    Ordering::Less => wanted = rest,
                    Ordering::Equal => {
                        wanted = rest;
                        break;
                    }
                    Ordering::Greater => break,
                }
            }
            if at == Ordering::Equal {
                found.push(row);
            }
        }
        Ok(if to_its_end { &[] } else { wanted })
    }

    /// Where a key is beside that of a row of its group.
    fn compare(&self, key: &[Value<'_>], row: &Row) -> Result<Ordering> {
        let last = self.width - 1;
        match &key[last] {
            Value::Int(Some(number)) => Ok(number.cmp(&row.try_get(last)?)),
            Value::Bytes(Some(bytes)) => Ok((**bytes).cmp(row.try_get::<&[u8], _>(last)?)),
            Value::Int(None) | Value::Bytes(None) => Err(Error::Internal("a key with nothing in it".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::super::super::query::query;
    use super::super::{Column, RowsSql};
    use super::*;
    use crate::store::db::Connection;

    const ROWS: Keyed = Keyed { table: "t", key: &["a", "b"], near: true };
    static FIND: LazyLock<RowsSql> =
        LazyLock::new(|| ROWS.find("a, b", false, &[Column::Bytes, Column::Int]));
    static TAKE: LazyLock<RowsSql> = LazyLock::new(|| ROWS.take("a, b", &[Column::Bytes, Column::Int]));

    /// Those of two groups, of which every third number is there.
    async fn table() -> Connection {
        let mut db = Connection::from(waxwing_sqlite::Options::in_memory().open().unwrap());
        query("CREATE TABLE t (a BLOB, b INTEGER, UNIQUE (a, b))").execute(&mut db).await.unwrap();
        for number in (0..300).step_by(3) {
            for group in [b"one", b"two"] {
                query("INSERT INTO t VALUES ($1, $2)")
                    .bind(group)
                    .bind(number)
                    .execute(&mut db)
                    .await
                    .unwrap();
            }
        }
        db
    }

    async fn run(sql: &'static RowsSql, db: &mut Connection, keys: &[(&[u8], i64)]) -> Vec<(Vec<u8>, i64)> {
        let rows = sql.fetch(db, keys, |values, (group, number)| {
            values.bind(*group).bind(*number);
        });
        let rows = rows.await.unwrap();
        let mut found: Vec<_> =
            rows.iter().map(|row| (row.get::<&[u8]>(0).unwrap().to_vec(), row.get(1).unwrap())).collect();
        found.sort_unstable();
        found
    }

    fn those_there(keys: &[(&[u8], i64)]) -> Vec<(Vec<u8>, i64)> {
        let there = |(group, number): &(&[u8], i64)| {
            (number % 3 == 0 && (0..300).contains(number) && *group != b"three")
                .then(|| (group.to_vec(), *number))
        };
        let mut there: Vec<_> = keys.iter().filter_map(there).collect();
        there.sort_unstable();
        there.dedup();
        there
    }

    /// Far apart and side by side, twice, unordered, of several groups, before the first and behind the last.
    fn lists() -> Vec<Vec<(&'static [u8], i64)>> {
        let (one, two, three): (&[u8], &[u8], &[u8]) = (b"one", b"two", b"three");
        vec![
            vec![],
            vec![(one, 3)],
            vec![(one, 3), (one, 6), (one, 9)],
            vec![(one, 3), (one, 6), (one, 9), (one, 12)],
            vec![(one, 1), (one, 2), (one, 4), (one, 5), (one, 7)],
            (0..300).rev().map(|number| (one, number)).collect(),
            (0..300).step_by(37).map(|number| (one, number)).collect(),
            (-50..350).step_by(50).map(|number| (two, number)).collect(),
            (0..60)
                .flat_map(|number| [(two, number), (one, number), (three, number), (two, number)])
                .collect(),
            (290..1_000).map(|number| (one, number)).collect(),
            vec![(one, 0), (one, 1), (one, 297), (one, 298)],
            vec![(one, 0), (one, 1), (one, 2), (two, 3), (two, 4), (two, 6), (two, 297)],
        ]
    }

    #[tokio::test]
    async fn a_walk_finds_what_looking_for_each_would() {
        let mut db = table().await;
        for keys in lists() {
            let mut found = run(&FIND, &mut db, &keys).await;
            found.dedup();
            assert_eq!(found, those_there(&keys), "{keys:?}");
        }
    }

    #[tokio::test]
    async fn a_walk_takes_out_what_is_asked_for_and_nothing_else() {
        for keys in lists() {
            let mut db = table().await;
            let taken = run(&TAKE, &mut db, &keys).await;
            assert_eq!(taken, those_there(&keys), "{keys:?}");
            let all: Vec<(&[u8], i64)> =
                (0..300).flat_map(|number| [(&b"one"[..], number), (b"two", number)]).collect();
            let mut expected = those_there(&all);
            expected.retain(|row| !taken.contains(row));
            let mut left = run(&FIND, &mut db, &all).await;
            left.dedup();
            assert_eq!(left, expected, "{keys:?}");
        }
    }

    /// What a walk finds of these numbers of one group, and what it leaves.
    async fn walked(numbers: impl IntoIterator<Item = i64>) -> (Vec<i64>, Vec<i64>) {
        let (mut db, mut values, mut found) = (table().await, Values(Vec::new()), Vec::new());
        for number in numbers {
            values.bind(b"one").bind(number);
        }
        let Connection::Sqlite(held) = &mut db else { unreachable!() };
        let near = FIND.near.as_ref().unwrap();
        let left = near.fetch(values, &mut held.get(), &mut found).await.unwrap();
        let number = |key: &[Value<'_>]| if let Value::Int(Some(number)) = key[1] { number } else { 0 };
        (
            found.iter().map(|row| row.try_get(1).unwrap()).collect(),
            left.0.chunks_exact(2).map(number).collect(),
        )
    }

    #[tokio::test]
    async fn a_walk_keeps_to_the_index_and_ends_after_so_many_rows_that_are_not_wanted() {
        let near = FIND.near.as_ref().unwrap();
        assert_eq!(near.sql, "SELECT a, b FROM t WHERE a = ? AND b BETWEEN ? AND ? ORDER BY b LIMIT ?");
        // Behind a quarter of those that are wanted, and eight more: it has come to 30.
        assert_eq!(walked([1, 2, 4, 5, 26, 30, 33, 299]).await, (vec![30], vec![33, 299]));
        assert_eq!(walked([1, 2, 100, 299]).await, (vec![], vec![100, 299]));
    }

    #[tokio::test]
    async fn a_walk_to_the_end_leaves_nothing_and_one_for_few_is_not_begun() {
        assert_eq!(walked(291..320).await, (vec![291, 294, 297], vec![]));
        assert_eq!(walked([3, 4, 6, 9]).await, (vec![3, 6, 9], vec![]));
        assert_eq!(walked([3, 6, 9]).await, (vec![], vec![3, 6, 9]));
    }
}
