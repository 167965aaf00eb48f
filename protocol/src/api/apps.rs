//! Apps that have told their node that they are there, and finding those of others.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use waxwing_crypto::{Name, NodeId, Timestamp};

use crate::RegistrationId;

/// `PUT /v1/apps/{name}`: registers an app, renews that, or says more about it.
///
/// A registration lives as long as its `ttl` or a stream of its app, and a few seconds more for a stream to come back. Its
/// holder proves himself by its id. What a renewal leaves out stays as it was; an empty text or list takes it away.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// How long, as `30s` (1s to 1h). May be left out while a stream holds the registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// The registration meant: the one that an answer named, or one made up by the caller. Without, a name that is taken is
    /// refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<RegistrationId>,
    /// Take the name from whoever has it; he is told `superseded`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takeover: bool,
    /// Which of several of the same name. They share a mailbox, and are listed side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Name>,
    /// What service it is: instances of one share it. At most 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its version. At most 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it can do. At most 32, of 64 bytes each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Vec<String>>,
    /// The repository that it works on. At most 512 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The folder that it works in. At most 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Its process, for people: whether it is alive does not follow from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Activity>,
    /// The same in words. At most 1,024 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Whatever else its peers should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub meta: Option<Map<String, Value>>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// What somebody is doing, in one word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Waiting for something to do.
    Idle,
    /// At work.
    Working,
    /// At work, and not to be disturbed.
    Dnd,
}

impl Activity {
    /// Every word.
    pub const ALL: [Self; 3] = [Self::Idle, Self::Working, Self::Dnd];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Working => "working",
            Self::Dnd => "dnd",
        }
    }
}

impl std::str::FromStr for Activity {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|word| word.as_str() == text).ok_or("it is idle, working or dnd")
    }
}

/// What an app says about itself. In the presence record of its node, and in what others are shown.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AppDetails {
    /// What service it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// The repository that it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The folder that it works in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Activity>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Whatever else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Object>))]
    pub meta: Option<Map<String, Value>>,
}

/// `GET /v1/apps`: the apps of this node, or of the whole mesh. All that is asked for must hold, each value as it is written.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct AppsQuery {
    /// Whose: `node` (default) or `mesh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// On this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Name>,
    /// Of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Name>,
    /// Of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Of this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// That can do this. May be given several times: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capability: Vec<String>,
    /// At work on this repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Doing this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Activity>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// See [`AppsQuery::scope`].
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Registered with this node.
    #[default]
    Node,
    /// Of every member that is online, this node included.
    Mesh,
}

/// Parameters of `DELETE /v1/apps/{name}`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct RemoveQuery {
    /// Which of several of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Name>,
    /// Only this registration, and not one that has taken its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<RegistrationId>,
    /// The mesh; needed when the node is in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<Name>,
}

/// The apps found, by node and name.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Apps {
    /// The mesh.
    pub mesh: Name,
    /// The apps: at most 1,000.
    pub apps: Vec<App>,
    /// There are more: ask for fewer of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    /// What is said is so now: of other nodes' apps, there is a link.
    pub current: bool,
    /// When that was so last; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Timestamp>,
}

/// One app.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct App {
    /// Its name.
    pub name: Name,
    /// Which of several of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Name>,
    /// Its node: mail to it goes to `name@node`.
    pub node: Name,
    /// The node's id.
    pub node_id: NodeId,
    /// Since when it is registered, on its node's clock.
    pub since: Timestamp,
    /// Of this node's apps: when the registration ends unless it is renewed; absent while a stream holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Set on this node's apps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub this: bool,
    /// What it says about itself.
    #[serde(flatten)]
    pub details: AppDetails,
}

/// Answers `PUT /v1/apps/{name}`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Registered {
    /// What the holder proves himself by. Nobody else is told.
    pub registration: RegistrationId,
    /// The app as it is registered now.
    #[serde(flatten)]
    pub app: App,
}

impl AppsQuery {
    /// Whether it asks for this app.
    pub fn wants(&self, app: &App) -> bool {
        fn same<T: PartialEq>(asked: Option<&T>, is: Option<&T>) -> bool {
            asked.is_none() || asked == is
        }
        let details = &app.details;
        same(self.node.as_ref(), Some(&app.node))
            && same(self.app.as_ref(), Some(&app.name))
            && same(self.kind.as_ref(), details.kind.as_ref())
            && same(self.version.as_ref(), details.version.as_ref())
            && same(self.repository.as_ref(), details.repository.as_ref())
            && same(self.status.as_ref(), details.status.as_ref())
            && self.capability.iter().all(|asked| details.capabilities.contains(asked))
    }
}
