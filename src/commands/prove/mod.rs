//! `waxwing prove`: tries to break every promise about mail, on this disk.

mod view;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::Serialize;
use waxwing_lab::History;
use waxwing_lab::history::{Broken, Summary};
use waxwing_lab::prove::{self, Diary, Plan, Report, Until};

use super::bench::bar::Bar;
use super::bench::{Measured, program};
use super::{Context, stop};
use crate::cli::Prove;
use crate::failure::{Failure, Result};

/// Requests to each node beside each fault: so many that what is under way is at every step of its way.
const REQUESTS: usize = 3;

/// What came of it.
#[derive(Serialize)]
struct Proved<'a> {
    #[serde(flatten)]
    measured: Measured<'a, Report>,
    /// The command that does the same to it again.
    again: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<Story>,
}

/// A promise that was broken, and where what happened is kept.
#[derive(Serialize)]
struct Story {
    text: String,
    kept: PathBuf,
}

/// What a history says that was kept.
#[derive(Serialize)]
struct Judged {
    #[serde(flatten)]
    summary: Option<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broken: Option<String>,
}

pub(crate) async fn run(context: &Context, arguments: Prove) -> Result<()> {
    crate::logs::passing(context.verbose);
    if let Some(file) = &arguments.judge {
        return judge(context, file);
    }
    let stopped = stop::asked()?;
    let (plan, diary) = (plan(&arguments)?, Diary::default());
    let again = again(&arguments, plan.seed);
    let what = format!(
        "Breaking a broker and {} nodes in a temporary folder, by seed {} ...",
        plan.nodes, plan.seed
    );
    context.output.note(&what);
    let bar = Bar::new(context.output);
    let tried = tokio::select! {
        tried = prove::run(&plan, &diary, &bar) => Some(tried),
        () = stopped => None,
    };
    drop(bar);
    if let Some(file) = &arguments.history {
        diary.write(file)?;
    }
    match tried {
        Some(Ok((report, broken))) => told(context, again, &report, broken, &diary),
        Some(Err(error)) => {
            let kept = diary.keep(plan.seed)?;
            let failed = Failure::failed(format!(
                "{error}\nseed {}; what happened is kept in {}",
                plan.seed,
                kept.display()
            ));
            Err(failed.hint(format!("`{again}` does the same again")))
        }
        None => {
            let accepted = diary.record().history().summary().accepted;
            Err(Failure::failed(format!(
                "stopped, with nothing broken so far: {accepted} messages were accepted"
            )))
        }
    }
}

/// Says what came of it, and fails if anything is broken.
fn told(
    context: &Context,
    again: String,
    report: &Report,
    broken: Option<Broken>,
    diary: &Diary,
) -> Result<()> {
    let story =
        |broken: Broken| Ok::<_, Failure>(Story { text: broken.to_string(), kept: diary.keep(report.seed)? });
    let broken = broken.map(story).transpose()?;
    let proved = Proved { measured: Measured::new(report), again, broken };
    context.output.print(&proved, || view::proved(&proved))?;
    match (&proved.broken, report.summary.ended) {
        (Some(story), _) => {
            let (count, kept) = (report.broken(), story.kept.display());
            Err(Failure::broken_promise(format!(
                "promises were broken to {count} messages, by seed {}",
                report.seed
            ))
            .hint(format!(
                "`{}` does the same again; what the apps saw and what was done is in {kept}",
                proved.again
            )))
        }
        (None, 0) => Ok(()),
        // They were reported, as is promised. But nothing that is done here is a reason for it.
        (None, ended) => Err(Failure::broken_promise(format!("{ended} messages were given up without need"))
            .hint(format!("`{}` does the same again", proved.again))),
    }
}

fn plan(arguments: &Prove) -> Result<Plan> {
    let until = match &arguments.time {
        Some(time) => Until::Time(
            humantime::parse_duration(time).map_err(|err| Failure::usage(format!("--for {time}: {err}")))?,
        ),
        None => Until::Kills(arguments.kills),
    };
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => u64::from(getrandom::u32().map_err(|err| Failure::failed(format!("no random seed: {err}")))?),
    };
    Ok(Plan { program: program()?, nodes: arguments.nodes, requests: REQUESTS, seed, until })
}

/// The command that does the same again.
fn again(arguments: &Prove, seed: u64) -> String {
    let bound = match &arguments.time {
        Some(time) => format!("--for {time}"),
        None => format!("--kills {}", arguments.kills),
    };
    format!("waxwing prove --seed {seed} --nodes {} {bound}", arguments.nodes)
}

/// Judges what was kept of a run.
fn judge(context: &Context, file: &Path) -> Result<()> {
    let cannot = |err: std::io::Error| Failure::not_found(format!("cannot read {}: {err}", file.display()));
    let history = History::read(BufReader::new(File::open(file).map_err(cannot)?))
        .map_err(|err| Failure::damaged(format!("{}: {err}", file.display())))?;
    let (summary, broken) = match history.check_all() {
        Ok(summary) => (Some(summary), None),
        Err(broken) => (None, Some(broken.to_string())),
    };
    let judged = Judged { summary, broken };
    context.output.print(&judged, || view::judged(&judged))?;
    match judged.broken {
        None => Ok(()),
        Some(_) => Err(Failure::broken_promise(format!("{} tells of broken promises", file.display()))),
    }
}
