//! How long a message takes: by itself, and at a fixed rate.
//!
//! By itself: one under way, the next once its receipt has come. At a rate: each is due at its own moment, whatever became of those
//! before, and its time is from that moment. A measurement that waits for what is slow before it asks again would leave out what
//! everybody else would have waited for meanwhile.

use serde::Serialize;

use super::pairs::{Pace, Pairs, Round, Rounds};
use super::send::warm_up;
use super::stand::{Setup, Stand};
use super::{Figures, Progress, Range};
use crate::error::Result;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// On what: nodes in pairs, and so many pairs of apps on each pair of them.
    pub setup: Setup,
    /// Bytes of each body.
    pub size: usize,
    /// Most messages under way while it is found out how many a second there can be.
    pub window: usize,
    /// Connections of an app to its node.
    pub connections: usize,
    /// Messages a second, over all pairs. None: half of as many as there can be.
    pub rate: Option<f64>,
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
    /// What every commit waited for.
    pub durability: String,
    /// One at a time.
    pub alone: Figures,
    /// Messages a second with a full window, each in a request of its own; absent if the rate was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_per_second: Option<Range>,
    /// Messages a second that were due, evenly.
    pub rate: f64,
    /// At that rate.
    pub at_rate: Figures,
    /// Messages that are in no inbox, though their send was accepted.
    pub lost: usize,
    /// How often a message is in an inbox once more than it should.
    pub duplicates: usize,
}

/// Measures.
///
/// # Errors
/// If a process does not start, a send is refused, or messages stop coming.
pub async fn run(plan: &Plan, progress: &impl Progress) -> Result<Report> {
    let setup = &plan.setup;
    let mut stand = Stand::start(setup, progress).await?;
    let pairs = Pairs::open(&stand, setup.apps, plan.connections, plan.size).await?;
    warm_up(&pairs, Pace::Window(plan.window), 1, setup.until, progress).await?;
    let maximum = match plan.rate {
        Some(_) => None,
        None => {
            let most = Pace::Window(plan.window);
            Some(rounds(&mut stand, &pairs, plan, ("at most", most), progress).await?.delivered_per_second())
        }
    };
    let rate = plan.rate.or(maximum.map(|maximum| maximum.median / 2.0)).unwrap_or_default();
    // As many as there are pairs, which is one for each.
    let alone = rounds(&mut stand, &pairs, plan, ("alone", Pace::Window(1)), progress).await?.figures();
    let at_rate = rounds(&mut stand, &pairs, plan, ("at rate", Pace::Rate(rate)), progress).await?.figures();
    Ok(Report {
        nodes: setup.nodes,
        pairs: setup.nodes / 2 * setup.apps,
        rounds: setup.rounds,
        size: plan.size,
        durability: stand.durability(),
        maximum_per_second: maximum,
        rate,
        lost: alone.lost + at_rate.lost,
        duplicates: alone.duplicates + at_rate.duplicates,
        alone,
        at_rate,
    })
}

async fn rounds(
    stand: &mut Stand,
    pairs: &Pairs,
    plan: &Plan,
    (what, pace): (&str, Pace),
    progress: &impl Progress,
) -> Result<Rounds> {
    let mut rounds = Rounds::default();
    for n in 1..=plan.setup.rounds {
        let name = format!("{what} {n}");
        let round = Round { name: &name, until: plan.setup.until, pace, at_once: 1 };
        rounds.add(stand, pairs, round, progress).await?;
    }
    Ok(rounds)
}
