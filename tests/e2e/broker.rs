//! A broker's operators: how it is, a backup, what is wrong with it, stopping it in a hurry, and having systemd run it.
#![cfg(target_os = "linux")]

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use waxwing_client::api::MessageState;
use waxwing_lab::{Lab, eventually};

use crate::support::{PROGRAM, Pair, WITHIN};
use crate::terminal::{Desk, Running, command, output};

fn signal(name: &str, pid: &Value) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// A broker in the foreground on its state folder's data, and where it listens.
async fn run_broker(desk: &Desk) -> (Running, SocketAddr) {
    let run = ["--json", "broker", "run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut running = Running::start(&desk.state(), &run);
    let ready = running.document().await;
    let addr = ready["url"].as_str().unwrap().trim_start_matches("ws://").parse().unwrap();
    (running, addr)
}

#[tokio::test]
async fn status_says_what_runs_and_down_stops_the_broker_alone() {
    let desk = Desk::new();
    let not_running = desk.fails(&["broker", "status"], 6).await;
    assert_eq!(not_running["code"], "not_running");
    let up = desk.up().await;
    desk.json(&["send", "here", "hello", "--wait", "delivered"]).await;
    let status = desk.json(&["broker", "status"]).await;
    assert_eq!((&status["pid"], &status["readiness"]["ready"]), (&up["broker"]["pid"], &true.into()));
    assert_eq!((&status["links"]["member"], &status["meshes"]), (&1.into(), &1.into()));
    assert_eq!((&status["queued"]["envelopes"], &status["schema"]), (&0.into(), &1.into()));
    assert!(status["urls"].as_array().unwrap().contains(&up["broker"]["at"]), "{status}");
    assert!(status["store_bytes"].as_u64().unwrap() > 0 && status["schema_version"].as_u64().unwrap() > 0);
    let people = desk.run(&["broker", "status"]).await;
    assert!(people.stdout.starts_with("broker is ready on 127.0.0.1:"), "{people:?}");
    // By its data folder, from anywhere.
    let data = desk.state().join("broker");
    let elsewhere = Desk::new();
    let named = elsewhere.json(&["broker", "status", "--data", data.to_str().unwrap()]).await;
    assert_eq!(named["pid"], status["pid"]);

    let down = desk.json(&["broker", "down"]).await;
    assert_eq!((&down["broker"]["stopped"], &down["broker"]["pid"]), (&true.into(), &up["broker"]["pid"]));
    assert!(down.get("node").is_none(), "{down}");
    assert_eq!(desk.json(&["node", "status"]).await["schema"], 1, "the node runs on");
    assert_eq!(desk.json(&["broker", "down"]).await["broker"]["stopped"], false);
    let again = desk.json(&["up"]).await;
    assert_eq!(again["broker"]["at"], up["broker"]["at"]);
}

#[tokio::test]
async fn a_backup_is_made_beside_the_broker_and_over_nothing() {
    let desk = Desk::new();
    desk.up().await;
    let file = desk.state().join("backup.db");
    let arguments = ["broker", "backup", file.to_str().unwrap()];
    let made = desk.json(&arguments).await;
    assert_eq!(made["bytes"], std::fs::metadata(&file).unwrap().len());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(desk.fails(&arguments, 8).await["code"], "conflict");
    desk.json(&["broker", "down"]).await;
    std::fs::remove_file(&file).unwrap();
    let people = desk.run(&arguments).await;
    assert!(people.code == Some(0) && people.stdout.contains("whole"), "{people:?}");
    assert!(people.stderr.contains("no store id"), "{people:?}");
    let nowhere = ["broker", "backup", "new.db", "--data", "/nonexistent"];
    assert_eq!(desk.fails(&nowhere, 2).await["code"], "usage");
}

fn finding<'a>(examined: &'a Value, check: &str) -> &'a Value {
    let findings = examined["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["check"] == check).unwrap_or_else(|| panic!("{check}: {examined}"))
}

