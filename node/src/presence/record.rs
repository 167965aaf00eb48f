//! What is written in the space `presence`: who it is about, and what he says.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use waxwing_crypto::space::{KeyName, Stands};
use waxwing_crypto::{Name, NodeId, Timestamp};
use waxwing_protocol::api::{AppDetails, Profile};
use waxwing_protocol::limits;

use crate::apps::Which;
use crate::content::is_shallow;
use crate::records;
use crate::spaces::Entry;

/// The space that all of it is in.
pub(super) const SPACE: &str = "presence";
/// What the key of a node's own record begins with.
const NODE: &str = "node:";
/// What the key of an app's record begins with.
const APP: &str = "app:";

/// A node, or an app of it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Who {
    pub(crate) node: NodeId,
    pub(crate) app: Option<Which>,
}

impl Who {
    /// A node itself.
    pub(crate) const fn node(node: NodeId) -> Self {
        Self { node, app: None }
    }

    /// An app of a node.
    pub(crate) const fn app(node: NodeId, which: Which) -> Self {
        Self { node, app: Some(which) }
    }

    /// The key of the record.
    #[expect(clippy::expect_used, reason = "ids and names have neither control characters nor 1,024 bytes")]
    pub(super) fn key(&self) -> KeyName {
        let node = self.node;
        let key = match &self.app {
            None => format!("{NODE}{node}"),
            Some(Which { name, instance: None }) => format!("{APP}{node}/{name}"),
            Some(Which { name, instance: Some(instance) }) => format!("{APP}{node}/{name}/{instance}"),
        };
        key.parse().expect("a short name")
    }

    /// Whom a record under this key is about.
    fn of(key: &KeyName) -> Option<Self> {
        if let Some(node) = key.as_str().strip_prefix(NODE) {
            return node.parse().ok().map(Self::node);
        }
        let (node, app) = key.as_str().strip_prefix(APP)?.split_once('/')?;
        let (name, instance) = match app.split_once('/') {
            Some((name, instance)) => (name, Some(instance.parse::<Name>().ok()?)),
            None => (app, None),
        };
        Some(Self::app(node.parse().ok()?, Which { name: name.parse().ok()?, instance }))
    }

    /// Whom a record is about, if it counts: each speaks for himself, for as long as he is there.
    pub(super) fn by(entry: &Entry) -> Option<Self> {
        let own = entry.stands == Stands::Own && entry.bound.is_some();
        Self::of(&entry.key).filter(|who| own && who.node == entry.writer)
    }
}

/// What a node says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct NodeSays {
    /// Since when it has been online, on its own clock.
    pub(crate) since: Timestamp,
    /// Version of the program.
    pub(crate) version: String,
    /// Of whoever is at it; none if that is not to be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<Profile>,
}

/// What is said of an app.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct AppSays {
    /// Since when it has been registered, on its node's clock.
    pub(crate) since: Timestamp,
    /// By itself.
    pub(crate) details: AppDetails,
}

/// Either.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Says {
    Node(NodeSays),
    App(Box<AppSays>),
}

impl Says {
    /// As a record's value.
    #[expect(clippy::expect_used, reason = "plain structs into memory; nothing in them can fail to encode")]
    pub(super) fn encode(&self) -> Bytes {
        let encoded = match self {
            Self::Node(says) => rmp_serde::to_vec_named(says),
            Self::App(says) => rmp_serde::to_vec_named(says),
        };
        encoded.expect("encodes").into()
    }

    /// Out of a record's value.
    pub(super) fn decode(who: &Who, value: &[u8]) -> Option<Self> {
        if value.len() > limits::PRESENCE {
            return None;
        }
        match who.app {
            None => records::decode(value).map(Self::Node),
            Some(_) => records::decode(value)
                .filter(|says: &AppSays| says.details.meta.as_ref().is_none_or(is_shallow))
                .map(|says| Self::App(Box::new(says))),
        }
    }
}

/// What a record says, written again.
pub(crate) fn again(entry: &Entry) -> Option<Bytes> {
    Says::decode(&Who::by(entry)?, &entry.value).map(|says| says.encode())
}

#[cfg(test)]
mod tests {
    use waxwing_protocol::api::Activity;

    use super::*;

    const NODE: NodeId = NodeId::from_bytes([7; 16]);

    fn entry(key: &str, value: Bytes) -> Entry {
        Entry {
            seq: 1,
            key: key.parse().unwrap(),
            writer: NODE,
            stands: Stands::Own,
            version: 1,
            at: Timestamp::from_millis(5),
            expires: None,
            bound: Some(0),
            counter: 1,
            life: waxwing_protocol::StoreId::from_bytes([1; 16]),
            app: None,
            value,
        }
    }

    #[test]
    fn a_record_is_about_whom_its_key_says_and_only_by_himself_while_he_is_there() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let one = Which { name: name("ci"), instance: Some(name("one")) };
        let ci = Which { name: name("ci"), instance: None };
        for who in [Who::node(NODE), Who::app(NODE, ci), Who::app(NODE, one)] {
            let written = entry(who.key().as_str(), Bytes::new());
            assert_eq!(Who::by(&written), Some(who));
            let other = NodeId::from_bytes([8; 16]);
            assert_eq!(Who::by(&Entry { writer: other, ..written.clone() }), None, "written by another");
            assert_eq!(Who::by(&Entry { stands: Stands::Shared, ..written.clone() }), None);
            assert_eq!(Who::by(&Entry { bound: None, ..written }), None, "it would never end");
        }
        for key in ["node:", "node:ci", "app:ci", &format!("app:{NODE}"), &format!("app:{NODE}/"), "team"] {
            assert_eq!(Who::by(&entry(key, Bytes::new())), None, "{key}");
        }
        for key in [format!("app:{NODE}/CI"), format!("app:{NODE}/ci/"), format!("app:{NODE}/ci/a/b")] {
            assert_eq!(Who::by(&entry(&key, Bytes::new())), None, "{key}");
        }
    }

    #[test]
    fn what_is_said_is_read_as_it_was_meant_and_no_larger_than_it_may_be() {
        let long = |length| Some("\u{1F426}".repeat(length / 4));
        let words = vec!["c".repeat(limits::WORD); limits::CAPABILITIES];
        let profile = Profile {
            summary: long(limits::SUMMARY),
            status: Some(Activity::Working),
            avatar: long(limits::SUMMARY),
            title: long(limits::TITLE),
            bio: long(limits::BIO),
            capabilities: words,
        };
        let since = Timestamp::from_millis(u64::MAX);
        let node = Says::Node(NodeSays { since, version: "0.1.0".to_owned(), profile: Some(profile) });
        let details = AppDetails {
            meta: serde_json::json!({ "n": [1, -2, 0.5, null, { "ä": "\u{0}" }] }).as_object().cloned(),
            ..AppDetails::default()
        };
        let app = Says::App(Box::new(AppSays { since, details }));
        let which = Which { name: "ci".parse().unwrap(), instance: None };
        for (who, says) in [(Who::node(NODE), node), (Who::app(NODE, which), app)] {
            let value = says.encode();
            assert!(value.len() <= limits::PRESENCE, "{}", value.len());
            assert_eq!(Says::decode(&who, &value), Some(says));
            assert_eq!(Says::decode(&who, b"\xc1"), None);
            assert_eq!(Says::decode(&who, &vec![0; limits::PRESENCE + 1]), None);
        }
    }
}
