//! Whom an invite lets in, and whom not; and nothing half made is left of a refusal.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use waxwing_client::api::{InviteRequest, MeshQuery, MessageState};
use waxwing_crypto::membership::{InviteSeed, InviteToken, Role};
use waxwing_crypto::{MeshId, Pin};
use waxwing_lab::{Lab, eventually};

use crate::support::{PROGRAM, Pair, WITHIN, mesh};

/// Makes an invite with these words, and gives its token.
async fn token(lab: &Lab, node: &str, words: &[&str]) -> String {
    let made = lab.json(node, &[&["invite"], words].concat()).await.unwrap();
    made["token"].as_str().unwrap().to_owned()
}

/// Joins as a node by a token, by name if one is given: the document, or exit code, error code and what is to be done.
async fn join(
    lab: &Lab,
    node: &str,
    token: &str,
    name: Option<&str>,
) -> Result<Value, (i32, String, String)> {
    let mut words = vec!["--json", "join", "-"];
    words.extend(name.iter().flat_map(|name| ["--name", name]));
    let output = lab.run(node, &words, token.as_bytes()).await.unwrap();
    if output.code == Some(0) {
        return Ok(output.json().unwrap());
    }
    let error: Value = serde_json::from_str(output.stderr.lines().last().unwrap()).unwrap();
    let text = |field: &str| error["error"][field].as_str().unwrap_or_default().to_owned();
    Err((output.code.unwrap(), text("code"), text("hint")))
}

/// Exit code and error code of a join that must be refused.
async fn refused(lab: &Lab, node: &str, token: &str, name: Option<&str>) -> (i32, String) {
    let (exit, code, _) = join(lab, node, token, name).await.expect_err("it is refused");
    (exit, code)
}

