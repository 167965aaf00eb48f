//! Identifiers: fixed-size byte strings and checked names. Each is its own type, and none can hold an invalid value.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use ulid::Ulid;
use uuid::Uuid;

use crate::error::{Error, Result};

/// Declares a newtype over `[u8; N]` that travels as MessagePack `bin` and prints in one text form.
macro_rules! bytes_newtype {
    ($(#[$doc:meta])* $name:ident, $size:literal, $encode:path, $decode:path, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name([u8; $size]);

        impl $name {
            /// Length in bytes.
            pub const SIZE: usize = $size;

            /// Wraps exactly these bytes.
            pub const fn from_bytes(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }

            /// The bytes as they travel.
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = Error;

            fn try_from(bytes: &[u8]) -> Result<Self> {
                bytes.try_into().map(Self).map_err(|_| Error::Malformed($what))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&$encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let bytes = $decode(text).ok_or(Error::Malformed($what))?;
                Self::try_from(bytes.as_slice())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        write!(f, "{} ({} bytes)", $what, $size)
                    }

                    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        $name::try_from(bytes).map_err(|_| E::invalid_length(bytes.len(), &self))
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
                    }
                }

                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(Visitor)
                } else {
                    deserializer.deserialize_bytes(Visitor)
                }
            }
        }
    };
}

fn base32(bytes: &[u8]) -> String {
    BASE32_NOPAD.encode(bytes).to_ascii_lowercase()
}

fn from_base32(text: &str) -> Option<Vec<u8>> {
    BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER.decode(text.as_bytes()).ok()
}

fn base64url(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

fn from_base64url(text: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text.as_bytes()).ok()
}

bytes_newtype! {
    /// A mesh: the first 16 bytes of its genesis entry's hash. Shown as 26 lowercase base32 characters.
    MeshId, 16, base32, from_base32, "mesh id"
}
bytes_newtype! {
    /// A node: the first 16 bytes of SHA-256 over a domain string and its first signing key. Survives key
    /// rotation. Shown as 26 lowercase base32 characters.
    NodeId, 16, base32, from_base32, "node id"
}
bytes_newtype! {
    /// What a broker sees of a client message id: HMAC-SHA256 under the node's id key, first 16 bytes.
    WireId, 16, hex, from_hex, "wire id"
}
bytes_newtype! {
    /// A session: the first 16 bytes of SHA-256 over its signed opening.
    SessionId, 16, hex, from_hex, "session id"
}
bytes_newtype! {
    /// A SHA-256 digest: of a log entry, or of a list of sealed keys.
    Digest, 32, hex, from_hex, "digest"
}
bytes_newtype! {
    /// A keyed digest of a request: equal only for equal requests, and meaningless to whoever lacks the key.
    Fingerprint, 32, hex, from_hex, "fingerprint"
}
bytes_newtype! {
    /// Proof that the recipient has opened and stored a message: HMAC-SHA256(receipt secret, wire id), first 16 bytes.
    Receipt, 16, hex, from_hex, "receipt"
}
bytes_newtype! {
    /// Proof that a founder has a broker's creation token: HMAC-SHA256 over a domain string, a challenge and a mesh.
    CreationProof, 32, hex, from_hex, "creation proof"
}
bytes_newtype! {
    /// What a node keeps of a token of its local API: SHA-256.
    AccessDigest, 32, hex, from_hex, "access digest"
}
bytes_newtype! {
    /// What a broker's key is recognised by: SHA-256 of the SubjectPublicKeyInfo of its certificate (RFC 5280, 4.1.2.7).
    /// Shown as 43 characters of base64url.
    Pin, 32, base64url, from_base64url, "pin"
}
bytes_newtype! {
    /// A space, as a broker sees its name: HMAC-SHA256 under the mesh's naming key.
    SpaceId, 32, hex, from_hex, "space id"
}
bytes_newtype! {
    /// A key of a space, as a broker sees its name: HMAC-SHA256 under the mesh's naming key.
    KeyId, 32, hex, from_hex, "key id"
}
bytes_newtype! {
    /// A change of a space, as its writer calls it: chosen by the writer, used once.
    ChangeId, 16, hex, from_hex, "change id"
}

impl Pin {
    /// The pin of a SubjectPublicKeyInfo in DER.
    pub fn of(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }
}

/// The name of a mesh, node or app: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Name(String);

impl Name {
    /// Longest name, in bytes. The length of a DNS label, so that a node's name may be its host's.
    pub const MAX: usize = 63;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let ok = bytes.len() <= Self::MAX
            && bytes.first().is_some_and(|&b| plain(b))
            && bytes.iter().all(|&b| plain(b) || b == b'-');
        if ok { Ok(Self(text.to_owned())) } else { Err(Error::Malformed("name")) }
    }
}

/// When an id may have been made, in milliseconds since the Unix epoch: from 2010 to 2100.
const MADE: std::ops::Range<u64> = 1_262_304_000_000..4_102_444_800_000;

/// The app's own idempotency key for a message: 1 to 128 bytes of `[A-Za-z0-9._:-]`.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ClientMessageId(String);

