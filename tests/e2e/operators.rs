//! What operators do: messages that do not arrive, a node on another host, and how everything is set.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use waxwing_client::api::MessageState;
use waxwing_lab::{Lab, Output, Process};

use crate::commands::{fails, json, run};
use crate::support::{PROGRAM, Pair, mesh, private_folder};
use crate::terminal::{Desk, command, output};

/// One column of the outbox's rows.
async fn column(lab: &Lab, arguments: &[&str], name: &str) -> Vec<String> {
    let page = json(lab, "alpha", &[&["node", "outbox", "list"], arguments].concat()).await;
    page["items"].as_array().unwrap().iter().map(|item| item[name].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_message_that_does_not_arrive_is_found_given_up_or_sent_again() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    assert_eq!(run(&lab, "alpha", &["node", "outbox", "list"]).await.stderr.trim(), "nothing here");
    json(&lab, "alpha", &["send", "beta", "zero", "--id", "o-0", "--wait", "delivered"]).await;
    lab.stop("beta").await.unwrap();
    lab.kill(Lab::BROKER).await.unwrap();
    let send = ["send", "review@beta", "one", "--app", "ci", "--thread", "r-7", "--reply-to", "o-0", "--id"];
    for id in ["o-1", "o-2", "o-3"] {
        json(&lab, "alpha", &[&send[..], &[id]].concat()).await;
    }
    assert_eq!(column(&lab, &[], "client_message_id").await, ["o-0", "o-1", "o-2", "o-3"]);
    assert_eq!(column(&lab, &["--in", "queued", "--limit", "2"], "client_message_id").await, ["o-1", "o-2"]);
    let people = run(&lab, "alpha", &["node", "outbox", "list", "--in", "delivered"]).await;
    assert!(people.stdout.contains("o-0") && !people.stdout.contains("o-1"), "{people:?}");

    let row = json(&lab, "alpha", &["node", "outbox", "list"]).await["items"][1]["row"].to_string();
    let shown = json(&lab, "alpha", &["node", "outbox", "show", &row]).await;
    assert_eq!((&shown["client_message_id"], &shown["body"]), (&"o-1".into(), &"one".into()));
    let people = run(&lab, "alpha", &["node", "outbox", "show", &row]).await;
    assert!(people.stdout.contains("    one") && people.stdout.contains("thread r-7"), "{people:?}");
    assert_eq!(fails(&lab, "alpha", &["node", "outbox", "show", "4711"], 7).await, "unknown_message");

    let aborted = json(&lab, "alpha", &["node", "outbox", "abort", "o-1"]).await;
    assert_eq!((&aborted["aborted"], &aborted["may_arrive"]), (&"o-1".into(), &false.into()));
    assert_eq!(fails(&lab, "alpha", &["node", "outbox", "abort", "o-1"], 8).await, "wrong_state");
    assert_eq!(fails(&lab, "alpha", &["node", "outbox", "abort", "o-0"], 8).await, "wrong_state");
    assert_eq!(fails(&lab, "alpha", &["node", "outbox", "requeue", "o-9"], 7).await, "unknown_message");
    let again = json(&lab, "alpha", &["node", "outbox", "requeue", "o-2", "--new-client-id", "o-2b"]).await;
    assert_eq!((&again["aborted"], &again["requeued_as"]), (&"o-2".into(), &"o-2b".into()));
    let body = lab.folder().join("another");
    std::fs::write(&body, "another text").unwrap();
    let requeue = ["node", "outbox", "requeue", "o-3", "--body", body.to_str().unwrap()];
    let again = run(&lab, "alpha", &requeue).await;
    assert!(again.stdout.starts_with("o-3 aborted; sent again as "), "{again:?}");
    arrives(&mut lab).await;
}

/// What was sent again arrives with all of its routing, and what was given up does not.
async fn arrives(lab: &mut Lab) {
    lab.restart(Lab::BROKER).await.unwrap();
    lab.restart("beta").await.unwrap();
    let last =
        json(lab, "alpha", &["send", "review@beta", "last", "--id", "o-4", "--wait", "delivered"]).await;
    assert_eq!(last["state"], "delivered");
    let inbox = json(lab, "beta", &["inbox", "--app", "review"]).await;
    let items = inbox["items"].as_array().unwrap();
    let bodies: Vec<_> = items.iter().map(|item| item["body"].as_str().unwrap()).collect();
    assert_eq!(bodies, ["one", "another text", "last"]);
    assert_eq!(items[0]["client_message_id"], "o-2b");
    for item in &items[..2] {
        assert_eq!(
            (&item["from_app"], &item["thread"], &item["reply_to"]),
            (&"ci".into(), &"r-7".into(), &"o-0".into())
        );
    }
    let trace = run(lab, "alpha", &["trace", "o-2"]).await;
    assert!(trace.stdout.contains("sent again as o-2b"), "{trace:?}");
    assert_eq!(column(lab, &["--in", "aborted"], "client_message_id").await, ["o-1", "o-2", "o-3"]);
}

/// A terminal's two ends: what a person has, and what a program has.
pub(crate) fn terminal() -> (std::fs::File, std::fs::File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    (std::fs::File::from(master), OpenOptions::new().read(true).write(true).open(name).unwrap())
}

/// Runs a command that asks, at a terminal where somebody has typed this.
fn at_a_terminal(desk: &Desk, arguments: &[&str], typed: &str) -> Output {
    let (mut person, terminal) = terminal();
    person.write_all(typed.as_bytes()).unwrap();
    let output = std::process::Command::new(PROGRAM)
        .arg("--state")
        .arg(desk.state())
        .args(arguments)
        .stdin(Stdio::from(OwnedFd::from(terminal.try_clone().unwrap())))
        .stderr(Stdio::from(OwnedFd::from(terminal)))
        .output()
        .unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::new(),
    }
}

