//! Processes, membership, and what operators do.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use waxwing_client::api::MessageState;
use waxwing_client::{ClientMessageId, Name};
use waxwing_crypto::membership::Role;
use waxwing_protocol::Address;

use super::broker::{BrokerAt, BrokerBackup, BrokerMigrate, BrokerService, NodeService, ServiceOf};
use super::tokens::Token;
use crate::completion;

#[derive(Args, Debug)]
pub(crate) struct Up {
    /// Name of this node, if its mesh is to be founded [default: this host's]
    #[arg(long, value_name = "NODE")]
    pub(crate) name: Option<Name>,
    /// Address of the broker, if there is none yet; port 0 takes a free one [default: 127.0.0.1:7900]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Broker {
    /// Run a broker until it is told to stop (SIGINT, SIGTERM)
    #[command(after_help = "Examples: waxwing broker run --data /var/lib/waxwing-broker
          waxwing broker run --listen 192.168.1.5:7900
          waxwing broker run --database postgres://waxwing@db.example/waxwing?sslmode=verify-full
          waxwing broker run --config /etc/waxwing/broker.toml")]
    Run(BrokerRun),
    /// Show how a running broker is
    #[command(after_help = "Example: waxwing broker status --data /var/lib/waxwing-broker")]
    Status(BrokerAt),
    /// Stop a broker; returns when it is gone
    #[command(after_help = "Example: waxwing broker down --data /var/lib/waxwing-broker")]
    Down(BrokerAt),
    /// Copy a broker's store to a file, also while it runs; the copy is checked
    #[command(after_help = "Example: waxwing broker backup /backup/broker-$(date +%F).db")]
    Backup(BrokerBackup),
    /// Look for what is wrong with a broker, running or not; exits with 1 if something is
    #[command(after_help = "Example: waxwing broker doctor --data /var/lib/waxwing-broker")]
    Doctor(BrokerAt),
    /// Move a store to another database, while no broker runs on it; every row is read back and compared
    #[command(
        after_help = "Example: waxwing broker migrate --from sqlite:///var/lib/waxwing-broker/broker.db --to postgres://waxwing@db.example/waxwing"
    )]
    Migrate(BrokerMigrate),
    /// Have the system run a broker from now on
    #[command(after_help = "Examples: waxwing broker install-service --print
          waxwing broker install-service --system --config /etc/waxwing/broker.toml")]
    InstallService(BrokerService),
    /// Stop and remove the service; what the broker has stored stays
    #[command(after_help = "Example: waxwing broker uninstall-service")]
    UninstallService(ServiceOf),
}

