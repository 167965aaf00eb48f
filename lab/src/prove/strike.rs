//! Faults, done to a mesh and mended again.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::schedule::{Fault, Moment, Strike, Victim};
use crate::error::{Error, Result};
use crate::mesh::Lab;
use crate::proxy::{Clouds, Held, Weather, When};
use crate::wait::eventually;

/// A frame that has not come by then does not come in this round: the fault strikes without it.
const COMES_WITHIN: Duration = Duration::from_millis(250);
/// Nodes that have lost their link often wait for up to half a minute before they dial again. Nobody here waits for that: they are
/// restarted, as an operator would.
const DIALS_WITHIN: Duration = Duration::from_millis(700);

/// What goes on until a round's messages have been sent.
#[derive(Debug, Default)]
pub(super) struct Goes(Vec<Clouds>);

/// Lets a fault strike, and mends what it broke; what makes a link slow goes on for as long as the answer is kept.
pub(super) async fn strike(lab: &mut Lab, nodes: &[String], strike: &Strike) -> Result<Goes> {
    let _held = moment(lab, nodes, strike.moment).await;
    let (mut goes, id) = (Goes::default(), |lab: &Lab, node: usize| lab.id(&nodes[node]));
    match &strike.fault {
        Fault::Kill { victims, gone } => {
            for victim in victims {
                lab.kill(name(nodes, *victim)).await?;
            }
            sleep(*gone).await;
            for victim in victims {
                lab.restart(name(nodes, *victim)).await?;
            }
        }
        Fault::Restart(victim) => {
            lab.stop(name(nodes, *victim)).await?;
            lab.restart(name(nodes, *victim)).await?;
        }
        Fault::LoseStore => lab.lose_store().await?,
        Fault::Cut(node) => lab.proxy().cut(id(lab, *node)),
        Fault::CutAll => lab.proxy().cut_links(),
        Fault::HalfOpen { node, end, lasts } => {
            let _half = lab.proxy().half_open(id(lab, *node), *end);
            sleep(*lasts).await;
        }
        Fault::Stall { node, lasts } => {
            let _parted = lab.proxy().part(id(lab, *node));
            sleep(*lasts).await;
        }
        Fault::Silence { node, lasts } => {
            let weather = Weather { silent: true, ..Weather::default() };
            let _silence = lab.proxy().weather(id(lab, *node), weather);
            sleep(*lasts).await;
        }
        Fault::Delay { node, by } => {
            goes.0.push(lab.proxy().weather(id(lab, *node), Weather { delay: *by, ..Weather::default() }));
        }
        Fault::Split(node) => {
            let weather = Weather { split: true, ..Weather::default() };
            goes.0.push(lab.proxy().weather(id(lab, *node), weather));
        }
        Fault::Swallow { lasts } => {
            let _swallowing = lab.proxy().swallow();
            lab.proxy().cut_links();
            sleep(*lasts).await;
        }
    }
    Ok(goes)
}

/// Waits for the moment. A frame is held until the answer is dropped.
async fn moment(lab: &Lab, nodes: &[String], moment: Moment) -> Option<Held> {
    match moment {
        Moment::After(after) => {
            sleep(after).await;
            None
        }
        Moment::Holding { node, frame } => {
            let hold = lab.proxy().hold(When::named(lab.id(&nodes[node]), frame));
            timeout(COMES_WITHIN, hold.held()).await.ok()?.ok()
        }
    }
}

/// Waits until every node is linked, and restarts those that take their time. Returns how many.
pub(super) async fn calm(lab: &mut Lab, nodes: &[String]) -> Result<usize> {
    for name in nodes.iter().map(String::as_str).chain([Lab::BROKER]) {
        if let Some(status) = lab.process(name).has_ended()? {
            return Err(Error::Process {
                process: name.to_owned(),
                what: format!("ended by itself ({status})"),
                log: lab.process(name).log_end(),
            });
        }
    }
    let mut restarted = 0;
    for node in nodes {
        let linked = async || lab.is_linked(node).await.then_some(());
        if eventually(DIALS_WITHIN, "it is linked", linked).await.is_err() {
            lab.stop(node).await?;
            lab.restart(node).await?;
            lab.linked(node).await?;
            restarted += 1;
        }
    }
    Ok(restarted)
}

fn name(nodes: &[String], victim: Victim) -> &str {
    match victim {
        Victim::Broker => Lab::BROKER,
        Victim::Node(node) => &nodes[node],
    }
}
