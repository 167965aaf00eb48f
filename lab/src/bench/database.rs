//! A store on a database server beside one in a file: two brokers carry the same in turns, in full windows and one message at a time.

use std::path::PathBuf;

use serde::Serialize;

use super::carrier::Carrier;
use super::{Progress, Spread, median};
use crate::error::{Error, Result};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The program to run the brokers from.
    pub program: PathBuf,
    /// The database, as a broker is told it. A store is made there, and stays.
    pub database: String,
    /// Messages carried in each round by each broker.
    pub messages: usize,
    /// Messages carried one at a time in each round.
    pub single: usize,
    /// Rounds.
    pub rounds: usize,
}

/// What was measured of one broker.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Messages per second by round, from the first frame to the last notice of a delivery.
    pub per_second: Vec<f64>,
    /// Of one message at a time: how long from its frame to the notice of its delivery, in milliseconds.
    pub single: Spread,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Messages in each round.
    pub messages: usize,
    /// Messages one at a time in each round.
    pub single: usize,
    /// The broker with its store in a file.
    pub file: Figures,
    /// The broker with its store on the server.
    pub server: Figures,
    /// The median of the server's messages per second, divided by the file's.
    pub ratio: f64,
}

/// Measures.
///
/// # Errors
/// If a broker does not do as it should.
pub async fn run(plan: &Plan, progress: &impl Progress) -> Result<Report> {
    let folder = tempfile::Builder::new().prefix("waxwing-bench-").tempdir();
    let folder = folder.map_err(Error::io("making a temporary folder"))?;
    let mut file = Carrier::start(&plan.program, folder.path(), "file", 0, None).await?;
    let database = Some(plan.database.as_str());
    let mut server = Carrier::start(&plan.program, folder.path(), "server", 0, database).await?;
    progress.begin("rounds", plan.rounds as u64);
    let (mut per_second, mut took) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..plan.rounds {
        for (at, carrier) in [&mut file, &mut server].into_iter().enumerate() {
            per_second[at].push(carrier.carry(plan.messages).await?);
            took[at].extend(carrier.carry_singly(plan.single).await?);
        }
        progress.done(round as u64 + 1);
    }
    file.broker.stop().await?;
    server.broker.stop().await?;
    let ratio = median(&per_second[1]) / median(&per_second[0]);
    let ([file, server], [file_took, server_took]) = (per_second, took);
    let file = Figures { per_second: file, single: Spread::of(file_took) };
    let server = Figures { per_second: server, single: Spread::of(server_took) };
    Ok(Report { messages: plan.messages, single: plan.single, file, server, ratio })
}
