//! The product, by its own measurement: broker and nodes as processes, apps over the real local API.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::measure::{Figures, SIZE, WINDOW};

/// What it takes beside the rounds: starting, warming up, counting every message.
const SPARE: Duration = Duration::from_secs(90);
/// One that was told to stop ends by then.
const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// What an app has open to its node at once.
const CONNECTIONS: usize = 16;
/// Any: it is the measurement of one at a time that is taken.
const RATE: usize = 100;

/// A full window, as many in a request as there is room for at that moment.
pub(crate) async fn batches(program: &Path, time: Duration) -> Result<Figures> {
    let window = WINDOW.to_string();
    let report = bench(program, &["send", "--window", &window], time).await?;
    figures(&report, "delivered_per_second")
}

/// A full window, each in a request of its own.
pub(crate) async fn single(program: &Path, time: Duration) -> Result<Figures> {
    let (window, connections) = (WINDOW.to_string(), CONNECTIONS.to_string());
    let words = ["send", "--mode", "single", "--connections", &connections, "--window", &window];
    let report = bench(program, &words, time).await?;
    figures(&report, "delivered_per_second")
}

/// One at a time.
pub(crate) async fn alone(program: &Path, time: Duration) -> Result<Figures> {
    let report = bench(program, &["latency", "--rate", &RATE.to_string()], time).await?;
    figures(&report["alone"], "delivered_per_second")
}

/// From app to app, as the others are timed.
fn figures(report: &Value, rate: &str) -> Result<Figures> {
    let number = |value: &Value| value["median"].as_f64().with_context(|| format!("no figure in {report}"));
    let times = &report["stages"]["end_to_end"];
    Ok(Figures {
        per_second: number(&report[rate])?,
        p50: number(&times["p50"])?,
        p99: number(&times["p99"])?,
        processor: processor(report)?,
    })
}

/// Of broker, nodes and apps together.
fn processor(report: &Value) -> Result<f64> {
    let processes = report["processes"].as_object().into_iter().flatten();
    let each: Option<Vec<f64>> =
        processes.map(|(_, cost)| cost["cpu_micros_each"]["median"].as_f64()).collect();
    let each = each.filter(|each| !each.is_empty());
    Ok(each.with_context(|| format!("no processor time in {report}"))?.iter().sum())
}

/// Its document. It ends with an error if anything was lost, or came twice.
async fn bench(program: &Path, words: &[&str], time: Duration) -> Result<Value> {
    let (duration, size) = (format!("{}s", time.as_secs()), SIZE.to_string());
    let mut child = Command::new(program)
        .args(["--json", "bench"])
        .args(words)
        .args(["--rounds", "1", "--duration", &duration, "--size", &size])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut running = Running(child);
    let read = async {
        let (mut document, mut error) = (String::new(), String::new());
        let (mut stdout, mut stderr) = (stdout.context("no stdout")?, stderr.context("no stderr")?);
        tokio::try_join!(stdout.read_to_string(&mut document), stderr.read_to_string(&mut error))?;
        anyhow::Ok((document, error, running.0.wait().await?))
    };
    let (document, error, status) =
        timeout(SPARE + 3 * time, read).await.with_context(|| format!("{words:?} does not end"))??;
    if !status.success() {
        bail!("{words:?}: {error}");
    }
    Ok(serde_json::from_str(&document)?)
}

/// One that has not ended when this goes is asked to, so that it ends what it has started itself.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // None once it has been waited for: its number may be another's by then.
        let pid = self.0.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let Some(pid) = pid else { return };
        if kill_process(pid, Signal::TERM).is_ok() {
            let deadline = Instant::now() + STOPS_WITHIN;
            while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

    use super::*;

    #[test]
    fn processor_time_is_that_of_all_processes_and_none_is_an_error() {
        let report = serde_json::json!({"processes": {"broker": {"cpu_micros_each": {"median": 60.0}},
            "apps": {"cpu_micros_each": {"median": 1.5}}}});
        assert!((processor(&report).unwrap() - 61.5).abs() < 1e-9);
        assert!(processor(&serde_json::json!({"processes": {}})).is_err());
        assert!(processor(&serde_json::json!({"processes": {"broker": {}}})).is_err());
    }
}
