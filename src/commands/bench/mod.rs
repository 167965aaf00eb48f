//! `waxwing bench`: what it costs, on this machine.

pub(super) mod bar;
mod view;

use std::path::PathBuf;

use serde::Serialize;
use waxwing_lab::bench::{backlog, database, links, send};

use self::bar::Bar;
use super::{Context, stop};
use crate::cli::{Bench, BenchBacklog, BenchDatabase, BenchLinks, BenchSend, Handed};
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
            Bench::Send(arguments) => send(context, &arguments).await,
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

async fn send(context: &Context, arguments: &BenchSend) -> Result<()> {
    let plan = send::Plan {
        program: program()?,
        nodes: arguments.nodes,
        messages: arguments.messages,
        size: arguments.size,
        window: arguments.window,
        mode: match arguments.mode {
            Handed::Batch => send::Mode::Batch,
            Handed::Single => send::Mode::Single,
        },
    };
    let bar = Bar::new(context.output);
    let report = send::run(&plan, &bar).await?;
    drop(bar);
    let measured = Measured::new(&report);
    context.output.print(&measured, || view::send(&measured))?;
    match (report.lost, report.duplicates) {
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
