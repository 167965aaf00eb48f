//! `waxwing prove`: a throwaway mesh whose processes are killed and whose links are broken, by seed, while its apps write to each other;
//! then every accepted message is accounted for.
//!
//! ```text
//! round    each node's app hands over messages  |  one to three faults strike, and are mended
//! calm     every node is linked again
//! account  every message is shown, and its sender told; History::check judges all that was ever seen
//! ```
//!
//! What is seen is written down as it is seen: by an app at each node that reads by cursor and acknowledges, by one that watches its
//! stream of receipts, and by the one that sends. The faults are decided by the seed alone. Where exactly they strike is up to the machine.

mod account;
mod diary;
mod schedule;
mod strike;
mod traffic;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use diary::Diary;
pub use schedule::{Fault, Moment, Schedule, Strike, Victim};

use self::account::Account;
use self::traffic::Writing;
use crate::bench::{DURABILITY, Progress};
use crate::chance::Chance;
use crate::error::{Error, Result};
use crate::history::{Broken, Summary, Violation};
use crate::mesh::Lab;
use crate::wait::eventually;

/// What has not come by then, with every process running and every link up, does not come.
const COMES_WITHIN: Duration = Duration::from_secs(60);

/// What to try.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program to run broker and nodes from.
    pub program: PathBuf,
    /// How many nodes: two or more.
    pub nodes: usize,
    /// Requests to each node beside each fault: a message, a message twice, or a few in a batch.
    pub requests: usize,
    /// What decides the faults.
    pub seed: u64,
    /// When it is enough.
    pub until: Until,
}

/// When it is enough. The round that is under way is ended.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// So many processes have been killed.
    Kills(usize),
    /// So much time is over.
    Time(Duration),
    /// So many rounds.
    Rounds(usize),
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What decided the faults.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// Rounds of messages and faults.
    pub rounds: usize,
    /// Processes killed.
    pub kills: usize,
    /// Faults of each kind.
    pub faults: BTreeMap<&'static str, usize>,
    /// Nodes that were restarted because they took their time to dial again.
    pub hurried: usize,
    /// Requests that were made again under the same id.
    pub repeated: usize,
    /// What the apps saw, all in all.
    #[serde(flatten)]
    pub summary: Summary,
    /// Messages that were accepted, and neither shown nor given up.
    pub lost: usize,
    /// Messages shown twice.
    pub twice: usize,
    /// Messages shown before one of their lane that was accepted earlier.
    pub out_of_order: usize,
    /// Messages of which something was said before it was true.
    pub early: usize,
    /// Messages with which something else is wrong.
    pub otherwise: usize,
    /// What every commit waited for.
    pub durability: &'static str,
    /// From the first message to the last receipt, in seconds.
    pub seconds: f64,
}

impl Report {
    fn new(plan: &Plan) -> Self {
        Self {
            seed: plan.seed,
            nodes: plan.nodes,
            rounds: 0,
            kills: 0,
            faults: BTreeMap::new(),
            hurried: 0,
            repeated: 0,
            summary: Summary::default(),
            lost: 0,
            twice: 0,
            out_of_order: 0,
            early: 0,
            otherwise: 0,
            durability: DURABILITY,
            seconds: 0.0,
        }
    }

    /// How many messages something is wrong with.
    pub const fn broken(&self) -> usize {
        self.lost + self.twice + self.out_of_order + self.early + self.otherwise
    }

    /// Takes over what the judge says.
    pub fn judged(&mut self, verdict: &Result<Summary, Broken>) {
        let broken = match verdict {
            Ok(summary) => return self.summary = *summary,
            Err(broken) => broken,
        };
        for (violation, _) in broken.violations() {
            *match violation {
                Violation::Lost => &mut self.lost,
                Violation::Repeated => &mut self.twice,
                Violation::Reordered => &mut self.out_of_order,
                Violation::DeliveredEarly | Violation::AcknowledgedUnseen => &mut self.early,
                Violation::Unsent | Violation::Misdelivered | Violation::Untold => &mut self.otherwise,
            } += 1;
        }
    }
}

/// Tries. Ends with the first round after which something is broken: what, is in the second answer.
///
/// # Errors
/// If a process ends by itself, does not start, does not answer, or refuses what it should not.
pub async fn run(plan: &Plan, diary: &Diary, progress: &impl Progress) -> Result<(Report, Option<Broken>)> {
    let mut run = Run::open(plan, diary, progress).await?;
    progress.begin(plan.until.word(), plan.until.steps());
    let mut broken = None;
    while broken.is_none() && !plan.until.is_enough(&run) {
        broken = run.round().await?;
        progress.done(plan.until.done(&run).min(plan.until.steps()));
    }
    Ok((run.report, broken))
}

