//! The syntax of the command line.

mod admin;
mod apps;
mod bench;
mod broker;
mod claim;
mod kv;
mod locks;
mod messages;
mod peers;
mod prove;
mod requests;
mod tokens;
mod topics;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use waxwing_client::Name;

pub(crate) use admin::{
    Broker, BrokerRun, ConfigCommand, Grant, Invite, InviteCommand, InviteNew, InviteRevoke, Join, Leave,
    Members, Mesh, MeshBroker, MeshCreate, MeshRecover, Node, NodeUp, Outbox, OutboxList, Requeue, Revoke,
    Up,
};
pub(crate) use apps::{Apps, Profile, Run};
pub(crate) use bench::{
    Bench, BenchBacklog, BenchDatabase, BenchLatency, BenchLease, BenchLinks, BenchOn, BenchPairs, BenchSend,
    BenchTopic, Handed,
};
pub(crate) use broker::{BrokerAt, BrokerBackup, BrokerMigrate, BrokerService, NodeService, ServiceOf};
pub(crate) use claim::{Claim, ClaimComplete, ClaimList, ClaimOf, ClaimTry};
pub(crate) use kv::{Kv, KvDelete, KvGet, KvList, KvPut, KvWatch};
pub(crate) use locks::Lock;
pub(crate) use messages::{Ack, Events, Inbox, Send, Trace, Wanted};
pub(crate) use peers::Peers;
pub(crate) use prove::Prove;
pub(crate) use requests::{Reply, Request, Serve};
pub(crate) use tokens::{Token, TokenCreate};
pub(crate) use topics::{
    Topic, TopicAck, TopicHistory, TopicOf, TopicPublish, TopicRetention, TopicSubscribe, TopicUnsubscribe,
};

/// Sealed, durable messages between machines: a node on each host, and a broker that can read nothing
#[derive(Debug, Parser)]
#[command(name = "waxwing", version, after_help = CODES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 not authorised or revoked,
            4 this host refused, 5 incompatible or compromised peer,
            6 not running or unreachable, 7 not found, 8 conflict

Examples: waxwing demo    two nodes and a broker in a temporary folder
          waxwing up      a broker, a mesh and this host's node, to stay
          waxwing completions bash, zsh or fish; waxwing man --to DIR";

/// Heading of the options that every command takes.
const GLOBAL: &str = "Global options";

/// What every command takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// The node's state folder [default: $WAXWING_STATE, else $XDG_STATE_HOME/waxwing]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// The mesh, if the node is in more than one
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "NAME")]
    pub(crate) mesh: Option<Name>,
    /// Print JSON instead of text: one document, or one per line of a stream
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    /// Print data only: no hints, no remarks
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub(crate) quiet: bool,
    /// Log what happens to stderr
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show it working: a throwaway mesh of real processes, a sealed message each way
    #[command(after_help = "Example: waxwing demo")]
    Demo,
    /// Measure it on this machine: throwaway processes in a temporary folder
    #[command(subcommand)]
    Bench(Bench),
    /// Try to break it here: kill processes, cut links, then account for every message
    #[command(after_help = "Examples: waxwing prove
          waxwing prove --for 8h --nodes 5 --json
          waxwing prove --seed 4711 --kills 200 --history saw.jsonl
          waxwing prove --judge saw.jsonl

