//! Leases, asked for and given back again and again: by one app, by many who each have their own, and by many who want the same.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use waxwing_client::Client;
use waxwing_client::api::{AcquireRequest, ReleaseRequest};

use super::stand::{Costs, Meter, Setup, Stand, Until};
use super::{Progress, Range, Spread, Spreads};
use crate::error::{Error, Result};

/// Turns taken before anything is measured, by each kind of round.
const WARM_UP: usize = 20;
/// Longer than anybody has it.
const TTL: &str = "60s";
/// Longer than anybody waits for it.
const WAIT: &str = "60s";
/// How often whoever waits looks how far it is.
const LOOK: Duration = Duration::from_millis(200);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// On what: so many apps, in turn on all nodes.
    pub setup: Setup,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many nodes.
    pub nodes: usize,
    /// How many apps, over all nodes.
    pub apps: usize,
    /// Rounds.
    pub rounds: usize,
    /// What every commit waited for.
    pub durability: String,
    /// One app, and a lease that nobody else wants.
    pub alone: Turns,
    /// All apps, each with a lease that nobody else wants.
    pub uncontended: Turns,
    /// All apps, and one lease.
    pub contended: Turns,
    /// How often an app was granted a lease that another still had.
    pub overlaps: usize,
    /// How often an app was granted a lease under a token that is not above the one before.
    pub stale_tokens: usize,
}

/// Turns: a lease was granted, and given back at once.
#[derive(Clone, Debug, Serialize)]
pub struct Turns {
    /// How many, over all rounds.
    pub turns: usize,
    /// A second, over all apps.
    pub per_second: Range,
    /// From the request to having it, by the broker's commit; waiting in line for it included.
    pub acquire: Spreads,
    /// From giving it back to the answer that it is free, by the broker's commit.
    pub release: Spreads,
    /// What a turn cost.
    #[serde(flatten)]
    pub costs: Costs,
}

/// Measures.
///
/// # Errors
/// If a process does not start, or a lease is refused.
pub async fn run(plan: &Plan, progress: &impl Progress) -> Result<Report> {
    let setup = &plan.setup;
    let mut stand = Stand::start(setup, progress).await?;
    let apps = (0..setup.apps).map(|n| client(&stand, n)).collect::<Result<Vec<_>>>()?;
    let each: Vec<_> = (0..apps.len()).map(|n| Lease::new("each its own", n)).collect();
    let (lone, shared) = ([Lease::new("alone", 0)], [Lease::new("all the same", 0)]);
    let alone = turns(&mut stand, setup, ("alone", &apps[..1], &lone), progress).await?;
    let uncontended = turns(&mut stand, setup, ("each its own", &apps, &each), progress).await?;
    let contended = turns(&mut stand, setup, ("all the same", &apps, &shared), progress).await?;
    let held: Vec<_> = lone.iter().chain(&each).chain(&shared).map(Lease::held).collect();
    Ok(Report {
        nodes: setup.nodes,
        apps: setup.apps,
        rounds: setup.rounds,
        durability: stand.durability(),
        alone,
        uncontended,
        contended,
        overlaps: held.iter().map(|held| held.overlaps).sum(),
        stale_tokens: held.iter().map(|held| held.stale_tokens).sum(),
    })
}

fn client(stand: &Stand, n: usize) -> Result<Client> {
    let app = format!("app-{n}");
    let name = app.parse().map_err(|_| Error::Unreadable(format!("{app} is no name")))?;
    Ok(stand.lab.client(&stand.names[n % stand.names.len()]).app(name))
}

/// Rounds of one kind.
async fn turns(
    stand: &mut Stand,
    setup: &Setup,
    (what, apps, leases): (&str, &[Client], &[Lease]),
    progress: &impl Progress,
) -> Result<Turns> {
    let few = match setup.until {
        Until::Count(count) => count.min(WARM_UP),
        Until::Elapsed(_) => WARM_UP,
    };
    let round = |until| Round { apps, leases, until };
    round(Until::Count(few)).run("warming up", progress).await?;
    let (mut meter, mut rounds) = (Meter::default(), Vec::new());
    for n in 1..=setup.rounds {
        meter.begin(stand).await?;
        let taken = round(setup.until).run(&format!("{what} {n}"), progress).await?;
        meter.end(stand, taken.acquires.len()).await?;
        rounds.push(taken);
    }
    let count = rounds.iter().map(|round| round.acquires.len()).sum();
    let rate = |round: &Taken| round.acquires.len() as f64 / round.took.as_secs_f64().max(1e-9);
    let per_second = Range::over(rounds.iter().map(rate));
    let (acquires, releases): (Vec<_>, Vec<_>) =
        rounds.into_iter().map(|round| (Spread::of(round.acquires), Spread::of(round.releases))).unzip();
    let (acquire, release) = (Spreads::over(&acquires), Spreads::over(&releases));
    Ok(Turns { turns: count, per_second, acquire, release, costs: meter.costs() })
}

