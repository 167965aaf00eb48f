//! `waxwing prove` finds nothing where nothing is wrong, and finds what is; the same engine on many small schedules.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::task::{JoinSet, LocalSet};
use waxwing_client::Client;
use waxwing_lab::apps::request;
use waxwing_lab::bench::Progress;
use waxwing_lab::prove::{Diary, Plan, Report, Until, run};
use waxwing_lab::{Event, History, eventually};

use crate::support::{PROGRAM, WITHIN};

/// Seeded schedules in each test run, unless `WAXWING_SCHEDULES` says how many.
const SCHEDULES: usize = 500;
/// Schedules that one mesh goes through, one after the other.
const ON_ONE_MESH: usize = 20;
/// Meshes at once. Most of the time each waits for something.
const AT_ONCE: usize = 4;

/// Starts it in a temporary folder of its own.
fn prove(temporary: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(["--json", "prove"]).args(arguments).env("TMPDIR", temporary);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

/// How it ends: its exit code, its document, and what it says beside that.
async fn ends(child: Child) -> (Option<i32>, Value, String) {
    let output = child.wait_with_output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn twenty_kills_lose_repeat_and_reorder_nothing_and_leave_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let (code, report, said) = ends(prove(temporary.path(), &[])).await;
    assert_eq!((code, &*said), (Some(0), ""), "{report:#}");
    assert_eq!(report["schema"], 1);
    assert!(report["kills"].as_u64().unwrap() >= 20, "{report:#}");
    let count = |key: &str| report[key].as_u64().unwrap();
    let accepted = count("accepted");
    assert!(accepted > 50, "{report:#}");
    assert_eq!((count("shown"), count("delivered"), count("ended")), (accepted, accepted, 0));
    for wrong in ["lost", "twice", "out_of_order", "early", "otherwise"] {
        assert_eq!(count(wrong), 0, "{report:#}");
    }
    assert!(report["durability"].as_str().unwrap().contains("synchronous=FULL"));
    assert!(entries(temporary.path()).is_empty(), "processes and folder are gone");
}

#[tokio::test]
async fn a_seed_repeats_its_faults_and_a_kept_history_is_judged_again() {
    let temporary = tempfile::tempdir().unwrap();
    let kept = temporary.path().join("kept.jsonl");
    let kept = kept.to_str().unwrap();
    let arguments = ["--seed", "4711", "--kills", "4", "--nodes", "2"];
    let (_, first, said) = ends(prove(temporary.path(), &arguments)).await;
    assert_eq!(said, "", "{first:#}");
    let (_, again, said) =
        ends(prove(temporary.path(), &[&arguments[..], &["--history", kept]].concat())).await;
    assert_eq!(said, "", "{again:#}");
    assert_eq!((&first["faults"], &first["accepted"]), (&again["faults"], &again["accepted"]));
    assert_eq!(again["again"], "waxwing prove --seed 4711 --nodes 2 --kills 4");

    let (code, judged, _) = ends(prove(temporary.path(), &["--judge", kept])).await;
    assert_eq!((code, &judged["accepted"]), (Some(0), &again["accepted"]), "{judged:#}");
    // Without one line of it, a message was never shown.
    let history = History::read(std::fs::read(kept).unwrap().as_slice()).unwrap();
    let shown = history.events().iter().position(|event| matches!(event, Event::Shown { .. })).unwrap();
    let lost = history.events()[shown].key().clone();
    let text = std::fs::read_to_string(kept).unwrap();
    let doctored: String =
        text.lines().enumerate().filter(|(n, _)| *n != shown).map(|(_, line)| format!("{line}\n")).collect();
    std::fs::write(kept, doctored).unwrap();
    let (code, judged, said) = ends(prove(temporary.path(), &["--judge", kept])).await;
    assert_eq!(code, Some(1), "{judged:#}");
    let story = judged["broken"].as_str().unwrap();
    assert!(story.contains(&format!("{lost} was accepted, and neither shown nor reported dead")), "{story}");
    assert!(said.contains("broken_promise"), "{said}");
}

/// The sockets of its nodes, once they are there.
async fn sockets(temporary: &Path) -> Vec<PathBuf> {
    let there = async || {
        let lab = entries(temporary).into_iter().find(|path| path.join("node-1/node.sock").exists())?;
        Some(vec![lab.join("node-0/node.sock"), lab.join("node-1/node.sock")])
    };
    eventually(WITHIN, "its nodes are there", there).await.unwrap()
}

#[tokio::test]
async fn a_message_that_no_app_of_the_run_has_sent_fails_it_with_the_seed_the_story_and_the_history() {
    let temporary = tempfile::tempdir().unwrap();
    let child = prove(temporary.path(), &["--seed", "5", "--nodes", "2", "--for", "10m"]);
    let sockets = sockets(temporary.path()).await;
    let client = Client::new(&sockets[0]);
    let smuggled = request("node-1", "smuggled").unwrap();
    eventually(WITHIN, "it is smuggled in", async || client.send(&smuggled).await.ok()).await.unwrap();
    let (code, report, said) = ends(child).await;
    assert_eq!((code, &report["seed"], &report["otherwise"]), (Some(1), &5.into(), &1.into()), "{report:#}");
    assert!(said.contains("broken_promise") && said.contains("--seed 5"), "{said}");
    let story = report["broken"]["text"].as_str().unwrap();
    assert!(story.contains("smuggled from node-0 was shown, and never accepted"), "{story}");
    let kept = PathBuf::from(report["broken"]["kept"].as_str().unwrap());
    assert_eq!(entries(temporary.path()), std::slice::from_ref(&kept), "nothing else is left");
    let history = History::read(std::fs::read(kept.join("history.jsonl")).unwrap().as_slice()).unwrap();
    assert!(history.check_all().unwrap_err().to_string().contains("smuggled"));
    assert!(std::fs::read_to_string(kept.join("faults.txt")).unwrap().contains("round 1"));
}

#[tokio::test]
#[ignore = "takes many minutes; `just prove` runs it, and keeps its figures"]
async fn kills_by_the_thousand_lose_repeat_and_reorder_nothing() {
    let kills = std::env::var("WAXWING_KILLS").unwrap_or_else(|_| "2000".to_owned());
    let temporary = tempfile::tempdir().unwrap();
    let (code, report, said) = ends(prove(temporary.path(), &["--kills", &kills])).await;
    let failed = format!("{said}\n{report:#}");
    if code != Some(0) {
        // What is kept is worth more than a tidy disk.
        let _ = temporary.keep();
    }
    assert_eq!((code, &*said), (Some(0), ""), "{failed}");
    let faults: u64 = report["faults"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    let lost_stores = &report["faults"]["the broker's store deleted"];
    figures(
        "`waxwing prove`: a broker and three nodes, as processes",
        &[
            ("processes killed", &report["kills"]),
            ("faults injected", &faults.into()),
            ("of these, the broker's store deleted", lost_stores),
            ("messages accepted, shown once in order, and receipted", &report["accepted"]),
            ("lost, repeated, out of order, told early", &0.into()),
            ("seed", &report["seed"].to_string().into()),
        ],
    );
}

/// What `.ci/record` keeps.
pub(crate) fn figures(what: &str, figures: &[(&str, &Value)]) {
    println!("figures: {}", serde_json::json!({"what": what, "figures": figures}));
}

#[tokio::test]
async fn told_to_stop_it_ends_its_processes_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let child = prove(temporary.path(), &["--nodes", "2", "--for", "10m"]);
    let sockets = sockets(temporary.path()).await;
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (code, _, said) = ends(child).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nothing broken so far"), "{said}");
    assert!(entries(temporary.path()).is_empty());
    assert!(Client::new(&sockets[0]).health().await.is_err());
}

/// Nobody watches.
pub(crate) struct Unseen;

impl Progress for Unseen {
    fn begin(&self, _: &str, _: u64) {}
    fn done(&self, _: u64) {}
}

/// So many schedules on one mesh.
async fn schedules(seed: u64, rounds: usize) -> Report {
    let plan = Plan { program: PROGRAM.into(), nodes: 2, requests: 1, seed, until: Until::Rounds(rounds) };
    let diary = Diary::default();
    match run(&plan, &diary, &Unseen).await {
        Ok((report, None)) => report,
        Ok((_, Some(broken))) => panic!("WAXWING_SEED={seed}: {broken}\n{}", diary.faults()),
        Err(error) => panic!("WAXWING_SEED={seed}: {error}\n{}", diary.faults()),
    }
}

/// The schedules of these seeds, a few meshes at once.
async fn all(mut seeds: std::ops::Range<u64>) -> Vec<Report> {
    let (mut running, mut reports) = (JoinSet::new(), Vec::new());
    loop {
        while running.len() < AT_ONCE
            && let Some(seed) = seeds.next()
        {
            running.spawn_local(schedules(seed, ON_ONE_MESH));
        }
        match running.join_next().await {
            Some(report) => reports.push(report.unwrap()),
            None => return reports,
        }
    }
}

#[tokio::test]
async fn five_hundred_seeded_schedules_lose_repeat_and_reorder_nothing() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match number("WAXWING_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let meshes = number("WAXWING_SCHEDULES").unwrap_or(SCHEDULES as u64).div_ceil(ON_ONE_MESH as u64);
            let first = u64::from(std::process::id()) << 32;
            first..first + meshes
        }
    };
    let begun = tokio::time::Instant::now();
    let reports = LocalSet::new().run_until(all(seeds)).await;
    let sum = |of: fn(&Report) -> usize| reports.iter().map(of).sum::<usize>();
    let faults = sum(|report| report.faults.values().sum());
    let (rounds, kills, accepted) =
        (sum(|report| report.rounds), sum(|report| report.kills), sum(|report| report.summary.accepted));
    assert_eq!(sum(|report| report.summary.delivered), accepted);
    println!("in {:?}", begun.elapsed());
    figures(
        "Small schedules by seed: two nodes and a broker, as processes, one to three faults each",
        &[
            ("schedules", &rounds.into()),
            ("faults injected", &faults.into()),
            ("processes killed", &kills.into()),
            ("messages accepted, shown once in order, and receipted", &accepted.into()),
            ("lost, repeated, out of order, told early", &0.into()),
        ],
    );
}
