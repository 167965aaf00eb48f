//! Any program as an app: registered while it runs, signals and exit code passed on, its end told.

use rustix::process::{Pid, Signal, kill_process};
use waxwing_client::api::{AppsQuery, InboxQuery, Scope};
use waxwing_lab::{Lab, eventually};

use crate::commands::{fails, json, run};
use crate::meshes::linked;
use crate::support::{PROGRAM, WITHIN, mesh};
use crate::terminal::Running;

/// The process that an app of beta says it is, as alpha finds it.
async fn found(lab: &Lab, app: &str) -> u32 {
    let client = lab.client("alpha");
    let query =
        AppsQuery { scope: Some(Scope::Mesh), app: Some(app.parse().unwrap()), ..AppsQuery::default() };
    let pid = async || client.apps(&query).await.ok()?.apps.first()?.details.pid;
    eventually(WITHIN, &format!("alpha finds {app}"), pid).await.unwrap()
}

/// What alpha's default mailbox is told.
async fn told(lab: &Lab, after: u64) -> (u64, serde_json::Value) {
    let query = InboxQuery { after: Some(after), wait: Some("60s".to_owned()), ..InboxQuery::default() };
    let item = lab.client("alpha").inbox(&query).await.unwrap().items.remove(0);
    assert_eq!(
        item.from_app.as_ref().map(waxwing_client::Name::as_str),
        item.meta.as_ref().unwrap()["app"].as_str()
    );
    (item.id, serde_json::json!({ "text": item.body, "meta": item.meta }))
}