#[tokio::test]
async fn emphasis_is_for_a_terminal_whose_owner_wants_it() {
    let desk = Desk::new();
    let said = |no_color: Option<&str>| {
        let (mut person, terminal) = terminal();
        let mut program = std::process::Command::new(PROGRAM);
        program
            .arg("--state")
            .arg(desk.state())
            .args(["node", "status"])
            .env_remove("NO_COLOR")
            .env("TERM", "xterm");
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::from(OwnedFd::from(terminal)));
        program.envs(no_color.map(|value| ("NO_COLOR", value)));
        assert_eq!(program.status().unwrap().code(), Some(6));
        drop(program);
        let mut said = Vec::new();
        // A terminal whose program has gone ends with an error, once all it said is read.
        let _ = person.read_to_end(&mut said);
        String::from_utf8(said).unwrap()
    };
    let (bold, still_bold, plain) = (said(None), said(Some("")), said(Some("1")));
    assert!(bold.contains("\x1b[1merror") && still_bold.contains("\x1b[1merror"), "{bold} {still_bold}");
    assert!(plain.contains("error: ") && !plain.contains('\x1b'), "{plain}");
    let piped = desk.run(&["node", "status"]).await;
    assert!(piped.stderr.contains("error: ") && !piped.stderr.contains('\x1b'), "{piped:?}");
}

#[tokio::test]
async fn a_host_is_accepted_only_if_somebody_says_so() {
    let desk = Desk::new();
    private_folder(&desk.state());
    let config = desk.state().join("config.toml");
    let set = |id: &str| std::fs::write(&config, format!("host_id = '{id}'")).unwrap();
    set("one");
    desk.up().await;
    assert_eq!(desk.json(&["node", "accept-host"]).await["accepted"], Value::Array(Vec::new()));
    set("two");
    assert_eq!(desk.fails(&["node", "accept-host", "--yes"], 8).await["code"], "conflict");
    desk.json(&["node", "down"]).await;

    let refused = desk.fails(&["node", "accept-host"], 4).await;
    let message = refused["message"].as_str().unwrap();
    for side in ["mesh home", "it belongs to  configured host id", "this host is   configured host id"] {
        assert!(message.contains(side), "{message}");
    }
    assert!(refused["hint"].as_str().unwrap().contains("--yes"), "{refused}");
    assert_eq!(
        desk.fails(&["--mesh", "other", "node", "accept-host", "--yes"], 7).await["code"],
        "not_found"
    );
    for typed in ["n\n", "\n", "\u{4}"] {
        assert_eq!(at_a_terminal(&desk, &["node", "accept-host"], typed).code, Some(4), "{typed:?}");
        assert_eq!(desk.fails(&["node", "up"], 4).await["code"], "wrong_host", "nothing was changed");
    }
    let accepted = at_a_terminal(&desk, &["node", "accept-host"], "yes\n");
    assert_eq!(accepted.code, Some(0), "{accepted:?}");
    assert!(accepted.stdout.contains("own from now on, in home"), "{accepted:?}");
    desk.json(&["node", "up"]).await;
    let sent = desk.json(&["send", "here", "hello", "--wait", "delivered"]).await;
    assert_eq!(sent["state"], "delivered");
}