async fn open(lab: &Lab, node: &str) -> Vec<Value> {
    let listed = lab.json(node, &["invite", "list"]).await.unwrap();
    listed["invites"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_invite_for_three_admits_three_and_not_a_fourth() {
    let lab = mesh(&["alpha"]).await;
    let token = token(&lab, "alpha", &["--uses", "3"]).await;
    for (node, left) in [("beta", 2), ("gamma", 1), ("delta", 0)] {
        join(&lab, node, &token, Some(node)).await.unwrap();
        let shown = async || {
            let open = open(&lab, "alpha").await;
            (open.first().map_or(0, |invite| invite["left"].as_u64().unwrap()) == left).then_some(())
        };
        eventually(WITHIN, &format!("{left} uses are left"), shown).await.unwrap();
    }
    assert_eq!(refused(&lab, "epsilon", &token, Some("epsilon")).await, (3, "invite_used_up".into()));
    assert_eq!(open(&lab, "alpha").await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_admins_invite_makes_an_admin_and_a_name_bound_one_admits_that_name_alone() {
    let mut lab = mesh(&["alpha"]).await;
    let admin = InviteRequest { role: Some(Role::Admin), ..InviteRequest::default() };
    lab.enrol_by("beta", &admin).await.unwrap();
    lab.restart("beta").await.unwrap();
    lab.linked("beta").await.unwrap();
    let bound = token(&lab, "beta", &["--name", "gamma", "--expires", "2h"]).await;
    let open = open(&lab, "beta").await;
    let fields = ["name", "made_by", "role"].map(|field| open[0][field].as_str().unwrap());
    assert_eq!((open.len(), fields), (1, ["gamma", "beta", "member"]));
    assert_eq!(refused(&lab, "gamma", &bound, Some("delta")).await, (3, "invite_other_name".into()));
    let joined = join(&lab, "gamma", &bound, None).await.unwrap();
    assert_eq!(joined["node"], "gamma", "it is the invite's name, where none is said");
}

#[tokio::test]
async fn an_invite_is_listed_while_it_is_open_and_lets_nobody_in_once_it_is_revoked() {
    let lab = mesh(&["alpha", "beta"]).await;
    let (by_key, by_token) = (token(&lab, "alpha", &[]).await, token(&lab, "alpha", &["--uses", "2"]).await);
    join(&lab, "gamma", &by_token, Some("gamma")).await.unwrap();
    let shown = lab.run("beta", &["invite", "list"], b"").await.unwrap().stdout;
    let key = open(&lab, "alpha").await[0]["key"].as_str().unwrap().to_owned();
    assert!(shown.contains(&key[..8]) && !shown.contains(&key), "a member sees them, in short: {shown}");

    let revoke = |words: Vec<&'static str>, stdin: String, node: &'static str| {
        let lab = &lab;
        async move {
            let words = [&["--json", "invite", "revoke"], &words[..]].concat();
            let output = lab.run(node, &words, stdin.as_bytes()).await.unwrap();
            let error =
                output.stderr.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
            let code = error.map(|error| error["error"]["code"].as_str().unwrap().to_owned());
            (output.code.unwrap(), code.unwrap_or_default())
        }
    };
    assert_eq!(revoke(vec!["-"], key.clone(), "alpha").await, (2, "usage".into()), "nobody has said --yes");
    assert_eq!(revoke(vec!["-", "--yes"], key.clone(), "beta").await, (3, "not_admin".into()));
    assert_eq!(revoke(vec!["-", "--yes"], "zz".into(), "alpha").await, (2, "malformed".into()));
    let other = if key.starts_with("00000000") { "11111111" } else { "00000000" };
    assert_eq!(revoke(vec!["-", "--yes"], other.into(), "alpha").await, (7, "not_found".into()));
    assert_eq!(revoke(vec!["-", "--yes"], key[..12].to_owned(), "alpha").await, (0, String::new()));
    assert_eq!(revoke(vec!["-", "--yes"], by_token.clone(), "alpha").await, (0, String::new()));
    assert_eq!(revoke(vec!["-", "--yes"], by_token.clone(), "alpha").await, (8, "not_now".into()));
    assert_eq!(open(&lab, "alpha").await, Vec::<Value>::new());
    for token in [&by_key, &by_token] {
        assert_eq!(refused(&lab, "delta", token, Some("delta")).await, (3, "invite_revoked".into()));
    }
    let members = lab.client("alpha").peers(&MeshQuery::default()).await.unwrap().peers;
    assert!(members.iter().any(|peer| peer.node.as_str() == "gamma"), "who came by it stays");
}

/// Every file of a folder with its content; of a node that runs, what no refusal may touch.
fn state(folder: &Path, runs: bool) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            let goes_on = ["node.db", "node.sock", "lock", "logs"].iter().any(|part| name.contains(part));
            if path.is_dir() {
                folders.push(path.clone());
                found.insert(name, Vec::new());
            } else if !(runs && goes_on) {
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// A token for a mesh, whoever made it.
fn made_up(url: &str, mesh: MeshId, seed: InviteSeed, pin: Option<Pin>) -> String {
    InviteToken::new(url, mesh, seed, pin).unwrap().reveal().to_string()
}

/// What is wrong, the token, the name to take, exit code, error code.
type Case = (&'static str, String, &'static str, i32, &'static str);

/// Tokens that let nobody in, each for another reason.
async fn bad_tokens(lab: &Lab, other: &mut Lab) -> Vec<Case> {
    let good = token(lab, "alpha", &["--uses", "9"]).await;
    let read: InviteToken = good.parse().unwrap();
    let (used, revoked) = (token(lab, "alpha", &[]).await, token(lab, "alpha", &[]).await);
    join(lab, "beta", &used, Some("beta")).await.unwrap();
    let keyed: InviteToken = revoked.parse().unwrap();
    let key = format!("{:?}", keyed.seed().signing_key().public());
    let key = key.trim_start_matches("VerifyingKey(").trim_end_matches(')').to_owned();
    lab.json("alpha", &["invite", "revoke", &key, "--yes"]).await.unwrap();
    let expired = token(lab, "alpha", &["--expires", "1s", "--name", "late"]).await;
    let gone = async || (!open(lab, "alpha").await.iter().any(|i| i["name"] == "late")).then_some(());
    eventually(WITHIN, "the invite has expired", gone).await.unwrap();
    let mut damaged = good.clone();
    damaged.replace_range(20..21, if &good[20..21] == "A" { "B" } else { "A" });
    let (mesh, seed) = (read.mesh(), || read.seed().clone());
    let stranger = InviteSeed::from_bytes(&[9; 32]);
    // A broker that goes by its proxy's URL alone, and is dialled at its own.
    let direct = other.process(Lab::BROKER).start().await.unwrap()["url"].as_str().unwrap().to_owned();
    let address = direct.strip_prefix("ws://").unwrap().parse().unwrap();
    other.proxy().set_broker(Some(address));
    let elsewhere = other.proxy().url();
    vec![
        ("no token", "hello".into(), "new", 2, "token_unknown"),
        ("a cut one", good[..good.len() - 3].into(), "new", 2, "token_truncated"),
        ("a damaged one", damaged, "new", 2, "token_damaged"),
        ("a later one", good.replace("ww1_", "ww2_"), "new", 5, "token_unsupported"),
        ("expired", expired, "late", 3, "invite_expired"),
        ("used up", used, "new", 3, "invite_used_up"),
        ("revoked", revoked, "new", 3, "invite_revoked"),
        ("unknown", made_up(read.broker_url(), mesh, stranger, None), "new", 3, "invite_unknown"),
        ("a name that is taken", good.clone(), "alpha", 8, "name_taken"),
        ("another broker", made_up(&direct, mesh, seed(), None), "new", 5, "wrong_broker"),
        ("a broker without the mesh", made_up(&elsewhere, mesh, seed(), None), "new", 5, "no_such_mesh"),
        ("nobody there", made_up("ws://127.0.0.1:1", mesh, seed(), None), "new", 6, "unreachable"),
    ]
}

#[tokio::test]
async fn every_bad_token_has_its_own_code_and_leaves_the_state_folder_as_it_was() {
    let lab = mesh(&["alpha"]).await;
    let mut other = Lab::start(PROGRAM).await.unwrap();
    let cases = bad_tokens(&lab, &mut other).await;
    let url = other.proxy().url();
    lab.json("gamma", &["mesh", "create", "own", "--broker", &url, "--node", "gamma"]).await.unwrap();
    for runs in [false, true] {
        if runs {
            lab.json("gamma", &["node", "up"]).await.unwrap();
        }
        let before = state(&lab.state("gamma"), runs);
        for (what, token, name, exit, code) in &cases {
            let (found, word, hint) = join(&lab, "gamma", token, Some(name)).await.expect_err(what);
            assert_eq!((found, word.as_str()), (*exit, *code), "{what}, runs: {runs}");
            assert!(!hint.is_empty(), "{what} says what to do, runs: {runs}");
            let now = state(&lab.state("gamma"), runs);
            assert!(now == before, "{what}, runs: {runs}: {:?}, {:?}", now.keys(), before.keys());
        }
    }
    lab.json("gamma", &["node", "down"]).await.unwrap();
    // Where nothing was, there is a lock and nothing more.
    for (what, token, name, ..) in &cases {
        join(&lab, "delta", token, Some(name)).await.expect_err(what);
        let left: Vec<_> = if lab.state("delta").exists() {
            state(&lab.state("delta"), false).into_iter().collect()
        } else {
            Vec::new()
        };
        assert!(left.is_empty() || left == [("lock".to_owned(), Vec::new())], "{what}: {left:?}");
    }
}

#[tokio::test]
async fn what_is_said_on_joining_goes_out_with_the_first_start_or_at_once() {
    let lab = mesh(&["alpha"]).await;
    let mut pair = Pair::on(lab);
    let invite = InviteRequest { uses: Some(4), ..InviteRequest::default() };
    let token = pair.lab.client("alpha").invite(&invite).await.unwrap().token;
    let say = |node: &'static str, to: &'static str| {
        let words = ["--json", "join", "-", "--name", node, "--say", "here I am", "--to", to];
        (node, words)
    };
    // No node runs: the message waits in the outbox of the mesh that was joined.
    let (node, words) = say("beta", "desk@alpha");
    let joined = pair.lab.run(node, &words, token.as_bytes()).await.unwrap().json().unwrap();
    assert_eq!((&joined["node"], &joined["said"]["state"]), (&"beta".into(), &"queued".into()));
    let id = joined["said"]["client_message_id"].as_str().unwrap().to_owned();
    pair.lab.json(node, &["node", "up"]).await.unwrap();
    let delivered = async |node: &str, id: &str| {
        let query = MeshQuery::default();
        let status = pair.lab.client(node).status(&id.parse().unwrap(), &query).await.ok()?;
        (status.state == MessageState::Delivered).then_some(())
    };
    eventually(WITHIN, "what beta said is delivered", async || delivered("beta", &id).await).await.unwrap();
    // One runs.
    pair.lab.json("gamma", &["node", "up"]).await.unwrap();
    let (node, words) = say("gamma", "desk@alpha");
    let joined = pair.lab.run(node, &words, token.as_bytes()).await.unwrap().json().unwrap();
    let id = joined["said"]["client_message_id"].as_str().unwrap().to_owned();
    eventually(WITHIN, "what gamma said is delivered", async || delivered("gamma", &id).await).await.unwrap();
    let inbox = pair.lab.json("alpha", &["inbox", "--app", "desk"]).await.unwrap();
    let from: Vec<_> = inbox["items"].as_array().unwrap().iter().map(|item| &item["from"]).collect();
    assert_eq!(from, ["beta", "gamma"]);
    // An address that is none joins nothing; one that nobody has is told after joining.
    let (node, words) = say("delta", "not an address");
    assert_eq!(pair.lab.run(node, &words, token.as_bytes()).await.unwrap().code, Some(2));
    assert!(!pair.lab.state("delta").join("meshes").exists());
    let (node, words) = say("delta", "alfa");
    let output = pair.lab.run(node, &words, token.as_bytes()).await.unwrap();
    assert_eq!(output.code, Some(7), "{output:?}");
    assert!(output.stdout.contains("\"node\":\"delta\""), "it has joined: {output:?}");
    assert!(
        output.stderr.contains("has joined") && output.stderr.contains("unknown_recipient"),
        "{output:?}"
    );
    for node in ["beta", "gamma"] {
        pair.lab.json(node, &["node", "down"]).await.unwrap();
    }
    pair.lab.stop("alpha").await.unwrap();
}
