//! Measuring.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use waxwing_broker::{BadDatabase, Database};

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Send as many messages as there is room for, each with its receipt: how many a second, how long one takes, what it costs
    #[command(after_help = "Examples: waxwing bench send
          waxwing bench send --mode single --connections 16 --size 100 --json
          waxwing bench send --nodes 4 --apps 8 --duration 10s")]
    Send(BenchSend),
    /// Time a message by itself, and at a fixed rate: half of as many as there can be, unless you say
    #[command(after_help = "Examples: waxwing bench latency
          waxwing bench latency --rate 1000 --duration 10s --json

At a rate each message is due at its own moment, and its time is from then on, whatever became of those before.")]
    Latency(BenchLatency),
    /// Publish to a topic that many apps have subscribed to: how many deliveries a second, and how soon
    #[command(after_help = "Examples: waxwing bench topic
          waxwing bench topic --nodes 5 --apps 200 --size 200 --messages 1000 --json")]
    Topic(BenchTopic),
    /// Take a lease and give it back, again and again: alone, many with a lease each, and many who want the same
    #[command(after_help = "Examples: waxwing bench lease
          waxwing bench lease --nodes 4 --apps 40 --duration 10s --json")]
    Lease(BenchLease),
    /// Hold links that do nothing: logins a second, and what each link costs the broker
    #[command(after_help = "Example: waxwing bench links --links 10000")]
    Links(BenchLinks),
    /// Measure what mail that nobody fetches costs the rest: a full and an empty broker, in turns
    #[command(after_help = "Example: waxwing bench backlog --queued 1000000")]
    Backlog(BenchBacklog),
    /// Measure a broker's store on a database server beside one in a file, in turns
    #[command(after_help = "Example: waxwing bench database postgres://waxwing@127.0.0.1/bench")]
    Database(BenchDatabase),
}

/// On what is measured, and for how long.
#[derive(Args, Debug)]
pub(crate) struct BenchOn {
    /// Rounds, after one that warms up
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least::<1>)]
    pub(crate) rounds: usize,
    /// How long each round lasts, as 5s
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// How much each round has, instead of how long it lasts
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = at_least::<1>)]
    pub(crate) messages: Option<usize>,
    /// A broker that runs already, as ws://127.0.0.1:7900: a mesh is founded there, and stays. Default: one that is thrown away
    #[arg(long, value_name = "URL")]
    pub(crate) broker: Option<String>,
    /// File with that broker's creation token, which a closed broker wants
    #[arg(long, value_name = "FILE", requires = "broker")]
    pub(crate) creation_token: Option<PathBuf>,
}

/// Who sends to whom.
#[derive(Args, Debug)]
pub(crate) struct BenchPairs {
    #[command(flatten)]
    pub(crate) on: BenchOn,
    /// How many nodes, in pairs: the first sends to the second, the third to the fourth
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = even)]
    pub(crate) nodes: usize,
    /// How many pairs of apps on each pair of nodes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least::<1>)]
    pub(crate) apps: usize,
    /// Bytes of each body
    #[arg(long, value_name = "BYTES", default_value_t = 1_024, value_parser = body)]
    pub(crate) size: usize,
    /// Requests of an app to its node at once, where each message is a request of its own
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = at_least::<1>)]
    pub(crate) connections: usize,
}

#[derive(Args, Debug)]
pub(crate) struct BenchSend {
    #[command(flatten)]
    pub(crate) pairs: BenchPairs,
    /// Most messages under way, over all pairs: sent, and their receipt not yet there
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = at_least::<1>)]
    pub(crate) window: usize,
    /// Up to 500 messages in a request, one request after the other, or each in its own
    #[arg(long, value_name = "MODE", default_value = "batch")]
    pub(crate) mode: Handed,
}

#[derive(Args, Debug)]
pub(crate) struct BenchLatency {
    #[command(flatten)]
    pub(crate) pairs: BenchPairs,
    /// Most messages under way while it is found out how many a second there can be
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = at_least::<1>)]
    pub(crate) window: usize,
    /// Messages a second, over all pairs, instead of half of as many as there can be
    #[arg(long, value_name = "N", value_parser = at_least::<1>)]
    pub(crate) rate: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct BenchTopic {
    #[command(flatten)]
    pub(crate) on: BenchOn,
    /// How many nodes: the first publishes, on the others apps have subscribed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least::<2>)]
    pub(crate) nodes: usize,
    /// How many apps have subscribed, over all nodes but the first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = at_least::<1>)]
    pub(crate) apps: usize,
    /// Apps that publish, each one message after the other: as many are under way at most
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least::<1>)]
    pub(crate) window: usize,
    /// Bytes of each body
    #[arg(long, value_name = "BYTES", default_value_t = 1_024, value_parser = topic_body)]
    pub(crate) size: usize,
}

#[derive(Args, Debug)]
pub(crate) struct BenchLease {
    #[command(flatten)]
    pub(crate) on: BenchOn,
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = at_least::<1>)]
    pub(crate) nodes: usize,
    /// How many apps, in turn on all nodes
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least::<1>)]
    pub(crate) apps: usize,
}

/// How messages are handed to a node.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Handed {
    Batch,
    Single,
}

#[derive(Args, Debug)]
pub(crate) struct BenchLinks {
    /// How many links
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = at_least::<1>)]
    pub(crate) links: usize,
    /// How long they do nothing, as 30s
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub(crate) idle: String,
}

pub(super) fn at_least<const LEAST: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number >= LEAST);
    number.ok_or_else(|| format!("it is a number, {LEAST} or more"))
}

fn even(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number >= 2 && number % 2 == 0);
    number.ok_or_else(|| "nodes are in pairs: it is an even number, 2 or more".to_owned())
}

fn body(text: &str) -> Result<usize, String> {
    bytes(text, waxwing_protocol::limits::BODY)
}

fn topic_body(text: &str) -> Result<usize, String> {
    bytes(text, waxwing_protocol::limits::TOPIC_BODY)
}

fn bytes(text: &str, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| format!("it is a number of bytes, {most} at most"))
}

#[derive(Args, Clone, Debug)]
pub(crate) struct BenchDatabase {
    /// An empty database; a password comes from PGPASSWORD or ~/.pgpass. What is made there stays
    #[arg(value_name = "URL", value_parser = server)]
    pub(crate) server: String,
    /// Messages that each broker carries in each round
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = at_least::<1>)]
    pub(crate) messages: usize,
    /// Messages that each carries one at a time in each round
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = at_least::<1>)]
    pub(crate) single: usize,
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least::<1>)]
    pub(crate) rounds: usize,
}

fn server(text: &str) -> Result<String, String> {
    let database: Database = text.parse().map_err(|err: BadDatabase| err.to_string())?;
    if database.has_password() {
        return Err(
            "others on this machine could read the password: put it into PGPASSWORD or ~/.pgpass".to_owned()
        );
    }
    match database {
        Database::Postgres(_) => Ok(text.to_owned()),
        Database::Sqlite(_) => Err("name a server: a file is what it is measured beside".to_owned()),
    }
}

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct BenchBacklog {
    /// Envelopes that wait in one of the two brokers
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) queued: usize,
    /// Messages that each broker carries in each round
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub(crate) messages: usize,
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rounds: usize,
}