#[derive(Args, Debug)]
pub(crate) struct BrokerRun {
    /// File with the broker's settings; a flag goes over what it says [default: every setting's default]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:7900]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// Address to answer operators on: health, metrics [default: 127.0.0.1:7901, or a free port if that is taken]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<SocketAddr>,
    /// Folder for what the broker stores [default: `broker` in the state folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where the store is: sqlite:///PATH or postgres://USER@HOST/NAME, without a password [default: `broker.db` in the data folder]
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// URL that nodes may dial it by; may be repeated [default: the listen address and loopback names]
    #[arg(long, value_name = "URL")]
    pub(crate) advertise: Vec<String>,
    /// Certificate chain, PEM [default: off loopback, one that the broker makes, known by its pin]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// No TLS, also where other machines can reach it: for a TLS proxy in front
    #[arg(long, conflicts_with = "tls_cert")]
    pub(crate) plaintext: bool,
    /// Who may found a mesh: `open` (anybody), `closed` (with its token) [default: open for this machine alone]
    #[arg(long, value_name = "WHO")]
    pub(crate) founding: Option<waxwing_broker::Founding>,
    /// End with 0 when it is refused for good, for supervisors that start everything else again
    #[arg(long, hide = true)]
    pub(crate) refused_is_done: bool,
    /// Leave the terminal and log to files: how `waxwing up` runs it
    #[arg(long, hide = true)]
    pub(crate) detached: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mesh {
    /// Found a mesh with this host's node as its first admin, and print its recovery words once
    #[command(after_help = "Examples: waxwing mesh create home --broker ws://127.0.0.1:7900
          waxwing mesh create team --broker 'wss://192.168.1.5:7900#pin=...'")]
    Create(MeshCreate),
    /// List the meshes that this node is in, also while it is not running
    #[command(after_help = "Example: waxwing mesh list --json")]
    List,
    /// Say where this node dials the mesh's broker from now on, after it has moved or got another key
    #[command(after_help = "Example: waxwing mesh broker 'wss://192.168.1.9:7900#pin=...'")]
    Broker(MeshBroker),
    /// After the broker has lost its store: say that the log this node holds is the right one
    #[command(after_help = "Example: waxwing mesh resume")]
    Resume,
    /// When every admin is lost: make this host's node one, by the 24 recovery words
    #[command(after_help = "Examples: waxwing mesh recover
          waxwing mesh recover --node desk < words.txt")]
    Recover(MeshRecover),
}

#[derive(Args, Debug)]
pub(crate) struct MeshBroker {
    /// The broker's URL, as `waxwing broker run` prints it
    pub(crate) url: String,
    /// Let the link go without TLS to another machine, where the URL is ws://
    #[arg(long)]
    pub(crate) plaintext: bool,
}

#[derive(Args, Debug)]
pub(crate) struct MeshCreate {
    /// Name of the mesh
    pub(crate) name: Name,
    /// The broker's URL, as `waxwing broker run` prints it
    #[arg(long, value_name = "URL")]
    pub(crate) broker: String,
    /// Let the link go without TLS to another machine, where the broker's URL is ws://
    #[arg(long)]
    pub(crate) plaintext: bool,
    /// File with the broker's creation token, which a closed broker wants; `-` for stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) creation_token: Option<PathBuf>,
    /// Name of this node in the mesh [default: this host's]
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<Name>,
}

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Invite {
    #[command(subcommand)]
    pub(crate) command: Option<InviteCommand>,
    #[command(flatten)]
    pub(crate) new: InviteNew,
}

#[derive(Debug, Subcommand)]
pub(crate) enum InviteCommand {
    /// List the invites that let somebody in
    #[command(after_help = "Example: waxwing invite list --json")]
    List,
    /// End an invite for good; those who joined by it stay
    #[command(after_help = "Examples: waxwing invite revoke 1f0c9d2e --reason 'posted in public'
          waxwing invite revoke - < token.txt")]
    Revoke(InviteRevoke),
}

#[derive(Args, Debug)]
pub(crate) struct InviteRevoke {
    /// The beginning of its key, as `waxwing invite list` shows it; its token; or `-` to read either from stdin
    #[arg(value_name = "KEY|TOKEN")]
    pub(crate) invite: String,
    /// Why; everybody in the mesh can read it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Members {
    /// Also those who were revoked or have left, and when
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
pub(crate) struct MeshRecover {
    /// The member that becomes an admin [default: this node]
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<Name>,
}

#[derive(Args, Debug)]
pub(crate) struct InviteNew {
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
pub(crate) struct Grant {
    /// Name of the member
    #[arg(add = completion::nodes())]
    pub(crate) node: Name,
    /// What it may do from now on: member or admin
    pub(crate) role: Role,
}

#[derive(Args, Debug)]
pub(crate) struct Revoke {
    /// Name of the member
    #[arg(add = completion::nodes())]
    pub(crate) node: Name,
    /// Why; everybody in the mesh can read it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Leave {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Join {
    /// The token, or `-` to read it from stdin
    pub(crate) token: String,
    /// Name of this node in the mesh [default: the invite's, else this host's]
    #[arg(long, value_name = "NODE")]
    pub(crate) name: Option<Name>,
    /// Text to send as the first message; without a running node it goes with the first `waxwing node up`
    #[arg(long, value_name = "TEXT", requires = "to")]
    pub(crate) say: Option<String>,
    /// To whom: `node` or `app@node`
    #[arg(long, value_name = "ADDRESS", requires = "say", value_parser = address, add = completion::addresses())]
    pub(crate) to: Option<String>,
    /// Let the link go without TLS to another machine, where the broker's URL is ws://
    #[arg(long)]
    pub(crate) plaintext: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Start the node in the background; returns when apps can connect and brokers have let it in, or are not there
    #[command(after_help = "Examples: waxwing node up
          waxwing node up --foreground    for supervisors; SIGTERM stops it")]
    Up(NodeUp),
    /// Stop the node; returns when it is gone
    #[command(after_help = "Example: waxwing node down")]
    Down,
    /// Show how the node and its meshes are
    #[command(after_help = "Example: waxwing node status --json")]
    Status,
    /// Print what the running node counts, as Prometheus reads it
    #[command(after_help = "Example: waxwing node metrics > /var/lib/prometheus/node-exporter/waxwing.prom")]
    Metrics,
    /// Show the running node's version
    #[command(after_help = "Example: waxwing node version")]
    Version,
    /// Say that this host is the node's own from now on, after it was moved or copied here
    #[command(after_help = "Example: waxwing node accept-host --mesh home")]
    AcceptHost(AcceptHost),
    /// Look for what is wrong with the node, running or not; exits with 1 if something is
    #[command(after_help = "Example: waxwing node doctor")]
    Doctor,
    /// Have this user's service manager run the node from now on
    #[command(after_help = "Examples: waxwing node install-service
          waxwing node install-service --print")]
    InstallService(NodeService),
    /// Stop and remove the service; the node's messages and keys stay
    #[command(after_help = "Example: waxwing node uninstall-service")]
    UninstallService,
    /// Copy this node, keys and messages, to a folder that can be put in the place of its state; running or not
    #[command(after_help = "Example: waxwing node backup /backup/node-$(date +%F)")]
    Backup {
        /// Folder to make
        to: PathBuf,
    },
    /// Make a damaged database anew from what can be read of it, while no node runs; the damaged one is kept
    #[command(after_help = "Example: waxwing node repair --mesh home")]
    Repair,
    /// What this node has sent, and what to do about what does not arrive
    #[command(subcommand)]
    Outbox(Outbox),
    /// Tokens for apps that reach the node over TCP
    #[command(subcommand)]
    Token(Token),
}

#[derive(Args, Debug)]
pub(crate) struct NodeUp {
    /// Stay in the foreground and log to stderr
    #[arg(long)]
    pub(crate) foreground: bool,
    /// End with 0 when it is refused for good, for supervisors that start everything else again
    #[arg(long, hide = true, requires = "foreground")]
    pub(crate) refused_is_done: bool,
    /// Leave the terminal and log to files: how the background process is run
    #[arg(long, hide = true, requires = "foreground")]
    pub(crate) detached: bool,
}

#[derive(Args, Debug)]
pub(crate) struct AcceptHost {
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Outbox {
    /// List messages of this node, oldest first
    #[command(after_help = "Example: waxwing node outbox list --in queued")]
    List(OutboxList),
    /// Show one message, its content included
    #[command(after_help = "Example: waxwing node outbox show 17")]
    Show {
        /// Row, as `waxwing node outbox list` shows it
        row: u64,
    },
    /// Give a message up and send it again, as a new message
    #[command(after_help = "Example: waxwing node outbox requeue commit-4711 --new-client-id commit-4711-b")]
    Requeue(Requeue),
    /// Give a message up
    #[command(after_help = "Example: waxwing node outbox abort commit-4711")]
    Abort {
        /// Id of the message
        id: ClientMessageId,
    },
}

#[derive(Args, Debug)]
pub(crate) struct OutboxList {
    /// Only those in this state: queued, accepted, delivered, read, dead, expired or aborted
    #[arg(long = "in", value_name = "STATE", value_parser = message_state)]
    pub(crate) only: Option<MessageState>,
    /// Only messages after this row
    #[arg(long, value_name = "ROW")]
    pub(crate) after: Option<u64>,
    /// Most messages to list, up to 1000
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Args, Debug)]
pub(crate) struct Requeue {
    /// Id of the message
    pub(crate) id: ClientMessageId,
    /// Id of the new message [default: a new one]
    #[arg(long, value_name = "ID")]
    pub(crate) new_client_id: Option<ClientMessageId>,
    /// Send the text of this file instead
    #[arg(long, value_name = "FILE")]
    pub(crate) body: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print each setting, its value, and where that came from
    #[command(after_help = "Example: waxwing config show --json")]
    Show,
    /// Print where the configuration file is, or would be
    #[command(after_help = "Example: waxwing config path")]
    Path,
}

/// An address as it was written, once it is one.
fn address(text: &str) -> Result<String, String> {
    let address: Result<Address, _> = text.parse();
    address.map(|_| text.to_owned()).map_err(|_| "it is written node or app@node".to_owned())
}

/// A state in which the outbox lists messages: whether the link holds one at this moment is not stored.
fn message_state(text: &str) -> Result<MessageState, String> {
    const STATES: [MessageState; 7] = [
        MessageState::Queued,
        MessageState::Accepted,
        MessageState::Delivered,
        MessageState::Read,
        MessageState::Dead,
        MessageState::Expired,
        MessageState::Aborted,
    ];
    let words = || STATES.map(MessageState::as_str).join(", ");
    let state = STATES.into_iter().find(|state| state.as_str() == text);
    state.ok_or_else(|| format!("it is one of {}", words()))
}
