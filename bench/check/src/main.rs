//! What the hot paths cost, beside a committed baseline: instructions, which callgrind counts, and time, as a ratio to a loop that no
//! change of ours touches. `just bench-check` runs it.
//!
//! Neither is a figure of how fast the product is: `waxwing bench` measures that. Instructions are the same on a busy machine as on
//! a quiet one, so that a few percent more are seen; time sees what they do not, as memory that is no longer in a cache.

mod baseline;
mod calibration;
mod count;
mod paths;
mod time;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use crate::baseline::{Baseline, Figure};
use crate::paths::Path;

/// Holds what the hot paths cost against the committed baseline
#[derive(Parser)]
struct Arguments {
    /// Writes what is measured as the new baseline
    #[arg(long)]
    bless: bool,
    /// Only paths whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Leaves out times: instructions alone, for a machine too busy to time anything
    #[arg(long)]
    no_times: bool,
    /// The baseline
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.json"))]
    baseline: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Does one path so many times: what callgrind looks at
    #[command(hide = true)]
    Run { path: String, operations: u64 },
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Command::Run { path, operations }) = &arguments.command {
        let path = Path::all().into_iter().find(|known| known.name() == path);
        let mut operation = path.context("no path is called so")?.prepare()?;
        for _ in 0..*operations {
            operation()?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = |name: &str| name.contains(&arguments.only);
    let paths: Vec<_> = Path::all().into_iter().filter(|path| wanted(path.name())).collect();
    if paths.is_empty() {
        bail!("no path's name contains {:?}", arguments.only);
    }
    let mut measured = Baseline::here()?;
    let mut times = if arguments.no_times { Vec::new() } else { time::ratios(&paths)? }.into_iter();
    for path in &paths {
        eprintln!("counting: {}", path.name());
        let instructions = count::of_path(*path)?;
        measured.set(path.name(), Figure { instructions, time: times.next() });
    }
    if arguments.bless {
        let mut kept = Baseline::read(&arguments.baseline).unwrap_or_else(|_| measured.clone());
        kept.take(measured);
        kept.write(&arguments.baseline)?;
        println!("written: {}", arguments.baseline.display());
        return Ok(ExitCode::SUCCESS);
    }
    let baseline = Baseline::read(&arguments.baseline)?;
    let compared = baseline.compare(&measured);
    print!("{compared}");
    Ok(if compared.is_within() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
