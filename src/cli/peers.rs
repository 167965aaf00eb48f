//! What is asked and decided about one member.

use clap::{Args, Subcommand};
use waxwing_client::Name;

use crate::completion;

/// What to do about one member.
#[derive(Debug, Subcommand)]
pub(crate) enum Peers {
    /// Show six words: read them to whoever is at the other node, who sees the same
    #[command(after_help = "Example: waxwing peers verify build-1")]
    Verify(OnePeer),
    /// Refuse a member's mail from now on: it ends at its sender as `blocked`
    #[command(after_help = "Example: waxwing peers block build-1")]
    Block(OnePeer),
    /// Take a member's mail again
    #[command(after_help = "Example: waxwing peers allow build-1")]
    Allow(OnePeer),
}

#[derive(Args, Debug)]
pub(crate) struct OnePeer {
    /// The member's name
    #[arg(add = completion::nodes())]
    pub(crate) node: Name,
}
