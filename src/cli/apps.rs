//! Apps and what they say about themselves, and programs that are run as one.

use std::ffi::OsString;

use clap::Args;
use waxwing_client::Name;
use waxwing_client::api::Activity;
use waxwing_protocol::Address;

use crate::completion;

#[derive(Args, Debug)]
pub(crate) struct Apps {
    /// Those of every member that is online, not of this node alone
    #[arg(long)]
    pub(crate) mesh_wide: bool,
    /// On this node
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<Name>,
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

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The app's name
    #[arg(long, value_name = "APP")]
    pub(crate) name: Name,
    /// Which of several of that name
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<Name>,
    /// Who is sent a message when it has ended: `node` or `app@node`; may be repeated
    #[arg(long, value_name = "ADDRESS", add = completion::addresses())]
    pub(crate) tell: Vec<Address>,
    /// What service it is: instances of one share it
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Its version
    #[arg(long)]
    pub(crate) version: Option<String>,
    /// What it can do; may be repeated
    #[arg(long)]
    pub(crate) capability: Vec<String>,
    /// The repository that it works on
    #[arg(long)]
    pub(crate) repository: Option<String>,
    /// What it is at, in words
    #[arg(long, value_name = "TEXT")]
    pub(crate) summary: Option<String>,
    /// Take the name from whoever has it
    #[arg(long)]
    pub(crate) takeover: bool,
    /// The command, and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct Profile {
    /// What it is at
    #[arg(long, value_name = "TEXT")]
    pub(crate) summary: Option<String>,
    /// The same in one word: idle, working or dnd
    #[arg(long)]
    pub(crate) status: Option<Activity>,
    /// Whether peers see more than that this node is online: true or false
    #[arg(long, value_name = "BOOL")]
    pub(crate) visible: Option<bool>,
    /// A picture: a URL, or a character
    #[arg(long)]
    pub(crate) avatar: Option<String>,
    /// Who, or what, it is
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// More about it
    #[arg(long, value_name = "TEXT")]
    pub(crate) bio: Option<String>,
    /// What it can do; may be repeated, and takes the place of what was said before
    #[arg(long)]
    pub(crate) capability: Vec<String>,
}
