//! `waxwing down`, `waxwing node down`, and `waxwing broker down`.

use std::path::Path;

use serde::Serialize;
use waxwing_node::Config;

use super::Context;
use crate::background;
use crate::failure::Result;

/// What was stopped.
#[derive(Serialize)]
struct Down {
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<Stopped>,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker: Option<Stopped>,
}

/// Whether a process was stopped, or there was none.
#[derive(Serialize)]
struct Stopped {
    stopped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
}

impl Stopped {
    const fn new(pid: Option<u32>) -> Self {
        Self { stopped: pid.is_some(), pid }
    }

    fn people(&self, name: &str) -> String {
        match self.pid {
            Some(pid) => format!("the {name} is stopped (it was process {pid})"),
            None => format!("no {name} is running"),
        }
    }
}

/// Stops both, the node first: what it still has to say, the broker hears.
pub(crate) async fn run(context: &Context) -> Result<()> {
    crate::logs::passing(context.verbose);
    let config = context.config()?;
    let node = stop_node(&config).await?;
    let broker = stop_broker(&super::broker::data_folder(&config)).await?;
    print(context, &Down { node: Some(node), broker: Some(broker) })
}

pub(crate) async fn node(context: &Context) -> Result<()> {
    crate::logs::passing(context.verbose);
    print(context, &Down { node: Some(stop_node(&context.config()?).await?), broker: None })
}

/// Stops the broker of a data folder.
pub(super) async fn broker(context: &Context, data: &Path) -> Result<()> {
    print(context, &Down { node: None, broker: Some(stop_broker(data).await?) })
}

fn print(context: &Context, down: &Down) -> Result<()> {
    context.output.print(down, || {
        let parts = [("node", &down.node), ("broker", &down.broker)];
        let lines = parts.iter().filter_map(|(name, part)| Some(part.as_ref()?.people(name)));
        lines.collect::<Vec<_>>().join("\n")
    })
}

async fn stop_node(config: &Config) -> Result<Stopped> {
    let running = waxwing_node::running(config)?;
    if let Some(pid) = running {
        // While it lets go of its lock, the lock is held and says nothing.
        let runs = || match waxwing_node::running(config) {
            Ok(running) => Ok(running == Some(pid)),
            Err(waxwing_node::Error::Conflict(_)) => Ok(true),
            Err(error) => Err(error.into()),
        };
        background::stop("node", pid, runs).await?;
    }
    Ok(Stopped::new(running))
}

async fn stop_broker(data: &Path) -> Result<Stopped> {
    let runs = || -> Result<Option<u32>> {
        Ok(waxwing_broker::holder(data)?.filter(|holder| holder.runs).map(|holder| holder.pid))
    };
    let running = runs()?;
    if let Some(pid) = running {
        background::stop("broker", pid, || Ok(runs()? == Some(pid))).await?;
    }
    Ok(Stopped::new(running))
}