#[tokio::test]
async fn each_setting_says_where_it_came_from() {
    let desk = Desk::new();
    private_folder(&desk.state());
    std::fs::write(desk.state().join("config.toml"), "outbox_messages = 9\nlog_files = 3").unwrap();
    let mut show = command(&desk.state(), &["--json", "config", "show"]);
    let shown = output(show.env("WAXWING_LOG_FILES", "5")).await.json().unwrap();
    let setting = |name: &str| {
        let found = shown["settings"].as_array().unwrap().iter().find(|setting| setting["name"] == name);
        let found = found.unwrap();
        (found["value"].clone(), found["origin"].clone(), found["set_by"].clone())
    };
    let file = desk.state().join("config.toml");
    let file = file.to_str().unwrap();
    let state = desk.state();
    assert_eq!(setting("state"), (state.to_str().unwrap().into(), "flag".into(), "--state".into()));
    assert_eq!(setting("outbox_messages"), ("9".into(), "file".into(), file.into()));
    assert_eq!(setting("log_files"), ("5".into(), "environment".into(), "WAXWING_LOG_FILES".into()));
    assert_eq!(setting("outbox_bytes"), ("5368709120".into(), "default".into(), Value::Null));
    assert_eq!(setting("host_id"), (Value::Null, "default".into(), Value::Null));
    let people = desk.run(&["config", "show"]).await;
    assert!(people.stdout.lines().any(|line| line.starts_with("outbox_messages  9 ")), "{people:?}");
    let path = desk.run(&["config", "path"]).await;
    assert_eq!((path.stdout.trim(), path.stderr.as_str()), (file, ""));

    std::fs::write(file, "outbox_mesages = 9").unwrap();
    let error = desk.fails(&["config", "show"], 2).await;
    assert!(error["message"].as_str().unwrap().contains("outbox_mesages"), "{error}");
    std::fs::remove_file(file).unwrap();
    assert_eq!(desk.json(&["config", "path"]).await["exists"], false);
}

#[tokio::test]
async fn a_broker_is_set_by_flag_over_file_over_default() {
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broker.toml");
    let run = ["broker", "run", "--config", file.to_str().unwrap()];
    let error = desk.fails(&run, 2).await;
    assert!(error["message"].as_str().unwrap().contains("broker.toml"), "a file that is named must exist");
    std::fs::write(&file, "[limits]\ndedupe_days = 2").unwrap();
    let error = desk.fails(&run, 2).await;
    assert!(error["message"].as_str().unwrap().contains("limits.dedupe_days is 2"), "{error}");

    // Nobody can listen where the file says: the flag decides. The data folder is the file's.
    std::fs::write(&file, "data = 'store'\nlisten = '127.0.0.1:1'\nurls = ['ws://127.0.0.2:9']").unwrap();
    let words = [PROGRAM, "--json"].into_iter().chain(run).chain(["--listen", "127.0.0.1:0"]);
    let log = folder.path().join("log");
    let mut broker = Process::new("broker", words.map(Into::into).collect(), &log);
    let ready = broker.start().await.unwrap();
    assert!(ready["url"].as_str().unwrap().starts_with("ws://127.0.0.1:"), "{ready}");
    assert!(folder.path().join("store/broker.lock").exists());
    assert!(broker.log().contains("ws://127.0.0.2:9"), "{}", broker.log());
    assert!(broker.stop().await.unwrap().success());
}

#[tokio::test]
async fn quiet_is_data_alone_and_no_color_is_none() {
    let lab = mesh(&["alpha"]).await;
    let quiet = run(&lab, "alpha", &["-q", "inbox"]).await;
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (Some(0), "", ""));
    let invite = run(&lab, "alpha", &["--quiet", "invite"]).await;
    assert!(invite.stdout.starts_with("ww1_") && invite.stderr.is_empty(), "{invite:?}");
    let failed = run(&lab, "alpha", &["--quiet", "send", "nobody", "text"]).await;
    assert!(failed.code == Some(7) && failed.stderr.starts_with("error: "), "{failed:?}");
    let verbose = run(&lab, "alpha", &["-v", "peers"]).await;
    assert!(!verbose.stdout.contains('{') && !verbose.stdout.contains('\x1b'), "{verbose:?}");
}

#[tokio::test]
async fn a_pair_goes_on_when_one_of_them_was_moved() {
    // By configured ids, so that it holds on every machine; `host` does the same with machine ids.
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let config = pair.lab.state("beta").join("config.toml");
    pair.lab.stop("beta").await.unwrap();
    std::fs::write(&config, "host_id = 'old'").unwrap();
    pair.lab.restart("beta").await.unwrap();
    pair.send(1).await;
    pair.read(1).await;
    pair.lab.stop("beta").await.unwrap();
    // Sealed to what the old host held, and in the queue when the node is moved.
    pair.send(2).await;
    pair.accepted("m-4").await;
    std::fs::write(&config, "host_id = 'new'").unwrap();
    let accepted = json(&pair.lab, "beta", &["node", "accept-host", "--yes"]).await;
    assert_eq!(accepted["accepted"][0]["mesh"], "lab");
    pair.lab.restart("beta").await.unwrap();
    assert_eq!(pair.settled("m-4").await.state, MessageState::Delivered);
    pair.conclude().await;
}
