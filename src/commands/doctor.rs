//! `waxwing node doctor`, and what a doctor of a node or a broker says.

use serde::Serialize;
use waxwing_client::Client;
use waxwing_client::api::Health;
use waxwing_node::{Config, doctor};
use waxwing_protocol::finding::{Finding, Verdict};

use super::{Context, node_service};
use crate::failure::{Failure, Result};
use crate::output::inline;

#[derive(Serialize)]
struct Examined {
    ok: bool,
    findings: Vec<Finding>,
}

pub(crate) async fn node(context: &Context) -> Result<()> {
    crate::logs::passing(context.verbose);
    let command = |rest: &str| context.command(rest);
    let config = match context.config() {
        Ok(config) => config,
        // Nothing else can be looked at: where it would be is not known.
        Err(failure) => {
            let wrong = Finding::wrong("configuration", failure.message(), command("config path"));
            return show(context, vec![wrong]);
        }
    };
    let mut findings = vec![Finding::ok("configuration", config.file().display().to_string())];
    let (health, process) = process(context, &config).await;
    findings.push(process);
    findings.extend(doctor::examine(&config, health.as_ref(), &command).await);
    findings.extend(node_service::finding(context, &config));
    show(context, findings)
}

/// Whether a node runs, and what it says of itself.
async fn process(context: &Context, config: &Config) -> (Option<Health>, Finding) {
    const CHECK: &str = "process";
    let pid = match waxwing_node::running(config) {
        Ok(Some(pid)) => pid,
        Ok(None) => {
            let detail = format!("not running; `{}` starts it", context.command("node up"));
            return (None, Finding::ok(CHECK, detail));
        }
        Err(error) => {
            let mend = format!("ls -l {}", config.state.display());
            return (None, Finding::wrong(CHECK, error.to_string(), mend));
        }
    };
    let down = context.command("node down");
    match Client::new(config.socket()).health().await {
        Ok(health) => {
            let closed: Vec<_> =
                health.closed.iter().map(|closed| format!("{} ({})", closed.mesh, closed.reason)).collect();
            let finding = if closed.is_empty() {
                Finding::ok(CHECK, format!("process {pid} runs and answers"))
            } else {
                let detail = format!("process {pid} runs; closed: {}", closed.join(", "));
                Finding::warning(CHECK, detail, context.command("node status"))
            };
            (Some(health), finding)
        }
        Err(error) => {
            let detail = format!("process {pid} runs and does not answer: {error}");
            (None, Finding::wrong(CHECK, detail, format!("{down}; {}", context.command("node up"))))
        }
    }
}

/// Shows what was found. Fails if anything is wrong.
pub(super) fn show(context: &Context, findings: Vec<Finding>) -> Result<()> {
    let wrong = findings.iter().filter(|finding| finding.verdict == Verdict::Wrong).count();
    let examined = Examined { ok: wrong == 0, findings };
    context.output.print(&examined, || examined.findings.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    if wrong == 0 {
        return Ok(());
    }
    let things = if wrong == 1 { "1 thing is".to_owned() } else { format!("{wrong} things are") };
    Err(Failure::failed(format!("{things} wrong")).hint("what mends it stands under each finding"))
}

fn line(finding: &Finding) -> String {
    let mend = finding.mend.as_deref().map(|mend| format!("\n         {}", inline(mend))).unwrap_or_default();
    format!("{:<8} {}: {}{mend}", finding.verdict.as_str(), inline(&finding.check), inline(&finding.detail))
}