It runs a broker and nodes of its own, in $TMPDIR, and touches no others. Every node sends to every other: one by one, \
in batches, and again under the same id. The first message that is lost, shown twice, out of order, or said to be \
delivered before it was ends it, with 1 and the message's whole history. The seed decides the faults; where exactly \
they strike is up to the machine.")]
    Prove(Prove),
    /// Start what is not running of broker, mesh and node, in the background
    #[command(after_help = "Example: waxwing up
         waxwing up --mesh team --name desk --listen 127.0.0.1:7950")]
    Up(Up),
    /// Stop this host's node, and the broker that `up` started
    #[command(after_help = "Example: waxwing down")]
    Down,
    /// Show how this host's node and its meshes are: the same as `node status`
    #[command(after_help = "Example: waxwing status --json")]
    Status,
    /// Run a broker
    #[command(subcommand)]
    Broker(Broker),
    /// Found a mesh, list this node's meshes, say where their brokers are
    #[command(subcommand)]
    Mesh(Mesh),
    /// Let somebody into the mesh: prints a token for `waxwing join`
    #[command(after_help = "Examples: waxwing invite --name build-1 --expires 1h
          waxwing invite list
          waxwing invite revoke 1f0c9d2e")]
    Invite(Invite),
    /// Enter a mesh with a token from `waxwing invite`
    #[command(after_help = "Example: waxwing join ww1_... --name build-1
         waxwing join - < token.txt
         waxwing join ww1_... --say 'build-1 is here' --to desk")]
    Join(Join),
    /// End this node's membership of a mesh, and delete its keys and mail there
    #[command(after_help = "Example: waxwing leave --mesh team")]
    Leave(Leave),
    /// Send a message to a node, or to an app of a node
    #[command(after_help = "Examples: waxwing send build-1 'all green'
          waxwing send deploy@build-1 --file plan.json --wait read --timeout 10m
          git log -1 | waxwing send build-1 --id commit-4711")]
    Send(Send),
    /// List messages received; listing changes nothing
    #[command(after_help = "Examples: waxwing inbox --unread --app deploy
          waxwing inbox --follow --json | while read -r message; do ...; done")]
    Inbox(Inbox),
    /// Mark messages read
    #[command(after_help = "Examples: waxwing ack 17 18
          waxwing ack --through 18
          waxwing ack 17 --delete")]
    Ack(Ack),
    /// Watch what happens: messages, receipts, the link, one line each
    #[command(after_help = "Examples: waxwing events --app deploy --register
          waxwing events --after 17 --kind message,receipt --json")]
    Events(Events),
    /// Ask an app of a node, and wait for its answer
    #[command(after_help = "Examples: waxwing request reviewer@lab 'have a look at #4711'
          waxwing request builder@lab --file plan.json --progress --timeout 10m

It is asked once, and never again: without an answer it may have been done. What is refused at once is not.")]
    Request(Request),
    /// Answer a request, refuse it, or tell how it goes
    #[command(after_help = "Examples: waxwing events --app reviewer --register --kind request --json
          waxwing reply 01M7ZQ7VW2CZ0BN6GQ5D1Y8R5T 'looks good'
          waxwing reply $WAXWING_REQUEST --progress 'half of it'
          waxwing reply $WAXWING_REQUEST --error 'no such revision' --code not_found")]
    Reply(Reply),
    /// Answer the requests of an app by running a command for each
    #[command(after_help = "Example: waxwing serve --name wordcount -- wc -w

The command has what is asked on its standard input, and its standard output is the answer. With another exit code than 0 the
request is refused, as `exit_3`, with the end of its standard error. It finds who asks in $WAXWING_FROM, the request in
$WAXWING_REQUEST, and is killed when nobody waits any more.")]
    Serve(Serve),
    /// Show one message's life: each state, when, and who says so
    #[command(after_help = "Example: waxwing trace commit-4711 --as-broker")]
    Trace(Trace),
    /// List members and who is online; see if one is who you think; refuse or take its mail
    #[command(after_help = "Examples: waxwing peers --json
          waxwing peers verify build-1
          waxwing peers block build-1")]
    Peers {
        /// Without one: lists
        #[command(subcommand)]
        about: Option<Peers>,
    },
    /// List who is in the mesh by its log, since when, and by whose invite; and who was
    #[command(after_help = "Examples: waxwing members
          waxwing members --all --json")]
    Members(Members),
    /// Give a member another role: member or admin
    #[command(after_help = "Example: waxwing grant build-1 admin")]
    Grant(Grant),
    /// End a node's membership for good
    #[command(after_help = "Example: waxwing revoke build-1 --reason 'laptop stolen'")]
    Revoke(Revoke),
    /// Give this node new keys: copies of the old ones are worth nothing from then on
    #[command(after_help = "Example: waxwing rotate-keys")]
    RotateKeys,
    /// List the apps of this node, or of the whole mesh, by what they say about themselves
    #[command(after_help = "Examples: waxwing apps
          waxwing apps --mesh-wide --kind reviewer --capability rust --json")]
    Apps(Apps),
    /// Show or set what peers see of this node
    #[command(after_help = "Examples: waxwing profile --summary 'moving the database' --status working
          waxwing profile --visible false    online is all that peers see, no apps
          waxwing profile --summary ''       takes it away")]
    Profile(Profile),
    /// Run any program as an app for as long as it runs, and tell of its end
    #[command(after_help = "Examples: waxwing run --name ci --tell desk -- make test
          waxwing run --name reviewer --kind agent --capability rust -- ./agent.sh

