//! `waxwing broker doctor`.

use serde::Serialize;
use waxwing_broker::doctor::{Finding, Verdict, examine};

use super::at::At;
use crate::cli::BrokerAt;
use crate::commands::Context;
use crate::failure::{Failure, Result};
use crate::output::inline;

#[derive(Serialize)]
struct Examined {
    ok: bool,
    findings: Vec<Finding>,
}

pub(crate) async fn run(context: &Context, at: BrokerAt) -> Result<()> {
    crate::logs::passing(context.verbose);
    let mut at = At::resolve(context, at)?;
    if !at.from_file
        && let Ok(Some(last)) = waxwing_broker::holder(at.data())
    {
        at.config.listen = last.addr;
    }
    let findings = examine(&at.config, &at.arguments).await;
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
    let verdict = match finding.verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Wrong => "WRONG",
    };
    let mend = finding.mend.as_deref().map(|mend| format!("\n         {}", inline(mend))).unwrap_or_default();
    format!("{verdict:<8} {}: {}{mend}", finding.check, inline(&finding.detail))
}
