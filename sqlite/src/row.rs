//! Rows, and what is read from them.

use std::sync::Arc;

use rusqlite::types::Value as Stored;

use crate::{Error, Result};

/// A row that was read. It holds its values, and borrows nothing from the connection.
#[derive(Clone, Debug)]
pub struct Row {
    pub(crate) names: Arc<[Box<str>]>,
    pub(crate) values: Vec<Stored>,
}

/// Which column is meant.
pub trait Index: Copy {
    /// Its place, from 0.
    fn place(self, names: &[Box<str>]) -> Option<usize>;
    /// What it is called where it is not as it should be.
    fn name(self) -> String;
}

impl Index for usize {
    fn place(self, _: &[Box<str>]) -> Option<usize> {
        Some(self)
    }

    fn name(self) -> String {
        format!("column {self}")
    }
}

impl Index for &str {
    fn place(self, names: &[Box<str>]) -> Option<usize> {
        names.iter().position(|name| **name == *self)
    }

    fn name(self) -> String {
        self.to_owned()
    }
}

/// What a column can be read as.
pub trait Column<'r>: Sized {
    /// The value, if it is one of these.
    fn read(value: &'r Stored) -> Option<Self>;
}

impl Row {
    pub(crate) fn read(names: &Arc<[Box<str>]>, row: &rusqlite::Row<'_>) -> Result<Self> {
        let values = (0..names.len()).map(|at| row.get(at)).collect::<rusqlite::Result<_>>()?;
        Ok(Self { names: Arc::clone(names), values })
    }

    /// Takes bytes out of a column, which has none afterwards: what is large is not copied once more.
    ///
    /// # Errors
    /// `Damaged` if there is none, or it is not of this type.
    pub fn take_bytes<I: Index>(&mut self, column: I) -> Result<Vec<u8>> {
        let value = column.place(&self.names).and_then(|place| self.values.get_mut(place));
        let Some(Stored::Blob(bytes)) = value else { return Err(Error::Damaged(column.name())) };
        Ok(std::mem::take(bytes))
    }

    /// Reads a column.
    ///
    /// # Errors
    /// `Damaged` if there is none, or it is not of this type.
    pub fn try_get<'r, T: Column<'r>, I: Index>(&'r self, column: I) -> Result<T> {
        let value = column.place(&self.names).and_then(|place| self.values.get(place));
        value.and_then(T::read).ok_or_else(|| Error::Damaged(column.name()))
    }
}

impl Column<'_> for i64 {
    fn read(value: &Stored) -> Option<Self> {
        if let Stored::Integer(number) = value { Some(*number) } else { None }
    }
}

impl Column<'_> for u32 {
    fn read(value: &Stored) -> Option<Self> {
        i64::read(value).and_then(|number| number.try_into().ok())
    }
}

impl Column<'_> for bool {
    fn read(value: &Stored) -> Option<Self> {
        i64::read(value).map(|number| number != 0)
    }
}

impl<'r> Column<'r> for &'r str {
    fn read(value: &'r Stored) -> Option<Self> {
        if let Stored::Text(text) = value { Some(text) } else { None }
    }
}

impl Column<'_> for String {
    fn read(value: &Stored) -> Option<Self> {
        <&str>::read(value).map(str::to_owned)
    }
}

impl<'r> Column<'r> for &'r [u8] {
    fn read(value: &'r Stored) -> Option<Self> {
        match value {
            Stored::Blob(bytes) => Some(bytes),
            Stored::Text(text) => Some(text.as_bytes()),
            Stored::Null | Stored::Integer(_) | Stored::Real(_) => None,
        }
    }
}

impl Column<'_> for Vec<u8> {
    fn read(value: &Stored) -> Option<Self> {
        <&[u8]>::read(value).map(<[u8]>::to_vec)
    }
}

impl<'r, T: Column<'r>> Column<'r> for Option<T> {
    fn read(value: &'r Stored) -> Option<Self> {
        if matches!(value, Stored::Null) { Some(None) } else { T::read(value).map(Some) }
    }
}

/// What a whole row can be read as.
pub trait FromRow: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// `Damaged` if a column is not there, or not of its type.
    fn from_row(row: &Row) -> Result<Self>;
}

macro_rules! tuple {
    ($($type:ident $place:literal),*) => {
        impl<$($type: for<'r> Column<'r>),*> FromRow for ($($type,)*) {
            fn from_row(row: &Row) -> Result<Self> {
                Ok(($(row.try_get::<$type, usize>($place)?,)*))
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