impl ClientMessageId {
    /// Longest id, in bytes.
    pub const MAX: usize = 128;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When it was made, if it says so: a ULID, or a UUID of version 7 (RFC 9562) in its usual form. What only looks like one says no
    /// time of this century, mostly, and is not taken for one: whoever is shown the time would be shown a part of the id.
    pub fn made_at(&self) -> Option<Timestamp> {
        let millis = match self.0.len() {
            ulid::ULID_LEN => self.0.parse::<Ulid>().ok()?.timestamp_ms(),
            uuid::fmt::Hyphenated::LENGTH => {
                let uuid = Uuid::try_parse(&self.0).ok()?;
                let is_one = uuid.get_version_num() == 7 && uuid.get_variant() == uuid::Variant::RFC4122;
                let (seconds, nanos) = uuid.get_timestamp().filter(|_| is_one)?.to_unix();
                seconds * 1_000 + u64::from(nanos / 1_000_000)
            }
            _ => return None,
        };
        MADE.contains(&millis).then_some(Timestamp(millis))
    }
}

impl FromStr for ClientMessageId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
        let ok = (1..=Self::MAX).contains(&text.len()) && text.bytes().all(plain);
        if ok { Ok(Self(text.to_owned())) } else { Err(Error::Malformed("client message id")) }
    }
}

/// Text forms shared by the checked strings.
macro_rules! checked_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

pub(crate) use checked_text;

checked_text!(Name);
checked_text!(ClientMessageId);

/// Milliseconds since the Unix epoch, on whichever clock the field's documentation names.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// A moment given in milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment plus a duration; the end of time instead of an overflow.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it was not.
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_label_in_lower_case() {
        for good in ["a", "0", "alpha-1", &"x".repeat(63)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "A", "a_b", "a.b", "ä", "a b", "a\0", &"x".repeat(64)] {
            assert_eq!(bad.parse::<Name>(), Err(Error::Malformed("name")), "{bad:?}");
        }
    }

    #[test]
    fn a_client_message_id_has_1_to_128_plain_bytes() {
        for good in ["a", "A.b_c:d-9", &"x".repeat(128)] {
            assert_eq!(good.parse::<ClientMessageId>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(129)] {
            assert_eq!(bad.parse::<ClientMessageId>(), Err(Error::Malformed("client message id")), "{bad:?}");
        }
    }

    #[test]
    fn a_ulid_and_a_uuid_of_version_7_say_when_they_were_made() {
        let made_at = |id: &str| id.parse::<ClientMessageId>().unwrap().made_at().map(Timestamp::as_millis);
        // The examples of ULID's specification, and of RFC 9562, appendix A.6.
        assert_eq!(made_at("01ARZ3NDEKTSV4RRFFQ69G5FAV"), Some(1_469_922_850_259));
        assert_eq!(made_at("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"), Some(0x017F_22E2_79B0));
        assert_eq!(made_at("017F22E2-79B7-7CC3-98C4-DC0C0C07398F"), Some(0x017F_22E2_79B7));
        for none in [
            "m-1",
            "919108f7-52d1-4320-9bac-f847db4148a8",
            "01ARZ3NDEKTSV4RRFFQ69G5FA.",
            // Hashes that look like one: without hyphens, of another variant, of no time that can be.
            "017f22e279b07cc398c4dc0c0c07398f",
            "017f22e2-79b0-7cc3-18c4-dc0c0c07398f",
            "917f22e2-79b0-7cc3-98c4-dc0c0c07398f",
            "7ZARZ3NDEKTSV4RRFFQ69G5FAV",
            "00ARZ3NDEKTSV4RRFFQ69G5FAV",
            &"x".repeat(128),
        ] {
            assert_eq!(made_at(none), None, "{none}");
        }
    }

    #[test]
    fn times_neither_overflow_nor_fall_below_nothing() {
        let (one, second) = (Timestamp::from_millis(1_000), std::time::Duration::from_secs(1));
        assert_eq!(one.plus(second), Timestamp::from_millis(2_000));
        assert_eq!(Timestamp::from_millis(u64::MAX).plus(second), Timestamp::from_millis(u64::MAX));
        assert_eq!((one.plus(second).since(one), one.since(one.plus(second))), (second, Default::default()));
    }

    #[test]
    fn ids_survive_their_text_and_binary_forms() {
        let id = NodeId::from_bytes([7; 16]);
        assert_eq!(id.to_string().len(), 26);
        assert_eq!(id.to_string().parse::<NodeId>().unwrap(), id);
        let pin = Pin::from_bytes([0xfb; 32]);
        assert_eq!(pin.to_string(), "-_v7".repeat(10) + "-_s");
        assert_eq!(pin.to_string().parse(), Ok(pin));
        let bin = rmp_serde::to_vec(&id).unwrap();
        assert_eq!(bin[..2], [0xc4, 16], "travels as bin 8");
        assert_eq!(rmp_serde::from_slice::<NodeId>(&bin).unwrap(), id);
        assert_eq!(serde_json::from_str::<NodeId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        assert!(
            rmp_serde::from_slice::<NodeId>(&rmp_serde::to_vec(&serde_bytes::Bytes::new(&[7; 15])).unwrap())
                .is_err()
        );
    }
}
