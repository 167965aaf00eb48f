//! What an operator should know about a broker and its data folder, whether it runs or not. Nothing is changed.
//!
//! Each check gives findings; one that is not in order comes with the command that mends it, or shows more.

mod certificate;
mod host;
mod server;
mod store;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

pub use waxwing_protocol::finding::{Finding, Verdict};

use crate::admin::ask;
use crate::config::Config;
use crate::folder::{self, Holder};

/// Looks at everything. `arguments` are what names this broker on the command line, for the commands that mend.
pub async fn examine(config: &Config, arguments: &str) -> Vec<Finding> {
    if !config.data.is_dir() {
        let detail = format!("{} is not there: no broker has run on it", config.data.display());
        return vec![Finding::wrong("data folder", detail, format!("waxwing broker run{arguments}"))];
    }
    let mut findings = access(&config.data);
    let (holder, finding) = process(&config.data, arguments).await;
    findings.push(finding);
    findings.extend(store::examine(config, holder.as_ref(), arguments).await);
    findings.extend(certificate::examine(config));
    // A server has a disk of its own, which it alone can look at.
    if config.store().file().is_some() {
        findings.push(host::disk(&config.data));
    }
    findings.push(host::listen(config, holder.as_ref(), arguments).await);
    findings
}

/// Whether the folder and what is in it are this user's alone.
fn access(data: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let user = rustix::process::geteuid();
    let owner = fs::metadata(data).map_or(user.as_raw(), |folder| folder.uid());
    // Root looks at the broker of another user, whose everything must be then.
    let us = if user.is_root() { owner } else { user.as_raw() };
    let entries = fs::read_dir(data).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut paths: Vec<_> = match entries {
        Ok(paths) => paths,
        Err(err) => {
            let detail = format!("{}: {err}", data.display());
            return vec![Finding::wrong("data folder", detail, format!("ls -ld {}", data.display()))];
        }
    };
    paths.sort();
    paths.insert(0, data.to_owned());
    for path in &paths {
        let Ok(file) = fs::symlink_metadata(path) else { continue };
        let (name, mode) = (path.display(), file.permissions().mode() & 0o777);
        if mode & 0o077 != 0 && !file.is_symlink() {
            let mend = format!("chmod {} {name}", if file.is_dir() { "700" } else { "600" });
            findings.push(Finding::wrong(
                "access",
                format!("others have access to {name} (mode {mode:03o})"),
                mend,
            ));
        }
        if file.uid() != us {
            let detail = format!("{name} belongs to user {}, and the broker is user {us}", file.uid());
            findings.push(Finding::wrong("access", detail, format!("chown {us} {name}")));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("data folder", format!("{}, this user's alone", data.display())));
    }
    findings
}

/// Whether a broker runs, and answers.
async fn process(data: &Path, arguments: &str) -> (Option<Holder>, Finding) {
    const CHECK: &str = "process";
    let holder = match folder::holder(data) {
        Ok(holder) => holder.filter(|holder| holder.runs),
        Err(err) => {
            return (None, Finding::wrong(CHECK, err.to_string(), format!("ls -l {}", data.display())));
        }
    };
    let Some(running) = holder else {
        let detail = format!("not running; `waxwing broker run{arguments}` starts it");
        return (None, Finding::ok(CHECK, detail));
    };
    let pid = running.pid;
    let finding = match ask(data, &running, "/readyz").await {
        Ok((200, _)) => Finding::ok(CHECK, format!("process {pid} runs and takes commits")),
        Ok((_, text)) => Finding::wrong(
            CHECK,
            format!("process {pid} runs and is not ready: {}", text.trim()),
            format!("waxwing broker status{arguments}"),
        ),
        Err(err) => Finding::wrong(
            CHECK,
            format!("process {pid} holds the lock and does not answer: {err}"),
            format!("waxwing broker down{arguments}"),
        ),
    };
    (Some(running), finding)
}
