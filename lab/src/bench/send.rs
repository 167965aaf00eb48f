//! Messages between nodes, app to app, each with its receipt, as many as there is room for: how many a second, how long one takes,
//! and what it costs each process.

use serde::Serialize;

use super::pairs::{BATCH, Pace, Pairs, Round, Rounds};
use super::stand::{Setup, Stand, Until};
use super::{Figures, Progress};
use crate::error::Result;

/// Messages sent before anything is measured: sessions are opened, statements prepared, files have grown.
const WARM_UP: usize = 1_000;
/// Bytes of bodies in one request: half of what it may have, since JSON adds to them.
const BATCH_BYTES: usize = waxwing_protocol::limits::API_BATCH_BODY / 2;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// On what: nodes in pairs, and so many pairs of apps on each pair of them.
    pub setup: Setup,
    /// Bytes of each body.
    pub size: usize,
    /// Most messages under way: sent, and their receipt not yet there.
    pub window: usize,
    /// How they are handed to the node.
    pub mode: Mode,
}

/// How messages are handed to the node.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Mode {
    /// Up to 500 in a request, one request after the other.
    Batch,
    /// Each in a request of its own.
    Single {
        /// Requests of an app at once, each on a connection of its own.
        connections: usize,
    },
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many nodes.
    pub nodes: usize,
    /// Pairs of apps, over all nodes.
    pub pairs: usize,
    /// Rounds.
    pub rounds: usize,
    /// Bytes of each body.
    pub size: usize,
    /// Most messages under way.
    pub window: usize,
    /// How they were handed to the node.
    #[serde(flatten)]
    pub mode: Mode,
    /// What every commit waited for.
    pub durability: String,
    /// What it came to.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Measures.
///
/// # Errors
/// If a process does not start, a send is refused, or messages stop coming.
pub async fn run(plan: &Plan, progress: &impl Progress) -> Result<Report> {
    let setup = &plan.setup;
    let mut stand = Stand::start(setup, progress).await?;
    let (connections, at_once) = match plan.mode {
        Mode::Batch => (1, BATCH.min(BATCH_BYTES / (plan.size + 512)).max(1)),
        Mode::Single { connections } => (connections, 1),
    };
    let pairs = Pairs::open(&stand, setup.apps, connections, plan.size).await?;
    let pace = Pace::Window(plan.window);
    warm_up(&pairs, pace, at_once, setup.until, progress).await?;
    let mut rounds = Rounds::default();
    for n in 1..=setup.rounds {
        let name = format!("round {n}");
        let round = Round { name: &name, until: setup.until, pace, at_once };
        rounds.add(&mut stand, &pairs, round, progress).await?;
    }
    Ok(Report {
        nodes: setup.nodes,
        pairs: setup.nodes / 2 * setup.apps,
        rounds: setup.rounds,
        size: plan.size,
        window: plan.window,
        mode: plan.mode,
        durability: stand.durability(),
        figures: rounds.figures(),
    })
}

/// Sends some, as they will be sent, but no more than a round has.
pub(super) async fn warm_up(
    pairs: &Pairs,
    pace: Pace,
    at_once: usize,
    until: Until,
    progress: &impl Progress,
) -> Result<()> {
    let count = match until {
        Until::Count(count) => count.min(WARM_UP),
        Until::Elapsed(_) => WARM_UP,
    };
    let round = Round { name: "warming up", until: Until::Count(count), pace, at_once };
    let sent = pairs.run(round, progress).await?;
    pairs.count(&sent).await.map(drop)
}
