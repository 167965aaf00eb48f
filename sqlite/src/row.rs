//! Rows, and what is read from them.

use std::sync::Arc;

use rusqlite::types::ValueRef;

use crate::{Error, Result};

/// Bytes that are kept in the row itself: keys, ids, digests. A row of many of them is one allocation, not one for each.
const FEW: usize = 32;

/// A row that was read. It holds its values, and borrows nothing from the connection.
#[derive(Clone, Debug)]
pub struct Row {
    pub(crate) names: Arc<[Box<str>]>,
    pub(crate) values: Vec<Stored>,
}

/// A value that was read.
#[derive(Clone, Debug)]
pub enum Stored {
    /// None.
    Null,
    /// A number.
    Integer(i64),
    /// A number that is not whole. Nothing here is stored as one.
    Real,
    /// Text.
    Text(String),
    /// Bytes, so many of these.
    Few(u8, [u8; FEW]),
    /// More bytes.
    Many(Vec<u8>),
}

impl Stored {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Few(length, bytes) => bytes.get(..usize::from(*length)),
            Self::Many(bytes) => Some(bytes),
            Self::Text(text) => Some(text.as_bytes()),
            Self::Null | Self::Integer(_) | Self::Real => None,
        }
    }
}

impl From<&[u8]> for Stored {
    fn from(bytes: &[u8]) -> Self {
        let mut few = [0; FEW];
        match few.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                Self::Few(bytes.len() as u8, few)
            }
            None => Self::Many(bytes.to_vec()),
        }
    }
}

impl TryFrom<ValueRef<'_>> for Stored {
    type Error = Error;

    fn try_from(value: ValueRef<'_>) -> Result<Self> {
        Ok(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(_) => Self::Real,
            ValueRef::Text(text) => {
                let text = std::str::from_utf8(text).map_err(|_| Error::Damaged("text".into()))?;
                Self::Text(text.to_owned())
            }
            ValueRef::Blob(bytes) => bytes.into(),
        })
    }
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
        let mut values = Vec::with_capacity(names.len());
        for at in 0..names.len() {
            values.push(row.get_ref(at)?.try_into()?);
        }
        Ok(Self { names: Arc::clone(names), values })
    }

    /// Takes bytes out of a column, which has none afterwards: what is large is not copied once more.
    ///
    /// # Errors
    /// `Damaged` if there is none, or it is not of this type.
    pub fn take_bytes<I: Index>(&mut self, column: I) -> Result<Vec<u8>> {
        let value = column.place(&self.names).and_then(|place| self.values.get_mut(place));
        match value {
            Some(Stored::Many(bytes)) => Ok(std::mem::take(bytes)),
            Some(Stored::Few(length, bytes)) => Ok(bytes[..usize::from(*length)].to_vec()),
            Some(Stored::Null | Stored::Integer(_) | Stored::Real | Stored::Text(_)) | None => {
                Err(Error::Damaged(column.name()))
            }
        }
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
        value.bytes()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_are_read_and_taken() {
        for length in [0, 1, FEW - 1, FEW, FEW + 1, 5_000] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut row = Row { names: ["b".into()].into(), values: vec![bytes.as_slice().into()] };
            assert_eq!(row.try_get::<&[u8], _>(0).unwrap(), bytes);
            assert_eq!(row.try_get::<Option<Vec<u8>>, _>("b").unwrap().as_deref(), Some(&*bytes));
            row.try_get::<&str, _>(0).unwrap_err();
            row.try_get::<i64, _>(0).unwrap_err();
            assert_eq!(row.take_bytes(0).unwrap(), bytes);
        }
    }

    #[test]
    fn what_is_not_bytes_is_not_taken_for_them() {
        let values = vec![Stored::Null, Stored::Integer(1), Stored::Real, Stored::Text("text".into())];
        let mut row = Row { names: ["n".into(), "i".into(), "r".into(), "t".into()].into(), values };
        for at in 0..5 {
            row.take_bytes(at).unwrap_err();
        }
        assert_eq!(row.try_get::<&[u8], _>("t").unwrap(), b"text");
        assert_eq!(row.try_get::<Option<&[u8]>, _>("n").unwrap(), None);
        row.try_get::<&[u8], _>("i").unwrap_err();
        row.try_get::<i64, _>("r").unwrap_err();
    }

    #[test]
    fn text_that_is_none_is_damaged() {
        Stored::try_from(ValueRef::Text(&[0xff])).unwrap_err();
    }
}
