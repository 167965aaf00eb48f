//! What it costs: `waxwing bench`. Real processes in a temporary folder, measured from outside.

pub mod backlog;
mod carrier;
pub mod database;
mod disk;
pub mod latency;
pub mod lease;
pub mod links;
mod pairs;
pub mod send;
mod spread;
mod stand;
pub mod topic;
mod usage;

use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use waxwing_crypto::Timestamp;

pub use pairs::{Figures, Stages};
pub use spread::{Range, Spread, Spreads};
pub use stand::{Cost, Costs, Running, Setup, Until};
pub use usage::Usage;

/// What every commit waits for: nodes and brokers do not start otherwise.
pub const DURABILITY: &str = "SQLite, synchronous=FULL, at every node and the broker";
/// Nothing has come for so long: nothing will.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a measurement goes on, for whoever waits for it.
pub trait Progress: Sync {
    /// Another part of the work has begun, of so many steps.
    fn begin(&self, what: &str, steps: u64);
    /// So many steps of it are done.
    fn done(&self, steps: u64);
}

/// Raises this process's limit on descriptors as far as it may go, for the processes it starts too. Returns what it is.
pub fn raise_descriptors() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it cannot be raised, what it is will do or connections will fail, and say so.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current
}

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
