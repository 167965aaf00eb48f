#![doc = include_str!("../../docs/protocol.md")]

pub mod address;
pub mod api;
pub mod id;
pub mod limits;
pub mod link;

pub use address::Address;
pub use id::{MessageId, StoreId};
