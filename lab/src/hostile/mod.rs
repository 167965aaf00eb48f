//! Those who do not keep to the rules, as test doubles.
//!
//! A hostile broker is an honest one behind a [`Proxy`](crate::Proxy) that changes what it says: it has everything a broker
//! has, and no more. A hostile member is a link with a member's true keys, and nothing of a node behind it.

pub mod broker;
mod member;
mod record;

pub use member::{Letter, Member};

pub use crate::raw::Link;
