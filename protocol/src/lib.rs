#![doc = include_str!("../../docs/protocol.md")]

pub mod address;
pub mod api;
pub mod broker_url;
pub mod finding;
pub mod id;
pub mod limits;
pub mod link;
#[cfg(feature = "schema")]
mod schema;
pub mod topic;

pub use address::Address;
pub use broker_url::BrokerUrl;
pub use id::{MessageId, RegistrationId, RunId, StoreId};
pub use topic::{BadTopic, TopicName, TopicPattern};
