//! Statements over many rows. What a statement costs hardly depends on how many rows it has, so a batch of n rows
//! becomes a handful of statements in fixed sizes, each prepared once.

use std::fmt::Write as _;

/// Rows per statement, largest first.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];

/// One statement in every size.
#[derive(Debug)]
pub struct Chunks {
    statements: [(usize, String); 5],
}

impl Chunks {
    /// `head` + `(?, ..., ?)` for each row, separated by commas + `tail`.
    pub fn new(head: &str, columns: usize, tail: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let statements = SIZES.map(|size| {
            let mut sql = String::with_capacity(head.len() + tail.len() + size * (row.len() + 2));
            let _ = write!(sql, "{head} {} {tail}", vec![row.as_str(); size].join(", "));
            (size, sql)
        });
        Self { statements }
    }

    /// The statements that cover these rows, in order, each with its share.
    pub fn of<'a, T>(&'static self, mut rows: &'a [T]) -> impl Iterator<Item = (&'static str, &'a [T])> {
        std::iter::from_fn(move || {
            let (size, sql) = self.statements.iter().find(|(size, _)| *size <= rows.len())?;
            let (share, rest) = rows.split_at(*size);
            rows = rest;
            Some((sql.as_str(), share))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static INSERT: LazyLock<Chunks> = LazyLock::new(|| Chunks::new("INSERT INTO t VALUES", 2, "RETURNING a"));

    #[test]
    fn every_row_is_in_exactly_one_statement() {
        for count in [0, 1, 3, 4, 5, 255, 256, 257, 1_000] {
            let rows: Vec<usize> = (0..count).collect();
            let covered: Vec<usize> = INSERT.of(&rows).flat_map(|(_, share)| share).copied().collect();
            assert_eq!(covered, rows);
        }
        assert!(INSERT.of(&[0; 1_000]).count() < 16);
        let (sql, _) = INSERT.of(&[0]).next().unwrap();
        assert_eq!(sql, "INSERT INTO t VALUES (?, ?) RETURNING a");
    }
}
