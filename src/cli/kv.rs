//! State that the mesh shares.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use waxwing_client::api::Category;
use waxwing_client::{ClientMessageId, Name};

#[derive(Debug, Subcommand)]
pub(crate) enum Kv {
    /// Say what stands under a key
    #[command(after_help = "Examples: waxwing kv put deploy/target blue --app ci
          waxwing kv put builds 8 --app ci --if-match 7-1887436800001
          waxwing kv put owner ann --app ann --if-absent --ttl 30m
          waxwing kv put plan --file plan.md --app ann --category decision")]
    Put(KvPut),
    /// Show what stands under a key
    #[command(after_help = "Examples: waxwing kv get deploy/target
          waxwing kv get deploy/target --history --json")]
    Get(KvGet),
    /// List keys
    #[command(after_help = "Examples: waxwing kv list
          waxwing kv list --prefix deploy/ --category decision --json")]
    List(KvList),
    /// Delete a key, and its history
    #[command(after_help = "Example: waxwing kv delete deploy/target --app ci")]
    Delete(KvDelete),
    /// Show each change of a key as it happens
    #[command(after_help = "Examples: waxwing kv watch --prefix deploy/
          waxwing kv watch --json | while read -r change; do ...; done")]
    Watch(KvWatch),
}

#[derive(Args, Debug)]
pub(crate) struct KvPut {
    /// The key
    pub(crate) key: String,
    /// The value; read from stdin when absent
    #[arg(conflicts_with = "file")]
    pub(crate) value: Option<String>,
    /// Take the content of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The app that says so [default: $WAXWING_APP]
    #[arg(long, value_name = "APP", env = "WAXWING_APP", hide_env = true)]
    pub(crate) app: Option<Name>,
    /// decision, convention, discovery, blocker or context [default: as it was, context of a new key]
    #[arg(long)]
    pub(crate) category: Option<Category>,
    /// How long it stands, as 30m [default: until it is replaced or deleted]
    #[arg(long, value_name = "DURATION")]
    pub(crate) ttl: Option<String>,
    /// Only where this stands: an etag as `kv get` shows it, or a version
    #[arg(long, value_name = "ETAG", conflicts_with = "if_absent")]
    pub(crate) if_match: Option<String>,
    /// Only where nothing stands
    #[arg(long)]
    pub(crate) if_absent: bool,
    /// Idempotency key: repeated with the same id, it is put once
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<ClientMessageId>,
}

#[derive(Args, Debug)]
pub(crate) struct KvGet {
    /// The key
    pub(crate) key: String,
    /// The last 16 versions, the newest first
    #[arg(long)]
    pub(crate) history: bool,
}

#[derive(Args, Debug)]
pub(crate) struct KvList {
    /// Those that begin with this
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Option<String>,
    /// Those of this category
    #[arg(long)]
    pub(crate) category: Option<Category>,
    /// Those behind this one
    #[arg(long, value_name = "KEY")]
    pub(crate) after: Option<String>,
    /// At most this many, up to 1000 [default: 100]
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

#[derive(Args, Debug)]
pub(crate) struct KvDelete {
    /// The key
    pub(crate) key: String,
    /// The app that does so [default: $WAXWING_APP]
    #[arg(long, value_name = "APP", env = "WAXWING_APP", hide_env = true)]
    pub(crate) app: Option<Name>,
    /// Only where this stands: an etag as `kv get` shows it, or a version
    #[arg(long, value_name = "ETAG")]
    pub(crate) if_match: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct KvWatch {
    /// Of keys that begin with this
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Option<String>,
    /// Begin after this cursor of `waxwing events`; 0 for all that is kept [default: what happens from now on]
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<u64>,
}