#[tokio::test]
async fn doctor_finds_what_is_wrong_and_names_what_mends_it() {
    let desk = Desk::new();
    let sick = async || {
        let output = desk.run(&["--json", "broker", "doctor"]).await;
        assert_eq!(output.code, Some(1), "{output:?}");
        serde_json::from_str::<Value>(&output.stdout).unwrap()
    };
    let mend = finding(&sick().await, "data folder")["mend"].clone();
    assert!(mend.as_str().unwrap().starts_with("waxwing broker run --data "), "{mend}");
    desk.up().await;
    for state in ["running", "stopped"] {
        let examined = desk.json(&["broker", "doctor"]).await;
        assert_eq!(examined["ok"], true, "{state}: {examined}");
        for check in
            ["data folder", "process", "database", "schema", "clock", "queues", "meshes", "disk", "address"]
        {
            assert_eq!(finding(&examined, check)["verdict"], "ok", "{state}: {examined}");
        }
        desk.json(&["broker", "down"]).await;
    }
    let database = desk.state().join("broker/broker.db");
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o644)).unwrap();
    let mend = finding(&sick().await, "access")["mend"].clone();
    assert_eq!(mend, format!("chmod 600 {}", database.display()));
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o600)).unwrap();

    let addr: SocketAddr = std::fs::read_to_string(desk.state().join("broker/broker.lock"))
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    let other = std::net::TcpListener::bind(addr).unwrap();
    assert_eq!(finding(&sick().await, "address")["mend"], format!("ss -ltnp 'sport = :{}'", addr.port()));
    drop(other);

    let whole = std::fs::read(&database).unwrap();
    let mut damaged = whole.clone();
    damaged[4_096 * 3..].fill(0xff);
    std::fs::write(&database, &damaged).unwrap();
    assert_eq!(finding(&sick().await, "database")["verdict"], "wrong");
    let people = desk.run(&["broker", "doctor"]).await;
    assert!(
        people.stdout.contains("WRONG    database") && people.stderr.contains("1 thing is wrong"),
        "{people:?}"
    );
    std::fs::write(&database, whole).unwrap();
}

#[tokio::test]
async fn a_killed_broker_starts_again_and_a_damaged_one_names_the_doctor() {
    let desk = Desk::new();
    let up = desk.up().await;
    desk.json(&["send", "here", "hello", "--wait", "delivered"]).await;
    desk.json(&["broker", "down"]).await; // Folds everything into the database.
    let up_again = desk.json(&["up"]).await;
    desk.json(&["send", "here", "again", "--wait", "delivered"]).await;
    signal("-9", &up_again["broker"]["pid"]);
    // A process that is going answers no more, and may still hold its lock.
    let gone = async || {
        let status = desk.run(&["--json", "broker", "status"]).await;
        status.stderr.contains("not_running").then_some(())
    };
    eventually(WITHIN, "the broker is gone", gone).await.unwrap();
    desk.json(&["up"]).await;
    // What a process has logged reaches the file a moment later.
    let looked = async || {
        let log = broker_log(&desk);
        (log.matches("the store was not closed; it is whole").count() == 1).then_some(log)
    };
    let log = eventually(WITHIN, "the broker has looked at its store", looked).await.unwrap();
    named_in_the_log(&log, up["meshes"][0]["node_id"].as_str().unwrap());

    let status = desk.json(&["broker", "status"]).await;
    signal("-9", &status["pid"]);
    eventually(WITHIN, "the broker is gone", gone).await.unwrap();
    let database = desk.state().join("broker/broker.db");
    let mut bytes = std::fs::read(&database).unwrap();
    bytes[4_096 * 5..].fill(0xff);
    std::fs::write(&database, bytes).unwrap();
    let refused = desk.fails(&["broker", "run", "--listen", "127.0.0.1:0"], 5).await;
    assert_eq!(refused["code"], "damaged", "{refused}");
    let hint = refused["hint"].as_str().unwrap();
    assert!(hint.contains(&format!(" broker doctor --data {}/broker`", desk.state().display())), "{hint}");
}

