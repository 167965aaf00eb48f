//! Values that are bound to a statement.

use std::borrow::Cow;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// A value of a statement. Borrowed where it can be: a writer copies nothing before SQLite does.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'v> {
    /// None.
    Null,
    /// A number, or a truth.
    Int(i64),
    /// Text.
    Text(Cow<'v, str>),
    /// Bytes.
    Bytes(Cow<'v, [u8]>),
}

impl Value<'_> {
    /// The same, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Int(number) => Value::Int(number),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

macro_rules! from {
    ($($type:ty => |$it:ident| $value:expr;)*) => {
        $(impl<'v> From<$type> for Value<'v> {
            fn from($it: $type) -> Self {
                $value
            }
        })*
    };
}

from! {
    i64 => |number| Self::Int(number);
    &'v i64 => |number| Self::Int(*number);
    i32 => |number| Self::Int(number.into());
    u32 => |number| Self::Int(number.into());
    u8 => |number| Self::Int(number.into());
    bool => |is| Self::Int(is.into());
    &'v str => |text| Self::Text(Cow::Borrowed(text));
    &'v String => |text| Self::Text(Cow::Borrowed(text));
    String => |text| Self::Text(Cow::Owned(text));
    &'v [u8] => |bytes| Self::Bytes(Cow::Borrowed(bytes));
    &'v Vec<u8> => |bytes| Self::Bytes(Cow::Borrowed(bytes));
    Vec<u8> => |bytes| Self::Bytes(Cow::Owned(bytes));
    Cow<'v, [u8]> => |bytes| Self::Bytes(bytes);
}

impl<'v, const N: usize> From<&'v [u8; N]> for Value<'v> {
    fn from(bytes: &'v [u8; N]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl<'v, T: Into<Value<'v>>> From<Option<T>> for Value<'v> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
