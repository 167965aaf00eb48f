//! Topics: publishing, subscribing, reading.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use waxwing_client::api::StartFrom;
use waxwing_client::{ClientMessageId, Name, TopicName, TopicPattern};

#[derive(Debug, Subcommand)]
pub(crate) enum Topic {
    /// Publish a message to a topic, which is made by its first one
    #[command(after_help = "Examples: waxwing topic publish build:failed 'main is red' --app ci
          git log -1 | waxwing topic publish commit:new --app ci --id commit-4711")]
    Publish(TopicPublish),
    /// Print what is published, as it comes, and acknowledge each message once it is printed
    #[command(after_help = "Examples: waxwing topic subscribe 'build:*' --app ann
          waxwing topic subscribe build:failed --app ann --from earliest --count 1 --json")]
    Subscribe(TopicSubscribe),
    /// End a subscription: what is published from then on is not kept for the app
    #[command(after_help = "Example: waxwing topic unsubscribe 'build:*' --app ann")]
    Unsubscribe(TopicUnsubscribe),
    /// List what an app has subscribed to, how far it has come, and what was passed over
    #[command(after_help = "Example: waxwing topic subscriptions --app ann")]
    Subscriptions(TopicOf),
    /// Say that an app has dealt with everything in a topic up to a message
    #[command(after_help = "Example: waxwing topic ack build:failed 1729 --app ann")]
    Ack(TopicAck),
    /// List topics, how many messages they have, and how many apps have subscribed
    #[command(after_help = "Examples: waxwing topic list
          waxwing topic list 'build:*' --json")]
    List {
        /// Only these: a topic, or all behind a last `*`
        #[arg(value_name = "PATTERN")]
        pattern: Option<TopicPattern>,
    },
    /// Print what is kept of a topic; it changes nothing
    #[command(after_help = "Examples: waxwing topic history build:failed
          waxwing topic history build:failed --after 1729 --limit 1000 --json")]
    History(TopicHistory),
    /// Say how long a topic keeps its messages, those published from then on
    #[command(after_help = "Example: waxwing topic retention build:failed 30d --app ci")]
    Retention(TopicRetention),
}

#[derive(Args, Debug)]
pub(crate) struct TopicOf {
    /// The app
    #[arg(long, value_name = "APP", env = "WAXWING_APP", hide_env = true)]
    pub(crate) app: Name,
}

#[derive(Args, Debug)]
pub(crate) struct TopicPublish {
    /// The topic, as build:failed
    pub(crate) topic: TopicName,
    /// The text; read from stdin when absent
    #[arg(conflicts_with = "file")]
    pub(crate) text: Option<String>,
    /// Publish the content of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) of: TopicOf,
    /// For those alone who are there: nobody gets it later
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Idempotency key: repeating it with the same id is safe [default: a new one]
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<ClientMessageId>,
}

#[derive(Args, Debug)]
pub(crate) struct TopicSubscribe {
    /// A topic, or all behind a last `*`: build:failed, 'build:*', '*'
    pub(crate) pattern: TopicPattern,
    #[command(flatten)]
    pub(crate) of: TopicOf,
    /// Where a new subscription begins: now or earliest
    #[arg(long, value_name = "WHERE", default_value = "now", hide_possible_values = true)]
    pub(crate) from: From,
    /// Without what the app has published itself
    #[arg(long)]
    pub(crate) no_echo: bool,
    /// End after so many messages; the subscription stays
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Only subscribe, and print nothing
    #[arg(long, conflicts_with = "count")]
    pub(crate) only: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum From {
    Now,
    Earliest,
}

impl From {
    pub(crate) const fn start(self) -> StartFrom {
        match self {
            Self::Now => StartFrom::Now,
            Self::Earliest => StartFrom::Earliest,
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct TopicUnsubscribe {
    /// As it was subscribed to
    pub(crate) pattern: TopicPattern,
    #[command(flatten)]
    pub(crate) of: TopicOf,
}

#[derive(Args, Debug)]
pub(crate) struct TopicAck {
    /// The topic
    pub(crate) topic: TopicName,
    /// The number of the last message
    #[arg(value_name = "N")]
    pub(crate) through: u64,
    #[command(flatten)]
    pub(crate) of: TopicOf,
}

#[derive(Args, Debug)]
pub(crate) struct TopicHistory {
    /// The topic
    pub(crate) topic: TopicName,
    /// Messages behind this one, in place of the newest
    #[arg(long, value_name = "N")]
    pub(crate) after: Option<u64>,
    /// Most messages, up to 1000
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Args, Debug)]
pub(crate) struct TopicRetention {
    /// The topic
    pub(crate) topic: TopicName,
    /// As 12h or 7d: 1m to 30d
    pub(crate) time: String,
    #[command(flatten)]
    pub(crate) of: TopicOf,
}
