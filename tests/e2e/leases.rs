//! Leases: in turn, one change at the broker each; what cannot be is refused; and a command that runs under one.

use waxwing_client::Client;
use waxwing_client::api::{
    AcquireRequest, AcquireState, LeasesQuery, OnDisconnect, ProblemCode, ReleaseRequest, RenewRequest,
};
use waxwing_lab::{Lab, eventually};

use crate::commands::{fails, json, run};
use crate::support::{WITHIN, mesh};
use crate::terminal::Running;

pub(crate) fn app(lab: &Lab, node: &str, name: &str) -> Client {
    lab.client(node).app(name.parse().unwrap())
}

fn wants(name: &str, wait: Option<&str>) -> AcquireRequest {
    let (name, wait) = (Some(name.to_owned()), wait.map(str::to_owned));
    AcquireRequest { name, wait, ttl: Some("10s".to_owned()), ..AcquireRequest::default() }
}

async fn token(client: &Client, name: &str) -> u64 {
    let answer = client.acquire_lease(&wants(name, Some("60s"))).await.unwrap();
    assert_eq!(answer.state, AcquireState::Acquired, "{answer:?}");
    answer.token.unwrap()
}

async fn release(client: &Client, name: &str, token: u64) -> Result<(), ProblemCode> {
    let request = ReleaseRequest { name: name.to_owned(), token, mesh: None };
    client.release_lease(&request).await.map(drop).map_err(|error| error.problem().unwrap().code)
}

/// Each change of a space takes the next place, so places count the broker's commits of it.
#[tokio::test]
async fn across_two_hosts_acquire_and_release_are_one_change_at_the_broker_each() {
    let lab = mesh(&["alpha", "beta"]).await;
    let (ann, bob) = (app(&lab, "alpha", "ann"), app(&lab, "beta", "bob"));
    let mut last = token(&ann, "deploy").await;
    release(&ann, "deploy", last).await.unwrap();
    for n in 0..10 {
        let client = if n % 2 == 0 { &bob } else { &ann };
        let next = token(client, "deploy").await;
        assert_eq!(next, last + 2, "one to release, one to acquire");
        release(client, "deploy", next).await.unwrap();
        last = next;
    }
}

#[tokio::test]
async fn mb_16_what_cannot_be_is_refused_by_name_and_nothing_is_granted() {
    let lab = mesh(&["alpha"]).await;
    let ann = app(&lab, "alpha", "ann");
    let refused = async |request: AcquireRequest| {
        let error = ann.acquire_lease(&request).await.unwrap_err();
        (error.problem().unwrap().code, error.to_string())
    };
    for ttl in ["0s", "-1s", "999ms", "25h", "forever", "1e9s", "NaN", "", "99999999999999999999y"] {
        let (code, why) = refused(AcquireRequest { ttl: Some(ttl.into()), ..wants("a", None) }).await;
        assert!(code == ProblemCode::Malformed && why.contains("ttl must be 1s to 1day"), "{ttl}: {why}");
    }
    for name in ["", "a\nb", "\u{7f}", &"x".repeat(257), "file:a:b"] {
        assert_eq!(refused(wants(name, None)).await.0, ProblemCode::Malformed, "{name:?}");
    }
    let both = AcquireRequest { file: Some("a".into()), ..wants("a", None) };
    let neither = AcquireRequest { name: None, ..wants("a", None) };
    for request in [both, neither, wants("a", Some("25h")), wants("a", Some("-1s"))] {
        assert_eq!(refused(request).await.0, ProblemCode::Malformed);
    }
    let file = |file: &str| AcquireRequest {
        name: None,
        file: Some(file.into()),
        repository: Some("r".into()),
        ..wants("", None)
    };
    assert_eq!(refused(file("../x")).await.0, ProblemCode::OutsideRoot);
    assert_eq!(release(&ann, "a", 1).await, Err(ProblemCode::NotHolder), "an unknown token");
    let unnamed = lab.client("alpha").acquire_lease(&wants("a", None)).await.unwrap_err();
    assert_eq!(unnamed.problem().unwrap().code, ProblemCode::AppRequired);
    assert!(ann.leases(&LeasesQuery::default()).await.unwrap().leases.is_empty());
}

