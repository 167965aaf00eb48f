//! `waxwing bench` measures what it says, on real processes, and leaves nothing behind.

use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::Instant;
use waxwing_client::api::{AbortRequest, EventBody, EventQuery};
use waxwing_lab::Lab;
use waxwing_lab::apps::request;

use crate::support::{PROGRAM, mesh};

/// Runs it in a temporary folder of its own. Returns its document.
async fn bench(arguments: &[&str]) -> Value {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--json", "bench"]).args(arguments).env("TMPDIR", temporary.path());
    let output = command.output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "", "nothing for people");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// Nothing is lost, nothing comes twice, times are in order, and what processes cost is told for each.
fn whole(figures: &Value, processes: &[&str]) {
    let counted = ["lost", "duplicates"].map(|key| figures[key].as_u64().unwrap());
    assert_eq!(counted, [0, 0], "{figures:#}");
    for stage in ["accept", "broker_accept", "delivery", "receipt", "end_to_end"] {
        in_order(&figures["stages"][stage]);
    }
    for (earlier, later) in [("accept", "receipt"), ("delivery", "receipt")] {
        let most = |stage: &str| number(&figures["stages"][stage]["max"]["most"]);
        assert!(most(later) + 2.0 >= most(earlier) && most(later) > 0.0, "{figures:#}");
    }
    assert!(number(&figures["accepted_per_second"]["least"]) > 0.0, "{figures:#}");
    assert!(number(&figures["delivered_per_second"]["least"]) > 0.0, "{figures:#}");
    costs(figures, processes);
}

fn in_order(times: &Value) {
    for end in ["least", "median", "most"] {
        let times = ["p50", "p90", "p99", "p99.9", "max"].map(|share| number(&times[share][end]));
        assert!(times.is_sorted(), "{times:?}");
    }
}

fn costs(figures: &Value, processes: &[&str]) {
    let costs = figures["processes"].as_object().unwrap();
    assert_eq!(costs.keys().collect::<Vec<_>>(), processes, "{figures:#}");
    for (process, cost) in costs {
        assert!(cost["peak_resident"].as_u64().unwrap() > 1_000_000, "{process}: {cost}");
        assert!(number(&cost["written_bytes_each"]["most"]) >= 0.0, "{process}: {cost}");
        let commits = cost["commits_each"]["most"].as_f64();
        assert_eq!(commits.is_some(), process != "apps", "{process}: {cost}");
        // Not every node has something to do with every lease.
        if ["broker", "node-1"].contains(&process.as_str()) {
            assert!(commits.unwrap() > 0.0, "{process}: {cost}");
        }
    }
}

#[tokio::test]
async fn sends_are_counted_to_the_last_and_their_times_are_in_order() {
    for mode in ["batch", "single"] {
        let arguments = [
            "send",
            "--messages",
            "303",
            "--rounds",
            "2",
            "--size",
            "100",
            "--mode",
            mode,
            "--nodes",
            "4",
            "--apps",
            "2",
            "--window",
            "70",
            "--connections",
            "3",
        ];
        let report = bench(&arguments).await;
        let keys = ["schema", "messages", "size", "nodes", "pairs", "rounds", "window"];
        let counted = keys.map(|key| report[key].as_u64().unwrap());
        assert_eq!(counted, [1, 606, 100, 4, 4, 2, 70], "{report:#}");
        assert_eq!(report["mode"], mode);
        assert!(report["durability"].as_str().unwrap().contains("synchronous=FULL"), "{report:#}");
        whole(&report, &["apps", "broker", "node-1", "node-2", "node-3", "node-4"]);
    }
}

#[tokio::test]
async fn a_message_is_timed_by_itself_and_at_half_of_what_there_can_be() {
    let report = bench(&["latency", "--duration", "1s", "--rounds", "1", "--window", "20"]).await;
    let most = number(&report["maximum_per_second"]["median"]);
    assert!(most > 0.0 && (number(&report["rate"]) - most / 2.0).abs() < 1e-6, "{report:#}");
    for figures in [&report["alone"], &report["at_rate"]] {
        assert!(figures["messages"].as_u64().unwrap() > 0, "{report:#}");
        whole(figures, &["apps", "broker", "node-1", "node-2"]);
    }
    let asked = ["latency", "--messages", "40", "--rounds", "2", "--rate", "200", "--nodes", "4"];
    let report = bench(&asked).await;
    assert_eq!((number(&report["rate"]), &report["maximum_per_second"]), (200.0, &Value::Null));
    assert_eq!(report["at_rate"]["messages"], 80);
    // 40 at 200 a second are due within 195 ms of the first: more a second than that is not waited for.
    assert!(number(&report["at_rate"]["accepted_per_second"]["most"]) <= 210.0, "{report:#}");
}

