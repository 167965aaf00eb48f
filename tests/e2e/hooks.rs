//! What is run after events: what it is given, and whom it can hurt.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::time::{Duration, timeout};
use waxwing_client::api::{BatchRequest, EventBody, EventQuery, SendRequest};
use waxwing_lab::eventually;

use crate::support::{WITHIN, private_folder};
use crate::terminal::{Desk, command, output};

/// A desk whose node is to run these: a kind and a script each, and what else is configured.
fn desk(settings: &str, hooks: &[(&str, &str)]) -> Desk {
    let desk = Desk::new();
    private_folder(&desk.state().join("hooks"));
    let mut config = format!("{settings}\n[hooks]\n");
    for (kind, script) in hooks {
        write(&hook(&desk, kind), script);
        config.push_str(&format!("{kind} = 'hooks/{kind}'\n"));
    }
    std::fs::write(desk.state().join("config.toml"), config).unwrap();
    desk
}

fn hook(desk: &Desk, kind: &str) -> PathBuf {
    desk.state().join("hooks").join(kind)
}

fn write(path: &Path, script: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

/// What a hook has left beside itself, once it is there.
async fn left(desk: &Desk, kind: &str, what: &str) -> String {
    let path = hook(desk, kind).with_extension(what);
    let there = async || std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'));
    eventually(WITHIN, &format!("{}", path.display()), there).await.unwrap()
}

/// How often a hook of this kind has come to this end.
async fn ended(desk: &Desk, kind: &str, outcome: &str) -> u64 {
    let page = desk.client().metrics().await.unwrap();
    let name = format!(r#"waxwing_node_hooks_total{{mesh="home",kind="{kind}",outcome="{outcome}"}} "#);
    page.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |times| times.parse().unwrap())
}

/// Waits until one has.
async fn ends(desk: &Desk, kind: &str, outcome: &str) {
    let has = async || (ended(desk, kind, outcome).await > 0).then_some(());
    eventually(WITHIN, &format!("a hook for {kind} is {outcome}"), has).await.unwrap();
}

fn text(body: &str) -> SendRequest {
    SendRequest { to: "here".into(), body: Some(body.into()), ..SendRequest::default() }
}

/// Leaves all it was given beside itself, the last thing last.
const TELL: &str = r#"
env > "$0.env"; ls -l /proc/self/fd > "$0.fds"; pwd > "$0.pwd"; echo "$#" > "$0.arguments"
cat > "$0.part"; echo >> "$0.part"; mv "$0.part" "$0.input""#;

#[tokio::test]
async fn a_hook_is_given_the_event_and_nothing_that_is_secret_and_no_shell_reads_it() {
    let desk = desk("", &[("message", TELL)]);
    let mut up = command(&desk.state(), &["--json", "up", "--listen", "127.0.0.1:0", "--name", "here"]);
    up.env("AWS_SECRET_ACCESS_KEY", "the-heron").env("LD_DEBUG", "").env("HOME", "/home/somebody");
    output(&mut up).await.json().unwrap();
    let touched = desk.state().join("touched");
    let body = format!("$(touch {0}); `touch {0}`\n| touch {0}; \"'", touched.display());
    desk.client().send(&text(&body)).await.unwrap();
    let input: Value = serde_json::from_str(&left(&desk, "message", "input").await).unwrap();
    assert_eq!((&input["mesh"], &input["kind"]), (&"home".into(), &"message".into()));
    assert_eq!((&input["message"]["body"], &input["message"]["from"]), (&body.into(), &"here".into()));
    assert!(input["cursor"].is_u64() && input["at"].is_u64(), "{input}");
    assert!(!touched.exists(), "something has read it as a command");

    let environment = left(&desk, "message", "env").await;
    let mut names: Vec<_> = environment.lines().map(|line| line.split_once('=').unwrap().0).collect();
    names.retain(|name| {
        !["_", "OLDPWD", "PWD", "SHLVL", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"]
            .contains(name)
    });
    names.sort_unstable();
    let expected =
        ["HOME", "LANG", "PATH", "WAXWING_EVENT", "WAXWING_MESH", "WAXWING_SOCKET", "WAXWING_STATE"];
    assert_eq!(names, expected, "{environment}");
    assert!(environment.contains("WAXWING_EVENT=message\n") && environment.contains("HOME=/home/somebody\n"));
    assert_eq!(left(&desk, "message", "pwd").await.trim(), desk.state().to_str().unwrap());
    assert_eq!(left(&desk, "message", "arguments").await, "0\n");
    // Of the node's it has what `ls` writes to, and nothing else: no database, no socket, no lock.
    let descriptors = left(&desk, "message", "fds").await;
    let state = desk.state();
    let of_node = descriptors.lines().filter(|line| {
        line.contains("socket:") || line.contains("[event") || line.contains(state.to_str().unwrap())
    });
    assert!(of_node.clone().all(|line| line.ends_with("/hooks/message.fds")), "{descriptors}");
    assert_eq!(of_node.count(), 1, "{descriptors}");
    ends(&desk, "message", "ok").await;
}

/// Starts something that would stay, and says who it is.
const FORK: &str = r#"sleep 1000 & echo $! > "$0.child""#;

#[tokio::test]
async fn a_hook_that_hangs_floods_forks_or_fails_is_ended_with_all_it_started_and_hurts_nobody() {
    let hang = format!("{FORK}; sleep 1000");
    let fails = r"printf 'no luck: \033[2J\r\n' >&2; exit 1";
    let hooks =
        [("message", hang.as_str()), ("receipt", "exec yes"), ("system", FORK), ("broker_status", fails)];
    let desk = desk("hook_timeout = '2s'", &hooks);
    desk.up().await;
    let mut events =
        desk.client().events(&EventQuery { app: Some("*".into()), ..EventQuery::default() }).await.unwrap();
    desk.client().send(&text("one")).await.unwrap();
    let hanging = left(&desk, "message", "child").await;
    // While it hangs: everything goes on as if it were not there.
    desk.client().send(&text("two")).await.unwrap();
    let mut messages = 0;
    while messages < 2 {
        let event = timeout(Duration::from_secs(20), events.next()).await.expect("streams wait for no hook");
        messages += usize::from(matches!(event.unwrap().body, EventBody::Message { .. }));
    }
    for (kind, outcome) in
        [("message", "timeout"), ("receipt", "output"), ("system", "ok"), ("broker_status", "failed")]
    {
        ends(&desk, kind, outcome).await;
    }
    for child in [hanging, left(&desk, "system", "child").await] {
        let gone = async || (!lives(child.trim())).then_some(());
        eventually(WITHIN, "what a hook has started is gone", gone).await.unwrap();
    }
    let logs: String = std::fs::read_dir(desk.state().join("logs"))
        .unwrap()
        .map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap())
        .collect();
    assert!(logs.contains("no luck:") && logs.contains("took longer than hook_timeout"), "{logs}");
    assert!(!logs.contains('\u{1b}') && !logs.contains("u001b"), "{logs}");
    assert!(logs.len() < 64 * 1024, "a hook that floods does not flood the log: {} bytes", logs.len());
}

/// Whether a process is there, and not only its entry until somebody collects it.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|state| !state.is_empty() && !state.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn more_events_than_a_hook_can_take_are_dropped_and_counted_and_no_stream_misses_one() {
    const MESSAGES: usize = 600;
    let desk = desk("hook_timeout = '600s'", &[("message", "exec sleep 1000")]);
    desk.up().await;
    let query = EventQuery { app: Some("*".into()), kind: Some("message".into()), ..EventQuery::default() };
    let mut events = desk.client().events(&query).await.unwrap();
    let items = (0..MESSAGES).map(|n| text(&n.to_string())).collect();
    desk.client().send_batch(&BatchRequest { items }).await.unwrap();
    for _ in 0..MESSAGES {
        timeout(WITHIN, events.next()).await.expect("every message is shown").unwrap();
    }
    // Eight run and 256 wait; one more may be on its way from the queue to its turn.
    let counted =
        async || (ended(&desk, "message", "dropped").await >= MESSAGES as u64 - 8 - 257).then_some(());
    eventually(WITHIN, "what was dropped is counted", counted).await.unwrap();
    assert_eq!(ended(&desk, "message", "ok").await, 0);
    // They are killed with the node, which has ten seconds to be gone.
    desk.json(&["down"]).await;
}

#[tokio::test]
async fn a_hook_that_is_missing_or_others_can_change_stops_the_start_and_says_what_mends_it() {
    let desk = desk("", &[("message", "exit 0")]);
    let path = hook(&desk, "message");
    let shown = path.display();
    let set = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    for (mode, mend) in [(0o600, format!("chmod u+x {shown}")), (0o722, format!("chmod go-w {shown}"))] {
        set(mode);
        let error = desk.fails(&["node", "up"], 2).await;
        assert_eq!((&error["code"], &error["hint"]), (&"bad_hook".into(), &mend.clone().into()), "{error}");
        assert!(std::process::Command::new("sh").args(["-c", &mend]).status().unwrap().success());
        desk.json(&["node", "up"]).await;
        desk.json(&["node", "down"]).await;
    }
    std::fs::remove_file(&path).unwrap();
    let error = desk.fails(&["node", "up"], 2).await;
    assert!(error["message"].as_str().unwrap().contains("there is no such file"), "{error}");
}
