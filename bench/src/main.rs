//! Waxwing beside a bare model of itself and three brokers, in turns: each does the same in every round, so that what the machine does
//! meanwhile befalls all of them.

mod contender;
mod floor;
mod measure;
mod memory;
mod model;
mod mqtt;
mod nats;
mod processor;
mod redis;
mod server;
mod table;
mod waxwing;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use crate::contender::{Contender, Round};

/// What one contender takes in a round beside its measurements, at the most.
const SPARE: Duration = Duration::from_secs(240);

/// Measures Waxwing beside a bare model of itself, nats-server, mosquitto and redis-server, in turns, on this machine
#[derive(Parser)]
struct Arguments {
    /// The program, built for release
    #[arg(long, value_name = "FILE")]
    waxwing: PathBuf,
    /// Rounds, each of all
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Seconds that each takes, with a full window and again one at a time
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Document to write the table into, between its two marks; default: to stdout
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // What was started ends with what started it.
    tokio::select! {
        measured = measure(&arguments) => show(&arguments, &measured?),
        _ = interrupt.recv() => bail!("stopped before it was measured"),
        _ = terminate.recv() => bail!("stopped before it was measured"),
    }
}

async fn measure(arguments: &Arguments) -> Result<String> {
    let time = Duration::from_secs(arguments.seconds);
    let program = arguments
        .waxwing
        .canonicalize()
        .with_context(|| format!("{} is not there: cargo build --release", arguments.waxwing.display()))?;
    let touched = memory::touch();
    eprintln!("{} MiB of memory touched", touched / (1024 * 1024));
    let contenders = Contender::all();
    let versions = versions(&program).await?;
    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); contenders.len()];
    let mut floor = Vec::new();
    for round in 0..arguments.rounds as usize {
        floor.push(floor::sync()?);
        for turn in 0..contenders.len() {
            // Nobody is always first, or always after the same.
            let n = (round + turn) % contenders.len();
            let contender = contenders[n];
            let one = timeout(SPARE + 8 * time, contender.round(&program, time)).await;
            let one = one.unwrap_or_else(|_| bail!("it does not end"));
            let one = one.with_context(|| format!("round {}, {}", round + 1, contender.name()))?;
            eprintln!("round {}, {}: {one}", round + 1, contender.name());
            rounds[n].push(one);
        }
    }
    Ok(table::markdown(&contenders, &rounds, &floor, &versions, arguments.seconds))
}

/// What was measured, by its own word.
async fn versions(program: &Path) -> Result<Vec<String>> {
    let mut versions = vec![server::version(&program.to_string_lossy(), "--version").await?];
    for (peer, argument) in [("nats-server", "--version"), ("mosquitto", "-h"), ("redis-server", "--version")]
    {
        versions.push(server::version(peer, argument).await?);
    }
    Ok(versions)
}

fn show(arguments: &Arguments, table: &str) -> Result<()> {
    let Some(file) = &arguments.into else {
        print!("{table}");
        return Ok(());
    };
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    std::fs::write(file, table::into(&text, table)?).with_context(|| format!("writing {}", file.display()))
}
