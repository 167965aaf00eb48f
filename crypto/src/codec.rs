//! MessagePack from outside.

use std::io::Cursor;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Deepest nesting that is followed. What we send reaches 4. The decoder's own limit of 1,024 is enough to overflow the
/// stack of a thread where the build is not optimised, and then the process ends.
pub(crate) const MAX_DEPTH: usize = 16;

/// Writes one value, its fields by their names. `size` is about what it takes: growing into that would copy it several times.
pub(crate) fn named<T: Serialize + ?Sized>(value: &T, size: usize, what: &'static str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size);
    let mut writer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    value.serialize(&mut writer).map_err(|_| Error::Malformed(what))?;
    Ok(bytes)
}

/// Reads exactly one value, nothing behind it. `what` names it in the error.
pub(crate) fn exactly<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T> {
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(bytes));
    reader.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut reader).map_err(|_| Error::Malformed(what))?;
    if reader.position() == bytes.len() as u64 { Ok(value) } else { Err(Error::Malformed(what)) }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Thing {
        a: u8,
    }

    #[test]
    fn exactly_one_value_is_read_and_unknown_fields_of_it_are_passed_over() {
        assert_eq!(exactly(b"\x81\xa1a\x07", "thing"), Ok(Thing { a: 7 }));
        assert_eq!(exactly(b"\x82\xa1a\x07\xa1z\x92\x01\x02", "thing"), Ok(Thing { a: 7 }));
        for bad in [&b""[..], b"\x81\xa1a", b"\x81\xa1a\x07\xc0", b"\x80", b"\x82\xa1a\x07\xa1a\x07", b"\xc0"]
        {
            assert_eq!(exactly::<Thing>(bad, "thing"), Err(Error::Malformed("thing")), "{bad:x?}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_however_deep() {
        for nest in [0x91, 0x81] {
            for depth in [MAX_DEPTH, 2_000, 400_000] {
                let bytes = [b"\x82\xa1a\x07\xa1z", &vec![nest; depth][..], &[0xc0]].concat();
                assert_eq!(exactly::<Thing>(&bytes, "thing"), Err(Error::Malformed("thing")), "{depth}");
            }
        }
    }
}
