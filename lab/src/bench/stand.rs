//! What is measured: nodes of this run, on a broker of its own or one that runs already, and what each process costs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::disk::Disk;
use super::{DURABILITY, Progress, Range, Usage};
use crate::error::{Error, Result};
use crate::mesh::Lab;

/// The process that the apps of the measurement are in.
const APPS: &str = "apps";
/// What a broker answers from memory, and has not by then, it never will.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// A broker's limits are for nodes of others; here the machine is measured.
const LIMITS: &str = "[limits]\nsend_items = 1000000\nsend_items_burst = 1000000\nsend_bytes = 4294967296\n\
                      send_bytes_burst = 4294967296\nrequests = 1000000\nrequests_burst = 1000000\n";

/// On what is measured, and for how long.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program to run broker and nodes from.
    pub program: PathBuf,
    /// A broker that runs already, to be used instead of one of this run's own.
    pub broker: Option<Running>,
    /// How many nodes.
    pub nodes: usize,
    /// How many apps: what each does is the measurement's to say.
    pub apps: usize,
    /// Rounds after the one that warms up.
    pub rounds: usize,
    /// When a round ends.
    pub until: Until,
}

/// A broker that runs already.
#[derive(Clone, Debug)]
pub struct Running {
    /// Where it is.
    pub url: String,
    /// A file with what founding a mesh takes there, if it takes anything.
    pub creation_token: Option<PathBuf>,
}

/// When a round has no more to begin.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After this long.
    Elapsed(Duration),
    /// After so many, over all apps.
    Count(usize),
}

impl Until {
    /// The share of one of several who do the same.
    pub(super) fn share(self, of: usize, part: usize) -> Self {
        match self {
            Self::Elapsed(_) => self,
            Self::Count(count) => Self::Count(count / of + usize::from(part < count % of)),
        }
    }

    /// Whether one that has begun so many since then begins no more.
    pub(super) fn is_over(self, began: Instant, begun: usize) -> bool {
        match self {
            Self::Elapsed(time) => began.elapsed() >= time,
            Self::Count(count) => begun >= count,
        }
    }

    /// Steps of a progress bar.
    pub(super) const fn steps(self) -> u64 {
        match self {
            Self::Elapsed(time) => time.as_secs(),
            Self::Count(count) => count as u64,
        }
    }

    /// How far a round is that began then and has done so many.
    pub(super) fn step(self, began: Instant, done: usize) -> u64 {
        match self {
            Self::Elapsed(_) => began.elapsed().as_secs(),
            Self::Count(_) => done as u64,
        }
    }
}

/// Nodes with their links up, and the broker, if it is this run's own.
pub(super) struct Stand {
    pub(super) lab: Lab,
    pub(super) names: Vec<String>,
    /// Where the broker answers operators.
    admin: Option<SocketAddr>,
    /// What all of it is on.
    disk: Option<Disk>,
}

impl Stand {
    /// Starts it.
    pub(super) async fn start(setup: &Setup, progress: &impl Progress) -> Result<Self> {
        let names: Vec<_> = (1..=setup.nodes).map(|n| format!("node-{n}")).collect();
        progress.begin("starting", names.len() as u64);
        let mut lab = match &setup.broker {
            Some(broker) => {
                Lab::on(&setup.program, broker.url.clone(), broker.creation_token.clone()).await?
            }
            None => Lab::direct_by(&setup.program, LIMITS).await?,
        };
        for (n, name) in (1..).zip(&names) {
            lab.add(name).await?;
            progress.done(n);
        }
        let admin = match setup.broker {
            Some(_) => None,
            None => Some(admin(&lab).await?),
        };
        let disk = Disk::of(lab.folder());
        Ok(Self { lab, names, admin, disk })
    }

    /// What every commit waits for.
    pub(super) fn durability(&self) -> String {
        if self.disk.as_ref().is_some_and(Disk::is_in_memory) {
            return "none: the temporary folder is in memory; set TMPDIR to one on a disk".to_owned();
        }
        match self.admin {
            Some(_) => DURABILITY.to_owned(),
            None => "SQLite, synchronous=FULL, at every node; what the broker does is its own".to_owned(),
        }
    }

    /// Looks at every process.
    async fn look(&mut self) -> Result<Look> {
        let mut processes = BTreeMap::new();
        for name in self.names.clone() {
            let page = self.lab.client(&name).metrics().await?;
            let commits = sample(&page, "waxwing_node_commits_total{");
            processes.insert(name.clone(), (self.usage(&name)?, commits));
        }
        if let Some(admin) = self.admin {
            let commits = sample(&metrics(admin).await?, "waxwing_broker_commit_seconds_count");
            processes.insert(Lab::BROKER.to_owned(), (self.usage(Lab::BROKER)?, commits));
        }
        processes.insert(APPS.to_owned(), (Usage::of(std::process::id())?, None));
        Ok(Look { processes, flushes: self.disk.as_ref().and_then(Disk::flushes) })
    }

    fn usage(&mut self, name: &str) -> Result<Usage> {
        let pid = self.lab.process(name).pid();
        Usage::of(pid.ok_or_else(|| Error::Unreadable(format!("{name} does not run any more")))?)
    }
}