/// What brokers in the background have logged so far.
fn broker_log(desk: &Desk) -> String {
    let logs = std::fs::read_dir(desk.state().join("logs")).unwrap().map(|entry| entry.unwrap().path());
    let logs = logs.filter(|path| path.to_string_lossy().contains("broker.2"));
    logs.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

/// The line about the end of a link has all that finds its node.
fn named_in_the_log(log: &str, node: &str) {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let ended: Vec<Value> = lines.filter(|line| line["fields"]["message"] == "link ended").collect();
    let member = ended.iter().find(|line| line["fields"]["node"] == node[..8]).unwrap();
    let fields = &member["fields"];
    assert_eq!(
        (fields["reason"].as_str(), fields["login"].as_u64()),
        (Some("restarting"), Some(1)),
        "{member}"
    );
    assert!(fields["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{member}");
    assert_eq!(fields["mesh"].as_str().unwrap().len(), 8, "{member}");
}

/// A link whose client says nothing.
async fn upgraded(addr: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let upgrade = format!(
        "GET /v1/link HTTP/1.1\r\nhost: {addr}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: waxwing.v1\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    stream.read_exact(&mut [0; 12]).await.unwrap();
    stream
}

#[tokio::test]
async fn told_to_stop_twice_it_ends_at_once() {
    let desk = Desk::new();
    let (running, addr) = run_broker(&desk).await;
    let pid = desk.json(&["broker", "status"]).await["pid"].clone();
    // A client that does not answer a goodbye holds a stopping broker up.
    let _silent = upgraded(addr).await;
    signal("-TERM", &pid);
    let stopping = async || TcpStream::connect(addr).await.is_err().then_some(());
    eventually(WITHIN, "it takes nobody any more", stopping).await.unwrap();
    signal("-TERM", &pid);
    let ended = running.end().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("told to stop twice"), "{ended:?}");
    // And nothing is in the way of the next.
    let (next, _) = run_broker(&desk).await;
    next.stop().await;
}

#[tokio::test]
async fn strangers_do_not_fill_the_log() {
    const STRANGERS: usize = 100;
    let desk = Desk::new();
    let (running, addr) = run_broker(&desk).await;
    let status = desk.json(&["broker", "status"]).await;
    for _ in 0..STRANGERS {
        drop(upgraded(addr).await);
    }
    let admin: SocketAddr = status["admin"].as_str().unwrap().parse().unwrap();
    let counted = async || {
        let mut stream = TcpStream::connect(admin).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).await.unwrap();
        let refused = page.lines().filter(|line| line.starts_with("waxwing_broker_logins_refused_total"));
        let refused = refused.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap());
        (refused.sum::<usize>() == STRANGERS).then_some(())
    };
    eventually(WITHIN, "all of them are counted", counted).await.unwrap();
    signal("-TERM", &status["pid"]);
    let ended = running.end().await;
    let lines: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let refused: Vec<_> = lines.iter().filter(|line| line["fields"]["message"] == "login refused").collect();
    assert_eq!(refused.len(), 30, "{}", ended.stderr);
    let fields = &refused[0]["fields"];
    assert!(fields["reason"].is_string() && fields["peer"].as_str().unwrap().starts_with("127."), "{fields}");
}

#[tokio::test]
async fn a_broker_takes_as_many_descriptors_as_it_may_have() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = tokio::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -S -n 256 && exec \"$0\" \"$@\"",
            PROGRAM,
            "broker",
            "run",
            "--listen",
            "127.0.0.1:0",
        ])
        .arg("--data")
        .arg(folder.path().join("data"))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut ready = [0; 5];
    broker.stdout.as_mut().unwrap().read_exact(&mut ready).await.unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", broker.id().unwrap())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let (soft, hard) = (files.split_whitespace().nth(3).unwrap(), files.split_whitespace().nth(4).unwrap());
    assert!(soft == hard && soft != "256", "{files}");
    broker.kill().await.unwrap();
}

#[tokio::test]
async fn the_unit_is_one_that_systemd_takes_and_printing_it_changes_nothing() {
    let desk = Desk::new();
    let unit = desk.run(&["broker", "install-service", "--system", "--print"]).await;
    assert_eq!(unit.code, Some(0), "{unit:?}");
    assert!(unit.stdout.contains("RestartPreventExitStatus=2 3 4 5\n"), "{unit:?}");
    let user = desk.run(&["broker", "install-service", "--user", "--dry-run"]).await;
    let data = desk.state().join("broker");
    assert!(user.stdout.contains(&format!("--data {}", data.display())), "{user:?}");
    assert!(!data.exists());
    // As the manual has it: every option is known, and the program is there.
    let Ok(_) = Command::new("systemd-analyze").arg("--version").output() else { return };
    for (name, unit) in [("system", &unit.stdout), ("user", &user.stdout)] {
        let file = desk.state().parent().unwrap().join(format!("{name}.service"));
        std::fs::write(&file, unit).unwrap();
        let verified = Command::new("systemd-analyze").arg("verify").arg(&file).output().unwrap();
        let said = String::from_utf8(verified.stderr).unwrap();
        assert!(!said.contains(&format!("{name}.service")), "{said}");
    }
}

