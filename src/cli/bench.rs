//! Measuring.

use clap::{Args, Subcommand, ValueEnum};
use waxwing_broker::{BadDatabase, Database};

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Send messages between nodes, each with its receipt: how many a second, how long one takes, what it costs
    #[command(after_help = "Examples: waxwing bench send
          waxwing bench send --mode single --window 1 --messages 2000 --json")]
    Send(BenchSend),
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

#[derive(Args, Debug)]
pub(crate) struct BenchSend {
    /// How many messages
    #[arg(long, value_name = "N", default_value_t = 30_000, value_parser = at_least::<1>)]
    pub(crate) messages: usize,
    /// Bytes of each body
    #[arg(long, value_name = "BYTES", default_value_t = 1_024, value_parser = body)]
    pub(crate) size: usize,
    /// Most messages under way: sent, and their receipt not yet there
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = at_least::<1>)]
    pub(crate) window: usize,
    /// Up to 500 messages in a request, or each in its own
    #[arg(long, value_name = "MODE", default_value = "batch")]
    pub(crate) mode: Handed,
    /// How many nodes: the first sends, the others receive
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = at_least::<2>)]
    pub(crate) nodes: usize,
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

fn body(text: &str) -> Result<usize, String> {
    const MOST: usize = waxwing_protocol::limits::BODY;
    let number = text.parse().ok().filter(|number| *number <= MOST);
    number.ok_or_else(|| format!("it is a number of bytes, {MOST} at most"))
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
