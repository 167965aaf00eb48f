//! What two ends agree on at login: a minor version, and how much of each feature there is.
//!
//! A broker says in its challenge which minor versions it serves. A node picks one, and says which features it needs
//! and how much of each; the broker refuses as `unsupported` what it does not serve or has too little of. v1 is additive:
//! a feature that nobody needs costs nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits;

/// Minor versions of v1 that this code speaks, as a node and as a broker.
pub const VERSIONS: [u32; 1] = [0];

/// Days for which an accepted wire id is remembered.
const DEDUPE_DAYS: &str = "dedupe_days";
/// Bytes of the largest envelope.
const ENVELOPE: &str = "envelope";
/// Bytes of the largest sealed record of a space.
const RECORD: &str = "record";

/// The version that both ends speak, if there is one: the highest.
pub fn common_version(served: &[u32]) -> Option<u32> {
    VERSIONS.into_iter().filter(|version| served.contains(version)).max()
}

/// Features by name, and how much of each: what a broker has, or what a node needs at least. At most
/// [`limits::FEATURES`], each name at most [`limits::FEATURE_NAME`] of `[a-z0-9_.]`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Features(BTreeMap<String, u64>);

/// A feature that a broker does not have, or has too little of.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Lacking {
    /// It does not know it.
    #[error("this broker does not have the feature `{0}`")]
    Missing(String),
    /// It has too little of it.
    #[error("this broker has {has} of the feature `{name}`, and the node needs {needs}")]
    TooLittle {
        /// Which.
        name: String,
        /// How much there is.
        has: u64,
        /// How much there should be.
        needs: u64,
    },
}

impl Features {
    /// What a node of this version needs: a broker that remembers wire ids long enough for its retries, and takes the
    /// largest envelopes and records that it makes.
    pub fn needed() -> Self {
        Self::of(limits::DEDUPE_DAYS_MIN)
    }

    /// What a broker of this version has, if it remembers wire ids for so many days.
    pub fn of(dedupe_days: u32) -> Self {
        let features = [
            (DEDUPE_DAYS, u64::from(dedupe_days)),
            (ENVELOPE, limits::ENVELOPE as u64),
            (RECORD, limits::RECORD as u64),
        ];
        Self(features.into_iter().map(|(name, much)| (name.to_owned(), much)).collect())
    }

    /// With one more, or another measure of one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, much: u64) -> Self {
        self.0.insert(name.into(), much);
        self
    }

    /// How much there is of one.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    /// Whether these are all that is needed.
    ///
    /// # Errors
    /// The first that is missing or too small.
    pub fn cover(&self, needed: &Self) -> Result<(), Lacking> {
        for (name, needs) in &needed.0 {
            match self.get(name) {
                None => return Err(Lacking::Missing(name.clone())),
                Some(has) if has < *needs => {
                    return Err(Lacking::TooLittle { name: name.clone(), has, needs: *needs });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Bounded)
    }
}

/// Reads features, and stops at the first that is one too many, over-long or named twice.
struct Bounded;

impl<'de> Visitor<'de> for Bounded {
    type Value = Features;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} features", limits::FEATURES)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Features, A::Error> {
        let mut features = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if features.len() == limits::FEATURES || !is_name(&name) {
                return Err(A::Error::custom("too many features, or no feature's name"));
            }
            match features.entry(name) {
                Entry::Vacant(free) => free.insert(map.next_value()?),
                Entry::Occupied(_) => return Err(A::Error::custom("a feature comes twice")),
            };
        }
        Ok(Features(features))
    }
}

fn is_name(name: &str) -> bool {
    (1..=limits::FEATURE_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(features: &BTreeMap<String, u64>) -> Option<Features> {
        rmp_serde::from_slice(&rmp_serde::to_vec(features).unwrap()).ok()
    }

    #[test]
    fn what_is_missing_or_too_small_is_named() {
        let has = Features::of(35);
        assert_eq!(has.cover(&Features::needed()), Ok(()));
        assert_eq!(Features::of(8).cover(&Features::needed()), Ok(()), "the least that a broker may have");
        let said = |needed: Features| has.cover(&needed).unwrap_err().to_string();
        assert!(
            said(Features::needed().with("telepathy", 0)).contains("does not have the feature `telepathy`")
        );
        assert!(
            said(Features::needed().with("dedupe_days", 36)).contains("has 35 of the feature `dedupe_days`")
        );
        assert!(said(Features::default().with("envelope", u64::MAX)).contains("needs 18446744073709551615"));
        assert_eq!(Features::default().cover(&Features::default()), Ok(()));
    }

    #[test]
    fn their_number_and_names_are_bounded() {
        let some = |count: usize| (0..count).map(|n| (format!("f{n}"), 1)).collect::<BTreeMap<_, _>>();
        assert_eq!(read(&some(limits::FEATURES)).unwrap().0.len(), limits::FEATURES);
        assert_eq!(read(&some(limits::FEATURES + 1)), None);
        let named = |name: &str| read(&BTreeMap::from([(name.to_owned(), 1)]));
        assert!(named(&"a".repeat(limits::FEATURE_NAME)).is_some());
        for name in ["", "A", "a b", "ä", "a\u{1b}[2J", &"a".repeat(limits::FEATURE_NAME + 1)] {
            assert_eq!(named(name), None, "{name:?}");
        }
        let twice = b"\x82\xa1a\x01\xa1a\x02";
        assert!(rmp_serde::from_slice::<Features>(twice).is_err());
        let map_of_4_billion = [0xdf, 0xff, 0xff, 0xff, 0xff];
        assert!(rmp_serde::from_slice::<Features>(&map_of_4_billion).is_err());
    }

    #[test]
    fn the_highest_common_version_is_spoken() {
        assert_eq!(common_version(&[0]), Some(0));
        assert_eq!(common_version(&[7, 0, 3]), Some(0), "what is newer is left alone");
        assert_eq!(common_version(&[1]), None);
        assert_eq!(common_version(&[]), None);
    }
}
