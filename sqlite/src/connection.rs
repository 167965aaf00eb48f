//! One connection, and what it does with a statement.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::log::Log;
use crate::{Column, Result, Row, Value};

/// A connection. Its statements run on the thread that asks for them, and block it.
#[derive(Debug)]
pub struct Connection {
    pub(crate) db: rusqlite::Connection,
    /// Of one that writes a file.
    pub(crate) log: Option<Box<RefCell<Log>>>,
}

/// A statement with its values.
#[derive(Debug)]
pub(crate) struct Statement<'v> {
    pub(crate) sql: Cow<'static, str>,
    pub(crate) values: Vec<Value<'v>>,
}

impl Connection {
    /// Runs several statements, separated by semicolons, that give nothing back.
    ///
    /// # Errors
    /// SQLite's.
    pub fn run(&mut self, sql: &str) -> Result<()> {
        Ok(self.db.execute_batch(sql)?)
    }

    /// The first column of every row, at once.
    ///
    /// # Errors
    /// SQLite's, or `Damaged`.
    pub fn ask<T: for<'r> Column<'r>>(&mut self, sql: &'static str) -> Result<Vec<T>> {
        let statement = Statement { sql: sql.into(), values: Vec::new() };
        statement.fold(self, Vec::new(), |mut all, row| {
            all.push(row.try_get(0)?);
            Ok(ControlFlow::Continue(all))
        })
    }

    /// Asks every so many steps of SQLite's whether to go on.
    ///
    /// # Errors
    /// SQLite's.
    pub fn go_on_while(
        &mut self,
        steps: i32,
        mut whether: impl FnMut() -> bool + Send + 'static,
    ) -> Result<()> {
        Ok(self.db.progress_handler(steps, Some(move || !whether()))?)
    }

    /// Closes it. The last one to a file folds its log into it.
    ///
    /// # Errors
    /// SQLite's.
    pub fn close(self) -> Result<()> {
        if let Some(log) = &self.log {
            log.borrow_mut().end();
        }
        self.db.close().map_err(|(_, error)| error.into())
    }

    fn with<R>(
        &self,
        statement: &Statement<'_>,
        work: impl FnOnce(&mut rusqlite::Statement<'_>) -> Result<R>,
    ) -> Result<R> {
        let done = match &statement.sql {
            Cow::Borrowed(sql) => work(&mut *self.db.prepare_cached(sql)?),
            Cow::Owned(sql) => work(&mut self.db.prepare(sql)?),
        };
        if let Some(log) = &self.log {
            log.borrow_mut().go_on(&self.db);
        }
        done
    }
}

impl Statement<'_> {
    /// The same, borrowing nothing.
    pub(crate) fn into_owned(self) -> Statement<'static> {
        let values = self.values.into_iter().map(Value::into_owned).collect();
        Statement { sql: self.sql, values }
    }

    /// Runs it to its end. Says how many rows it changed.
    pub(crate) fn execute(self, db: &Connection) -> Result<u64> {
        db.with(&self, |statement| {
            let numbers = numbers(statement);
            bind(statement, &numbers, &self.values)?;
            let mut rows = statement.raw_query();
            while rows.next()?.is_some() {}
            Ok(())
        })?;
        Ok(db.db.changes())
    }

    /// Runs it to its end once for each so many values as it takes, row by row of what it gives. Says how many rows it changed in all.
    pub(crate) fn each(self, db: &Connection, mut visit: impl FnMut(Row) -> Result<()>) -> Result<u64> {
        db.with(&self, |statement| {
            let (names, numbers, mut changed) = (names(statement), numbers(statement), 0);
            for values in self.values.chunks(numbers.len().max(1)) {
                bind(statement, &numbers, values)?;
                let mut rows = statement.raw_query();
                while let Some(row) = rows.next()? {
                    visit(Row::read(&names, row)?)?;
                }
                drop(rows);
                changed += db.db.changes();
            }
            Ok(changed)
        })
    }

    /// Row by row, until `visit` has enough.
    pub(crate) fn fold<S>(
        self,
        db: &Connection,
        mut state: S,
        mut visit: impl FnMut(S, Row) -> Result<ControlFlow<S, S>>,
    ) -> Result<S> {
        db.with(&self, |statement| {
            let numbers = numbers(statement);
            bind(statement, &numbers, &self.values)?;
            let names = names(statement);
            let mut rows = statement.raw_query();
            while let Some(row) = rows.next()? {
                match visit(state, Row::read(&names, row)?)? {
                    ControlFlow::Continue(next) => state = next,
                    ControlFlow::Break(done) => return Ok(done),
                }
            }
            Ok(state)
        })
    }
}

fn names(statement: &rusqlite::Statement<'_>) -> Arc<[Box<str>]> {
    statement.column_names().into_iter().map(Box::from).collect()
}

/// The numbers of a statement's parameters, from its first place on; `$1` is a name to SQLite.
fn numbers(statement: &rusqlite::Statement<'_>) -> Vec<usize> {
    let number =
        |place| statement.parameter_name(place).and_then(|name| name.strip_prefix('$')?.parse().ok());
    (1..=statement.parameter_count()).map(|place| number(place).unwrap_or(place)).collect()
}

/// Binds values by the numbers of their parameters.
fn bind(statement: &mut rusqlite::Statement<'_>, numbers: &[usize], values: &[Value<'_>]) -> Result<()> {
    for (place, &number) in (1..).zip(numbers) {
        let value = number.checked_sub(1).and_then(|at| values.get(at));
        let value = value.ok_or(rusqlite::Error::InvalidParameterCount(values.len(), number))?;
        statement.raw_bind_parameter(place, value)?;
    }
    Ok(())
}
