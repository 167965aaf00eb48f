//! What one of many acts on, once.

use clap::{Args, Subcommand};
use waxwing_client::Name;

#[derive(Debug, Subcommand)]
pub(crate) enum Claim {
    /// Ask to be the one who acts; exit code 8 if another is, or has
    #[command(after_help = "Examples: waxwing claim try ci:build-4711:failed --app fixer
          waxwing claim try nightly --app fixer --ttl 2h --wait 30s --json")]
    Try(ClaimTry),
    /// Say that it is done, for whoever asks within 24 hours
    #[command(
        after_help = "Example: waxwing claim complete ci:build-4711:failed --app fixer --outcome 'cache cleared'"
    )]
    Complete(ClaimComplete),
    /// Give it up, so that another can have it
    #[command(after_help = "Example: waxwing claim abandon ci:build-4711:failed --app fixer")]
    Abandon(ClaimOf),
    /// List who has claimed what, and what is done
    #[command(after_help = "Examples: waxwing claim list
          waxwing claim list --prefix ci: --json")]
    List(ClaimList),
}

#[derive(Args, Debug)]
pub(crate) struct ClaimTry {
    /// What it is on: any text, compared exactly
    pub(crate) key: String,
    /// The app that acts [default: $WAXWING_APP]
    #[arg(long, value_name = "APP", env = "WAXWING_APP", hide_env = true)]
    pub(crate) app: Option<Name>,
    /// How long, as 30m [default: 30m]
    #[arg(long, value_name = "DURATION")]
    pub(crate) ttl: Option<String>,
    /// How long to wait for whoever has it, at most 60s [default: not at all]
    #[arg(long, value_name = "DURATION")]
    pub(crate) wait: Option<String>,
    /// What for, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) purpose: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ClaimOf {
    /// What it is on
    pub(crate) key: String,
    /// The app that has claimed it [default: $WAXWING_APP]
    #[arg(long, value_name = "APP", env = "WAXWING_APP", hide_env = true)]
    pub(crate) app: Option<Name>,
    /// Its token [default: of what the app has claimed here]
    #[arg(long)]
    pub(crate) token: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct ClaimComplete {
    #[command(flatten)]
    pub(crate) of: ClaimOf,
    /// What came of it
    #[arg(long, value_name = "TEXT")]
    pub(crate) outcome: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ClaimList {
    /// On this alone
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// On what begins with this
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Option<String>,
    /// That this app has, or has completed
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<Name>,
}
