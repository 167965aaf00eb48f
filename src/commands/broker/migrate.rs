//! `waxwing broker migrate`.

use serde::Serialize;
use waxwing_broker::{Moved, Step};
use waxwing_lab::bench::Progress as _;

use super::at;
use crate::cli::BrokerMigrate;
use crate::commands::Context;
use crate::commands::bench::bar::Bar;
use crate::failure::{Failure, Result};

/// What was moved, and from where to where.
#[derive(Serialize)]
struct Shown {
    from: String,
    to: String,
    #[serde(flatten)]
    moved: Moved,
}

pub(crate) async fn run(context: &Context, arguments: BrokerMigrate) -> Result<()> {
    crate::logs::passing(context.verbose);
    let from = at::database("--from", &arguments.from)?;
    let to = at::database("--to", &arguments.to)?;
    let bar = Bar::new(context.output);
    let mut shown = None;
    let progress = |step, done, all| {
        if shown != Some(step) {
            shown = Some(step);
            bar.begin(if step == Step::Copying { "copying" } else { "comparing" }, all);
        }
        bar.done(done);
    };
    let moved = waxwing_broker::migrate(&from, &to, progress).await;
    drop(bar);
    let moved = moved.map_err(|error| failure(error, &arguments))?;
    let shown = Shown { from: from.to_string(), to: to.to_string(), moved };
    context.output.print(&shown, || people(&shown))?;
    context.output.note(&format!(
        "next: waxwing broker run --database '{}'\nThe broker keeps its data folder, and the keys in it. Do not start one on {} \
         again: from now on that is an older copy of the same store. Nodes would find it out, send again what it lacks, and each mesh \
         would wait for an admin's `waxwing mesh resume`. Remove it when the new one runs",
        arguments.to, shown.from
    ));
    Ok(())
}

fn people(shown: &Shown) -> String {
    let Shown { from, to, moved } = shown;
    let tables = moved.tables.iter().filter(|table| table.rows > 0);
    let lines = tables.map(|table| format!("  {:<10} {} rows", table.table, table.rows));
    let head = format!("moved {} rows from {from} to {to}; read back from both, and equal", moved.rows);
    std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
}

/// What mends it here: there is no data folder to name.
fn failure(error: waxwing_broker::Error, arguments: &BrokerMigrate) -> Failure {
    let (busy, away) = (
        matches!(error, waxwing_broker::Error::InUse(_)),
        matches!(error, waxwing_broker::Error::Unavailable(_)),
    );
    let failure = Failure::from(error);
    if busy {
        failure.hint("`waxwing broker down` stops it; then run this again")
    } else if away {
        failure.hint(format!(
            "see that the server can be reached (`psql '{}'`), and run this again: it moves all, or finds that all was moved",
            if arguments.to.starts_with("sqlite:") { &arguments.from } else { &arguments.to }
        ))
    } else {
        failure
    }
}
