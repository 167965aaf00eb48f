//! Commands that are run under a lease; who has one, and taking it away.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use waxwing_client::Name;

#[derive(Args, Debug)]
pub(crate) struct Lock {
    /// What the lease is of: any text, the same for all who take turns; or with --file a path
    #[arg(required_unless_present = "list")]
    pub(crate) name: Option<String>,
    /// Show who has what and who waits, of NAME or of everything
    #[arg(long, conflicts_with_all = ["revoke", "file", "wait", "shared", "purpose", "command"])]
    pub(crate) list: bool,
    /// Take it away from whoever has it: as an admin, or from an app of this node
    #[arg(long, conflicts_with_all = ["file", "wait", "shared", "purpose", "command"])]
    pub(crate) revoke: bool,
    /// With --revoke: only if this is the token it is held under
    #[arg(long, value_name = "N", requires = "revoke", conflicts_with_all = ["list", "command"])]
    pub(crate) token: Option<u64>,
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
    #[arg(last = true, required_unless_present_any = ["list", "revoke"], value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}
