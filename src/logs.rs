//! Logs go to stderr: for people on a terminal, as JSON lines otherwise.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::Subscriber;

/// What the long-lived processes log unless told otherwise.
const SERVING: &str = "info,sqlx=warn";
/// What `-v` asks for.
const VERBOSE: &str = "debug,sqlx=warn,hyper=info,tungstenite=info,tokio_tungstenite=info";

/// Logs of a process that stays: always on.
pub(crate) fn serving(verbose: bool) {
    start(if verbose { VERBOSE } else { SERVING });
}

/// Logs of a command that ends: only when asked for.
pub(crate) fn passing(verbose: bool) {
    if verbose {
        start(VERBOSE);
    }
}

fn start(filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let builder = Subscriber::builder().with_env_filter(filter).with_writer(io::stderr);
    if io::stderr().is_terminal() {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        builder.with_ansi(!plain).init();
    } else {
        builder.json().init();
    }
}
