//! Throwaway meshes of real processes, a fault proxy and the history checker: what `waxwing demo` and the whole-system
//! tests share.
//!
//! ```text
//! Lab        a temporary folder with one broker, its nodes, and a Proxy between them
//!   Process  one real `waxwing` process: start (waits for its ready line), kill -9, restart, stop; its log is kept
//!   Proxy    passes frames between nodes and broker, and can hold, drop, rewrite or cut at one it is asked for; and make links slow,
//!            silent, half open, or go byte by byte
//!   Client   of each node, as an app has it
//! hostile    a broker that lies, on the Proxy, and a member that does
//! crowd      a mesh of many members that come and go, and are no nodes
//! Network    machines of their own, for what must cross a network
//! apps       what apps do in tests: send until accepted, read by cursor, watch receipts, each into a History
//! bench      what `waxwing bench` measures
//! prove      what `waxwing prove` does: faults by a seed, on all of the above, while apps write to each other
//! History    what was accepted, shown, acknowledged and receipted; History::check is the one judge of all
//! ```
//!
//! Nothing here reaches into the product: faults happen to processes, files and the wire.

pub mod apps;
pub mod bench;
pub mod chance;
pub mod crowd;
mod error;
pub mod history;
mod host;
pub mod hostile;
mod members;
mod mesh;
mod network;
mod process;
pub mod prove;
pub mod proxy;
mod raw;
mod records;
mod scan;
mod wait;

pub use error::{Error, Result};
pub use history::{Event, History, Recorder};
pub use host::Host;
pub use mesh::{Lab, Output};
pub use network::{Machine, Network};
pub use process::Process;
pub use proxy::{Captured, Direction, Frame, Proxy, When};
pub use scan::Scan;
pub use wait::eventually;