#[tokio::test]
async fn what_a_topic_gives_to_all_who_have_subscribed_is_counted_to_the_last() {
    let asked =
        ["topic", "--nodes", "3", "--apps", "7", "--messages", "60", "--rounds", "2", "--window", "3"];
    let report = bench(&asked).await;
    let keys = ["messages", "subscribers", "publishers", "lost", "duplicates", "rate_limited"];
    let counted = keys.map(|key| report[key].as_u64().unwrap());
    assert_eq!(counted, [120, 7, 3, 0, 0, 0], "{report:#}");
    let rates = ["published_per_second", "deliveries_per_second"].map(|key| number(&report[key]["least"]));
    assert!(rates[0] > 0.0 && rates[1] > rates[0], "{report:#}");
    for times in ["publish", "delivery"] {
        in_order(&report[times]);
    }
    costs(&report, &["apps", "broker", "node-1", "node-2", "node-3"]);
}

#[tokio::test]
async fn leases_are_taken_in_turns_alone_and_by_many_who_want_the_same() {
    let report = bench(&["lease", "--apps", "5", "--messages", "20", "--rounds", "2"]).await;
    let counted = ["nodes", "apps", "overlaps", "stale_tokens"].map(|key| report[key].as_u64().unwrap());
    assert_eq!(counted, [2, 5, 0, 0], "{report:#}");
    for kind in ["alone", "uncontended", "contended"] {
        let turns = &report[kind];
        assert!(turns["turns"] == 40 && number(&turns["per_second"]["least"]) > 0.0, "{report:#}");
        for times in ["acquire", "release"] {
            in_order(&turns[times]);
        }
        costs(turns, &["apps", "broker", "node-1", "node-2"]);
    }
}

#[tokio::test]
async fn a_broker_that_runs_already_is_used_and_left_running() {
    let lab = Lab::direct(PROGRAM).await.unwrap();
    let url = lab.url();
    let asked = ["send", "--messages", "20", "--rounds", "1", "--broker", &url];
    let report = bench(&asked).await;
    whole(&report, &["apps", "node-1", "node-2"]);
    assert!(report["durability"].as_str().unwrap().contains("the broker"), "{report:#}");
    let again = bench(&asked).await;
    assert_eq!(again["lost"], 0);
}

#[tokio::test]
async fn links_are_held_open_and_seen_at_the_broker() {
    let report = bench(&["links", "--links", "120", "--idle", "1s"]).await;
    let sockets = |when: &str| report[when]["sockets"].as_u64().unwrap();
    assert_eq!(report["links"], 120);
    assert_eq!(sockets("after"), sockets("before") + 120, "{report:#}");
    assert!(number(&report["logins_per_second"]) > 0.0, "{report:#}");
}

#[tokio::test]
async fn a_full_and_an_empty_broker_carry_the_same_in_turns() {
    let report = bench(&["backlog", "--queued", "3000", "--messages", "600", "--rounds", "2"]).await;
    assert_eq!((&report["queued"], &report["messages"]), (&3_000.into(), &600.into()));
    for side in ["without", "with"] {
        let rounds = report[side].as_array().unwrap();
        assert!(rounds.len() == 2 && rounds.iter().all(|rate| number(rate) > 0.0), "{report:#}");
    }
    assert!(number(&report["ratio"]) > 0.0 && report["store_bytes"].as_u64().unwrap() > 3_000 * 1_400);
}

/// The median and the 90th percentile, in milliseconds.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1_000.0;
    format!("{:.2} ms at the median, {:.2} at the 90th percentile, of {}", at(50), at(90), times.len())
}

#[tokio::test]
#[ignore = "measures; docs/performance.md says how to run it"]
async fn how_soon_an_event_is_with_its_app_and_how_long_a_start_and_a_send_take() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let send = async |lab: &Lab, id: &str| {
        let begun = Instant::now();
        let sent = lab.run("alpha", &["send", "beta", "hello", "--id", id], b"").await.unwrap();
        assert_eq!(sent.code, Some(0), "{sent:?}");
        begun.elapsed()
    };
    let mut sends = Vec::new();
    for n in 0..60 {
        sends.push(send(&lab, &format!("s-{n}")).await);
    }
    println!("a send as a process: {}", spread(sends));
    let mut starts = Vec::new();
    for _ in 0..15 {
        lab.stop("alpha").await.unwrap();
        let begun = Instant::now();
        lab.restart("alpha").await.unwrap();
        starts.push(begun.elapsed());
    }
    println!("a start, until it is ready: {}", spread(starts));

    // What gives up a message is answered once that is committed, and so is the event that tells it.
    lab.kill(Lab::BROKER).await.unwrap();
    let client = lab.client("alpha");
    let query = EventQuery { app: Some("*".into()), kind: Some("outbox".into()), ..EventQuery::default() };
    let mut events = client.events(&query).await.unwrap();
    let mut seen = Vec::new();
    for n in 0..200 {
        let id = format!("e-{n}");
        client.send(&request("beta", &id).unwrap()).await.unwrap();
        let given_up = AbortRequest { id: id.clone(), mesh: None };
        let answered = async {
            client.abort(&given_up).await.unwrap();
            Instant::now()
        };
        let told = async {
            loop {
                if let EventBody::Outbox { client_message_id, .. } = events.next().await.unwrap().body
                    && client_message_id.as_str() == id
                {
                    return Instant::now();
                }
            }
        };
        let (answered, told) = tokio::join!(answered, told);
        seen.push(told.saturating_duration_since(answered));
    }
    println!("an event at its app, after the answer to what brought it about: {}", spread(seen));
}
