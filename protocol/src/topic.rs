//! Names of topics, and what is subscribed to: `task:created`, `task:*`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::limits;

/// What stands between the words of a name.
const BETWEEN: char = ':';
/// As a pattern's last word: any words.
const ANY: &str = "*";

/// The name of a topic: words joined by `:`, in all at most [`limits::TOPIC`] bytes of UTF-8. A word has at least one
/// character, no control character and no `*`. Two names are the same if their bytes are.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicName(String);

/// The topics that are meant: one by its name, or all whose names go on behind the last `*`.
///
/// `task:*` means `task:created` and `task:created:today`, neither `task` nor `task-list`. `*` means every topic.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TopicPattern(String);

/// Why a text is no name of a topic, or no pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadTopic {
    /// Not a name.
    #[error(
        "a topic is words joined by `:`, as `task:created`: at most {} bytes, without control characters and `*`",
        limits::TOPIC
    )]
    Name,
    /// Not a pattern.
    #[error(
        "a pattern is the name of a topic, or ends in `*` as its last word: `task:created`, `task:*`, `*`"
    )]
    Pattern,
}

impl TopicName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TopicPattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a topic is meant.
    pub fn matches(&self, topic: &TopicName) -> bool {
        match self.0.strip_suffix(ANY) {
            // What is left ends in `:`, or is nothing at all.
            Some(before) => topic.0.len() > before.len() && topic.0.starts_with(before),
            None => self.0 == topic.0,
        }
    }

    /// The topic, if it can be only one.
    pub fn only(&self) -> Option<TopicName> {
        self.0.parse().ok()
    }
}

impl From<&TopicName> for TopicPattern {
    fn from(name: &TopicName) -> Self {
        Self(name.0.clone())
    }
}

fn are_words(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && !word.contains(|c: char| c.is_control() || c == '*');
    text.len() <= limits::TOPIC && text.split(BETWEEN).all(is_word)
}

impl FromStr for TopicName {
    type Err = BadTopic;

    fn from_str(text: &str) -> Result<Self, BadTopic> {
        if are_words(text) { Ok(Self(text.to_owned())) } else { Err(BadTopic::Name) }
    }
}

impl FromStr for TopicPattern {
    type Err = BadTopic;

    fn from_str(text: &str) -> Result<Self, BadTopic> {
        let good = match text.strip_suffix(ANY) {
            Some("") => true,
            Some(before) => {
                text.len() <= limits::TOPIC && before.strip_suffix(BETWEEN).is_some_and(are_words)
            }
            None => are_words(text),
        };
        if good { Ok(Self(text.to_owned())) } else { Err(BadTopic::Pattern) }
    }
}

macro_rules! text {
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

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

text!(TopicName);
text!(TopicPattern);

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        pattern.parse::<TopicPattern>().unwrap().matches(&name.parse().unwrap())
    }

    #[test]
    fn a_name_is_words_and_nothing_is_made_of_what_is_none() {
        for good in ["task", "task:created", "änderung:日本", "a b:c", &"x".repeat(limits::TOPIC)] {
            assert_eq!(good.parse::<TopicName>().unwrap().as_str(), good);
        }
        for bad in
            ["", ":", "a:", ":a", "a::b", "*", "a:*", "a*", "a\nb", "a\0", &"x".repeat(limits::TOPIC + 1)]
        {
            assert_eq!(bad.parse::<TopicName>(), Err(BadTopic::Name), "{bad:?}");
        }
        for bad in [
            "",
            "a*",
            "*:a",
            "a:**",
            "a:*:b",
            ":*",
            "**",
            "a\n:*",
            &format!("{}:*", "x".repeat(limits::TOPIC)),
        ] {
            assert_eq!(bad.parse::<TopicPattern>(), Err(BadTopic::Pattern), "{bad:?}");
        }
    }

    /// S-22.
    #[test]
    fn st_10_a_star_stands_for_whole_words_and_a_name_for_itself_alone() {
        for (pattern, name) in
            [("task", "task"), ("task:*", "task:x"), ("task:*", "task:x:y"), ("*", "task"), ("*", "a:b")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("task", "task-x"),
            ("task", "task:x"),
            ("task:*", "task"),
            ("task:*", "task-x"),
            ("task:*", "tasks:x"),
            ("task", "Task"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert_eq!("task:x".parse::<TopicPattern>().unwrap().only(), Some("task:x".parse().unwrap()));
        assert_eq!("task:*".parse::<TopicPattern>().unwrap().only(), None);
    }
}
