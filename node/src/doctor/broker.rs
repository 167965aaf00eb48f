//! The broker, as far as it shows itself to somebody who does not log in: whether it is there, whether it is the one meant, and
//! what time it has.

use std::time::Duration;

use waxwing_crypto::Timestamp;
use waxwing_protocol::BrokerUrl;
use waxwing_protocol::finding::{Finding, span};

use super::Command;
use crate::clock;
use crate::link::{DialError, greet};

/// A clock that is so far off is told by the node itself, and measured out of what expires.
const OFF: Duration = Duration::from_secs(5 * 60);
/// And this is worth knowing.
const ASKEW: Duration = Duration::from_secs(60);
/// Nothing is believed to be slower than this.
const SLOW: Duration = Duration::from_secs(5);

/// Dials it, and hangs up.
pub(super) async fn examine(mesh: &str, broker: &BrokerUrl, command: Command<'_>) -> Vec<Finding> {
    const CHECK: &str = "broker";
    let before = clock::now();
    match greet(broker).await {
        Ok(time) => {
            let after = clock::now();
            let known = match broker.pin() {
                Some(_) => ", and has the pinned key",
                None if broker.is_tls() => ", and a CA vouches for it",
                None => "",
            };
            let answers = Finding::ok(CHECK, format!("{mesh}: {broker} answers{known}"));
            let mut findings = vec![answers];
            // An answer that took long says little about the time.
            if after.since(before) <= SLOW {
                findings.push(clocks(mesh, after, time));
            }
            findings
        }
        Err(DialError::Untrusted(cause)) => {
            let detail = format!("{mesh}: what answers at {broker} is not the broker meant: {cause}");
            vec![Finding::wrong(CHECK, detail, command("mesh broker URL"))]
        }
        Err(error) => {
            let mend = if broker.is_loopback() {
                command("up")
            } else {
                "ask its operator, who runs `waxwing broker doctor`".into()
            };
            vec![Finding::wrong(CHECK, format!("{mesh}: {broker} does not answer: {error}"), mend)]
        }
    }
}

/// This host's clock against the broker's.
pub(super) fn clocks(mesh: &str, here: Timestamp, broker: Timestamp) -> Finding {
    const CHECK: &str = "clock";
    const MEND: &str = "timedatectl set-ntp true";
    let (ahead, behind) = (here.since(broker), broker.since(here));
    let (off, word) = if ahead > behind { (ahead, "ahead of") } else { (behind, "behind") };
    let detail = format!("{mesh}: this host's is {} {word} the broker's", span(off));
    match off {
        off if off >= OFF => Finding::wrong(CHECK, detail, MEND),
        off if off >= ASKEW => Finding::warning(CHECK, detail, MEND),
        _ => Finding::ok(CHECK, format!("{mesh}: agrees with the broker's")),
    }
}

#[cfg(test)]
mod tests {
    use waxwing_protocol::finding::Verdict;

    use super::*;

    #[test]
    fn a_clock_that_is_off_is_told_either_way() {
        let here = Timestamp::from_millis(1_764_547_200_000);
        let judged = |millis: u64| {
            let broker = Timestamp::from_millis(millis);
            let finding = clocks("home", here, broker);
            (finding.verdict, finding.detail)
        };
        assert_eq!(judged(1_764_547_200_400).0, Verdict::Ok);
        let warning = judged(1_764_547_200_000 + 120_000);
        assert_eq!(warning, (Verdict::Warning, "home: this host's is 2 min behind the broker's".to_owned()));
        let wrong = judged(1_764_547_200_000 - 7_200_000);
        assert_eq!(wrong, (Verdict::Wrong, "home: this host's is 2 h ahead of the broker's".to_owned()));
    }
}
