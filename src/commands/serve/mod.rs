//! `waxwing serve`: an app whose requests are answered by a command, once for each.
//!
//! ```text
//! registered -> request -> CMD: body on stdin, who asks in the environment -> its stdout is the answer
//!                                                                           another exit code than 0: refused, with its stderr
//! cancelled, deadline passed, this command ends -> CMD and all that it has started is killed
//! ```

mod command;

use std::ffi::OsString;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use waxwing_client::api::EventQuery;

use super::Context;
use super::run::environment;
use crate::cli::Serve;
use crate::failure::{Failure, Result};

/// What is run for a request.
#[derive(Debug)]
struct Served {
    command: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
}

pub(crate) async fn run(context: &Context, arguments: Serve) -> Result<()> {
    let client = context.client()?.app(arguments.name.clone());
    let query = EventQuery {
        instance: arguments.instance,
        takeover: arguments.takeover.then_some(1),
        mesh: context.mesh.clone(),
        ..EventQuery::default()
    };
    let environment = environment(context, &arguments.name)?;
    let served = Arc::new(Served { command: arguments.command, environment });
    let caught = |error: std::io::Error| Failure::failed(format!("cannot catch signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(caught)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(caught)?;
    let requests = client.serve(&query).await?;
    context.output.note(&format!("{} answers requests", arguments.name));
    let answering = requests.answer_all(arguments.at_once.into(), move |request| {
        let served = Arc::clone(&served);
        async move { command::answer(&served, request).await }
    });
    // What runs is killed with `answering`.
    tokio::select! {
        ended = answering => match ended {
            Ok(never) => match never {},
            Err(error) => Err(error.into()),
        },
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}
