//! Trying to break it.

use std::path::PathBuf;

use clap::Args;

use super::bench::at_least;

#[derive(Args, Debug)]
pub(crate) struct Prove {
    /// End when so many processes have been killed
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = at_least::<1>)]
    pub(crate) kills: usize,
    /// End after this long instead, as 10m
    #[arg(long = "for", value_name = "DURATION", conflicts_with = "kills")]
    pub(crate) time: Option<String>,
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least::<2>)]
    pub(crate) nodes: usize,
    /// Do again what another run did [default: something else each time]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Keep what the apps saw, as JSON lines, also if nothing is wrong with it
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    /// Break nothing: judge what was kept
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kills", "time", "nodes", "seed", "history"])]
    pub(crate) judge: Option<PathBuf>,
}
