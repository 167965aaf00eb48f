//! `waxwing broker run`, and the broker that `waxwing up` starts. The other commands about a broker have files of their
//! own.

mod at;
pub(crate) mod backup;
pub(crate) mod doctor;
pub(crate) mod migrate;
pub(crate) mod service;
pub(crate) mod status;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tracing::warn;
use waxwing_broker::Holder;
use waxwing_protocol::BrokerUrl;

use super::{Context, stop};
use crate::background::{self, Launch};
use crate::cli::{BrokerAt, BrokerRun};
use crate::failure::{Failure, Result};
use crate::{logs, supervisor};
use at::At;

/// What its logs are called.
const NAME: &str = "broker";

/// How often, and how long apart, one looks whether a broker answers that holds its folder.
const LOOKS: u32 = 50;
const LOOK: Duration = Duration::from_millis(20);

/// Printed when nodes can connect.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    /// Where it listens.
    url: String,
    /// What nodes dial.
    advertised: Vec<String>,
    /// Where the token is that founding a mesh takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    creation_token: Option<PathBuf>,
}

impl Ready {
    fn new(ready: &waxwing_broker::Ready) -> Self {
        let advertised = ready.urls.iter().map(ToString::to_string).collect();
        let creation_token = ready.creation_token.clone();
        Self { event: "ready", url: ready.url.to_string(), advertised, creation_token }
    }

    /// Shows it: what a person copies is the URLs to dial, unless only this machine can.
    fn show(&self, context: &Context, ready: &waxwing_broker::Ready) -> Result<()> {
        let here = ready.urls.iter().all(BrokerUrl::is_loopback);
        let people = || if here { self.url.clone() } else { self.advertised.join("\n") };
        context.output.print(self, people)?;
        if let (Some(url), Some(token)) = (self.advertised.first(), &self.creation_token) {
            let found = format!("mesh create NAME --broker '{url}' --creation-token {}", token.display());
            context
                .output
                .note(&format!("Founding a mesh here takes its token: {}", context.command(&found)));
        }
        Ok(())
    }
}

pub(crate) async fn run(context: &Context, arguments: BrokerRun) -> Result<()> {
    if arguments.detached {
        background::detach()?;
        let config = context.config()?;
        logs::detached(context.verbose, &config.logs(), NAME, config.log_files)?;
    } else {
        logs::serving(context.verbose);
    }
    let detached = arguments.detached;
    let database = arguments.database.as_deref();
    let named = at::arguments(context, arguments.config.as_deref(), arguments.data.as_ref(), database);
    let config = configured(context, arguments)?;
    config.check()?;
    config.check_listen(config.listen)?;
    raise_descriptors();
    let shutdown = supervisor::stopping(stop::asked()?);
    let listener =
        TcpListener::bind(config.listen).await.map_err(|err| cannot_listen(config.listen, &err))?;
    let say_ready = |ready: &waxwing_broker::Ready| {
        if !detached && let Err(error) = Ready::new(ready).show(context, ready) {
            warn!(error = error.message(), "nobody reads that the broker is ready");
        }
        supervisor::ready();
    };
    let ran = waxwing_broker::run(config, listener, say_ready, shutdown).await;
    ran.map_err(|error| at::named(error, &named))
}

/// Takes as many descriptors as this user may have: each link needs one, and shells give programs few.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(err) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%err, current = limit.current, "cannot raise the limit of file descriptors");
    }
}

/// `waxwing broker down`.
pub(crate) async fn down(context: &Context, at: BrokerAt) -> Result<()> {
    logs::passing(context.verbose);
    let at = At::resolve(context, at)?;
    super::down::broker(context, at.data()).await
}

/// A size as people read it.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1_024)),
        bytes => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

