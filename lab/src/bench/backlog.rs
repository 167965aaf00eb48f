//! What mail that nobody fetches costs everybody else: two brokers, one with an empty store and one whose queues are full,
//! carry the same in turns.
//!
//! Raw links, so that no node's disk is in the way.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tokio::time::Instant;

use super::carrier::{Carrier, QUEUE};
use super::{Progress, median};
use crate::error::{Error, Result};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program to run the brokers from.
    pub program: PathBuf,
    /// Envelopes that wait in one of the brokers.
    pub queued: usize,
    /// Messages carried in each round by each broker.
    pub messages: usize,
    /// Rounds.
    pub rounds: usize,
}

/// What was measured: in each round, first without and then with a backlog.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Envelopes that wait.
    pub queued: usize,
    /// Messages in each round.
    pub messages: usize,
    /// Bytes of the store that they wait in.
    pub store_bytes: u64,
    /// Envelopes per second while the backlog was made.
    pub queued_per_second: f64,
    /// Messages per second, from the first frame to the last notice of a delivery, of the broker without.
    pub without: Vec<f64>,
    /// Of the broker with.
    pub with: Vec<f64>,
    /// The median of with, divided by the median of without.
    pub ratio: f64,
}

/// Measures.
///
/// # Errors
/// If a broker does not do as it should.
pub async fn run(plan: &Plan, progress: &impl Progress) -> Result<Report> {
    let folder = tempfile::Builder::new().prefix("waxwing-bench-").tempdir();
    let folder = folder.map_err(Error::io("making a temporary folder"))?;
    let away = plan.queued.div_ceil(QUEUE);
    let mut empty = Carrier::start(&plan.program, folder.path(), "empty", 0, None).await?;
    let mut full = Carrier::start(&plan.program, folder.path(), "full", away, None).await?;
    progress.begin("backlog", plan.queued as u64);
    let began = Instant::now();
    full.fill(plan.queued, progress).await?;
    let queued_per_second = plan.queued as f64 / began.elapsed().as_secs_f64();
    progress.begin("rounds", plan.rounds as u64);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        without.push(empty.carry(plan.messages).await?);
        with.push(full.carry(plan.messages).await?);
        progress.done(round as u64 + 1);
    }
    let store_bytes = size(&full.store)?;
    empty.broker.stop().await?;
    full.broker.stop().await?;
    let ratio = median(&with) / median(&without);
    let (queued, messages) = (plan.queued, plan.messages);
    Ok(Report { queued, messages, store_bytes, queued_per_second, without, with, ratio })
}

fn size(path: &Path) -> Result<u64> {
    let of = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    Ok(of(path) + of(&path.with_extension("db-wal")))
}
