//! How the demonstration looks: each message's way, and the same as the broker saw it.

use std::time::Duration;

use serde::Serialize;
use waxwing_client::Timestamp;
use waxwing_client::api::{Change, MessageState, Voucher};
use waxwing_lab::{Frame, Lab};
use waxwing_protocol::link::ToBroker;

use super::{Demo, Letter, Told};
use crate::output::{table, time};

/// All that the broker could read of one message.
#[derive(Serialize)]
pub(super) struct Seen {
    id: String,
    from: String,
    to: String,
    priority: &'static str,
    expires: Timestamp,
    sealed_bytes: usize,
}

/// What nodes handed to the broker.
pub(super) fn seen(lab: &Lab) -> Vec<Seen> {
    let mut seen = Vec::new();
    for captured in lab.proxy().captured() {
        let (Some(from), Frame::ToBroker(ToBroker::Send(send))) = (captured.node, captured.frame) else {
            continue;
        };
        seen.extend(send.items.into_iter().map(|item| Seen {
            id: item.id.to_string(),
            from: from.to_string(),
            to: item.to.to_string(),
            priority: item.pri.as_str(),
            expires: item.exp,
            sealed_bytes: item.env.len(),
        }));
    }
    seen
}

/// What a change of state means, and whose word it is.
pub(super) fn meaning(change: &Change, letter: &Letter) -> String {
    let what = match change.state {
        MessageState::Queued => format!("on the disk of {}", letter.from),
        MessageState::Inflight => "handed to the broker".to_owned(),
        MessageState::Accepted => "sealed, in the broker's store".to_owned(),
        MessageState::Delivered => format!("{} has verified the receipt of {}", letter.from, letter.to),
        MessageState::Read => format!("an app of {} has acknowledged it", letter.to),
        MessageState::Dead | MessageState::Expired | MessageState::Aborted => "given up".to_owned(),
    };
    match change.by {
        Voucher::Broker => format!("{what}, so it says"),
        Voucher::Node | Voucher::Recipient => what,
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The whole demonstration as text.
pub(super) fn people(demo: &Demo) -> String {
    let mut text: Vec<String> = demo.messages.iter().map(way).collect();
    text.push(format!(
        "What the broker could see of them, beside the membership log (names of mesh and nodes, keys, roles):\n\n{}",
        broker_view(&demo.broker_saw)
    ));
    let searched = &demo.searched;
    let found = if searched.found.is_empty() {
        "found none of it".to_owned()
    } else {
        format!("FOUND {}", searched.found.join(", "))
    };
    text.push(format!(
        "Searched the broker's {} files and every frame on its wire, {} KiB, for both texts, apps and message ids:\n{found}.",
        searched.files,
        searched.bytes / 1024,
    ));
    text.join("\n\n")
}

fn way(message: &Told) -> String {
    let hops: Vec<Vec<String>> = message
        .hops
        .iter()
        .map(|hop| vec![format!("{:>6} ms", hop.ms), hop.step.to_owned(), hop.what.clone()])
        .collect();
    format!("{} -> {}: \"{}\"\n{}", message.from, message.to, message.text, table(&hops))
}

fn broker_view(seen: &[Seen]) -> String {
    let mut rows =
        vec![["  MESSAGE", "FROM", "TO", "PRIORITY", "EXPIRES", "SEALED"].map(String::from).to_vec()];
    rows.extend(seen.iter().map(|seen| {
        vec![
            format!("  {}", short(&seen.id)),
            short(&seen.from),
            short(&seen.to),
            seen.priority.to_owned(),
            time(seen.expires),
            format!("{} bytes", seen.sealed_bytes),
        ]
    }));
    table(&rows)
}

/// The beginning of an id, enough to tell a few apart.
fn short(id: &str) -> String {
    format!("{}..", id.chars().take(8).collect::<String>())
}
