//! The only code that knows how a frame is encoded: one MessagePack value per frame, a map `{name: body}` with one
//! entry, bodies as maps with short field names.
//!
//! The name is read first, so that a frame of another version is told from a damaged one. Unknown fields of a known
//! frame are ignored: v1 is additive.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits;

/// Deepest nesting a frame may have. The real ones reach 6.
const MAX_DEPTH: usize = 16;
/// Largest fixed-size string header in MessagePack, and the marker of the next larger form.
const STR_8: u8 = 0xd9;
/// A map of one entry.
const FIXMAP_1: u8 = 0x81;

/// One direction's frames.
pub trait Frame: Serialize + DeserializeOwned {
    /// The names of this direction's frames.
    const NAMES: &'static [&'static str];
}

/// Why bytes are not a frame, or a frame cannot become bytes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// A frame with a name this direction does not have.
    #[error("no frame is called `{0}`")]
    Unsupported(String),
    /// Not a frame, or the body is not of its form.
    #[error("bad frame: {0}")]
    BadFrame(&'static str),
    /// Larger than [`limits::FRAME`].
    #[error("a frame may have {} bytes at most", limits::FRAME)]
    TooLarge,
}

/// Encodes a frame.
///
/// # Errors
/// `TooLarge` if it exceeds the limit: the caller put too much into it.
pub fn encode<F: Frame>(frame: &F) -> Result<Bytes, DecodeError> {
    encode_value(frame)
}

/// Decodes a frame of one direction.
///
/// # Errors
/// `Unsupported` for an unknown name, `BadFrame` for anything else that is not exactly one frame.
pub fn decode<F: Frame>(bytes: &[u8]) -> Result<F, DecodeError> {
    let name = name(bytes).ok_or(DecodeError::BadFrame("not a map with one name"))?;
    match F::NAMES.iter().find(|known| **known == name) {
        Some(name) => decode_value(bytes, name),
        None => Err(DecodeError::Unsupported(name.chars().take(64).collect())),
    }
}

/// The one key of the outer map.
fn name(bytes: &[u8]) -> Option<&str> {
    let (&[FIXMAP_1, marker], rest) = bytes.split_first_chunk::<2>()? else {
        return None;
    };
    let (length, rest) = match marker {
        0xa0..=0xbf => (usize::from(marker & 0x1f), rest),
        STR_8 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
        _ => return None,
    };
    std::str::from_utf8(rest.get(..length)?).ok()
}

pub(super) fn encode_value(value: &impl Serialize) -> Result<Bytes, DecodeError> {
    let bytes = rmp_serde::to_vec_named(value).map_err(|_| DecodeError::BadFrame("cannot be encoded"))?;
    if bytes.len() > limits::FRAME { Err(DecodeError::TooLarge) } else { Ok(bytes.into()) }
}

/// Decodes exactly one value, nothing before and nothing after it.
pub(super) fn decode_value<T: DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, DecodeError> {
    if bytes.len() > limits::FRAME {
        return Err(DecodeError::TooLarge);
    }
    let mut reader = rmp_serde::Deserializer::new(std::io::Cursor::new(bytes));
    reader.set_max_depth(MAX_DEPTH);
    let value = T::deserialize(&mut reader).map_err(|_| DecodeError::BadFrame(what))?;
    if reader.position() == bytes.len() as u64 { Ok(value) } else { Err(DecodeError::BadFrame(what)) }
}