/// M-05, SB-13.
#[tokio::test]
async fn a_program_is_an_app_while_it_runs_and_its_end_is_told() {
    let lab = mesh(&["alpha", "beta"]).await;
    let state = lab.state("beta");
    let script = "echo $WAXWING_APP; test -S $WAXWING_SOCKET && read -r line < $WAXWING_STATE/go; exit 7";
    let go = state.join("go");
    let made = std::process::Command::new("mkfifo").arg(&go).status().unwrap();
    assert!(made.success());
    let running = [
        "run",
        "--name",
        "ci",
        "--kind",
        "build",
        "--tell",
        "alpha",
        "--tell",
        "log@alpha",
        "--",
        "sh",
        "-c",
    ];
    let mut ci = Running::start(&state, &[&running[..], &[script]].concat());
    assert_eq!(ci.line().await, "ci");
    assert!(found(&lab, "ci").await > 0);
    assert_eq!(fails(&lab, "beta", &["run", "--name", "ci", "--", "true"], 8).await, "app_registered");
    std::fs::write(&go, "go\n").unwrap();
    let ended = ci.end().await;
    assert_eq!(ended.code, Some(7), "{ended:?}");
    let (_, told) = told(&lab, 0).await;
    assert!(told["text"].as_str().unwrap().contains("ended with exit code 7 after"), "{told}");
    assert_eq!(
        (&told["meta"]["ended"]["exit_code"], &told["meta"]["app"]),
        (&7.into(), &"ci".into()),
        "{told}"
    );
    let log = json(&lab, "alpha", &["inbox", "--app", "log", "--wait", "60s"]).await;
    assert_eq!(log["items"].as_array().unwrap().len(), 1, "{log}");
    let document = json(&lab, "beta", &["run", "--name", "ci", "--", "true"]).await;
    assert_eq!((&document["exit_code"], &document["app"]), (&0.into(), &"ci".into()), "{document}");
    assert!(json(&lab, "beta", &["apps"]).await["apps"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_program_shares_and_claims_it_does_as_the_app_that_it_runs_as() {
    let lab = mesh(&["alpha"]).await;
    let script = "$0 kv put target blue && $0 claim try build-1 && $0 topic publish build:done green";
    let run = ["run", "--name", "ci", "--instance", "one", "--", "sh", "-c", script, PROGRAM];
    let ended = Running::start(&lab.state("alpha"), &run).end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let shown = json(&lab, "alpha", &["kv", "get", "target"]).await.to_string();
    assert!(shown.contains(r#""app":"ci","instance":"one""#), "{shown}");
    // Nobody else is that app while it runs.
    let other = format!("{PROGRAM} kv put target red --app ci; echo $?");
    let clean = ["-u", "WAXWING_REGISTRATION", "sh", "-c", &other];
    let run = [&["run", "--name", "ci", "--", "env"][..], &clean].concat();
    assert_eq!(Running::start(&lab.state("alpha"), &run).line().await, "3");
}

#[tokio::test]
async fn in_another_mesh_than_its_own_a_program_acts_as_whoever_is_not_registered_there() {
    let lab = mesh(&["alpha"]).await;
    let create = ["mesh", "create", "second", "--broker", &lab.url(), "--node", "alpha"];
    lab.json("alpha", &create).await.unwrap();
    linked(&lab.client("alpha"), "second").await;
    let script = "$0 --mesh lab kv put target blue && $0 --mesh second kv put target green";
    let run = ["run", "--mesh", "lab", "--name", "ci", "--", "sh", "-c", script, PROGRAM];
    let ended = Running::start(&lab.state("alpha"), &run).end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let shown = json(&lab, "alpha", &["--mesh", "second", "kv", "get", "target"]).await;
    assert!(shown.to_string().contains("green"), "{shown}");
}

#[tokio::test]
async fn signals_are_passed_on_and_how_it_ended_too() {
    let lab = mesh(&["alpha", "beta"]).await;
    let state = lab.state("beta");
    let arguments = ["run", "--name", "ci", "--tell", "alpha", "--", "sh", "-c"];
    let trap = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let mut polite = Running::start(&state, &[&arguments[..], &[trap]].concat());
    assert_eq!(polite.line().await, "ready");
    kill_process(Pid::from_raw(polite.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    assert_eq!(polite.end().await.code, Some(3));
    let (first, ended) = told(&lab, 0).await;
    assert_eq!(ended["meta"]["ended"]["exit_code"], 3, "{ended}");
    let mut killed = Running::start(&state, &[&arguments[..], &["echo ready; exec sleep 600"]].concat());
    assert_eq!(killed.line().await, "ready");
    let pid = found(&lab, "ci").await;
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(killed.end().await.code, Some(128 + 9));
    let (_, ended) = told(&lab, first).await;
    assert_eq!(ended["meta"]["ended"]["signal"], 9, "{ended}");
    assert!(ended["text"].as_str().unwrap().contains("was ended by signal 9"), "{ended}");
}

#[tokio::test]
async fn nothing_is_started_that_cannot_be_registered_or_told_of() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let mark = lab.folder().join("started");
    let touch = ["touch", mark.to_str().unwrap()];
    let ci = |more: &[&'static str]| [&["run", "--name", "ci"], more, &["--"]].concat();
    let nobody = [&ci(&["--tell", "gamma"])[..], &touch].concat();
    assert_eq!(fails(&lab, "beta", &nobody, 7).await, "not_found");
    assert_eq!(fails(&lab, "beta", &[&ci(&[])[..], &["/nowhere/at-all"]].concat(), 127).await, "cannot_run");
    lab.stop("beta").await.unwrap();
    let away = [&ci(&[])[..], &touch].concat();
    assert_eq!(fails(&lab, "beta", &away, 6).await, "not_running");
    let people = run(&lab, "beta", &away).await;
    assert!(people.stderr.contains("was not started") && people.stderr.contains("node up"), "{people:?}");
    assert!(!mark.exists(), "it was run all the same");
}

/// S-17.
#[tokio::test]
async fn a_program_goes_on_when_its_node_does_not_and_is_an_app_again_when_it_is_back() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let state = lab.state("beta");
    let go = state.join("go");
    assert!(std::process::Command::new("mkfifo").arg(&go).status().unwrap().success());
    let script = "echo ready; read -r line < $WAXWING_STATE/go";
    let mut ci =
        Running::start(&state, &["run", "--name", "ci", "--tell", "alpha", "--", "sh", "-c", script]);
    assert_eq!(ci.line().await, "ready");
    let pid = found(&lab, "ci").await;
    lab.stop("beta").await.unwrap();
    lab.restart("beta").await.unwrap();
    assert_eq!(found(&lab, "ci").await, pid);
    std::fs::write(&go, "go\n").unwrap();
    let ended = ci.end().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("ci is registered again"), "{ended:?}");
    told(&lab, 0).await;
}
