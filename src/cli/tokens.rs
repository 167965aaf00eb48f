//! Tokens for apps that reach the node over TCP.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use waxwing_client::Name;
use waxwing_client::api::TokenScope;

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token: it is shown once, and kept nowhere
    #[command(after_help = "Examples: waxwing node token create ci --scope send --app build --out ci.token
          waxwing node token create monitor --scope read

The node listens where `listen` in its configuration says. Whoever has the token finds the node by
WAXWING_NODE=127.0.0.1:7980 and WAXWING_TOKEN_FILE=ci.token; every command takes these from its environment.")]
    Create(TokenCreate),
    /// List the tokens that let somebody in
    #[command(after_help = "Example: waxwing node token list --json")]
    List,
    /// End a token, and what goes on by it
    #[command(after_help = "Example: waxwing node token revoke ci")]
    Revoke {
        /// What it is called
        name: Name,
    },
}

#[derive(Args, Debug)]
pub(crate) struct TokenCreate {
    /// What to call it, to end it by
    pub(crate) name: Name,
    /// What its holder may do: read; send (and acknowledge, and register apps); or admin, which is everything
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: TokenScope,
    /// The only app that its holder may be
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<Name>,
    /// Write it to this new file, for this user alone, instead of showing it
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
