//! Apps that have told their node that they are there.

use serde::{Deserialize, Serialize};
use waxwing_crypto::{Name, Timestamp};

/// `PUT /v1/apps/{name}`: registers an app until the time runs out or it is registered anew.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// How long, as `30s` (1s to 1h).
    pub ttl: String,
}

/// `GET /v1/apps`: the apps registered with this node, by name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Apps {
    /// The apps.
    pub apps: Vec<App>,
}

/// One app.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct App {
    /// Its name.
    pub name: Name,
    /// Since when.
    pub since: Timestamp,
    /// When its registration ends; absent while a stream keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}
