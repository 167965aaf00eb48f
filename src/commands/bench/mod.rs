//! `waxwing bench`: what it costs, on this machine.

pub(super) mod bar;
mod view;

use std::path::PathBuf;

use serde::Serialize;
use waxwing_lab::bench::{Running, Setup, Until, backlog, database, latency, lease, links, send, topic};

use self::bar::Bar;
use super::{Context, stop};
use crate::cli::{
    Bench, BenchBacklog, BenchDatabase, BenchLatency, BenchLease, BenchLinks, BenchOn, BenchPairs, BenchSend,
    BenchTopic, Handed,
};
use crate::failure::{Failure, Result};

/// A measurement, and on what.
#[derive(Serialize)]
pub(super) struct Measured<'a, R> {
    pub(super) version: &'static str,
    pub(super) cores: usize,
    #[serde(flatten)]
    pub(super) report: &'a R,
}

impl<'a, R> Measured<'a, R> {
    pub(super) fn new(report: &'a R) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { version: env!("CARGO_PKG_VERSION"), cores, report }
    }
}

pub(crate) async fn run(context: &Context, command: Bench) -> Result<()> {
    crate::logs::passing(context.verbose);
    let stopped = stop::asked()?;
    let measured = async {
        match command {
            Bench::Send(arguments) => send(context, arguments).await,
            Bench::Latency(arguments) => latency(context, arguments).await,
            Bench::Topic(arguments) => topic(context, arguments).await,
            Bench::Lease(arguments) => lease(context, arguments).await,
            Bench::Links(arguments) => links(context, &arguments).await,
            Bench::Backlog(arguments) => backlog(context, &arguments).await,
            Bench::Database(arguments) => database(context, arguments).await,
        }
    };
    tokio::select! {
        measured = measured => measured,
        () = stopped => Err(Failure::failed("stopped before it was measured")),
    }
}

/// On what is measured: so many nodes and apps.
fn setup(on: BenchOn, nodes: usize, apps: usize) -> Result<Setup> {
    let BenchOn { rounds, duration, messages, broker, creation_token } = on;
    let broker = broker.map(|url| Running { url, creation_token });
    let until = messages.map_or(Until::Elapsed(duration), Until::Count);
    Ok(Setup { program: program()?, broker, nodes, apps, rounds, until })
}

async fn send(context: &Context, arguments: BenchSend) -> Result<()> {
    let BenchPairs { on, nodes, apps, size, connections } = arguments.pairs;
    let mode = match arguments.mode {
        Handed::Batch => send::Mode::Batch,
        Handed::Single => send::Mode::Single { connections },
    };
    let plan = send::Plan { setup: setup(on, nodes, apps)?, size, window: arguments.window, mode };
    let bar = Bar::new(context.output);
    let report = send::run(&plan, &bar).await?;
    drop(bar);
    let measured = Measured::new(&report);
    context.output.print(&measured, || view::send(&measured))?;
    all_came_once(report.figures.lost, report.figures.duplicates)
}

async fn latency(context: &Context, arguments: BenchLatency) -> Result<()> {
    let BenchPairs { on, nodes, apps, size, connections } = arguments.pairs;
    let (setup, rate) = (setup(on, nodes, apps)?, arguments.rate.map(|rate| rate as f64));
    let plan = latency::Plan { setup, size, window: arguments.window, connections, rate };
    let bar = Bar::new(context.output);
    let report = latency::run(&plan, &bar).await?;
    drop(bar);
    let measured = Measured::new(&report);
    context.output.print(&measured, || view::latency(&measured))?;
    all_came_once(report.lost, report.duplicates)
}

async fn topic(context: &Context, arguments: BenchTopic) -> Result<()> {
    let BenchTopic { on, nodes, apps, window, size } = arguments;
    let plan = topic::Plan { setup: setup(on, nodes, apps)?, publishers: window, size };
    let bar = Bar::new(context.output);
    let report = topic::run(&plan, &bar).await?;
    drop(bar);
    let measured = Measured::new(&report);
    context.output.print(&measured, || view::topic(&measured))?;
    all_came_once(report.lost, report.duplicates)
}

async fn lease(context: &Context, arguments: BenchLease) -> Result<()> {
    let BenchLease { on, nodes, apps } = arguments;
    let plan = lease::Plan { setup: setup(on, nodes, apps)? };
    let bar = Bar::new(context.output);
    let report = lease::run(&plan, &bar).await?;
    drop(bar);
    let measured = Measured::new(&report);
    context.output.print(&measured, || view::lease(&measured))?;
    match (report.overlaps, report.stale_tokens) {
        (0, 0) => Ok(()),
        (overlaps, stale) => Err(Failure::failed(format!(
            "a lease was granted {overlaps} times while another had it, and {stale} times under a token that was not above the last"
        ))),
    }
}

fn all_came_once(lost: usize, twice: usize) -> Result<()> {
    match (lost, twice) {
        (0, 0) => Ok(()),
        (lost, more) => Err(Failure::failed(format!("{lost} messages were lost, and {more} came twice"))),
    }
}

async fn links(context: &Context, arguments: &BenchLinks) -> Result<()> {
    let idle = humantime::parse_duration(&arguments.idle);
    let idle = idle.map_err(|err| Failure::usage(format!("--idle {}: {err}", arguments.idle)))?;
    let plan = links::Plan { program: program()?, links: arguments.links, idle };
    let bar = Bar::new(context.output);
    let report = links::run(&plan, &bar).await?;
    drop(bar);
    let measured = Measured::new(&report);
    context.output.print(&measured, || view::links(&measured))
}

async fn backlog(context: &Context, arguments: &BenchBacklog) -> Result<()> {
    let BenchBacklog { queued, messages, rounds } = *arguments;
    let plan = backlog::Plan { program: program()?, queued, messages, rounds };
    let bar = Bar::new(context.output);
    let report = backlog::run(&plan, &bar).await?;
    drop(bar);
    let measured = Measured::new(&report);
    context.output.print(&measured, || view::backlog(&measured))
}

async fn database(context: &Context, arguments: BenchDatabase) -> Result<()> {
    let BenchDatabase { server, messages, single, rounds } = arguments;
    let plan = database::Plan { program: program()?, database: server, messages, single, rounds };
    let bar = Bar::new(context.output);
    let report = database::run(&plan, &bar).await?;
    drop(bar);
    let measured = Measured::new(&report);
    context.output.print(&measured, || view::database(&measured))
}

pub(super) fn program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|err| Failure::failed(format!("cannot find this program: {err}")))
}
