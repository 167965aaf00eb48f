use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use waxwing_broker::{Config, Error};

use crate::harness::{Broker, Keys, Mesh, PATIENCE, dial, item};

/// Asks for a page: its status, and its text.
pub async fn get(addr: SocketAddr, path: &str, header: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

/// The samples of `/metrics`, by name and labels.
async fn samples(broker: &Broker) -> BTreeMap<String, f64> {
    let (code, page) = get(broker.admin().await, "/metrics", "").await;
    assert_eq!(code, 200);
    assert!(page.ends_with("# EOF\n"), "{page}");
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.trim_start_matches("waxwing_broker_").to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Waits until a sample is as it should be.
pub async fn until(broker: &Broker, name: &str, is: impl Fn(f64) -> bool) {
    let as_it_should = async {
        while !is(samples(broker).await[name]) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, as_it_should).await.unwrap_or_else(|_| panic!("{name} never was"));
}

#[tokio::test]
async fn a_message_on_its_way_is_counted_once_at_each_step() {
    let broker = Broker::in_a_file().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let before = samples(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let same = item(&broker.clock, &beta, 1);
    from.send(vec![same.clone(), item(&broker.clock, &beta, 2)]).await;
    from.send(vec![same]).await;
    let queued = samples(&broker).await;
    assert_eq!(queued["queue_envelopes"], 2.0);
    assert!(queued["queue_bytes"] > 0.0);
    let mut to = mesh.login(&broker, &beta).await;
    let got = to.until_envelopes(2).await;
    to.receipt(&got).await;
    from.until_notices(2).await;

    let after = samples(&broker).await;
    let grew = |name: &str| after[name] - before[name];
    let expected = [
        ("items_total{outcome=\"accepted\",priority=\"next\"}", 2.0),
        ("items_total{outcome=\"duplicate\",priority=\"next\"}", 1.0),
        ("deliveries_total{priority=\"next\"}", 2.0),
        ("settles_total{kind=\"receipt\"}", 2.0),
        ("notices_total{kind=\"delivered\"}", 2.0),
        ("notices_delivered_total", 2.0),
        ("logins_total{kind=\"member\"}", 2.0),
        ("links{kind=\"member\"}", 2.0),
        ("queue_envelopes", 0.0),
        ("queue_bytes", 0.0),
    ];
    for (name, count) in expected {
        assert_eq!(grew(name), count, "{name}");
    }
    for name in ["bytes_total{direction=\"in\"}", "bytes_total{direction=\"out\"}", "commit_seconds_count"] {
        assert!(grew(name) > 0.0, "{name}");
    }
    for name in
        ["meshes", "store_bytes{file=\"database\"}", "disk_free_bytes", "process_resident_memory_bytes"]
    {
        assert!(after[name] > 0.0, "{name}");
    }
    drop((from, to));
    let gone = "link_ends_total{reason=\"gone\"}";
    until(&broker, gone, |count| count == before[gone] + 2.0).await;
}

#[tokio::test]
async fn queue_totals_outlive_a_restart_and_follow_what_expires() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    from.send((0..7).map(|n| item(&broker.clock, &beta, n)).collect()).await;
    drop(from);
    let bytes = samples(&broker).await["queue_bytes"];
    let broker = broker.restart().await;
    let totals = samples(&broker).await;
    assert_eq!((totals["queue_envelopes"], totals["queue_bytes"]), (7.0, bytes));
    broker.clock.advance(std::time::Duration::from_secs(40 * 24 * 60 * 60));
    drop(mesh.login(&broker, &beta).await.until_tail().await); // Whoever reads an expired row wakes the sweeper.
    until(&broker, "queue_envelopes", |count| count == 0.0).await;
    let swept = samples(&broker).await;
    assert_eq!((swept["queue_bytes"], swept["swept_total{reason=\"expired\"}"]), (0.0, 7.0));
}

#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let broker = Broker::start().await;
    let mesh = Mesh::found(&broker).await;
    let stranger = mesh.try_login(&broker, &Keys::new("stranger")).await.err().unwrap();
    assert_eq!(stranger.reason.as_str(), "unauthenticated");
    assert_eq!(get(broker.addr, "/v1/link", "").await.0, 426);
    let after = samples(&broker).await;
    assert_eq!(after["logins_refused_total{reason=\"unauthenticated\"}"], 1.0);
    assert_eq!(after["connections_refused_total{reason=\"bad_upgrade\"}"], 1.0);
    assert_eq!(after["link_ends_total{reason=\"unauthenticated\"}"], 0.0, "it never was a link");
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_served() {
    let broker = Broker::start().await;
    let (_, page) = get(broker.admin().await, "/metrics", "").await;
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let served: BTreeSet<String> = types
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    let docs = include_str!("../../../docs/operations.md");
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let names = rows.map(|(name, _)| name.split('{').next().unwrap().to_owned());
    let documented: BTreeSet<String> =
        names.filter(|name| name.starts_with("waxwing_broker_") || name.starts_with("process_")).collect();
    assert_eq!(served, documented);
    for line in page.lines().filter(|line| line.contains('{')) {
        let words = ["reason=", "outcome=", "priority=", "direction=", "kind=", "file=", "version=", "le="];
        let labels = line.split_once('{').unwrap().1.split('}').next().unwrap();
        assert!(labels.split(',').all(|label| words.iter().any(|word| label.starts_with(word))), "{line}");
    }
}

#[tokio::test]
async fn readiness_is_a_commit_and_status_says_what_runs() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    mesh.login(&broker, &alpha).await.send(vec![item(&broker.clock, &beta, 1)]).await;
    let admin = broker.admin().await;
    assert_eq!(get(admin, "/healthz", "").await, (200, "ok\n".to_owned()));
    assert_eq!(get(broker.addr, "/healthz", "").await, (200, "ok\n".to_owned()));
    let (code, text) = get(admin, "/readyz", "").await;
    assert_eq!((code, text.as_str()), (200, "{\"ready\":true}"));
    for path in ["/metrics", "/status", "/readyz"] {
        assert_eq!(get(broker.addr, path, "").await.0, 404, "{path} is not for nodes");
    }
    let (_, text) = get(admin, "/status", "").await;
    let status: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&status["pid"], &status["meshes"]), (&std::process::id().into(), &1.into()));
    assert_eq!(status["queued"]["envelopes"], 1);
    assert_eq!(status["readiness"]["ready"], true);
    assert!(
        status["store_bytes"].as_u64().unwrap() > 10_000 && status["store_id"].as_str().unwrap().len() == 8
    );
}

