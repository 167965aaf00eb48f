//! Which broker a command is about.

use std::path::Path;

use waxwing_broker::{BadDatabase, Config, Database, Holder};

use crate::cli::BrokerAt;
use crate::commands::Context;
use crate::failure::{Failure, Result};

/// A broker's settings, and how the command line names it.
pub(super) struct At {
    pub(super) config: Config,
    /// What goes behind a command about this broker.
    pub(super) arguments: String,
    /// Whether its file was named: then that says where it listens.
    pub(super) from_file: bool,
}

impl At {
    pub(super) fn resolve(context: &Context, at: BrokerAt) -> Result<Self> {
        let mut config = match &at.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        let named = at.data.is_some();
        if let Some(data) = at.data {
            config.data = data;
        } else if config.data.as_os_str().is_empty() {
            config.data = super::data_folder(&context.config()?);
        }
        if let Some(url) = &at.database {
            config.database = Some(database("--database", url)?);
        }
        let data = named.then_some(&config.data);
        let arguments = arguments(context, at.config.as_deref(), data, at.database.as_deref());
        Ok(Self { config, arguments, from_file: at.config.is_some() })
    }

    pub(super) fn data(&self) -> &Path {
        &self.config.data
    }

    /// The broker that runs on it.
    pub(super) fn running(&self) -> Result<Holder> {
        let holder = waxwing_broker::holder(self.data())?.filter(|holder| holder.runs);
        holder.ok_or_else(|| {
            let message = format!("no broker is running on {}", self.data().display());
            let hint = format!("start it with `waxwing broker run{}`", self.arguments);
            Failure::unreachable("not_running", message).hint(hint)
        })
    }

    /// An error of this broker, with commands that name it.
    pub(super) fn failure(&self, error: waxwing_broker::Error) -> Failure {
        named(error, &self.arguments)
    }
}

/// What names a broker behind a command: how the state folder does is known already.
pub(super) fn arguments(
    context: &Context,
    config: Option<&Path>,
    data: Option<&std::path::PathBuf>,
    database: Option<&str>,
) -> String {
    let mut arguments = String::new();
    if let Some(config) = config {
        arguments.push_str(&format!(" --config {}", config.display()));
    }
    match (data, context.state()) {
        (Some(data), _) => arguments.push_str(&format!(" --data {}", data.display())),
        (None, Some(state)) if config.is_none() => {
            arguments.push_str(&format!(" --data {}", state.join("broker").display()));
        }
        (None, _) => {}
    }
    if let Some(database) = database {
        arguments.push_str(&format!(" --database '{database}'"));
    }
    arguments
}

/// A database that a flag names. Whoever is on this machine can read a command line, so it has no password.
pub(super) fn database(flag: &str, url: &str) -> Result<Database> {
    let database: Database =
        url.parse().map_err(|err: BadDatabase| Failure::usage(format!("{flag}: {err}")))?;
    if database.has_password() {
        let message = format!("{flag}: everybody on this machine can read a password on a command line");
        return Err(Failure::usage(message).hint(
            "leave it out of the URL: the variable PGPASSWORD and the file ~/.pgpass (mode 600) are looked at, and \
             `database` in a file of mode 600 that --config names may have one",
        ));
    }
    Ok(database)
}

/// An error whose commands name this broker.
pub(super) fn named(error: waxwing_broker::Error, arguments: &str) -> Failure {
    let failure = Failure::from(error);
    match failure
        .next()
        .map(|hint| hint.replace("`waxwing broker doctor`", &format!("`waxwing broker doctor{arguments}`")))
    {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
