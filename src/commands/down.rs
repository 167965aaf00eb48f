//! `waxwing down`, and `waxwing node down`.

use serde::Serialize;
use waxwing_node::Config;

use super::Context;
use crate::background;
use crate::failure::Result;

/// What was stopped.
#[derive(Serialize)]
struct Down {
    node: Stopped,
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
    let broker = stop_broker(&config).await?;
    let down = Down { node, broker: Some(broker) };
    context.output.print(&down, || {
        let broker = down.broker.iter().map(|broker| broker.people("broker"));
        [down.node.people("node")].into_iter().chain(broker).collect::<Vec<_>>().join("\n")
    })
}

pub(crate) async fn node(context: &Context) -> Result<()> {
    crate::logs::passing(context.verbose);
    let down = Down { node: stop_node(&context.config()?).await?, broker: None };
    context.output.print(&down, || down.node.people("node"))
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

async fn stop_broker(config: &Config) -> Result<Stopped> {
    let data = super::broker::data_folder(config);
    let runs = || -> Result<Option<u32>> {
        Ok(waxwing_broker::holder(&data)?.filter(|holder| holder.runs).map(|holder| holder.pid))
    };
    let running = runs()?;
    if let Some(pid) = running {
        background::stop("broker", pid, || Ok(runs()? == Some(pid))).await?;
    }
    Ok(Stopped::new(running))
}
