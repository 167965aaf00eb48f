//! Services: instances asked in turn, notes on the way, commands that answer; and what of it is on no disk.

use rustix::process::{Pid, Signal, kill_process};
use waxwing_client::api::{CallRequest, ProblemCode, ReplyRequest};
use waxwing_client::{Asks, Error, Reply, Step};
use waxwing_lab::{Lab, Scan, eventually};

use crate::commands::{fails, json, run};
use crate::requests::{answer, call, given, name, pair, serve};
use crate::support::{PROGRAM, WITHIN};
use crate::terminal::Running;

#[tokio::test]
async fn instances_on_another_node_are_asked_in_turn() {
    let lab = pair().await;
    let mut serving = Vec::new();
    for instance in ["one", "two", "three"] {
        let (_, requests) = serve(&lab, "beta", "worker", Some(instance)).await;
        serving.push(tokio::spawn(requests.answer_all(1, move |_| async move { Ok(Reply::from(instance)) })));
    }
    let alpha = lab.client("alpha");
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(alpha.ask(&call("worker@beta", "who?")).await.unwrap().body.unwrap());
    }
    // By name, from the first that was there.
    assert_eq!(answers, ["one", "three", "two", "one", "three", "two"]);
    serving.into_iter().for_each(|task| task.abort());
}

#[tokio::test]
async fn progress_is_told_on_the_way_and_whoever_goes_cancels() {
    let lab = pair().await;
    let (beta, mut requests) = serve(&lab, "beta", "builder", None).await;
    let alpha = lab.client("alpha");
    let mut asked = alpha.ask_closely(&call("builder@beta", "build")).await.unwrap();
    let request = given(&mut requests).await;
    assert!(request.progress);
    for n in 1..=3 {
        beta.reply(&ReplyRequest { progress: true, ..answer(&request, &format!("step {n}")) }).await.unwrap();
    }
    beta.reply(&answer(&request, "built")).await.unwrap();
    for n in 1..=3 {
        let Step::Progress(note) = asked.next().await.unwrap() else { panic!("step {n}") };
        assert_eq!((note.number, note.body), (n, Some(format!("step {n}"))));
    }
    let Step::Answer(answer) = asked.next().await.unwrap() else { panic!("no answer") };
    assert_eq!(answer.body.as_deref(), Some("built"));
    // Dropped connections, of either form.
    let asked = alpha.ask_closely(&call("builder@beta", "gone")).await.unwrap();
    let first = given(&mut requests).await;
    drop(asked);
    let second = {
        let patience = call("builder@beta", "gone too");
        let asking = alpha.ask(&patience);
        tokio::pin!(asking);
        tokio::select! {
            answered = &mut asking => panic!("{answered:?}"),
            asks = async {
                match requests.next().await.unwrap() {
                    Asks::Cancel(id) => {
                        assert_eq!(id, first.id);
                        given(&mut requests).await
                    }
                    Asks::Request(request) => *request,
                }
            } => asks,
        }
    };
    let cancelled = async {
        loop {
            if let Asks::Cancel(id) = requests.next().await.unwrap()
                && id == second.id
            {
                return;
            }
        }
    };
    tokio::time::timeout(WITHIN, cancelled).await.expect("the second is cancelled as well");
}

/// Words that are in nothing but a request and its answer.
const SAYS: [&str; 5] =
    ["tapir-service", "okapi-asks", "a question of zebus", "an answer of gnus", "quagga/meta"];

#[tokio::test]
async fn what_is_asked_and_answered_is_on_no_brokers_disk_log_or_wire_and_on_no_disk_of_the_nodes() {
    let mut lab = pair().await;
    let (beta, mut requests) = serve(&lab, "beta", SAYS[0], None).await;
    let asker = lab.client("alpha").app(name(SAYS[1]));
    let meta = serde_json::json!({ "content": SAYS[4] }).as_object().cloned();
    let asked = CallRequest { meta, ..call("tapir-service@beta", SAYS[2]) };
    let (answered, ()) = tokio::join!(asker.ask(&asked), async {
        let request = given(&mut requests).await;
        beta.reply(&answer(&request, SAYS[3])).await.unwrap();
    });
    assert_eq!(answered.unwrap().body.as_deref(), Some(SAYS[3]));
    let mut scan = Scan::default();
    scan.path(&lab.state(Lab::BROKER), &SAYS).unwrap();
    scan.path(lab.process(Lab::BROKER).log_path(), &SAYS).unwrap();
    for frame in lab.proxy().captured() {
        scan.content("the wire".as_ref(), &frame.bytes, &SAYS);
    }
    for node in ["alpha", "beta"] {
        scan.path(&lab.state(node), &SAYS[2..]).unwrap();
        scan.path(lab.process(node).log_path(), &SAYS[2..]).unwrap();
    }
    assert!(scan.found.is_empty() && scan.files > 6 && scan.bytes > 10_000, "{scan:?}");
}

