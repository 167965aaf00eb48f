//! What operators ask of a broker, beside running it.

use std::path::PathBuf;

use clap::Args;

/// Which broker.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct BrokerAt {
    /// The file that the broker was started with
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Its data folder [default: the file's, else `broker` in the state folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where its store is, as it was started with [default: the file's, else `broker.db` in the data folder]
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct BrokerMigrate {
    /// Where the store is: sqlite:///PATH or postgres://USER@HOST/NAME
    #[arg(long, value_name = "URL")]
    pub(crate) from: String,
    /// Where it goes; nothing may be stored there
    #[arg(long, value_name = "URL")]
    pub(crate) to: String,
}

#[derive(Args, Debug)]
pub(crate) struct BrokerBackup {
    /// The file to make; it must not exist
    #[arg(value_name = "FILE")]
    pub(crate) to: PathBuf,
    #[command(flatten)]
    pub(crate) at: BrokerAt,
}

#[derive(Args, Debug)]
pub(crate) struct ServiceOf {
    /// For the whole machine, as a user of its own [default for root]
    #[arg(long, conflicts_with = "user")]
    pub(crate) system: bool,
    /// For this user [default for others]
    #[arg(long)]
    pub(crate) user: bool,
}

#[derive(Args, Debug)]
pub(crate) struct NodeService {
    /// Print the unit and change nothing
    #[arg(long, visible_alias = "dry-run")]
    pub(crate) print: bool,
}

#[derive(Args, Debug)]
pub(crate) struct BrokerService {
    #[command(flatten)]
    pub(crate) service: ServiceOf,
    /// File with the broker's settings; the service must be able to read it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where the store is, without a password: postgres://USER@HOST/NAME [default: the file's, else a file in its folder]
    #[arg(long, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Print the unit and change nothing
    #[arg(long, visible_alias = "dry-run")]
    pub(crate) print: bool,
}
