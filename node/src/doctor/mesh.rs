//! One mesh: its keys, its host, its database, what waits in it, and how the running node is with its broker.

use std::path::Path;
use std::time::Duration;

use waxwing_crypto::Name;
use waxwing_protocol::api::{LinkState, MeshHealth};
use waxwing_protocol::finding::{Finding, span};
use waxwing_sqlite::Readers;

use super::{Command, broker};
use crate::config::Config;
use crate::error::Error;
use crate::home::Home;
use crate::identity::Identity;
use crate::store::{self, meta, outbox, whole};
use crate::{clock, host};

/// Nothing waits for so long where a link is up; where none is, somebody should know.
const LATE: Duration = Duration::from_secs(60 * 60);
/// A recipient who has not fetched his mail for so long may never.
const FORGOTTEN: Duration = Duration::from_secs(2 * 24 * 60 * 60);

pub(super) async fn examine(
    config: &Config,
    home: &Home,
    name: &Name,
    health: Option<&MeshHealth>,
    command: Command<'_>,
) -> Vec<Finding> {
    let folder = home.mesh(name);
    let command = |rest: &str| command(&format!("--mesh {name} {rest}"));
    let identity = match Identity::load(&folder) {
        Ok(identity) => identity,
        Err(error) => return vec![keys(name, &error, &folder)],
    };
    let mut findings = vec![Finding::ok("keys", format!("{name}: node {}", identity.node))];
    findings.push(belongs(config, name, &identity, &folder, &command));
    let file = folder.join("node.db");
    // Beside a running node its log is part of the database; otherwise what is looked at is left as it is.
    let db = store::look(&file);
    match database(name, &file, &db, &command).await {
        Ok(finding) => {
            findings.push(finding);
            findings.extend(
                queues(name, &db, &command)
                    .await
                    .unwrap_or_else(|error| vec![damaged(name, &error.to_string(), &folder, &command)]),
            );
            if let Ok(Some(url)) = meta::text(&db, meta::BROKER).await
                && let Ok(url) = url.parse()
            {
                findings.extend(broker::examine(name.as_str(), &url, &command).await);
            }
        }
        Err(finding) => findings.push(finding),
    }
    db.close().await;
    findings.extend(health.into_iter().flat_map(|health| link(health, &command)));
    findings
}

fn keys(name: &Name, error: &Error, folder: &Path) -> Finding {
    let mend = error.hint().unwrap_or_else(|| {
        format!(
            "put identity.json back from a backup of {}, or delete the folder and join anew",
            folder.display()
        )
    });
    Finding::wrong("keys", format!("{name}: {error}"), mend)
}

/// Whether this host is the one that the keys belong to.
fn belongs(
    config: &Config,
    name: &Name,
    identity: &Identity,
    folder: &Path,
    command: Command<'_>,
) -> Finding {
    const CHECK: &str = "host";
    let evidence = host::evidence(config.host_id.as_deref());
    match host::judge(name.as_str(), folder, &identity.storage.keys().host_key(), &evidence) {
        Ok((None, _)) => Finding::ok(CHECK, format!("{name}: belongs to this one")),
        Ok((Some(warning), _)) => Finding::warning(
            CHECK,
            format!("{name}: {warning}"),
            format!("set host_id in {}", config.file().display()),
        ),
        Err(error) => Finding::wrong(CHECK, error.to_string(), command("node accept-host")),
    }
}

/// Whether the database is whole, and of a schema that this program knows.
async fn database(name: &Name, file: &Path, db: &Readers, command: Command<'_>) -> Result<Finding, Finding> {
    let folder = file.parent().unwrap_or(file);
    if !file.exists() {
        return Err(damaged(name, "it is missing", folder, command));
    }
    let wrong = whole::faults(db).await.unwrap_or_else(|error| vec![error.to_string()]);
    if !wrong.is_empty() {
        return Err(damaged(name, &wrong.join("; "), folder, command));
    }
    match whole::schemas(db).await {
        Ok((found, known)) if found > known => Err(Finding::wrong(
            "database",
            format!("{name}: schema {found}, and this program knows {known}"),
            "waxwing --version    (run the newer one)",
        )),
        Ok(_) => Ok(Finding::ok("database", format!("{name}: every page and index is whole"))),
        Err(error) => Err(damaged(name, &error.to_string(), folder, command)),
    }
}

fn damaged(name: &Name, what: &str, folder: &Path, command: Command<'_>) -> Finding {
    let mend = format!(
        "{}; then `{}` saves what can be read; or put {} back from a backup, whole, and say `{}`",
        command("node down"),
        command("node repair"),
        folder.display(),
        command("node accept-host")
    );
    Finding::wrong("database", format!("{name}: damaged: {what}"), mend)
}

/// What waits, and since when.
async fn queues(name: &Name, db: &Readers, command: Command<'_>) -> waxwing_sqlite::Result<Vec<Finding>> {
    const CHECK: &str = "queues";
    let (load, oldest) = (outbox::load(db).await?, outbox::oldest(db).await?);
    let age = |at: Option<_>| at.map(|at| clock::now().since(at)).unwrap_or_default();
    let (pending, unreceipted) = (age(oldest.pending), age(oldest.unreceipted));
    let mut findings = Vec::new();
    if pending >= LATE {
        let detail = format!("{name}: {} wait for the broker, the first for {}", load.pending, span(pending));
        findings.push(Finding::warning(CHECK, detail, command("node status")));
    }
    if unreceipted >= FORGOTTEN {
        let detail = format!(
            "{name}: {} wait for their recipients, the first for {}",
            load.unreceipted,
            span(unreceipted)
        );
        findings.push(Finding::warning(CHECK, detail, command("node outbox list --in accepted")));
    }
    let quarantined = meta::count(db, "SELECT count(*) FROM quarantine").await?;
    if quarantined > 0 {
        let detail = format!("{name}: {quarantined} boxes did not open, and were refused");
        findings.push(Finding::warning(CHECK, detail, command("events --after 0 --kind security")));
    }
    if findings.is_empty() {
        let detail = format!("{name}: {} queued, {} without a receipt yet", load.pending, load.unreceipted);
        findings.push(Finding::ok(CHECK, detail));
    }
    Ok(findings)
}

/// What the running node says of its link.
fn link(health: &MeshHealth, command: Command<'_>) -> Vec<Finding> {
    const CHECK: &str = "link";
    let name = &health.mesh;
    let reason = health.link.reason.clone().unwrap_or_default();
    let mut findings = vec![match health.link.state {
        LinkState::Up => Finding::ok(CHECK, format!("{name}: up")),
        LinkState::Down => Finding::warning(CHECK, format!("{name}: down: {reason}"), command("node status")),
        LinkState::Stopped => {
            let hint = health.link.stop.as_ref().and_then(|stop| stop.hint.clone());
            let mend = hint.unwrap_or_else(|| command("node status"));
            Finding::wrong(CHECK, format!("{name}: refused for good: {reason}"), mend)
        }
    }];
    for alarm in &health.alarms {
        let detail = format!("{name}: {}: {}", alarm.what, alarm.detail);
        findings.push(Finding::wrong("alarm", detail, command("node status")));
    }
    if health.resume_wanted.is_some() {
        let detail = format!("{name}: the broker has lost its store, and waits for an admin");
        findings.push(Finding::warning(CHECK, detail, command("mesh resume")));
    }
    findings
}