#[tokio::test]
async fn a_service_is_called_across_machines_from_the_command_line() {
    let lab = pair().await;
    let state = lab.state("beta");
    let script = "echo \"$WAXWING_APP for $WAXWING_FROM\"; wc -w";
    let served = Running::start(&state, &["serve", "--name", "words", "--", "sh", "-c", script]);
    let alpha = lab.client("alpha");
    let there = async || alpha.ask(&call("words@beta", "")).await.ok();
    eventually(WITHIN, "beta serves", there).await.unwrap();
    let asked = run(&lab, "alpha", &["request", "words@beta", "three words here", "--app", "author"]).await;
    assert_eq!((asked.code, asked.stdout.trim()), (Some(0), "words for author@alpha\n3"), "{asked:?}");
    let document = json(&lab, "alpha", &["request", "words@beta", "two words"]).await;
    assert_eq!((&document["from"], &document["app"]), (&"beta".into(), &"words".into()), "{document}");
    let piped = lab.run("alpha", &["request", "words@beta"], b"from a pipe\n").await.unwrap();
    assert!(piped.stdout.trim().ends_with('3'), "{piped:?}");
    assert_eq!(fails(&lab, "alpha", &["request", "nobody@beta", "x"], 7).await, "no_responder");
    assert_eq!(fails(&lab, "alpha", &["request", "beta", "x"], 2).await, "malformed");
    assert_eq!(fails(&lab, "alpha", &["reply", "no-such", "x"], 7).await, "unknown_request");
    kill_process(Pid::from_raw(served.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
    assert_eq!(served.end().await.code, Some(0));
    assert_eq!(fails(&lab, "alpha", &["request", "words@beta", "x"], 7).await, "no_responder");
}

#[tokio::test]
async fn a_command_that_fails_refuses_and_one_that_nobody_waits_for_is_killed_with_all_it_has_started() {
    let lab = pair().await;
    let state = lab.state("beta");
    let script = "read -r what; case $what in fail) echo why >&2; exit 3;; \
        told) \"$WAXWING\" reply \"$WAXWING_REQUEST\" --progress half; echo done;; \
        *) sleep 600 & echo $! > \"$WAXWING_STATE/pid\"; wait;; esac";
    std::fs::write(state.join("serve.sh"), script.replace("$WAXWING\"", &format!("{PROGRAM}\""))).unwrap();
    let path = state.join("serve.sh");
    let _served = Running::start(&state, &["serve", "--name", "job", "--", "sh", path.to_str().unwrap()]);
    let alpha = lab.client("alpha");
    let refused = async || match alpha.ask(&call("job@beta", "fail\n")).await {
        Err(Error::Problem(problem)) if problem.code == ProblemCode::Refused => Some(problem),
        _ => None,
    };
    let refused = eventually(WITHIN, "beta serves", refused).await.unwrap();
    assert_eq!((refused.reason.as_deref(), refused.detail.as_deref()), (Some("exit_3"), Some("why")));
    let told = run(&lab, "alpha", &["request", "job@beta", "told\n", "--progress"]).await;
    assert_eq!((told.stdout.trim(), told.stderr.trim()), ("done", "half"), "{told:?}");
    let waiting = Running::start(&lab.state("alpha"), &["request", "job@beta", "wait\n", "--timeout", "10m"]);
    let pid = state.join("pid");
    let started = async || std::fs::read_to_string(&pid).ok().filter(|pid| pid.ends_with('\n'));
    let pid = eventually(WITHIN, "the command runs", started).await.unwrap();
    let proc = std::path::PathBuf::from(format!("/proc/{}", pid.trim()));
    assert!(proc.exists());
    // Whoever asked is killed: his node notices, and tells the other.
    drop(waiting);
    let gone = async || (!proc.exists()).then_some(());
    eventually(WITHIN, "what the command has started is killed", gone).await.unwrap();
}
