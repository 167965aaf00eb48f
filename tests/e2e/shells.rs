//! What shells and manuals are given: completions that know who is there, and a page for each command.

use std::process::Stdio;

use crate::support::PROGRAM;
use crate::terminal::{Desk, command, output};

/// What would complete the last of these words, asked as the script for this shell asks.
async fn completed(desk: &Desk, words: &[&str]) -> Vec<String> {
    let mut asked = tokio::process::Command::new(PROGRAM);
    asked.arg("--").args(words).env("WAXWING_COMPLETE", "zsh");
    asked.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string()).env("_CLAP_IFS", "\n");
    asked.current_dir(desk.state().parent().unwrap()).stdin(Stdio::null()).env_remove("WAXWING_STATE");
    let answered = output(&mut asked).await;
    assert_eq!((answered.code, answered.stderr.as_str()), (Some(0), ""), "{words:?}");
    // A candidate, and behind a colon what it is.
    answered.stdout.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn completions_know_the_peers_of_this_moment_and_their_apps() {
    let desk = Desk::new();
    desk.up().await;
    let state = desk.state();
    let state = state.to_str().unwrap();
    let mut app = command(&desk.state(), &["events", "--app", "review", "--register"]);
    let app = app.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let there = async || {
        let names = completed(&desk, &["waxwing", "--state", state, "send", ""]).await;
        (names.contains(&"here".to_owned()) && names.contains(&"review@here".to_owned())).then_some(())
    };
    waxwing_lab::eventually(crate::support::WITHIN, "node and app are offered", there).await.unwrap();
    drop(app);
    let nodes = completed(&desk, &["waxwing", "--state", state, "peers", "verify", "h"]).await;
    assert_eq!(nodes, ["here"]);
    assert_eq!(completed(&desk, &["waxwing", "--state", state, "peers", "verify", "x"]).await, [""; 0]);
    // Without a node there is nobody to offer, and nobody waits.
    desk.json(&["node", "down"]).await;
    assert_eq!(completed(&desk, &["waxwing", "--state", state, "revoke", "h"]).await, [""; 0]);
    assert!(completed(&desk, &["waxwing", "node", "do"]).await.contains(&"doctor".to_owned()));
}

#[tokio::test]
async fn each_shell_is_given_a_script_that_it_can_read() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = desk.run(&["completions", shell]).await;
        assert!(script.code == Some(0) && script.stdout.contains("WAXWING_COMPLETE"), "{script:?}");
        let file = desk.state().with_extension(shell);
        std::fs::write(&file, &script.stdout).unwrap();
        // Those that are here say whether they can.
        if let Ok(read) = std::process::Command::new(shell).arg("-n").arg(&file).output() {
            assert!(read.status.success(), "{shell}: {read:?}");
        }
    }
    assert_eq!(desk.fails(&["completions", "csh"], 2).await["code"], "usage");
    assert!(!desk.state().exists());
}

#[tokio::test]
async fn every_command_has_a_manual_page() {
    let desk = Desk::new();
    let page = desk.run(&["man"]).await;
    assert!(page.stdout.contains(".TH waxwing 1") && page.stdout.contains("Exit codes"), "{page:?}");
    let folder = desk.state().with_extension("man");
    desk.json(&["man", "--to", folder.to_str().unwrap()]).await;
    for page in ["waxwing.1", "waxwing-send.1", "waxwing-node-doctor.1", "waxwing-broker-run.1"] {
        let text = std::fs::read_to_string(folder.join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains("SYNOPSIS"), "{page}: {text}");
    }
    let send = std::fs::read_to_string(folder.join("waxwing-send.1")).unwrap();
    assert!(send.contains("Examples: waxwing send"), "{send}");
}
