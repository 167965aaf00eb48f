//! The members as the log has them, and an admin by the recovery words.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use serde_json::Value;
use waxwing_lab::{Lab, Scan, eventually};

use crate::operators::terminal;
use crate::support::{PROGRAM, WITHIN, mesh};

/// Runs `mesh recover` with these words on stdin: exit code, error code, message.
async fn recover(lab: &Lab, node: &str, arguments: &[&str], words: &str) -> (i32, String, String) {
    let words_of = [&["--json", "mesh", "recover"], arguments].concat();
    let output = lab.run(node, &words_of, words.as_bytes()).await.unwrap();
    let error = output.stderr.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    let error = error.unwrap_or_default();
    let text = |field: &str| error["error"][field].as_str().unwrap_or_default().to_owned();
    (output.code.unwrap(), text("code"), text("message"))
}

async fn members(lab: &Lab, node: &str, arguments: &[&str]) -> Value {
    lab.json(node, &[&["members"], arguments].concat()).await.unwrap()
}

/// Of each member, what a field says.
fn fields(members: &Value, field: &str) -> Vec<String> {
    let members = members["members"].as_array().unwrap().iter();
    members.map(|member| member[field].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn members_are_listed_as_the_log_has_them_whether_the_node_runs_or_not() {
    let mut lab = mesh(&["alpha", "beta", "gamma"]).await;
    lab.json("alpha", &["revoke", "gamma", "--yes"]).await.unwrap();
    lab.json("alpha", &["grant", "beta", "admin"]).await.unwrap();
    let seen =
        async || (fields(&members(&lab, "beta", &[]).await, "role") == ["admin", "admin"]).then_some(());
    eventually(WITHIN, "beta knows that it is an admin", seen).await.unwrap();
    let (live, all) = (members(&lab, "beta", &[]).await, members(&lab, "beta", &["--all"]).await);
    assert_eq!(fields(&live, "node"), ["alpha", "beta"]);
    assert_eq!(fields(&live, "invited_by"), ["", "alpha"]);
    assert_eq!(live["members"][0]["founder"], true);
    assert_eq!((&live["members"][0]["this"], &live["members"][1]["this"]), (&Value::Null, &true.into()));
    assert_eq!(fields(&all, "node"), ["alpha", "beta", "gamma"]);
    assert_eq!(fields(&all, "standing"), ["live", "live", "revoked"]);
    let gone = &all["members"][2];
    assert!(gone["ended_at"].as_u64() > gone["joined_at"].as_u64() && gone["joined_at"].is_u64(), "{gone}");
    let people = lab.run("beta", &["members", "--all"], b"").await.unwrap().stdout;
    assert!(people.contains("(founder)") && people.contains("revoked 2"), "{people}");
    lab.stop("beta").await.unwrap();
    assert_eq!((members(&lab, "beta", &[]).await, members(&lab, "beta", &["--all"]).await), (live, all));
    let nowhere = lab.run("beta", &["--mesh", "nowhere", "members"], b"").await.unwrap();
    assert_eq!(nowhere.code, Some(7), "{nowhere:?}");
}

#[tokio::test]
async fn when_every_admins_host_is_gone_a_member_recovers_by_the_words_and_invites_a_newcomer() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.kill("alpha").await.unwrap();
    std::fs::remove_dir_all(lab.state("alpha")).unwrap();
    let words = lab.recovery_words().to_owned();
    let mut several: Vec<&str> = words.split(' ').collect();
    let before = members(&lab, "beta", &["--all"]).await;
    several[6] = "waxwing";
    let misspelt = recover(&lab, "beta", &[], &several.join(" ")).await;
    assert_eq!((misspelt.0, misspelt.1.as_str()), (2, "recovery_word_unknown"));
    assert!(misspelt.2.contains("word 7") && !misspelt.2.contains("waxwing"), "{}", misspelt.2);
    several.pop();
    let short = recover(&lab, "beta", &[], &several.join(" ")).await;
    assert_eq!((short.0, short.1.as_str()), (2, "recovery_words_count"));
    // Words of the list that are no secret, and one that is another's.
    let unfit = recover(&lab, "beta", &[], &"abandon ".repeat(24)).await;
    assert_eq!((unfit.0, unfit.1.as_str()), (2, "recovery_words_checksum"));
    let others = format!("{}art", "abandon ".repeat(23));
    let others = recover(&lab, "beta", &[], &others).await;
    assert_eq!((others.0, others.1.as_str()), (3, "recovery_words"));
    assert_eq!(members(&lab, "beta", &["--all"]).await, before, "nothing was appended");

    // In any case and on any lines, and for a name that exists.
    let careless = words.to_uppercase().replace(' ', "\n ");
    let unknown = recover(&lab, "beta", &["--node", "betta"], &careless).await;
    assert_eq!((unknown.0, unknown.1.as_str()), (7, "unknown_recipient"));
    assert_eq!(recover(&lab, "beta", &[], &careless).await.0, 0);
    assert_eq!(fields(&members(&lab, "beta", &[]).await, "role"), ["admin", "admin"]);
    let again = recover(&lab, "beta", &[], &words).await;
    assert_eq!((again.0, again.1.as_str()), (8, "not_now"), "it is one already");
    let invite = lab.json("beta", &["invite"]).await.unwrap();
    let token = invite["token"].as_str().unwrap();
    let joined =
        lab.run("gamma", &["--json", "join", "-", "--name", "gamma"], token.as_bytes()).await.unwrap();
    assert_eq!(joined.json().unwrap()["node"], "gamma");
    lab.json("beta", &["revoke", "alpha", "--yes"]).await.unwrap();
    assert_eq!(fields(&members(&lab, "beta", &[]).await, "node"), ["beta", "gamma"]);

    let mut scan = Scan::default();
    let pair = words.split(' ').take(3).collect::<Vec<_>>().join(" ");
    scan.path(lab.folder(), &[&words, &pair, &pair.to_uppercase().replace(' ', "\n ")]).unwrap();
    assert_eq!(scan.found, [], "the words are nowhere");
}

#[tokio::test]
async fn a_mesh_that_waits_for_a_resume_and_has_no_admin_left_goes_on_by_the_words() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.kill("alpha").await.unwrap();
    std::fs::remove_dir_all(lab.state("alpha")).unwrap();
    lab.lose_store().await.unwrap();
    let waits = async |lab: &Lab| {
        let health = lab.client("beta").health().await.ok()?;
        Some(health.meshes[0].resume_wanted.is_some())
    };
    let begun = async || waits(&lab).await?.then_some(());
    eventually(WITHIN, "a resume is wanted", begun).await.unwrap();
    lab.linked("beta").await.unwrap();
    let words = lab.recovery_words().to_owned();
    let recovered = recover(&lab, "beta", &[], &words).await;
    assert_eq!(recovered.0, 0, "{recovered:?}");
    assert_eq!(waits(&lab).await, Some(false));
    assert_eq!(fields(&members(&lab, "beta", &[]).await, "role"), ["admin", "admin"]);
    lab.json("beta", &["invite"]).await.unwrap();
}

