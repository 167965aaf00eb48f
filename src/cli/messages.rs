//! Sending, reading, and watching what becomes of it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use waxwing_client::api::{MessageState, ReceiptWanted};
use waxwing_client::{ClientMessageId, Name, Priority};

use crate::completion;

#[derive(Args, Debug)]
pub(crate) struct Send {
    /// `node` or `app@node`
    #[arg(add = completion::addresses())]
    pub(crate) to: String,
    /// The text; read from stdin when absent
    #[arg(conflicts_with = "file")]
    pub(crate) text: Option<String>,
    /// Send the content of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The app that sends it [default: $WAXWING_APP]
    #[arg(long, value_name = "APP", env = "WAXWING_APP", hide_env = true)]
    pub(crate) app: Option<Name>,
    /// Idempotency key: repeating a send with the same id is safe [default: a new one]
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<ClientMessageId>,
    /// now, next or low
    #[arg(long, value_name = "PRIORITY", default_value = "next")]
    pub(crate) priority: Priority,
    /// How long to try, as 30s or 7d [default: 7d]
    #[arg(long, value_name = "DURATION")]
    pub(crate) ttl: Option<String>,
    /// The id of the message that this one answers
    #[arg(long, value_name = "ID")]
    pub(crate) reply_to: Option<ClientMessageId>,
    /// Thread it belongs to
    #[arg(long, value_name = "THREAD")]
    pub(crate) thread: Option<String>,
    /// Metadata; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) meta: Vec<(String, String)>,
    /// What to be told of: delivered (always), or also read
    #[arg(long, value_name = "STATE", value_parser = receipt)]
    pub(crate) receipt: Option<ReceiptWanted>,
    /// Return when it has come this far: accepted, delivered or read
    #[arg(long, value_name = "STATE", hide_possible_values = true)]
    pub(crate) wait: Option<Wanted>,
    /// How long to wait; the message itself is not given up
    #[arg(long, value_name = "DURATION", default_value = "60s", requires = "wait", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// How far a message shall have come.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Wanted {
    Accepted,
    Delivered,
    Read,
}

impl Wanted {
    pub(crate) const fn state(self) -> MessageState {
        match self {
            Self::Accepted => MessageState::Accepted,
            Self::Delivered => MessageState::Delivered,
            Self::Read => MessageState::Read,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct Inbox {
    /// Mailbox of this app, or `*` for all [default: $WAXWING_APP, else the node's default mailbox]
    #[arg(long, value_name = "APP", env = "WAXWING_APP", hide_env = true)]
    pub(crate) app: Option<String>,
    /// Only messages from this node
    #[arg(long, add = completion::nodes(), value_name = "NODE")]
    pub(crate) from: Option<Name>,
    /// Only messages of this thread
    #[arg(long, value_name = "THREAD")]
    pub(crate) thread: Option<String>,
    /// Only messages not acknowledged
    #[arg(long)]
    pub(crate) unread: bool,
    /// Only messages after this one
    #[arg(long, value_name = "N")]
    pub(crate) after: Option<u64>,
    /// Most messages to list, up to 1000
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "follow")]
    pub(crate) limit: usize,
    /// If there is nothing, wait this long for something
    #[arg(long, value_name = "DURATION", conflicts_with = "follow", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    /// Go on with what comes, also when the node restarts, until interrupted
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Ack {
    /// Numbers of messages, as `waxwing inbox` shows them
    #[arg(value_name = "N", required_unless_present = "through")]
    pub(crate) ids: Vec<u64>,
    /// Every message up to this one
    #[arg(long, value_name = "N", conflicts_with = "ids")]
    pub(crate) through: Option<u64>,
    /// Delete them as well, once they are marked read
    #[arg(long, requires = "ids")]
    pub(crate) delete: bool,
    /// With --through: mailbox of this app, or `*` for all [default: the node's default mailbox]
    #[arg(long, value_name = "APP", requires = "through")]
    pub(crate) app: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Events {
    /// Begin after this cursor; 0 for all that is kept [default: what happens from now on]
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<u64>,
    /// What is for this app, or `*` for everything [default: the node's default mailbox]
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<String>,
    /// Only these: message, receipt, request and cancel (with --register), peer_join, peer_leave, app_join, app_leave,
    /// state, lease, claim, broker_status, outbox, security, lagged, system
    #[arg(long, value_name = "KIND,...", value_delimiter = ',')]
    pub(crate) kind: Vec<String>,
    /// Register the app with the node for as long as this runs
    #[arg(long, requires = "app")]
    pub(crate) register: bool,
    /// With --register: take the name from whoever has it
    #[arg(long, requires = "register")]
    pub(crate) takeover: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Trace {
    /// Id of a message that this node sent
    pub(crate) id: ClientMessageId,
    /// Show exactly what the broker holds of it
    #[arg(long)]
    pub(crate) as_broker: bool,
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it is written KEY=VALUE".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|err| format!("{err}; it is written as 30s or 5m"))
}

fn receipt(text: &str) -> Result<ReceiptWanted, String> {
    match text {
        "delivered" => Ok(ReceiptWanted::Delivered),
        "read" => Ok(ReceiptWanted::Read),
        _ => Err("it is delivered or read".to_owned()),
    }
}
