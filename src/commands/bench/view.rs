//! How measurements look to people.

use waxwing_lab::bench::{
    Costs, Figures, Range, Spread, Spreads, backlog, database, latency, lease, links, send, topic,
};

use super::Measured;
use crate::output::table;

const MILLISECONDS: [&str; 6] = ["MILLISECONDS", "P50", "P90", "P99", "P99.9", "MAX"];
const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn send(measured: &Measured<'_, send::Report>) -> String {
    let report = measured.report;
    let mode = match report.mode {
        send::Mode::Batch => "in batches".to_owned(),
        send::Mode::Single { connections } => format!("one by one over {connections} connections"),
    };
    format!(
        "{} messages of {} bytes, {mode}, {} under way at most; {}\n{}\n\n{}",
        report.figures.messages,
        report.size,
        report.window,
        ground(measured, report.nodes, report.rounds, &report.durability),
        PAIRS.replace("{}", &report.pairs.to_string()),
        figures(&report.figures),
    )
}

/// What the reader has to know of pairs.
const PAIRS: &str = "pairs of apps: {}; the median of the rounds, and in brackets the least and the most";

pub(super) fn topic(measured: &Measured<'_, topic::Report>) -> String {
    let report = measured.report;
    let mut times = vec![MILLISECONDS.map(String::from).to_vec()];
    times.push(spreads("publish: request to the answer", &report.publish));
    times.push(spreads("delivery: request to a subscriber", &report.delivery));
    format!(
        "{} messages of {} bytes by {} apps, to {} that have subscribed; {}\n\
         the median of the rounds, and in brackets the least and the most\n\n\
         published   {}/s, told to wait {} times\ndeliveries  {}/s\nlost {}, twice {}\n\n{}\n\n{}",
        report.messages,
        report.size,
        report.publishers,
        report.subscribers,
        ground(measured, report.nodes, report.rounds, &report.durability),
        whole(&report.published_per_second),
        report.rate_limited,
        whole(&report.deliveries_per_second),
        report.lost,
        report.duplicates,
        table(&times),
        costs("DELIVERY", &report.costs),
    )
}

pub(super) fn latency(measured: &Measured<'_, latency::Report>) -> String {
    let report = measured.report;
    let most = report.maximum_per_second.map_or_else(String::new, |most| {
        format!("with a full window, each in a request of its own: {}/s\n", whole(&most))
    });
    format!(
        "messages of {} bytes; {}\n{}\n\n{most}\none at a time, {} messages\n{}\n\nat {:.0}/s, {} messages\n{}",
        report.size,
        ground(measured, report.nodes, report.rounds, &report.durability),
        PAIRS.replace("{}", &report.pairs.to_string()),
        report.alone.messages,
        figures(&report.alone),
        report.rate,
        report.at_rate.messages,
        figures(&report.at_rate),
    )
}

pub(super) fn lease(measured: &Measured<'_, lease::Report>) -> String {
    let report = measured.report;
    let kinds = [
        ("alone: one app, one lease", &report.alone),
        ("uncontended: all apps, each its own lease", &report.uncontended),
        ("contended: all apps, one lease", &report.contended),
    ];
    let kinds = kinds.map(|(what, turns)| {
        let mut times = vec![MILLISECONDS.map(String::from).to_vec()];
        times.push(spreads("acquire: request to having it", &turns.acquire));
        times.push(spreads("release: request to the answer", &turns.release));
        format!(
            "{what}\n{} turns, {}/s\n{}\n\n{}",
            turns.turns,
            whole(&turns.per_second),
            table(&times),
            costs("TURN", &turns.costs),
        )
    });
    format!(
        "{} apps; {}\nthe median of the rounds, and in brackets the least and the most\n\n{}\n\n\
         granted while another had it: {}; under a token not above the last: {}",
        report.apps,
        ground(measured, report.nodes, report.rounds, &report.durability),
        kinds.join("\n\n"),
        report.overlaps,
        report.stale_tokens,
    )
}

/// On what it was measured.
fn ground<R>(measured: &Measured<'_, R>, nodes: usize, rounds: usize, durability: &str) -> String {
    let (cores, version) = (measured.cores, measured.version);
    format!("{nodes} nodes; {rounds} rounds; {cores} cores; waxwing {version}\nevery commit: {durability}")
}

fn figures(figures: &Figures) -> String {
    let stages = &figures.stages;
    let mut times = vec![MILLISECONDS.map(String::from).to_vec()];
    times.extend([
        spreads("accept: request to the node's answer", &stages.accept),
        spreads("broker accept: outbox to the broker's", &stages.broker_accept),
        spreads("delivery: outbox to inbox", &stages.delivery),
        spreads("receipt: request to the receipt", &stages.receipt),
        spreads("end to end: app to app", &stages.end_to_end),
    ]);
    format!(
        "accepted by nodes      {}/s\ndelivered, by receipt  {}/s\nlost {}, twice {}\n\n{}\n\n{}",
        whole(&figures.accepted_per_second),
        whole(&figures.delivered_per_second),
        figures.lost,
        figures.duplicates,
        table(&times),
        costs("MESSAGE", &figures.costs),
    )
}

/// What each process cost, for each of what is named.
fn costs(each: &str, costs: &Costs) -> String {
    let names = ["PROCESS", &format!("CPU, µs/{each}"), "PEAK MEMORY", "WRITTEN, BYTES", "COMMITS"];
    let mut rows = vec![names.map(String::from).to_vec()];
    rows.extend(costs.processes.iter().map(|(name, cost)| {
        let memory = cost.peak_resident.map(|peak| format!("{:.0} MiB", peak as f64 / MIB));
        let shown = [
            Some(whole(&cost.cpu_micros_each)),
            memory,
            cost.written_bytes_each.as_ref().map(whole),
            cost.commits_each.as_ref().map(fine),
        ];
        std::iter::once(name.clone())
            .chain(shown.map(|cell| cell.unwrap_or_else(|| "-".to_owned())))
            .collect()
    }));
    let flushes = costs.disk_flushes_each.as_ref().map_or_else(String::new, |flushes| {
        format!("\nflushes of the disk, by all of this machine: {}", fine(flushes))
    });
    format!("{}{flushes}", table(&rows))
}

fn whole(range: &Range) -> String {
    format!("{:.0} ({:.0}-{:.0})", range.median, range.least, range.most)
}

fn fine(range: &Range) -> String {
    format!("{:.3} ({:.3}-{:.3})", range.median, range.least, range.most)
}

fn spreads(what: &str, spreads: &Spreads) -> Vec<String> {
    let time = |range: &Range| format!("{:.1} ({:.1}-{:.1})", range.median, range.least, range.most);
    let times = [&spreads.p50, &spreads.p90, &spreads.p99, &spreads.p999, &spreads.max];
    std::iter::once(what.to_owned()).chain(times.map(time)).collect()
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