#[tokio::test]
async fn a_store_that_takes_no_commit_is_not_ready() {
    let broker = Broker::in_a_file().await;
    let admin = broker.admin().await;
    let mut other = broker.file();
    // As long as somebody else writes, the broker cannot: it waits for the lock, and says that it is not ready.
    other.run("BEGIN IMMEDIATE").unwrap();
    let stuck = async {
        loop {
            match get(admin, "/readyz", "").await {
                (200, _) => tokio::task::yield_now().await, // It has committed a moment ago.
                (code, text) => return (code, text),
            }
        }
    };
    let (code, text) = tokio::time::timeout(PATIENCE, stuck).await.unwrap();
    assert_eq!((code, text.as_str()), (503, "{\"ready\":false,\"reason\":\"store_stuck\"}"));
    assert_eq!(get(admin, "/healthz", "").await.0, 200, "the process lives");
    drop(other);
    assert_eq!(get(admin, "/readyz", "").await.0, 200);
}

#[tokio::test]
async fn off_this_machine_the_token_is_asked_for_and_nothing_else_opens() {
    let broker = Broker::with(|config| config.admin.listen = Some("0.0.0.0:0".parse().unwrap())).await;
    let admin = SocketAddr::new([127, 0, 0, 1].into(), broker.admin().await.port());
    let file = waxwing_broker::admin::token_file(broker.path());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    for path in ["/metrics", "/status", "/readyz"] {
        assert_eq!(get(admin, path, &format!("authorization: Bearer {token}\r\n")).await.0, 200, "{path}");
        let wrong = [
            String::new(),
            format!("authorization: Bearer {token}x\r\n"),
            format!("authorization: {token}\r\n"),
        ];
        for header in wrong {
            let (code, text) = get(admin, path, &header).await;
            assert_eq!(code, 401, "{path} {header}");
            assert!(text.contains("admin.token") && !text.contains(&token));
        }
    }
    assert_eq!(get(admin, "/healthz", "").await.0, 200, "alive is no secret");
}

#[tokio::test]
async fn an_admin_address_that_was_asked_for_and_is_taken_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(dir.path());
    config.admin.listen = Some(addr);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = waxwing_broker::run(config, listener, |_| (), std::future::pending()).await.unwrap_err();
    assert!(matches!(&refused, Error::Listen { addr: named, .. } if *named == addr), "{refused}");
}

#[tokio::test]
async fn links_and_operators_do_not_take_each_others_places() {
    let broker = Broker::with(|config| config.limits.connections = 1).await;
    let admin = broker.admin().await;
    let _only = dial(&broker).await;
    assert_eq!(get(admin, "/healthz", "").await.0, 200);
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(admin).await.unwrap());
    }
    drop(silent);
    assert_eq!(get(admin, "/metrics", "").await.0, 200);
}
