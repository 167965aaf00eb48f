//! The `waxwing` command: parse, dispatch, exit code.

mod background;
mod cli;
mod commands;
mod completion;
mod failure;
mod logs;
mod output;
mod service;
mod supervisor;
mod view;

use std::num::NonZero;
use std::process::ExitCode;

use clap::Parser as _;
use rustix::fs::Mode;
use rustix::process::umask;
use tokio::runtime::{Builder, Runtime};

use cli::{Broker, Cli, Command, ConfigCommand, Mesh, Node};
use commands::Context;
use failure::Result;

/// Exit codes that are the same at every start.
const REFUSED: std::ops::RangeInclusive<u8> = 2..=5;

fn main() -> ExitCode {
    // Before there is a runtime: who answers a shell has one of its own.
    completion::answer();
    // Whatever is made here, a log or a database's side file, is for this user alone from its first moment.
    umask(Mode::RWXG | Mode::RWXO);
    let cli = Cli::parse();
    match runtime(&cli.command) {
        Ok(runtime) => runtime.block_on(start(cli)),
        Err(error) => {
            eprintln!("waxwing: there can be no threads: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Threads for what is asynchronous. Whoever writes a database has one beside these: with one for each core as well, they would be too
/// many, and spend their time on waking each other. So would those of a benchmark, whose apps do little for each message: they have one,
/// and leave the rest to what is measured.
fn runtime(command: &Command) -> std::io::Result<Runtime> {
    let mut builder = if matches!(command, Command::Bench(_)) {
        Builder::new_current_thread()
    } else {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads((cores - 1).max(1));
        builder
    };
    builder.enable_all().build()
}

async fn start(cli: Cli) -> ExitCode {
    let refused_is_done = cli.command.refused_is_done();
    let context = Context::new(cli.global);
    match run(cli.command, &context).await {
        Ok(code) => code,
        Err(failure) => {
            let failure = failure.on_state(context.state());
            context.output.failure(&failure);
            if refused_is_done && REFUSED.contains(&failure.exit()) {
                return ExitCode::SUCCESS;
            }
            ExitCode::from(failure.exit())
        }
    }
}

async fn run(command: Command, context: &Context) -> Result<ExitCode> {
    let done = match command {
        Command::Demo => commands::demo::run(context).await,
        Command::Bench(command) => commands::bench::run(context, command).await,
        Command::Prove(arguments) => commands::prove::run(context, arguments).await,
        Command::Up(arguments) => commands::up::run(context, arguments).await,
        Command::Down => commands::down::run(context).await,
        Command::Status => commands::node::status(context).await,
        Command::Broker(command) => broker(command, context).await,
        Command::Mesh(Mesh::List) => commands::list::run(context).await,
        Command::Mesh(Mesh::Resume) => commands::mesh::resume(context).await,
        Command::Mesh(Mesh::Broker(arguments)) => commands::mesh::broker(context, arguments).await,
        Command::Mesh(Mesh::Create(arguments)) => commands::mesh::create(context, arguments).await,
        Command::Mesh(Mesh::Recover(arguments)) => commands::members::recover(context, arguments).await,
        Command::Members(arguments) => commands::members::run(context, &arguments).await,
        Command::Invite(arguments) => commands::invite::run(context, arguments).await,
        Command::Join(arguments) => commands::join::run(context, arguments).await,
        Command::Leave(arguments) => commands::leave::run(context, arguments).await,
        Command::Grant(arguments) => commands::membership::grant(context, arguments).await,
        Command::RotateKeys => commands::rotate_keys::run(context).await,
        Command::Revoke(arguments) => commands::membership::revoke(context, arguments).await,
        Command::Send(arguments) => commands::send::run(context, arguments).await,
        Command::Inbox(arguments) => commands::inbox::run(context, arguments).await,
        Command::Ack(arguments) => commands::ack::run(context, arguments).await,
        Command::Events(arguments) => commands::events::run(context, arguments).await,
        Command::Request(arguments) => commands::request::run(context, arguments).await,
        Command::Reply(arguments) => commands::request::reply(context, arguments).await,
        Command::Serve(arguments) => commands::serve::run(context, arguments).await,
        Command::Trace(arguments) => commands::trace::run(context, &arguments).await,
        Command::Peers { about } => commands::peers::run(context, about).await,
        Command::Apps(asked) => commands::apps::run(context, asked).await,
        Command::Profile(said) => commands::profile::run(context, said).await,
        Command::Claim(command) => commands::claim::run(context, command).await,
        Command::Kv(command) => commands::kv::run(context, command).await,
        Command::Topic(command) => commands::topic::run(context, command).await,
        // Its exit code is that of what it runs.
        Command::Run(arguments) => return commands::run::run(context, arguments).await,
        Command::Lock(arguments) => return commands::lock::run(context, arguments).await,
        Command::Node(command) => node(command, context).await,
        Command::Completions { shell } => completion::script(context, &shell),
        Command::Man { to } => commands::man::run(context, to),
        Command::Config(ConfigCommand::Show) => commands::config::show(context),
        Command::Config(ConfigCommand::Path) => commands::config::path(context),
    };
    done.map(|()| ExitCode::SUCCESS)
}

async fn broker(command: Broker, context: &Context) -> Result<()> {
    match command {
        Broker::Run(arguments) => commands::broker::run(context, arguments).await,
        Broker::Status(at) => commands::broker::status::run(context, at).await,
        Broker::Down(at) => commands::broker::down(context, at).await,
        Broker::Backup(arguments) => commands::broker::backup::run(context, arguments).await,
        Broker::Migrate(arguments) => commands::broker::migrate::run(context, arguments).await,
        Broker::Doctor(at) => commands::broker::doctor::run(context, at).await,
        Broker::InstallService(arguments) => commands::broker::service::install(context, &arguments),
        Broker::UninstallService(service) => commands::broker::service::uninstall(context, &service),
    }
}

async fn node(command: Node, context: &Context) -> Result<()> {
    match command {
        Node::Up(arguments) => commands::node::up(context, &arguments).await,
        Node::Down => commands::down::node(context).await,
        Node::Status => commands::node::status(context).await,
        Node::Metrics => commands::node::metrics(context).await,
        Node::Version => commands::node::version(context).await,
        Node::AcceptHost(arguments) => commands::accept_host::run(context, arguments.yes).await,
        Node::Doctor => commands::doctor::node(context).await,
        Node::InstallService(arguments) => commands::node_service::install(context, &arguments),
        Node::UninstallService => commands::node_service::uninstall(context),
        Node::Backup { to } => commands::backup::run(context, &to).await,
        Node::Repair => commands::repair::run(context).await,
        Node::Outbox(command) => commands::outbox::run(context, command).await,
        Node::Token(command) => commands::token::run(context, command).await,
    }
}