The command finds its name in $WAXWING_APP and its node's socket in $WAXWING_SOCKET, as `waxwing` in it does,
and gets the signals sent to this one. Its exit code is this one's; 128 and the signal's number if a signal ended it.
It is not started if it cannot be registered: if no node runs, or its name is taken.")]
    Run(Run),
    /// Run a command under a lease: one at a time in the whole mesh
    #[command(after_help = "\
Example: waxwing lock deploy --wait 10m -- ./deploy.sh
         waxwing lock --file src/api.rs --repository https://git.example/app -- ./edit.sh
         waxwing lock --list
         waxwing lock deploy --revoke

The command finds the fencing token in $WAXWING_FENCE. It is stopped if the lease is lost, with all that it has
started unless it is at a terminal; then, and if the lease was not to be had, the exit code is 8. Otherwise it is
the command's.")]
    Lock(Lock),
    /// Be the one of many who acts on something: try, complete, abandon, list
    #[command(subcommand)]
    Claim(Claim),
    /// Share values under keys with the whole mesh: put, get, list, delete, watch
    #[command(subcommand)]
    Kv(Kv),
    /// Publish to topics, and get what others publish, kept for as long as one is away
    #[command(subcommand)]
    Topic(Topic),
    /// Run this host's node, ask how it is, and mend it
    #[command(subcommand)]
    Node(Node),
    /// Show how everything is set
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print what a shell reads to complete commands, with the names of peers as they are at that moment
    #[command(
        hide = true,
        after_help = "Examples: source <(waxwing completions bash)
          waxwing completions zsh > ~/.zfunc/_waxwing
          waxwing completions fish > ~/.config/fish/completions/waxwing.fish"
    )]
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: String,
    },
    /// Print the manual page, or write those of every command into a folder
    #[command(
        hide = true,
        after_help = "Examples: waxwing man | man -l -
          waxwing man --to ~/.local/share/man/man1"
    )]
    Man {
        /// The folder
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
}

impl Command {
    /// Whether the exit code of a refusal for good is to be 0.
    pub(crate) fn refused_is_done(&self) -> bool {
        matches!(
            self,
            Self::Node(Node::Up(NodeUp { refused_is_done: true, .. }))
                | Self::Broker(Broker::Run(BrokerRun { refused_is_done: true, .. }))
        )
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Every command that does something, with its whole name.
    fn leaves(command: &clap::Command, name: &str, look: &mut impl FnMut(&str, &clap::Command)) {
        if command.has_subcommands() {
            for inner in command.get_subcommands() {
                leaves(inner, &format!("{name} {}", inner.get_name()), look);
            }
        } else {
            look(name, command);
        }
    }

    #[test]
    fn the_syntax_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_that_names_it() {
        leaves(&Cli::command(), "waxwing", &mut |name, command| {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example") && help.contains(name), "{name} has none");
        });
    }

    #[test]
    fn no_argument_has_a_global_options_id() {
        let global: Vec<_> =
            Cli::command().get_arguments().map(|argument| argument.get_id().clone()).collect();
        leaves(&Cli::command(), "waxwing", &mut |name, command| {
            for argument in command.get_arguments() {
                assert!(!global.contains(argument.get_id()), "{name}: {}", argument.get_id());
            }
        });
    }

    #[test]
    fn every_help_fits_on_a_screen() {
        const LINES: usize = 57;
        fn look(command: &mut clap::Command) {
            let lines = command.render_help().to_string().lines().count();
            assert!(lines <= LINES, "{} has {lines} lines", command.get_name());
            command.get_subcommands_mut().for_each(look);
        }
        let mut cli = Cli::command().term_width(100);
        cli.build();
        look(&mut cli);
    }
}
