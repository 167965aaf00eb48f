//! Asking an app and waiting for its answer; answering; serving an app by a command.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use waxwing_client::{ClientMessageId, Name};

use super::messages::key_value;
use crate::completion;

#[derive(Args, Debug)]
pub(crate) struct Request {
    /// The app asked: `app@node`
    #[arg(add = completion::addresses())]
    pub(crate) to: String,
    /// The text; read from stdin when absent
    #[arg(conflicts_with = "file")]
    pub(crate) text: Option<String>,
    /// Ask with the content of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The app that asks [default: $WAXWING_APP]
    #[arg(long, value_name = "APP", env = "WAXWING_APP", hide_env = true)]
    pub(crate) app: Option<Name>,
    /// Media type of what is asked, as application/json
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
    /// Metadata; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) meta: Vec<(String, String)>,
    /// How long to wait for the answer, up to 10m [default: 30s]
    #[arg(long, value_name = "DURATION")]
    pub(crate) timeout: Option<String>,
    /// Show on stderr how it goes, as whoever answers tells it; with --json, a line each
    #[arg(long)]
    pub(crate) progress: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Reply {
    /// The request, as `waxwing events` or $WAXWING_REQUEST has it
    pub(crate) request: ClientMessageId,
    /// The text; read from stdin when absent
    #[arg(conflicts_with_all = ["file", "error"])]
    pub(crate) text: Option<String>,
    /// Answer with the content of this file
    #[arg(long, value_name = "FILE", conflicts_with = "error")]
    pub(crate) file: Option<PathBuf>,
    /// Media type of the answer, as application/json
    #[arg(long, value_name = "TYPE", conflicts_with = "error")]
    pub(crate) content_type: Option<String>,
    /// Tell how it goes; the answer comes later
    #[arg(long, conflicts_with = "error")]
    pub(crate) progress: bool,
    /// There is no answer, and this is why
    #[arg(long, value_name = "TEXT")]
    pub(crate) error: Option<String>,
    /// With --error: the same in a word, for programs
    #[arg(long, value_name = "WORD", requires = "error")]
    pub(crate) code: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// The app's name
    #[arg(long, value_name = "APP")]
    pub(crate) name: Name,
    /// Which of several of that name: they are asked in turn
    #[arg(long, value_name = "NAME")]
    pub(crate) instance: Option<Name>,
    /// Requests answered at once; more wait
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=128))]
    pub(crate) at_once: u16,
    /// Take the name from whoever has it
    #[arg(long)]
    pub(crate) takeover: bool,
    /// The command, run once per request, and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}
