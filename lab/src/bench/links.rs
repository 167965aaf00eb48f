//! Many links that do nothing: how fast they log in, what each costs the broker, and what all of them cost while idle.
//!
//! The broker is a process of its own; the links are this process's.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::{Progress, Usage, now, raise_descriptors};
use crate::error::{Error, Result};
use crate::members::{self, Member};
use crate::process::Process;
use crate::wait::eventually;

/// Members of each mesh. A join copies the roster, so meshes of everybody would take time with its square.
const MESH: usize = 100;
/// Meshes founded at once.
const FOUNDING: usize = 4;
/// Logins under way at once.
const LOGGING_IN: usize = 64;
/// Connections of the broker that are no links.
const SPARE: usize = 512;
/// Descriptors that a process needs beside its links.
const SPARE_DESCRIPTORS: u64 = 256;
/// A broker that has not closed the founders' links by then never will.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program to run the broker from.
    pub program: PathBuf,
    /// How many links.
    pub links: usize,
    /// How long they do nothing.
    pub idle: Duration,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many links there were.
    pub links: usize,
    /// Logins per second, each answered after a commit.
    pub logins_per_second: f64,
    /// Resident memory of the broker for each link, over what it had before, in bytes.
    pub resident_per_link: u64,
    /// The same after the time of doing nothing.
    pub resident_per_link_idle: u64,
    /// How long they did nothing, in seconds.
    pub idle_seconds: f64,
    /// Processor time of the broker in that time, in percent of one core.
    pub idle_cpu_percent: f64,
    /// The broker before the first of them.
    pub before: Usage,
    /// The broker with all of them.
    pub after: Usage,
}

/// Measures.
///
/// # Errors
/// If the broker does not do as it should, or the system does not allow so many links.
pub async fn run(plan: &Plan, progress: &impl Progress) -> Result<Report> {
    let most = raise_descriptors();
    if most.is_some_and(|most| most < plan.links as u64 + SPARE_DESCRIPTORS) {
        let most = most.unwrap_or_default().saturating_sub(SPARE_DESCRIPTORS);
        return Err(Error::Unreadable(format!(
            "a process may have {most} links here: raise its hard limit of open files, or take fewer with --links"
        )));
    }
    let folder = tempfile::Builder::new().prefix("waxwing-bench-").tempdir();
    let folder = folder.map_err(Error::io("making a temporary folder"))?;
    let (mut broker, addr) = start(plan, folder.path()).await?;
    let pid = broker.pid().ok_or_else(|| Error::Unreadable("the broker has no process id".to_owned()))?;
    let alone = Usage::of(pid)?;
    let members = found(addr, plan.links, progress).await?;
    let gone = async || Usage::of(pid).ok().filter(|usage| usage.sockets <= alone.sockets);
    let before = eventually(CLOSED_WITHIN, "the broker closes the founders' links", gone).await?;
    let began = Instant::now();
    let mut links = log_in(addr, members, progress).await?;
    let seconds = began.elapsed().as_secs_f64();
    let after = Usage::of(pid)?;
    progress.begin("idle", plan.idle.as_secs());
    let (idle, cpu) = watch(pid, plan.idle, progress).await?;
    if links.try_join_next().is_some() {
        return Err(Error::Unreadable("a link that did nothing was ended".to_owned()));
    }
    links.abort_all();
    broker.stop().await?;
    let per_link = |usage: &Usage| usage.resident.saturating_sub(before.resident) / plan.links.max(1) as u64;
    Ok(Report {
        links: plan.links,
        logins_per_second: plan.links as f64 / seconds,
        resident_per_link: per_link(&after),
        resident_per_link_idle: per_link(&idle),
        idle_seconds: plan.idle.as_secs_f64(),
        idle_cpu_percent: cpu,
        before,
        after,
    })
}

/// Holds so many links on a broker, in meshes of a usual size. They answer pings, and end when the set is dropped.
///
/// # Errors
/// If the broker does not take them.
pub async fn hold(broker: SocketAddr, links: usize, progress: &impl Progress) -> Result<JoinSet<()>> {
    let members = found(broker, links, progress).await?;
    log_in(broker, members, progress).await
}

/// Starts a broker with room for them.
async fn start(plan: &Plan, folder: &std::path::Path) -> Result<(Process, SocketAddr)> {
    let config = folder.join("broker.toml");
    let text = format!("[limits]\nconnections = {}\n", plan.links + SPARE);
    std::fs::write(&config, text).map_err(Error::io("writing a configuration"))?;
    let mut words: Vec<OsString> = vec![plan.program.clone().into()];
    words.extend(["--json", "broker", "run", "--listen", "127.0.0.1:0", "--config"].map(OsString::from));
    words.extend([config.into(), "--data".into(), folder.join("broker").into()]);
    let mut broker = Process::new("broker", words, folder.join("broker.log"));
    let ready = broker.start().await?;
    let addr = ready["url"].as_str().and_then(|url| url.strip_prefix("ws://")?.parse().ok());
    addr.map(|addr| (broker, addr)).ok_or_else(|| Error::Unreadable(format!("no address in {ready}")))
}

/// Makes the members, in meshes of a usual size.
async fn found(broker: SocketAddr, count: usize, progress: &impl Progress) -> Result<Vec<Member>> {
    progress.begin("members", count as u64);
    let now = now();
    let mut founding = JoinSet::new();
    let (mut left, mut members) = (count, Vec::with_capacity(count));
    while left > 0 || !founding.is_empty() {
        while left > 0 && founding.len() < FOUNDING {
            let size = left.min(MESH);
            left -= size;
            founding.spawn(members::found(broker, size, now));
        }
        if let Some(founded) = founding.join_next().await {
            members.extend(founded.map_err(|err| Error::Unreadable(err.to_string()))??.members);
            progress.done(members.len() as u64);
        }
    }
    Ok(members)
}

/// Logs all of them in. The links answer pings, and end when the set is dropped.
async fn log_in(broker: SocketAddr, members: Vec<Member>, progress: &impl Progress) -> Result<JoinSet<()>> {
    progress.begin("logins", members.len() as u64);
    let places = Arc::new(Semaphore::new(LOGGING_IN));
    let (mut logins, mut links) = (JoinSet::new(), JoinSet::new());
    for member in members {
        let places = Arc::clone(&places);
        logins.spawn(async move {
            let _place = places.acquire().await;
            member.login(broker).await
        });
    }
    while let Some(link) = logins.join_next().await {
        links.spawn(link.map_err(|err| Error::Unreadable(err.to_string()))??.idle());
        progress.done(links.len() as u64);
    }
    Ok(links)
}

/// Lets time pass. Returns what the broker has then, and what share of a core it used.
async fn watch(pid: u32, idle: Duration, progress: &impl Progress) -> Result<(Usage, f64)> {
    // What the logins left to do is not idle.
    sleep(Duration::from_secs(1)).await;
    let (first, began) = (Usage::of(pid)?, Instant::now());
    while began.elapsed() < idle {
        sleep(Duration::from_secs(1).min(idle.saturating_sub(began.elapsed()))).await;
        progress.done(began.elapsed().as_secs());
    }
    let last = Usage::of(pid)?;
    let used = last.cpu.saturating_sub(first.cpu).as_secs_f64();
    Ok((last, used * 100.0 / began.elapsed().as_secs_f64()))
}
