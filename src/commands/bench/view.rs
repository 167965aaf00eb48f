//! How measurements look to people.

use waxwing_lab::bench::{Spread, backlog, database, links, send};

use super::Measured;
use crate::output::table;

const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn send(measured: &Measured<'_, send::Report>) -> String {
    let report = measured.report;
    let mode = match report.mode {
        send::Mode::Batch => "in batches",
        send::Mode::Single => "one by one",
    };
    let text = format!(
        "{} messages of {} bytes, {mode}, {} under way at most; {} cores; waxwing {}\nevery commit: {}\n\n\
         accepted by the node   {:>9.0}/s\ndelivered, by receipt  {:>9.0}/s\nlost {}, twice {}\n",
        report.messages,
        report.size,
        report.window,
        measured.cores,
        measured.version,
        report.durability,
        report.queued_per_second,
        report.delivered_per_second,
        report.lost,
        report.duplicates,
    );
    let mut times = vec![["MILLISECONDS", "P50", "P90", "P99", "MAX"].map(String::from).to_vec()];
    times.push(spread("request to the node's answer", &report.request));
    times.push(spread("app to app", &report.app_to_app));
    times.push(spread("outbox to accepted by the broker", &report.accepted));
    times.push(spread("outbox to receipt", &report.delivered));
    let mut costs = vec![["PROCESS", "CPU PER MESSAGE", "PEAK MEMORY"].map(String::from).to_vec()];
    costs.extend(report.processes.iter().map(|(name, cost)| {
        let memory = format!("{:.0} MiB", cost.peak_resident as f64 / MIB);
        vec![name.clone(), format!("{:.0} µs", cost.cpu_micros_per_message), memory]
    }));
    format!("{text}\n{}\n\n{}", table(&times), table(&costs))
}

fn spread(what: &str, spread: &Spread) -> Vec<String> {
    let time = |time: f64| format!("{time:.1}");
    vec![what.to_owned(), time(spread.p50), time(spread.p90), time(spread.p99), time(spread.max)]
}

pub(super) fn links(measured: &Measured<'_, links::Report>) -> String {
    let report = measured.report;
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    format!(
        "{} links; {} cores; waxwing {}\n\n\
         logins                    {:>9.0}/s\n\
         memory of the broker, for each link\n\
         \x20 after the login         {:>9.1} KiB\n\
         \x20 after {:>4.0} s idle       {:>9.1} KiB\n\
         memory of the broker      {:>9.1} MiB, {:.1} before the first link\n\
         processor while idle      {:>9.1} % of a core\n\
         descriptors               {:>9}",
        report.links,
        measured.cores,
        measured.version,
        report.logins_per_second,
        kib(report.resident_per_link),
        report.idle_seconds,
        kib(report.resident_per_link_idle),
        report.after.resident as f64 / MIB,
        report.before.resident as f64 / MIB,
        report.idle_cpu_percent,
        report.after.descriptors,
    )
}

pub(super) fn database(measured: &Measured<'_, database::Report>) -> String {
    let report = measured.report;
    let rounds =
        |figures: &[f64]| figures.iter().map(|figure| format!("{figure:.0}")).collect::<Vec<_>>().join(", ");
    let mut times =
        vec![["ONE AT A TIME, MILLISECONDS", "P50", "P90", "P99", "MAX"].map(String::from).to_vec()];
    times.push(spread("in a file", &report.file.single));
    times.push(spread("on the server", &report.server.single));
    format!(
        "{} cores; waxwing {}\n\nmessages per second, {} in each round\n  in a file      {}\n  on the server  {}\n\
         server, of file: {:.2}\n\n{}",
        measured.cores,
        measured.version,
        report.messages,
        rounds(&report.file.per_second),
        rounds(&report.server.per_second),
        report.ratio,
        table(&times),
    )
}

pub(super) fn backlog(measured: &Measured<'_, backlog::Report>) -> String {
    let report = measured.report;
    let rounds =
        |figures: &[f64]| figures.iter().map(|figure| format!("{figure:.0}")).collect::<Vec<_>>().join(", ");
    format!(
        "{} envelopes waiting, in a store of {:.0} MiB, queued at {:.0}/s; {} cores; waxwing {}\n\n\
         messages per second, {} in each round\n  without  {}\n  with     {}\nwith, of without: {:.2}",
        report.queued,
        report.store_bytes as f64 / MIB,
        report.queued_per_second,
        measured.cores,
        measured.version,
        report.messages,
        rounds(&report.without),
        rounds(&report.with),
        report.ratio,
    )
}