/// The settings: flag over file over default.
fn configured(context: &Context, arguments: BrokerRun) -> Result<waxwing_broker::Config> {
    let mut config = match &arguments.config {
        Some(path) => waxwing_broker::Config::read(path)?,
        None => waxwing_broker::Config::default(),
    };
    if let Some(data) = arguments.data {
        config.data = data;
    } else if config.data.as_os_str().is_empty() {
        config.data = data_folder(&context.config()?);
    }
    if let Some(url) = &arguments.database {
        config.database = Some(at::database("--database", url)?);
    }
    if let Some(listen) = arguments.listen {
        config.listen = listen;
    }
    if let Some(admin) = arguments.admin {
        config.admin.listen = Some(admin);
    }
    if !arguments.advertise.is_empty() {
        config.urls = arguments.advertise;
    }
    if arguments.tls_cert.is_some() {
        config.tls = waxwing_broker::TlsFiles { cert: arguments.tls_cert, key: arguments.tls_key };
    }
    config.plaintext |= arguments.plaintext;
    config.founding = arguments.founding.or(config.founding);
    Ok(config)
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Failure {
    let message = format!("cannot listen on {address}: {error}");
    if error.kind() == io::ErrorKind::AddrInUse {
        Failure::conflict(message).hint(
            "stop what listens there, or take another port with --listen or --admin (0 for any free one)",
        )
    } else {
        Failure::failed(message)
    }
}

/// Where the broker of this state folder keeps its data.
pub(super) fn data_folder(config: &waxwing_node::Config) -> PathBuf {
    config.state.join("broker")
}

/// Starts it in the background, and waits until nodes can connect.
pub(super) async fn start(
    context: &Context,
    config: &waxwing_node::Config,
    listen: SocketAddr,
) -> Result<Holder> {
    if !listen.ip().to_canonical().is_loopback() {
        let message =
            format!("{listen} can be reached from other machines, and the broker of `up` is for this one");
        return Err(Failure::usage(message).hint(format!(
            "`waxwing broker run --listen {listen}` runs one for others; found the mesh with `waxwing mesh create`"
        )));
    }
    let data = data_folder(config);
    let listen = listen.to_string();
    let arguments = ["broker", "run", "--listen", &listen].map(Into::into).to_vec();
    let launch = Launch { name: NAME, config, verbose: context.verbose, arguments };
    let holder = |pid| match waxwing_broker::holder(&data) {
        Ok(Some(holder)) if holder.runs && holder.pid == pid => Some(holder),
        _ => None,
    };
    let serves = async |pid| match holder(pid) {
        Some(holder) => is_healthy(holder.addr).await.unwrap_or(false),
        None => false,
    };
    let pid = launch.start()?.ready(serves).await?;
    holder(pid).ok_or_else(|| Failure::failed("the broker ended as soon as it was ready"))
}

/// Whether the broker that runs is there to stay: one that is being killed holds its lock a moment longer.
pub(super) async fn stays(config: &waxwing_node::Config) -> Result<bool> {
    let data = data_folder(config);
    for _ in 0..LOOKS {
        match waxwing_broker::holder(&data)? {
            Some(holder) if holder.runs => {
                if is_healthy(holder.addr).await.unwrap_or(false) {
                    return Ok(true);
                }
            }
            Some(_) | None => return Ok(false),
        }
        sleep(LOOK).await;
    }
    Ok(true)
}

/// Whether a broker answers there.
async fn is_healthy(addr: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(&status == b"HTTP/1.1 200")
}

impl From<waxwing_broker::Error> for Failure {
    fn from(error: waxwing_broker::Error) -> Self {
        use waxwing_broker::Error;
        let message = error.to_string();
        match error {
            Error::Config(_) => Self::usage(message),
            Error::InUse(_) => Self::conflict(message).hint("stop it first, or use another --data or --database"),
            Error::Listen { addr, cause } => cannot_listen(addr, &cause),
            Error::NewerSchema { .. } => Self::incompatible(message),
            Error::Damaged(_) => Self::damaged(message)
                .hint("`waxwing broker doctor` says how it is, and how to go on from a backup"),
            Error::Exists(_) => Self::conflict(message).hint("name another file, or move that one away"),
            Error::Unreachable(_) => {
                Self::unreachable("unreachable", message).hint("`waxwing broker doctor` says what is wrong")
            }
            Error::Unavailable(_) => Self::unreachable("database_away", message).hint(
                "start the database server, or see that it can be reached; `waxwing broker doctor` asks it",
            ),
            Error::DiskFull(_) => Self::failed(message)
                .hint("make room, and start it again: nothing that was acknowledged is lost"),
            Error::OnServer(_) => Self::usage(message).hint(
                "`pg_dump -Fc -f FILE URL` copies it as it is now; pg_basebackup and archived WAL bring back any moment",
            ),
            Error::NotEmpty(_) => Self::conflict(message)
                .hint("name a database that is new (`createdb`), or a file that is not there"),
            Error::Differs(_) => Self::failed(message).hint(
                "see that nothing else changes either database (triggers, other programs), and run it again",
            ),
            Error::Internal(_) => Self::failed(message),
        }
    }
}
