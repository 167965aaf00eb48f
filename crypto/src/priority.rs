//! Priority: part of a lane's identity and of what an envelope authenticates.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, Result};

/// How soon a message wants to be delivered. Each priority is a lane of its own: order holds within it, and a
/// lower number is delivered first from a backlog. Travels as a number, and is text in JSON.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Priority {
    /// Before everything else.
    Now,
    /// The default.
    #[default]
    Next,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// Every priority, most urgent first.
    pub const ALL: [Self; 3] = [Self::Now, Self::Next, Self::Low];

    /// The number it travels as.
    pub const fn as_u8(self) -> u8 {
        match self {
            Self::Now => 0,
            Self::Next => 1,
            Self::Low => 2,
        }
    }

    /// The word people use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Next => "next",
            Self::Low => "low",
        }
    }
}

impl TryFrom<u8> for Priority {
    type Error = Error;

    fn try_from(number: u8) -> Result<Self> {
        Self::ALL.get(usize::from(number)).copied().ok_or(Error::Malformed("priority"))
    }
}

impl FromStr for Priority {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|p| p.as_str() == text).ok_or(Error::Malformed("priority"))
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Priority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(self.as_str())
        } else {
            serializer.serialize_u8(self.as_u8())
        }
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            text.parse().map_err(|_| de::Error::unknown_variant(&text, &["now", "next", "low"]))
        } else {
            Self::try_from(u8::deserialize(deserializer)?).map_err(de::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_is_a_word_for_people_and_a_number_on_the_wire() {
        for (priority, word, number) in
            [(Priority::Now, "now", 0), (Priority::Next, "next", 1), (Priority::Low, "low", 2)]
        {
            assert_eq!((priority.as_str(), priority.as_u8()), (word, number));
            assert_eq!(format!("{priority:>5}"), format!("{word:>5}"));
            assert_eq!((word.parse(), Priority::try_from(number)), (Ok(priority), Ok(priority)));
            assert_eq!(serde_json::json!(priority), word);
            assert_eq!(serde_json::from_value::<Priority>(word.into()).unwrap(), priority);
            assert_eq!(rmp_serde::to_vec(&priority).unwrap(), [number]);
            assert_eq!(rmp_serde::from_slice::<Priority>(&[number]).unwrap(), priority);
        }
        assert_eq!(Priority::try_from(3), Err(Error::Malformed("priority")));
        assert_eq!("soon".parse::<Priority>(), Err(Error::Malformed("priority")));
        assert!(serde_json::from_str::<Priority>("\"soon\"").is_err());
        assert!(rmp_serde::from_slice::<Priority>(&[3]).is_err());
    }
}