/// A `systemctl` that writes down what it is told.
pub(crate) fn systemctl(folder: &Path) {
    let script = format!("#!/bin/sh\necho \"$@\" >> {}/told\n", folder.display());
    std::fs::write(folder.join("systemctl"), script).unwrap();
    std::fs::set_permissions(folder.join("systemctl"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_service_is_installed_and_removed_and_anothers_is_left_alone() {
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    systemctl(folder.path());
    let run = async |arguments: &[&str]| {
        let mut command = command(&desk.state(), &[&["--json", "broker"], arguments].concat());
        output(command.env("PATH", folder.path()).env("XDG_CONFIG_HOME", folder.path())).await
    };
    let unit = folder.path().join("systemd/user/waxwing-broker.service");
    let installed = run(&["install-service", "--user"]).await.json().unwrap();
    assert_eq!(installed["unit"], unit.to_str().unwrap());
    let printed = desk.run(&["broker", "install-service", "--user", "--print"]).await.stdout;
    assert_eq!(std::fs::read_to_string(&unit).unwrap().trim(), printed.trim());
    run(&["install-service", "--user"]).await.json().unwrap();
    assert_eq!(run(&["uninstall-service", "--user"]).await.json().unwrap()["changed"], true);
    assert!(!unit.exists());
    assert_eq!(run(&["uninstall-service", "--user"]).await.json().unwrap()["changed"], false);
    let told = std::fs::read_to_string(folder.path().join("told")).unwrap();
    let reload = "--user daemon-reload";
    let enable = "--user enable --now waxwing-broker.service";
    let disable = "--user disable --now waxwing-broker.service";
    assert_eq!(told.lines().collect::<Vec<_>>(), [reload, enable, reload, enable, disable, reload]);

    std::fs::write(&unit, "[Service]\nExecStart=/bin/true\n").unwrap();
    for verb in ["install-service", "uninstall-service"] {
        assert_eq!(run(&[verb, "--user"]).await.code, Some(8), "{verb}");
    }
    assert!(std::fs::read_to_string(&unit).unwrap().contains("/bin/true"));
    std::fs::remove_file(folder.path().join("systemctl")).unwrap();
    std::fs::remove_file(&unit).unwrap();
    let without = run(&["install-service", "--user"]).await;
    assert!(without.code == Some(1) && without.stderr.contains("broker run"), "{without:?}");
}

#[tokio::test]
async fn a_broker_restored_from_a_backup_loses_no_mail() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop("beta").await.unwrap();
    pair.send(20).await;
    pair.accepted("m-21").await;
    let (data, file) = (pair.lab.state(Lab::BROKER), pair.lab.folder().join("backup.db"));
    let (data_word, file_word) = (data.to_str().unwrap(), file.to_str().unwrap());
    pair.lab.json("alpha", &["broker", "backup", file_word, "--data", data_word]).await.unwrap();
    // What the backup does not have: messages, and that others were delivered.
    pair.send(20).await;
    pair.lab.restart("beta").await.unwrap();
    pair.read(30).await;
    pair.lab.stop("beta").await.unwrap();
    pair.send(20).await;
    pair.accepted("m-61").await;
    pair.lab.kill(Lab::BROKER).await.unwrap();
    for name in ["broker.db", "broker.db-wal", "broker.db-shm"] {
        std::fs::remove_file(data.join(name)).unwrap();
    }
    std::fs::copy(&file, data.join("broker.db")).unwrap();
    let examined = pair.lab.json("alpha", &["broker", "doctor", "--data", data_word]).await.unwrap();
    assert_eq!(examined["ok"], true, "{examined}");
    pair.lab.restart(Lab::BROKER).await.unwrap();
    pair.lab.restart("beta").await.unwrap();
    pair.read(pair.sent.len() - pair.record.shown()).await;
    for id in pair.sent.clone() {
        assert_eq!(pair.settled(&id).await.state, MessageState::Delivered, "{id}");
    }
    let seen: Vec<_> =
        pair.reader.reread().await.unwrap().iter().map(|item| item.client_message_id.to_string()).collect();
    assert_eq!(seen, pair.sent, "each once, and in order");
}
