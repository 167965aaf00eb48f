//! Apps and what they say about themselves.

use clap::Args;
use waxwing_client::Name;
use waxwing_client::api::Activity;

#[derive(Args, Debug)]
pub(crate) struct Apps {
    /// Of this name
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<Name>,
    /// Of this kind: instances of one service share it
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Of this version
    #[arg(long)]
    pub(crate) version: Option<String>,
    /// That can do this; may be repeated: all of them
    #[arg(long)]
    pub(crate) capability: Vec<String>,
    /// At work on this repository
    #[arg(long)]
    pub(crate) repository: Option<String>,
    /// Doing this: idle, working or dnd
    #[arg(long)]
    pub(crate) status: Option<Activity>,
}