/// A lease, and who has it, as those who have had it say.
struct Lease {
    name: String,
    held: Arc<Mutex<Held>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    now: bool,
    token: u64,
    overlaps: usize,
    stale_tokens: usize,
}

impl Lease {
    fn new(what: &str, n: usize) -> Self {
        Self { name: format!("{what} {n}"), held: Arc::default() }
    }

    fn held(&self) -> Held {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn granted(&mut self, token: u64) {
        self.overlaps += usize::from(self.now);
        self.stale_tokens += usize::from(token <= self.token);
        (self.now, self.token) = (true, token);
    }
}

/// One round of turns.
struct Round<'a> {
    apps: &'a [Client],
    /// Those that they want, in turn.
    leases: &'a [Lease],
    until: Until,
}

/// What came of one.
struct Taken {
    took: Duration,
    acquires: Vec<Duration>,
    releases: Vec<Duration>,
}

impl Round<'_> {
    async fn run(&self, name: &str, progress: &impl Progress) -> Result<Taken> {
        progress.begin(name, self.until.steps());
        let begun = Arc::new(Begun { until: self.until, began: Instant::now(), count: Mutex::new(0) });
        let mut taking = JoinSet::new();
        for (n, app) in self.apps.iter().enumerate() {
            let lease = &self.leases[n % self.leases.len()];
            let (name, held) = (lease.name.clone(), Arc::clone(&lease.held));
            taking.spawn(takes(app.clone(), name, held, Arc::clone(&begun)));
        }
        let (mut acquires, mut releases) = (Vec::new(), Vec::new());
        while !taking.is_empty() {
            if let Ok(Some(ended)) = timeout(LOOK, taking.join_next()).await {
                let (acquired, released) = ended.map_err(|err| Error::Unreadable(err.to_string()))??;
                acquires.extend(acquired);
                releases.extend(released);
            }
            progress.done(self.until.step(begun.began, begun.so_far()));
        }
        Ok(Taken { took: begun.began.elapsed(), acquires, releases })
    }
}

/// How many turns have been begun in a round.
struct Begun {
    until: Until,
    began: Instant,
    count: Mutex<usize>,
}

impl Begun {
    /// Whether there is one more.
    fn more(&self) -> bool {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        let more = !self.until.is_over(self.began, *count);
        *count += usize::from(more);
        more
    }

    fn so_far(&self) -> usize {
        *self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes turns. Returns how long it waited to have the lease, and to have given it back.
async fn takes(
    client: Client,
    name: String,
    held: Arc<Mutex<Held>>,
    begun: Arc<Begun>,
) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let (mut acquires, mut releases) = (Vec::new(), Vec::new());
    let (wait, ttl) = (Some(WAIT.to_owned()), Some(TTL.to_owned()));
    let request = AcquireRequest { name: Some(name), wait, ttl, ..AcquireRequest::default() };
    while begun.more() {
        let asked = Instant::now();
        let answer = client.acquire_lease(&request).await?;
        let acquired = asked.elapsed();
        let (Some(token), Some(_)) = (answer.token, answer.remaining) else {
            let state = answer.state.as_str();
            return Err(Error::Unreadable(format!("a lease is {state} after {WAIT}: take fewer --apps")));
        };
        held.lock().unwrap_or_else(PoisonError::into_inner).granted(token);
        // It has it until it is about to say that it has it no more: others run meanwhile, and see it.
        tokio::task::yield_now().await;
        held.lock().unwrap_or_else(PoisonError::into_inner).now = false;
        let asked = Instant::now();
        client.release_lease(&ReleaseRequest { name: answer.name, token, mesh: None }).await?;
        releases.push(asked.elapsed());
        acquires.push(acquired);
    }
    Ok((acquires, releases))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_granted_what_another_has_or_under_an_older_token_is_seen() {
        let mut held = Held::default();
        held.granted(5);
        held.now = false;
        held.granted(6);
        assert_eq!((held.overlaps, held.stale_tokens), (0, 0));
        held.granted(6);
        assert_eq!((held.overlaps, held.stale_tokens), (1, 1));
    }
}
