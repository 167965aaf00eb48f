//! `waxwing broker run`.

use serde::Serialize;
use tokio::net::TcpListener;
use waxwing_broker::Config;

use super::{Context, stop};
use crate::cli::BrokerRun;
use crate::failure::{Failure, Result};
use crate::logs;

/// Printed when nodes can connect.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    url: String,
}

pub(crate) async fn run(context: &Context, arguments: BrokerRun) -> Result<()> {
    logs::serving(context.verbose);
    Config::check_listen(arguments.listen)?;
    let data = match arguments.data {
        Some(data) => data,
        None => context.config()?.state.join("broker"),
    };
    let config = Config { urls: arguments.advertise, ..Config::new(data) };
    let shutdown = stop::asked()?;
    let cannot = |err| Failure::failed(format!("cannot listen on {}: {err}", arguments.listen));
    let listener = TcpListener::bind(arguments.listen).await.map_err(cannot)?;
    let url = format!("ws://{}", listener.local_addr().map_err(cannot)?);
    context.output.print(&Ready { event: "ready", url: url.clone() }, || url)?;
    waxwing_broker::run(config, listener, shutdown).await?;
    Ok(())
}

impl From<waxwing_broker::Error> for Failure {
    fn from(error: waxwing_broker::Error) -> Self {
        use waxwing_broker::Error;
        let message = error.to_string();
        match error {
            Error::Config(_) => Self::usage(message),
            Error::InUse(_) => Self::conflict(message).hint("stop it first, or use another --data"),
            Error::NewerSchema { .. } => Self::incompatible(message),
            Error::Internal(_) => Self::failed(message),
        }
    }
}
