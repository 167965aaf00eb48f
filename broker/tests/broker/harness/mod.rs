//! A real broker on port 0 in a temporary folder, a mesh with real keys, and raw links to it.

mod broker;
mod items;
mod link;
mod mesh;
pub mod raw;
mod socket;
pub mod space;

use std::time::Duration;

use getrandom::SysRng;
use rand_core::UnwrapErr;

pub use broker::{Broker, TestClock};
pub use items::{delivered, envelopes, item, receipt, wire};
pub use link::Link;
pub use mesh::{Keys, Mesh};
pub use socket::{Dialled, dial, receive, transmit};

/// Everything here takes milliseconds; a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn rng() -> UnwrapErr<SysRng> {
    UnwrapErr(SysRng)
}