/// Every process at one moment, with how many transactions it has committed.
struct Look {
    processes: BTreeMap<String, (Usage, Option<u64>)>,
    flushes: Option<u64>,
}

/// What rounds have cost.
#[derive(Default)]
pub(super) struct Meter {
    begun: Option<Look>,
    rounds: Vec<(Look, Look, usize)>,
}

impl Meter {
    /// A round begins.
    pub(super) async fn begin(&mut self, stand: &mut Stand) -> Result<()> {
        self.begun = Some(stand.look().await?);
        Ok(())
    }

    /// It has ended, after so many messages, or whatever is counted.
    pub(super) async fn end(&mut self, stand: &mut Stand, count: usize) -> Result<()> {
        let after = stand.look().await?;
        self.rounds.extend(self.begun.take().map(|before| (before, after, count)));
        Ok(())
    }

    /// All of them.
    pub(super) fn costs(&self) -> Costs {
        let names = self.rounds.first().map(|(first, ..)| first.processes.keys()).into_iter().flatten();
        Costs {
            processes: names.map(|name| (name.clone(), self.cost(name))).collect(),
            disk_flushes_each: self.each(|look| look.flushes),
        }
    }

    fn cost(&self, name: &str) -> Cost {
        let usage = |look: &Look| look.processes.get(name).map(|(usage, _)| *usage);
        let nanos = |look: &Look| usage(look).and_then(|usage| u64::try_from(usage.cpu.as_nanos()).ok());
        let cpu = self.each(nanos).unwrap_or_default();
        let micros = |nanos: f64| nanos / 1e3;
        Cost {
            cpu_micros_each: Range {
                median: micros(cpu.median),
                least: micros(cpu.least),
                most: micros(cpu.most),
            },
            peak_resident: self.rounds.iter().filter_map(|(_, after, _)| Some(usage(after)?.peak)).max(),
            written_bytes_each: self.each(|look| usage(look)?.written),
            commits_each: self.each(|look| look.processes.get(name)?.1),
        }
    }

    /// How much more of something there was after each round than before, for each of what was counted.
    fn each(&self, of: impl Fn(&Look) -> Option<u64>) -> Option<Range> {
        let more = |(before, after, count): &(Look, Look, usize)| {
            Some(of(after)?.saturating_sub(of(before)?) as f64 / (*count).max(1) as f64)
        };
        self.rounds.iter().map(more).collect::<Option<Vec<_>>>().map(Range::over)
    }
}

/// What every process cost.
#[derive(Clone, Debug, Serialize)]
pub struct Costs {
    /// By process; `apps` is the one that measures.
    pub processes: BTreeMap<String, Cost>,
    /// Flushes that the disk completed, for each message: those of the whole machine, whoever asked for them. Absent where the system
    /// does not count them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_flushes_each: Option<Range>,
}

/// What a process cost, for each message, or whatever was counted.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// Processor time, in microseconds.
    pub cpu_micros_each: Range,
    /// The most resident memory it has had, in bytes.
    pub peak_resident: Option<u64>,
    /// Bytes that it had written to disks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes_each: Option<Range>,
    /// Transactions that it committed, as it counts them itself. Each waits for one fsync; checkpoints of its database add some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commits_each: Option<Range>,
}

/// Where a broker that this run has started answers operators.
async fn admin(lab: &Lab) -> Result<SocketAddr> {
    let data = lab.state(Lab::BROKER);
    let status = lab.json(Lab::BROKER, &["broker", "status", "--data", &data.to_string_lossy()]).await?;
    let admin = status["admin"].as_str().and_then(|admin| admin.parse().ok());
    admin.ok_or_else(|| Error::Unreadable(format!("no operators' address in {status}")))
}

/// What a broker counts.
async fn metrics(admin: SocketAddr) -> Result<String> {
    let ask = async {
        let mut stream = TcpStream::connect(admin).await?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        Ok(page)
    };
    let asked = timeout(ANSWERS_WITHIN, ask).await;
    let late = |_| Error::Timeout { what: "the broker's metrics".to_owned(), within: ANSWERS_WITHIN };
    asked.map_err(late)?.map_err(Error::io("asking the broker for its metrics"))
}

/// A counter of a page of metrics, by what its line begins with; over all labels.
fn sample(page: &str, name: &str) -> Option<u64> {
    let samples = page.lines().filter(|line| line.starts_with(name));
    samples.map(|line| line.rsplit(' ').next()?.parse().ok()).reduce(|all, more| Some(all? + more?)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_a_count_leaves_nothing_over() {
        let shares: Vec<_> = (0..3).map(|part| Until::Count(8).share(3, part).steps()).collect();
        assert_eq!(shares, [3, 3, 2]);
    }

    #[test]
    fn a_counter_is_read_from_its_lines_alone() {
        let page =
            "# HELP commits x\ncommits_total{mesh=\"a\"} 7\ncommits_total{mesh=\"b\"} 2\nother 1\n# EOF\n";
        assert_eq!(sample(page, "commits_total{"), Some(9));
        assert_eq!(sample(page, "none"), None);
    }
}
