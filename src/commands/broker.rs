//! `waxwing broker run`.

use std::io;
use std::net::SocketAddr;

use serde::Serialize;
use tokio::net::TcpListener;
use tracing::warn;
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
    let listener =
        TcpListener::bind(arguments.listen).await.map_err(|err| cannot_listen(arguments.listen, &err))?;
    let address = listener.local_addr().map_err(|err| cannot_listen(arguments.listen, &err))?;
    let ready = Ready { event: "ready", url: format!("ws://{address}") };
    let say_ready = || {
        if let Err(error) = context.output.print(&ready, || ready.url.clone()) {
            warn!(error = error.message(), "nobody reads that the broker is ready");
        }
    };
    Ok(waxwing_broker::run(config, listener, say_ready, shutdown).await?)
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    let message = format!("cannot listen on {address}: {error}");
    if error.kind() == io::ErrorKind::AddrInUse {
        Failure::conflict(message)
            .hint("stop what listens there, or take another port with --listen (0 for any free one)")
    } else {
        Failure::failed(message)
    }
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