/// CT-20, S-01, S-02, ST-01, ST-02, ST-05.
/// M-27, S-03.
#[tokio::test]
async fn a_command_runs_under_a_lease_and_the_next_one_after_it() {
    let lab = mesh(&["alpha", "beta"]).await;
    let (state, other) = (lab.state("alpha"), lab.state("beta"));
    let held = async || {
        let leases = lab.client("beta").leases(&LeasesQuery::default()).await.ok()?.leases;
        leases.into_iter().find(|lease| lease.name == "deploy")
    };
    assert!(held().await.is_none(), "nobody has it before");
    let script = "echo $WAXWING_FENCE; read -r line < $0/go; exit 7";
    let go = state.join("go");
    assert!(std::process::Command::new("mkfifo").arg(&go).status().unwrap().success());
    let folder = state.to_str().unwrap();
    let mut first =
        Running::start(&state, &["lock", "deploy", "--purpose", "a test", "--", "sh", "-c", script, folder]);
    let fence: u64 = first.line().await.parse().unwrap();
    let lease = eventually(WITHIN, "beta sees it", held).await.unwrap();
    assert_eq!((lease.holders[0].token, lease.holders[0].purpose.as_deref()), (fence, Some("a test")));
    assert_eq!(fails(&lab, "beta", &["lock", "deploy", "--", "true"], 8).await, "conflict");
    let mut second =
        Running::start(&other, &["lock", "deploy", "--wait", "1m", "--", "sh", "-c", "echo $WAXWING_FENCE"]);
    let waits = async || held().await.filter(|lease| !lease.waiting.is_empty());
    eventually(WITHIN, "the second waits", waits).await.unwrap();
    std::fs::write(&go, "go\n").unwrap();
    let ended = first.end().await;
    assert_eq!(ended.code, Some(7), "it is the command's: {ended:?}");
    let next: u64 = second.line().await.parse().unwrap();
    assert!(next > fence);
    assert_eq!(second.end().await.code, Some(0));
    let gone = async || held().await.is_none().then_some(());
    eventually(WITHIN, "nobody has it after", gone).await.unwrap();
    let done = json(&lab, "alpha", &["lock", "deploy", "--wait", "1m", "--", "sh", "-c", "exit 0"]).await;
    assert!(done["token"].as_u64().unwrap() > next && done["exit_code"] == 0, "{done}");
}

