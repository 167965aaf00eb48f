//! `waxwing broker backup`.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;

use serde::Serialize;

use super::at::At;
use super::size;
use crate::cli::BrokerBackup;
use crate::commands::Context;
use crate::failure::Result;

/// What was made.
#[derive(Serialize)]
struct Made {
    file: PathBuf,
    bytes: u64,
}

pub(crate) async fn run(context: &Context, arguments: BrokerBackup) -> Result<()> {
    crate::logs::passing(context.verbose);
    let at = At::resolve(context, arguments.at)?;
    let to = arguments.to;
    let shows = context.output.is_for_people() && io::stderr().is_terminal();
    let progress = |done, all| {
        if shows {
            // A line that cannot be shown must not fail the command.
            let _ = write!(io::stderr(), "\r{} of at most {}   ", size(done), size(all));
        }
    };
    let made = waxwing_broker::backup(&at.config, &to, progress).await;
    if shows {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    let made = Made { bytes: made.map_err(|error| at.failure(error))?, file: to };
    context.output.print(&made, || format!("{}: {}, whole", made.file.display(), size(made.bytes)))?;
    context.output.note(
        "It has no store id: nodes of a broker that starts on it send again what it lacks, and each mesh waits for \
         an admin's `waxwing mesh resume`",
    );
    Ok(())
}