#[tokio::test]
async fn words_typed_at_a_terminal_are_not_shown() {
    let lab = mesh(&["alpha", "beta"]).await;
    let (mut person, terminal) = terminal();
    let mut command = Command::new(PROGRAM);
    command.arg("--state").arg(lab.state("beta")).args(["mesh", "recover"]);
    command.stdin(Stdio::from(OwnedFd::from(terminal.try_clone().unwrap()))).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::from(OwnedFd::from(terminal))).spawn().unwrap();
    drop(command);
    let words: Vec<String> = lab.recovery_words().split(' ').map(str::to_owned).collect();
    let lines: Vec<String> = words.chunks(6).map(|line| line.join(" ")).collect();
    let typed = lines.join("\n") + "\n";
    let shown = tokio::task::spawn_blocking(move || {
        let (mut shown, mut buffer, mut typed) = (String::new(), [0; 1_024], Some(typed));
        // A terminal whose program has gone ends with an error, once all it said is read.
        while let Ok(length @ 1..) = person.read(&mut buffer) {
            shown.push_str(&String::from_utf8_lossy(&buffer[..length]));
            if shown.contains("not shown")
                && let Some(typed) = typed.take()
            {
                person.write_all(typed.as_bytes()).unwrap();
            }
        }
        shown
    });
    let shown = shown.await.unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{shown}");
    assert!(lines.iter().all(|line| !shown.contains(line.as_str())), "{shown}");
    assert_eq!(fields(&members(&lab, "alpha", &[]).await, "role")[0], "admin");
    let admin = async || (fields(&members(&lab, "beta", &[]).await, "role")[1] == "admin").then_some(());
    eventually(WITHIN, "beta is an admin", admin).await.unwrap();
}
