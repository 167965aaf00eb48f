//! Addresses as people type them: `node` or `app@node`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use waxwing_crypto::{Error, Name};

/// A mailbox: an app of a node, or the node's default mailbox.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Address {
    /// The app, or none for the default mailbox.
    pub app: Option<Name>,
    /// The node.
    pub node: Name,
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = |_| Error::Malformed("address");
        let (app, node) = match text.split_once('@') {
            Some((app, node)) => (Some(app.parse().map_err(malformed)?), node),
            None => (None, text),
        };
        Ok(Self { app, node: node.parse().map_err(malformed)? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.app {
            Some(app) => write!(f, "{app}@{}", self.node),
            None => self.node.fmt(f),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_node_or_an_app_at_a_node() {
        let address: Address = "ci@build-1".parse().unwrap();
        assert_eq!((address.app.unwrap().as_str(), address.node.as_str()), ("ci", "build-1"));
        assert_eq!("build-1".parse::<Address>().unwrap().app, None);
        for bad in ["", "@", "a@", "@b", "a@b@c", "A@b", "a b", "#topic"] {
            assert_eq!(bad.parse::<Address>(), Err(Error::Malformed("address")), "{bad:?}");
        }
    }
}
