//! `waxwing demo`: the main job, shown on real processes.

mod view;

use std::time::Duration;

use serde::Serialize;
use waxwing_client::Timestamp;
use waxwing_client::api::{InboxItem, InboxQuery, MeshQuery, MessageState, SendRequest, SendStatus, Voucher};
use waxwing_lab::{Lab, Scan, eventually};

use super::{Context, stop};
use crate::failure::{Failure, Result};
use view::Seen;

/// A message takes milliseconds; a machine that needs this long is ill.
const WITHIN: Duration = Duration::from_secs(30);

/// One message of the demonstration: who sends what to whom.
struct Letter {
    from: &'static str,
    from_app: &'static str,
    to: &'static str,
    to_app: &'static str,
    text: &'static str,
}

const LETTERS: [Letter; 2] = [
    Letter {
        from: "alpha",
        from_app: "kingfisher",
        to: "beta",
        to_app: "nightjar",
        text: "The tide turns at nine. Can you take the evening watch?",
    },
    Letter {
        from: "beta",
        from_app: "nightjar",
        to: "alpha",
        to_app: "kingfisher",
        text: "I can. Leave the lamp where it is.",
    },
];

/// What was shown.
#[derive(Serialize)]
struct Demo {
    messages: Vec<Told>,
    broker_saw: Vec<Seen>,
    searched: Searched,
    delivered: bool,
}

/// One message's way.
#[derive(Serialize)]
struct Told {
    id: String,
    from: String,
    to: String,
    text: &'static str,
    hops: Vec<Hop>,
    receipt_verified: bool,
}

/// One step of the way, in milliseconds since the node had accepted the message.
#[derive(Serialize)]
struct Hop {
    ms: u64,
    /// A state of the message, or `stored` when it came into the other inbox: the recipient's word for the same.
    step: &'static str,
    what: String,
}

/// The search for what the broker must not have.
#[derive(Serialize)]
struct Searched {
    files: usize,
    bytes: usize,
    found: Vec<String>,
}

pub(crate) async fn run(context: &Context) -> Result<()> {
    crate::logs::passing(context.verbose);
    let stopped = stop::asked()?;
    let demo = tokio::select! {
        demo = show(context) => demo?,
        () = stopped => return Err(Failure::failed("stopped before both messages were delivered")),
    };
    context.output.print(&demo, || view::people(&demo))?;
    if !demo.delivered {
        return Err(Failure::failed("not every message was delivered with a verified receipt"));
    }
    if demo.searched.found.is_empty() {
        Ok(())
    } else {
        Err(Failure::failed("the broker holds what it must not"))
    }
}

async fn show(context: &Context) -> Result<Demo> {
    let program =
        std::env::current_exe().map_err(|err| Failure::failed(format!("cannot find this program: {err}")))?;
    context.output.note("Starting a broker and two nodes, alpha and beta, each a process of its own ...");
    let lab = Lab::mesh(program, &["alpha", "beta"]).await?;
    let mut messages = Vec::new();
    for letter in &LETTERS {
        messages.push(deliver(&lab, letter).await?);
    }
    let delivered = messages.iter().all(|message| message.receipt_verified);
    Ok(Demo { searched: search(&lab, &messages)?, broker_saw: view::seen(&lab), messages, delivered })
}

/// Sends one message as an app does, and waits until its receipt is verified and it lies in the other app's mailbox.
async fn deliver(lab: &Lab, letter: &Letter) -> Result<Told> {
    let (sender, recipient) = (lab.client(letter.from), lab.client(letter.to));
    let request = SendRequest {
        to: format!("{}@{}", letter.to_app, letter.to),
        body: Some(letter.text.to_owned()),
        from_app: letter.from_app.parse().ok(),
        ..SendRequest::default()
    };
    let sent = sender.send(&request).await?;
    let id = sent.client_message_id;
    let status = eventually(WITHIN, "the receipt", async || {
        let status = sender.status(&id, &MeshQuery::default()).await.ok()?;
        (status.state == MessageState::Delivered).then_some(status)
    })
    .await?;
    let mailbox = InboxQuery { app: Some(letter.to_app.to_owned()), ..InboxQuery::default() };
    let page = recipient.inbox(&mailbox).await?;
    let item = page.items.into_iter().find(|item| item.client_message_id == id);
    let item = item.ok_or_else(|| Failure::failed(format!("{id} has a receipt and is not in the inbox")))?;
    if item.body.as_deref() != Some(letter.text) {
        return Err(Failure::failed(format!("{id} arrived with another text")));
    }
    Ok(told(letter, &status, &item))
}

fn told(letter: &Letter, status: &SendStatus, item: &InboxItem) -> Told {
    let start = status.history.first().map_or(item.sent_at, |change| change.at);
    let mut steps: Vec<(Timestamp, &'static str, String)> = status
        .history
        .iter()
        .map(|change| (change.at, change.state.as_str(), view::meaning(change, letter)))
        .collect();
    let stored = format!("in the inbox of {}, where only {} sees it", letter.to, letter.to_app);
    steps.push((item.received_at, "stored", stored));
    // The receipt comes after what it proves, also within one millisecond.
    steps.sort_by_key(|(at, state, _)| (*at, *state == "delivered"));
    let hop = |(at, step, what): (Timestamp, _, _)| Hop { ms: view::millis(at.since(start)), step, what };
    Told {
        id: status.client_message_id.to_string(),
        from: format!("{}@{}", letter.from_app, letter.from),
        to: format!("{}@{}", letter.to_app, letter.to),
        text: letter.text,
        hops: steps.into_iter().map(hop).collect(),
        receipt_verified: status
            .history
            .iter()
            .any(|change| change.state == MessageState::Delivered && change.by == Voucher::Recipient),
    }
}

/// Looks for texts, apps and message ids in every file of the broker and every frame on its wire.
fn search(lab: &Lab, messages: &[Told]) -> Result<Searched> {
    let ids = messages.iter().map(|message| message.id.as_str());
    let needles: Vec<&str> =
        LETTERS.iter().flat_map(|letter| [letter.text, letter.from_app]).chain(ids).collect();
    let mut scan = Scan::default();
    scan.path(&lab.state(Lab::BROKER), &needles)?;
    scan.path(&lab.folder().join("broker.log"), &needles)?;
    for frame in lab.proxy().captured() {
        scan.content("the wire".as_ref(), &frame.bytes, &needles);
    }
    let found = scan.found.iter().map(|(needle, place)| format!("{needle} in {}", place.display())).collect();
    Ok(Searched { files: scan.files, bytes: scan.bytes, found })
}
