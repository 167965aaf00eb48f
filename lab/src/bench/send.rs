//! Messages from one node to others, app to app, each with its receipt: how many a second, how long one takes, and what
//! it costs each process.

mod apps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use waxwing_client::api::{MeshQuery, MessageState};

use self::apps::Run;
use super::spread::Spread;
use super::{Progress, Usage};
use crate::error::{Error, Result};
use crate::mesh::Lab;

/// Messages sent before anything is measured: sessions are opened, statements prepared, files have grown.
const WARM_UP: usize = 1_000;
/// Of so many messages at most, the node is asked for its own timestamps.
const ASKED: usize = 2_000;
/// What every commit waits for: nodes and brokers do not start otherwise.
pub const DURABILITY: &str = "SQLite, synchronous=FULL, at every node and the broker";

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program to run broker and nodes from.
    pub program: PathBuf,
    /// How many nodes: the first sends, the others receive.
    pub nodes: usize,
    /// How many messages.
    pub messages: usize,
    /// Bytes of each body.
    pub size: usize,
    /// Most messages under way: sent, and their receipt not yet there.
    pub window: usize,
    /// How they are handed to the node.
    pub mode: Mode,
}

/// How messages are handed to the node.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Up to 500 in a request.
    Batch,
    /// Each in a request of its own.
    Single,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many messages were measured.
    pub messages: usize,
    /// Bytes of each body.
    pub size: usize,
    /// Most messages under way.
    pub window: usize,
    /// How they were handed to the node.
    pub mode: Mode,
    /// Messages a second that the sender's node had accepted (202), from the first request to the last answer.
    pub queued_per_second: f64,
    /// Messages a second from the first request to the last verified receipt.
    pub delivered_per_second: f64,
    /// From the request to the recipient app's stream, as the apps saw it.
    pub app_to_app: Spread,
    /// From the request to the node's answer.
    pub request: Spread,
    /// From the sender's outbox to the broker's `accepted`, by the node's own timestamps, which have milliseconds.
    pub accepted: Spread,
    /// From the sender's outbox to the verified receipt, by the node's own timestamps.
    pub delivered: Spread,
    /// Messages that are in no inbox, though their send was accepted.
    pub lost: usize,
    /// How often a message is in an inbox once more than it should.
    pub duplicates: usize,
    /// What each process cost.
    pub processes: BTreeMap<String, Cost>,
    /// What every commit waited for.
    pub durability: &'static str,
}

/// What a process cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// Processor time per message, in microseconds.
    pub cpu_micros_per_message: f64,
    /// The most resident memory it has had, in bytes.
    pub peak_resident: u64,
}

/// Measures.
///
/// # Errors
/// If a process does not start, a send is refused, or messages stop coming.
pub async fn run(plan: &Plan, progress: &impl Progress) -> Result<Report> {
    let names: Vec<_> = (1..=plan.nodes.max(2)).map(|n| format!("node-{n}")).collect();
    progress.begin("starting", names.len() as u64);
    let mut lab = Lab::direct(&plan.program).await?;
    for (n, name) in (1..).zip(&names) {
        lab.add(name).await?;
        progress.done(n);
    }
    let run = Run::open(&lab, &names, plan).await?;
    progress.begin("warming up", WARM_UP.min(plan.messages) as u64);
    run.send("warm", WARM_UP.min(plan.messages), progress).await?;
    let before = usage(&mut lab, &names)?;
    progress.begin("sending", plan.messages as u64);
    let began = Instant::now();
    let sent = run.send("bench", plan.messages, progress).await?;
    let took = began.elapsed();
    let after = usage(&mut lab, &names)?;
    let (accepted, delivered) = stages(&lab, &names[0], plan.messages).await?;
    let cost = |name: &String| cost(&before[name], &after[name], plan.messages);
    Ok(Report {
        messages: plan.messages,
        size: plan.size,
        window: plan.window,
        mode: plan.mode,
        queued_per_second: plan.messages as f64 / sent.queued.as_secs_f64(),
        delivered_per_second: plan.messages as f64 / sent.receipted.min(took).as_secs_f64(),
        app_to_app: Spread::of(sent.app_to_app),
        request: Spread::of(sent.requests),
        accepted,
        delivered,
        lost: sent.lost,
        duplicates: sent.duplicates,
        processes: before.keys().map(|name| (name.clone(), cost(name))).collect(),
        durability: DURABILITY,
    })
}

fn usage(lab: &mut Lab, names: &[String]) -> Result<BTreeMap<String, Usage>> {
    let all = names.iter().map(String::as_str).chain([Lab::BROKER]);
    all.map(|name| {
        let pid = lab.process(name).pid();
        let pid = pid.ok_or_else(|| Error::Unreadable(format!("{name} does not run any more")))?;
        Ok((name.to_owned(), Usage::of(pid)?))
    })
    .collect()
}

fn cost(before: &Usage, after: &Usage, messages: usize) -> Cost {
    let used = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    Cost { cpu_micros_per_message: used * 1e6 / messages.max(1) as f64, peak_resident: after.peak }
}

/// How long after it was queued a message was accepted, and delivered, by the node's own word.
async fn stages(lab: &Lab, sender: &str, messages: usize) -> Result<(Spread, Spread)> {
    let client = lab.client(sender);
    let (mut accepted, mut delivered) = (Vec::new(), Vec::new());
    for n in (0..messages).step_by(messages.div_ceil(ASKED).max(1)) {
        let status = client.status(&apps::id("bench", n)?, &MeshQuery::default()).await?;
        let at = |state| status.history.iter().find(|change| change.state == state).map(|change| change.at);
        let Some(queued) = at(MessageState::Queued) else { continue };
        let since = |state| at(state).map(|at| at.since(queued));
        accepted.extend(since(MessageState::Accepted));
        delivered.extend(since(MessageState::Delivered));
    }
    Ok((Spread::of(accepted), Spread::of(delivered)))
}

/// What the apps saw.
#[derive(Default)]
struct Sent {
    /// From the first request to the last answer.
    queued: Duration,
    /// From the first request to the last receipt.
    receipted: Duration,
    requests: Vec<Duration>,
    app_to_app: Vec<Duration>,
    lost: usize,
    duplicates: usize,
}

/// When each message was asked for, until it is seen.
type Ledger = Arc<std::sync::Mutex<Vec<Option<Instant>>>>;