impl Until {
    const fn word(self) -> &'static str {
        match self {
            Self::Kills(_) => "kills",
            Self::Time(_) => "seconds",
            Self::Rounds(_) => "rounds",
        }
    }

    const fn steps(self) -> u64 {
        match self {
            Self::Kills(count) | Self::Rounds(count) => count as u64,
            Self::Time(time) => time.as_secs(),
        }
    }

    fn done(self, run: &Run<'_>) -> u64 {
        match self {
            Self::Kills(_) => run.report.kills as u64,
            Self::Rounds(_) => run.report.rounds as u64,
            Self::Time(_) => run.began.elapsed().as_secs(),
        }
    }

    fn is_enough(self, run: &Run<'_>) -> bool {
        match self {
            Self::Kills(count) => run.report.kills >= count,
            Self::Rounds(count) => run.report.rounds >= count,
            Self::Time(time) => run.began.elapsed() >= time,
        }
    }
}

/// A mesh, its apps, and how far it has come.
struct Run<'a> {
    lab: Lab,
    nodes: Vec<String>,
    schedule: Schedule,
    writings: Vec<Writing>,
    /// Those that read and watch.
    apps: JoinSet<Result<()>>,
    account: Account,
    diary: &'a Diary,
    began: Instant,
    report: Report,
}

impl<'a> Run<'a> {
    async fn open(plan: &Plan, diary: &'a Diary, progress: &impl Progress) -> Result<Self> {
        let nodes: Vec<String> = (0..plan.nodes.max(2)).map(|n| format!("node-{n}")).collect();
        progress.begin("starting", nodes.len() as u64);
        let mut lab = Lab::start(&plan.program).await?;
        let (mut apps, mut writings, mut chance) =
            (JoinSet::new(), Vec::new(), Chance::new(plan.seed).branch());
        for (n, node) in (1..).zip(&nodes) {
            lab.add(node).await?;
            progress.done(n);
        }
        for node in &nodes {
            let others = nodes.iter().filter(|other| *other != node).cloned().collect();
            let (sender, mut reader) = (lab.sender(node, diary.record()), lab.reader(node, diary.record()));
            writings.push(Writing::new(sender.clone(), others, plan.requests, chance.branch()));
            // It is open before anything strikes: a stream comes back, but has to have been there.
            apps.spawn(sender.watch().await?);
            apps.spawn(async move {
                reader.follow().await;
                Ok(())
            });
        }
        Ok(Self {
            schedule: Schedule::new(plan.seed, nodes.len()),
            report: Report::new(plan),
            account: Account::default(),
            began: Instant::now(),
            lab,
            nodes,
            writings,
            apps,
            diary,
        })
    }

    /// Messages and faults, until all of it is accounted for.
    async fn round(&mut self) -> Result<Option<Broken>> {
        let mut going = Vec::new();
        for strike in self.schedule.round() {
            self.diary.strikes(self.report.rounds, &strike);
            let sends = try_join_all(self.writings.iter_mut().map(Writing::burst));
            let (_, goes) = tokio::try_join!(sends, strike::strike(&mut self.lab, &self.nodes, &strike))?;
            going.push(goes);
            self.report.kills += strike.fault.kills();
            *self.report.faults.entry(strike.fault.kind()).or_default() += 1;
        }
        drop(going);
        self.report.hurried += strike::calm(&mut self.lab, &self.nodes).await?;
        self.report.rounds += 1;
        self.account().await
    }

    /// Waits until everything has come, or long enough, and has all that was ever seen judged.
    async fn account(&mut self) -> Result<Option<Broken>> {
        let record = self.diary.record();
        let settled = async || self.account.settles(record).then_some(());
        // What has not come by then is for the judge to find.
        let _ = eventually(COMES_WITHIN, "every message is accounted for", settled).await;
        if let Some(ended) = self.apps.try_join_next() {
            ended.map_err(|err| Error::Unreadable(err.to_string()))??;
        }
        self.lab.proxy().forget();
        self.report.repeated = self.writings.iter().map(|writing| writing.repeated).sum();
        self.report.seconds = self.began.elapsed().as_secs_f64();
        let verdict = record.check_all();
        self.report.judged(&verdict);
        Ok(verdict.err())
    }
}
