//! The syntax of the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use waxwing_client::{ClientMessageId, Name, Priority};
use waxwing_crypto::membership::Role;

/// Sealed, durable messages between machines.
///
/// A node on each host carries the messages of its local apps; a broker between the nodes stores and routes them, and
/// can read nothing.
#[derive(Debug, Parser)]
#[command(name = "waxwing", version, after_help = CODES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const CODES: &str = "\
Exit codes:
  0 done                          5 incompatible or compromised peer
  1 failed                        6 not running or unreachable
  2 usage or configuration        7 not found
  3 not authorised or revoked     8 conflict
  4 this host refused

Start with `waxwing demo`: two nodes and a broker in a temporary folder, and a
sealed message each way.";

/// Heading of the options that every command takes.
const GLOBAL: &str = "Global options";

/// What every command takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Folder with the node's state [default: $WAXWING_STATE, else $XDG_STATE_HOME/waxwing]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// The mesh, if the node is in more than one
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "NAME")]
    pub(crate) mesh: Option<Name>,
    /// Print one JSON document instead of text
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    /// Log what happens to stderr
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show it working: a throwaway mesh of real processes, a sealed message each way
    #[command(after_help = "Example: waxwing demo")]
    Demo,
    /// Run a broker
    #[command(subcommand)]
    Broker(Broker),
    /// Found a mesh
    #[command(subcommand)]
    Mesh(Mesh),
    /// Let somebody into the mesh: prints a token for `waxwing join`
    #[command(after_help = "Example: waxwing invite --name build-1 --expires 1h")]
    Invite(Invite),
    /// Enter a mesh with a token from `waxwing invite`
    #[command(after_help = "Example: waxwing join ww1_... --name build-1
         waxwing join - < token.txt")]
    Join(Join),
    /// Send a message to a node, or to an app of a node
    #[command(after_help = "Examples: waxwing send build-1 'all green'
          waxwing send deploy@build-1 --file plan.json --thread release-7
          git log -1 | waxwing send build-1 --id commit-4711")]
    Send(Send),
    /// List messages received; listing changes nothing
    #[command(after_help = "Example: waxwing inbox --unread --app deploy")]
    Inbox(Inbox),
    /// Mark messages read
    #[command(after_help = "Examples: waxwing ack 17 18
          waxwing ack --through 18")]
    Ack(Ack),
    /// List the members of the mesh
    #[command(after_help = "Example: waxwing peers --json")]
    Peers,
    /// Run this host's node, and ask how it is
    #[command(subcommand)]
    Node(Node),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Broker {
    /// Run a broker until it is told to stop (SIGINT, SIGTERM)
    #[command(after_help = "Example: waxwing broker run --data /var/lib/waxwing-broker")]
    Run(BrokerRun),
}

#[derive(Args, Debug)]
pub(crate) struct BrokerRun {
    /// Address to listen on; loopback only until there is TLS. Port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7900")]
    pub(crate) listen: SocketAddr,
    /// Folder for what the broker stores [default: `broker` in the state folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// URL that nodes may dial it by; may be repeated [default: the listen address and loopback names]
    #[arg(long, value_name = "URL")]
    pub(crate) advertise: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mesh {
    /// Found a mesh with this host's node as its first admin, and print its recovery words once
    #[command(after_help = "Example: waxwing mesh create home --broker ws://127.0.0.1:7900")]
    Create(MeshCreate),
}

#[derive(Args, Debug)]
pub(crate) struct MeshCreate {
    /// Name of the mesh
    pub(crate) name: Name,
    /// The broker's URL; loopback only until there is TLS
    #[arg(long, value_name = "URL")]
    pub(crate) broker: String,
    /// Name of this node in the mesh [default: this host's]
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<Name>,
}

#[derive(Args, Debug)]
pub(crate) struct Invite {
    /// What the newcomer may do: member or admin
    #[arg(long, value_name = "ROLE", default_value = "member")]
    pub(crate) role: Role,
    /// How many nodes may use it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) uses: u32,
    /// How long it lasts
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub(crate) expires: String,
    /// The only name the newcomer may take
    #[arg(long, value_name = "NODE")]
    pub(crate) name: Option<Name>,
}

#[derive(Args, Debug)]
pub(crate) struct Join {
    /// The token, or `-` to read it from stdin
    pub(crate) token: String,
    /// Name of this node in the mesh [default: the invite's, else this host's]
    #[arg(long, value_name = "NODE")]
    pub(crate) name: Option<Name>,
}

#[derive(Args, Debug)]
pub(crate) struct Send {
    /// `node` or `app@node`
    pub(crate) to: String,
    /// The text; read from stdin when absent
    #[arg(conflicts_with = "file")]
    pub(crate) text: Option<String>,
    /// Send the content of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The app that sends it
    #[arg(long, value_name = "APP")]
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
}

#[derive(Args, Debug)]
pub(crate) struct Inbox {
    /// Mailbox of this app, or `*` for all [default: the node's default mailbox]
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<String>,
    /// Only messages from this node
    #[arg(long, value_name = "NODE")]
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
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Args, Debug)]
pub(crate) struct Ack {
    /// Numbers of messages, as `waxwing inbox` shows them
    #[arg(value_name = "N", required_unless_present = "through")]
    pub(crate) ids: Vec<u64>,
    /// Every message up to this one
    #[arg(long, value_name = "N", conflicts_with = "ids")]
    pub(crate) through: Option<u64>,
    /// With --through: mailbox of this app, or `*` for all [default: the node's default mailbox]
    #[arg(long, value_name = "APP", requires = "through")]
    pub(crate) app: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Run the node until it is told to stop (SIGINT, SIGTERM)
    #[command(after_help = "Example: waxwing node up --foreground")]
    Up(NodeUp),
    /// Show how the node and its meshes are
    #[command(after_help = "Example: waxwing node status --json")]
    Status,
    /// Show the running node's version
    #[command(after_help = "Example: waxwing node version")]
    Version,
}

#[derive(Args, Debug)]
pub(crate) struct NodeUp {
    /// Stay in the foreground and log to stderr
    #[arg(long, required = true)]
    pub(crate) foreground: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("it is written KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_syntax_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        fn look(command: &clap::Command) {
            if command.has_subcommands() {
                command.get_subcommands().for_each(look);
            } else {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Example"), "{} has none", command.get_name());
            }
        }
        look(&Cli::command());
    }
}