#[tokio::test]
async fn a_command_whose_lease_is_revoked_is_stopped_with_all_that_it_has_started() {
    let lab = mesh(&["alpha", "beta"]).await;
    // One listens, and one does not.
    let script = "trap '' TERM; sleep 1000 & echo $!; trap - TERM; sleep 1000 & echo $!; wait";
    let state = lab.state("alpha");
    let mut running =
        Running::start(&state, &["lock", "deploy", "--purpose", "4.2", "--", "sh", "-c", script]);
    let mut started = Vec::new();
    for _ in 0..2 {
        started.push(std::path::PathBuf::from(format!("/proc/{}", running.line().await)));
    }
    assert!(started.iter().all(|process| process.exists()));
    let seen = async || {
        let listed = run(&lab, "beta", &["lock", "--list"]).await;
        listed.stdout.contains("lock/lock-").then_some(listed)
    };
    let listed = eventually(WITHIN, "beta lists it", seen).await.unwrap();
    assert!(listed.stdout.contains("held") && listed.stdout.contains("4.2"), "{listed:?}");
    let document = json(&lab, "alpha", &["lock", "deploy", "--list"]).await;
    let token = document["leases"][0]["holders"][0]["token"].as_u64().unwrap();
    // Neither a member that is no admin nor whoever means another token takes it away.
    assert_eq!(fails(&lab, "beta", &["lock", "deploy", "--revoke"], 3).await, "not_admin");
    let other = run(&lab, "alpha", &["lock", "deploy", "--revoke", "--token", "1"]).await;
    assert!(other.code == Some(7) && other.stderr.contains("nobody has"), "{other:?}");
    let revoked = json(&lab, "alpha", &["lock", "deploy", "--revoke", "--token", &token.to_string()]).await;
    assert_eq!(revoked["revoked"], serde_json::json!([token]));
    let ended = running.end().await;
    assert!(ended.code == Some(8) && ended.stderr.contains("revoked"), "{ended:?}");
    let gone = async || started.iter().all(|process| !process.exists()).then_some(());
    eventually(WITHIN, "nothing of it is left", gone).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_asked_of_a_lock_is_refused_with_its_usage() {
    let lab = mesh(&["alpha"]).await;
    for words in [
        &["lock"][..],
        &["lock", "deploy"],
        &["lock", "--revoke"],
        &["lock", "deploy", "--list", "--", "true"],
        &["lock", "deploy", "--revoke", "--list"],
        &["lock", "deploy", "--token", "1", "--", "true"],
    ] {
        let refused = run(&lab, "alpha", words).await;
        assert_eq!(refused.code, Some(2), "{words:?}: {refused:?}");
    }
    let nothing = run(&lab, "alpha", &["lock", "--list"]).await;
    assert!(nothing.code == Some(0) && nothing.stdout.is_empty(), "{nothing:?}");
}

/// SB-04.
#[tokio::test]
async fn a_file_of_a_repository_is_one_lease_from_whatever_checkout() {
    let lab = mesh(&["alpha", "beta"]).await;
    let mut held = None;
    for (node, spelled) in [("alpha", "src/../src/a.rs"), ("beta", "./src//a.rs")] {
        let root = lab.state(node).join("checkout");
        std::fs::create_dir_all(root.join("src")).unwrap();
        let lock = [
            "lock",
            spelled,
            "--file",
            "--repository",
            "https://git.example/app",
            "--root",
            root.to_str().unwrap(),
        ];
        match held {
            None => {
                held = Some(Running::start(
                    &lab.state(node),
                    &[&lock[..], &["--", "sh", "-c", "echo; exec sleep 1000"]].concat(),
                ));
            }
            Some(_) => {
                let out = run(&lab, node, &[&lock[..], &["--", "true"]].concat()).await;
                assert!(out.code == Some(8) && out.stderr.contains("src/a.rs"), "{out:?}");
            }
        }
        if let Some(first) = &mut held
            && node == "alpha"
        {
            first.line().await;
        }
    }
    held.unwrap().stop().await;
}

#[tokio::test]
async fn mt_26_a_time_longer_than_a_day_is_refused_and_what_is_left_is_said() {
    let lab = mesh(&["alpha"]).await;
    let ann = app(&lab, "alpha", "ann");
    // As long as that, whatever becomes of the link.
    let on_disconnect = Some(OnDisconnect::Hold);
    let hour = AcquireRequest { ttl: Some("1h".into()), on_disconnect, ..wants("a", None) };
    let answer = ann.acquire_lease(&hour).await.unwrap();
    assert!((3_590_000..=3_600_000).contains(&answer.remaining.unwrap()), "{answer:?}");
    let renew =
        RenewRequest { name: "a".into(), token: answer.token.unwrap(), ttl: Some("25h".into()), mesh: None };
    let refused = ann.renew_lease(&renew).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().code, ProblemCode::Malformed);
    let again = ann.renew_lease(&RenewRequest { ttl: None, ..renew }).await.unwrap();
    assert!(again.remaining >= 3_590_000 && again.token == answer.token.unwrap());
}
