//! Commands that are run under a lease.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use waxwing_client::Name;

#[derive(Args, Debug)]
pub(crate) struct Lock {
    /// What the lease is of: any text, the same for all who take turns; or with --file a path
    pub(crate) name: String,
    /// It is of a file or folder of a repository: NAME is its path
    #[arg(long, requires = "repository")]
    pub(crate) file: bool,
    /// With --file: what the repository is called everywhere, as its URL
    #[arg(long, value_name = "URL", requires = "file")]
    pub(crate) repository: Option<String>,
    /// With --file: where the repository is on this host [default: this folder]
    #[arg(long, value_name = "DIR", requires = "file")]
    pub(crate) root: Option<PathBuf>,
    /// How long the lease lasts unless it is renewed, which it is while CMD runs
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub(crate) ttl: String,
    /// How long to wait for it, as 10m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) wait: Option<Duration>,
    /// Together with others who say so as well
    #[arg(long)]
    pub(crate) shared: bool,
    /// What for, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) purpose: Option<String>,
    /// The app that has it [default: lock]
    #[arg(long, value_name = "APP", env = "WAXWING_APP", hide_env = true)]
    pub(crate) app: Option<Name>,
    /// The command, and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}
