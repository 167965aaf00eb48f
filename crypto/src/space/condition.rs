//! What a change rests on.

use serde::{Deserialize, Serialize};

/// What must stand under a key for a change to be made. Signed by the writer, so that followers can tell when a broker
/// has not kept to it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Whatever.
    #[default]
    Any,
    /// Nothing.
    Absent,
    /// The record that was made at this place.
    Seq(u64),
}
