//! What people and apps call spaces and keys. A broker sees neither.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::error::{Error, Result};
use crate::id::checked_text;

/// The name of a space: 1 to 256 bytes of UTF-8 without control characters. Two names are the same if their bytes are.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct SpaceName(String);

impl SpaceName {
    /// Longest name, in bytes.
    pub const MAX: usize = 256;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SpaceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        checked(text, Self::MAX).map(Self).ok_or(Error::Malformed("space name"))
    }
}

/// The name of a key in a space: 1 to 1,024 bytes of UTF-8 without control characters. Two names are the same if their bytes
/// are.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct KeyName(String);

impl KeyName {
    /// Longest name, in bytes.
    pub const MAX: usize = 1_024;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        checked(text, Self::MAX).map(Self).ok_or(Error::Malformed("key name"))
    }
}

fn checked(text: &str, max: usize) -> Option<String> {
    let fits = (1..=max).contains(&text.len()) && !text.contains(char::is_control);
    fits.then(|| text.to_owned())
}

checked_text!(SpaceName);
checked_text!(KeyName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_text_without_control_characters_and_not_too_long() {
        for good in ["a", "team:älter/plan", " ", "日本", &"x".repeat(256)] {
            assert_eq!(good.parse::<SpaceName>().unwrap().as_str(), good);
            assert_eq!(good.parse::<KeyName>().unwrap().as_str(), good);
        }
        for bad in ["", "a\0", "a\nb", "\u{7f}", "\u{85}", &"x".repeat(1_025), &"ä".repeat(513)] {
            assert_eq!(bad.parse::<SpaceName>(), Err(Error::Malformed("space name")), "{bad:?}");
            assert_eq!(bad.parse::<KeyName>(), Err(Error::Malformed("key name")), "{bad:?}");
        }
        assert!(
            "x".repeat(257).parse::<SpaceName>().is_err() && "x".repeat(1_024).parse::<KeyName>().is_ok()
        );
    }
}
