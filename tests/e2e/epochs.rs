//! Mesh state keys: a new one after everybody who goes, which whoever went cannot have, and everybody else gets.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use getrandom::SysRng;
use rand_core::UnwrapErr;
use serde_json::Value;
use sqlx::{Connection as _, Row as _, SqliteConnection};
use waxwing_client::api::{EventBody, GrantRequest, InviteRequest, ResumeRequest};
use waxwing_crypto::membership::{Body, InviteToken, Role, SignedEntry};
use waxwing_crypto::state_key::{KeyList, SealedStateKeys, StateKeys};
use waxwing_crypto::storage::{Place, StorageKey};
use waxwing_crypto::{MeshId, SealingKey};
use waxwing_lab::{Frame, Lab, When, eventually};
use waxwing_protocol::link::{FoundKeys, ToNode};

use crate::loss::lose_store;
use crate::support::{WITHIN, mesh};

/// The secrets of a node's disk.
struct Secrets {
    mesh: MeshId,
    sealing: SealingKey,
    storage: StorageKey,
}

fn folder(lab: &Lab, node: &str) -> PathBuf {
    lab.state(node).join("meshes/lab")
}

fn secrets(lab: &Lab, node: &str) -> Secrets {
    let text = std::fs::read(folder(lab, node).join("identity.json")).unwrap();
    let identity: Value = serde_json::from_slice(&text).unwrap();
    let secret = |name: &str| -> [u8; 32] {
        let bytes = data_encoding::HEXLOWER.decode(identity[name].as_str().unwrap().as_bytes()).unwrap();
        bytes.try_into().unwrap()
    };
    Secrets {
        mesh: identity["mesh"].as_str().unwrap().parse().unwrap(),
        sealing: SealingKey::from_seed(&secret("sealing")),
        storage: StorageKey::from_bytes(&secret("storage")),
    }
}

async fn database(path: PathBuf) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}?mode=ro", path.display())).await.unwrap()
}

/// The state keys that a node holds, read off its disk.
async fn held(lab: &Lab, node: &str) -> Vec<(u64, [u8; 32])> {
    let mut db = database(folder(lab, node).join("node.db")).await;
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT value FROM meta WHERE name = 'state_keys'")
        .fetch_one(&mut db)
        .await
        .unwrap();
    let place = Place { table: "meta", column: "value", row: b"state_keys" };
    let opened = secrets(lab, node).storage.keys().open(place, &sealed).unwrap();
    StateKeys::from_bytes(&opened).unwrap().iter().map(|(epoch, key)| (epoch, *key.reveal())).collect()
}

/// Waits until a node holds the key of this epoch, the newest.
async fn holds(lab: &Lab, node: &str, epoch: u64) {
    let client = lab.client(node);
    let held = async || {
        let mesh = client.health().await.ok()?.meshes.pop()?;
        (mesh.epoch == epoch && mesh.state_key.held).then_some(())
    };
    eventually(WITHIN, &format!("{node} holds the key of epoch {epoch}"), held).await.unwrap();
}

/// The epochs that a node's log begins after the first, in order.
async fn epochs(lab: &Lab, node: &str) -> Vec<u64> {
    let mut db = database(folder(lab, node).join("node.db")).await;
    let rows = sqlx::query("SELECT entry FROM log ORDER BY seq").fetch_all(&mut db).await.unwrap();
    let body =
        |bytes: Vec<u8>| SignedEntry { bytes: bytes.into(), signatures: Vec::new() }.parse().unwrap().body;
    let begun = |body| {
        if let Body::Epoch(epoch) = body {
            return Some(epoch.n);
        }
        if let Body::Revoke(revoke) = body { revoke.epoch.map(|epoch| epoch.n) } else { None }
    };
    rows.iter().filter_map(|row| begun(body(row.get(0)))).collect()
}

/// What a node has told of its keys.
async fn alarms(lab: &Lab, node: &str) -> Vec<String> {
    let mut db = database(folder(lab, node).join("node.db")).await;
    let rows = sqlx::query("SELECT body FROM event ORDER BY seq").fetch_all(&mut db).await.unwrap();
    let what = |row: &sqlx::sqlite::SqliteRow| {
        let EventBody::Security { what, .. } = serde_json::from_str(row.get(0)).unwrap() else { return None };
        what.starts_with("state_keys").then_some(what)
    };
    rows.iter().filter_map(what).collect()
}

async fn revoke(lab: &Lab, node: &str) {
    lab.linked("alpha").await.unwrap();
    lab.json("alpha", &["revoke", node, "--yes"]).await.unwrap();
}

async fn invite(lab: &Lab, uses: u32) -> InviteToken {
    let request = InviteRequest { uses: Some(uses), ..InviteRequest::default() };
    lab.client("alpha").invite(&request).await.unwrap().token.parse().unwrap()
}

async fn join(lab: &mut Lab, node: &str, token: &InviteToken) {
    lab.enrol_with(node, &token.reveal()).await.unwrap();
    lab.restart(node).await.unwrap();
    lab.linked(node).await.unwrap();
}

#[tokio::test]
async fn a_revoked_member_with_all_it_has_and_all_that_the_broker_holds_cannot_get_the_new_key() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let own = invite(&lab, 3).await;
    join(&mut lab, "gamma", &own).await;
    // An admin, so that it has made invites as well.
    let grant = GrantRequest { node: "gamma".parse().unwrap(), role: Role::Admin, mesh: None };
    lab.client("alpha").grant(&grant).await.unwrap();
    let client = lab.client("gamma");
    let made = async || client.invite(&InviteRequest::default()).await.ok();
    let made = eventually(WITHIN, "gamma knows that it is an admin", made).await.unwrap();
    let made: InviteToken = made.token.parse().unwrap();
    let open = invite(&lab, 1).await; // For somebody else: it never had this one.
    let (thief, old) = (secrets(&lab, "gamma"), held(&lab, "gamma").await);
    revoke(&lab, "gamma").await;
    for node in ["alpha", "beta"] {
        holds(&lab, node, 2).await;
    }
    let new = held(&lab, "alpha").await;
    assert_eq!((new.len(), held(&lab, "beta").await), (2, new.clone()));
    assert_eq!(new[..1], old, "it had all until then");

    // Every secret that it has, on every box that the broker has.
    let seeds = [&own, &made].map(|token| token.seed().sealing_key());
    let mut db = database(lab.state(Lab::BROKER).join("broker.db")).await;
    let slots = sqlx::query("SELECT holder, sealed FROM key_slot").fetch_all(&mut db).await.unwrap();
    let holders: Vec<Vec<u8>> = slots.iter().map(|row| row.get(0)).collect();
    let invited = open.seed().signing_key().public();
    assert_eq!(slots.len(), 3, "alpha, beta, and the invite that is open");
    assert!(holders.contains(&invited.as_bytes().to_vec()));
    assert!(!holders.contains(&lab.id("gamma").as_bytes().to_vec()));
    let readers =
        [&secrets(&lab, "alpha").sealing, &secrets(&lab, "beta").sealing, &open.seed().sealing_key()];
    for row in &slots {
        let sealed = SealedStateKeys::from_bytes(row.get::<Vec<u8>, _>(1).into()).unwrap();
        for secret in [&thief.sealing, &seeds[0], &seeds[1]] {
            sealed.open(secret).unwrap_err();
        }
        assert!(readers.iter().any(|secret| sealed.open(secret).is_ok()), "the boxes are good");
    }
    let ended = lab.process("gamma").ended(WITHIN).await.unwrap();
    assert_eq!(ended.code(), Some(3), "nor is it served");
    for token in [&own, &made] {
        let again =
            lab.run("delta", &["join", "-", "--name", "delta"], token.reveal().as_bytes()).await.unwrap();
        assert_eq!(again.code, Some(3), "{}", again.stderr);
    }
    for (_, key) in &new {
        nowhere_in_plain(&mut lab, key);
    }
}

/// Searches every file and log of every process for a key, and what went over the wire.
fn nowhere_in_plain(lab: &mut Lab, key: &[u8; 32]) {
    let hex = data_encoding::HEXLOWER.encode(key);
    let is_in = |bytes: &[u8]| {
        bytes.windows(32).any(|window| window == key)
            || bytes.windows(64).any(|window| window == hex.as_bytes())
    };
    for frame in lab.proxy().captured() {
        assert!(!is_in(&frame.bytes), "{}", frame.frame.name());
    }
    let (mut files, mut folders) = (0, vec![lab.folder().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                files += 1;
                assert!(!is_in(&std::fs::read(&path).unwrap()), "{}", path.display());
            }
        }
    }
    assert!(files > 10, "the search went through something");
}

#[tokio::test]
async fn a_newcomer_by_an_older_invite_gets_every_key_with_nobody_else_online() {
    let mut lab = mesh(&["alpha", "beta", "gamma"]).await;
    let token = invite(&lab, 2).await;
    revoke(&lab, "gamma").await;
    holds(&lab, "alpha", 2).await;
    let keys = held(&lab, "alpha").await;
    lab.stop("alpha").await.unwrap();
    lab.stop("beta").await.unwrap();
    for node in ["delta", "epsilon"] {
        join(&mut lab, node, &token).await;
        holds(&lab, node, 2).await;
        assert_eq!(held(&lab, node).await, keys, "{node}");
    }
    // What they needed the invite for is done, and its secret is gone.
    let mut db = database(folder(&lab, "delta").join("node.db")).await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM meta WHERE name = 'invite_key'")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(left, 0);
    // From now on they are members like others.
    lab.restart("alpha").await.unwrap();
    lab.linked("alpha").await.unwrap();
    revoke(&lab, "beta").await;
    for node in ["alpha", "delta", "epsilon"] {
        holds(&lab, node, 3).await;
    }
    assert_eq!(held(&lab, "delta").await, held(&lab, "alpha").await);
    assert_eq!(held(&lab, "epsilon").await.len(), 3);
}

#[tokio::test]
async fn who_was_away_catches_up_over_several_epochs() {
    let mut lab = mesh(&["alpha", "beta", "gamma", "delta"]).await;
    lab.stop("beta").await.unwrap();
    for node in ["gamma", "delta"] {
        revoke(&lab, node).await;
    }
    holds(&lab, "alpha", 3).await;
    assert_eq!(held(&lab, "beta").await.len(), 1);
    lab.restart("beta").await.unwrap();
    holds(&lab, "beta", 3).await;
    assert_eq!(held(&lab, "beta").await, held(&lab, "alpha").await);
    assert_eq!(alarms(&lab, "beta").await, [""; 0]);
}

/// What a broker may put in the place of beta's slot.
type Forge = fn(&[FoundKeys], FoundKeys, MeshId, &SealingKey) -> FoundKeys;

/// A list of the broker's own for beta, of a key that it knows.
fn own_list(honest: &FoundKeys, mesh: MeshId, beta: &SealingKey) -> KeyList {
    let mut bytes = 1_u64.to_be_bytes().to_vec();
    bytes.extend_from_slice(&[0xbb; 32]);
    bytes.extend_from_slice(&honest.head.epoch.to_be_bytes());
    bytes.extend_from_slice(&[0xcc; 32]);
    let keys = StateKeys::from_bytes(&bytes).unwrap();
    let holder = (honest.slot.slot.holder, beta.public().unwrap());
    KeyList::seal(mesh, &keys, &[holder], &mut UnwrapErr(SysRng)).unwrap()
}

#[tokio::test]
async fn a_broker_that_hands_out_other_keys_is_found_out_and_nothing_changes() {
    let forgeries: [(&str, Forge); 5] = [
        ("keys of its own", |_, honest, mesh, beta| {
            let list = own_list(&honest, mesh, beta);
            FoundKeys { head: list.head().clone(), slot: list.slots().next().unwrap() }
        }),
        ("a box of its own in the true list", |_, honest, mesh, beta| {
            let list = own_list(&honest, mesh, beta);
            let mut forged = honest;
            forged.slot.slot.sealed = list.slots().next().unwrap().slot.sealed;
            forged
        }),
        ("an older slot", |seen, honest, _, _| {
            let holder = honest.slot.slot.holder;
            let is_older = |found: &&FoundKeys| found.slot.slot.holder == holder && found.head.epoch == 2;
            seen.iter().find(is_older).unwrap().clone()
        }),
        ("another's slot", |seen, honest, _, _| {
            let (holder, epoch) = (honest.slot.slot.holder, honest.head.epoch);
            let is_others =
                |found: &&FoundKeys| found.slot.slot.holder != holder && found.head.epoch == epoch;
            seen.iter().find(is_others).unwrap().clone()
        }),
        ("a bad proof", |_, mut honest, _, _| {
            honest.slot.at += 1;
            honest
        }),
    ];
    let lab = mesh(&["alpha", "beta", "one", "two", "three", "four", "five", "six"]).await;
    revoke(&lab, "six").await;
    holds(&lab, "beta", 2).await;
    let beta = lab.id("beta");
    for (n, (what, forge)) in forgeries.into_iter().enumerate() {
        let before = held(&lab, "beta").await;
        let identity = secrets(&lab, "beta");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&seen);
        let answer = When::named(beta, "keys");
        // Held back until the others have theirs, so that there is one to be taken for another's.
        let hold = lab.proxy().hold(answer.clone());
        revoke(&lab, ["one", "two", "three", "four", "five"][n]).await;
        let epoch = n as u64 + 3;
        holds(&lab, "alpha", epoch).await;
        seen.lock().unwrap().extend(found_on_the_wire(&lab));
        let rewritten = lab.proxy().rewrite_next(answer.clone(), move |frame| {
            let Frame::ToNode(ToNode::Keys(mut keys)) = frame else { panic!("{frame:?}") };
            let honest = *keys.found.take().unwrap();
            keys.found =
                Some(Box::new(forge(&shown.lock().unwrap(), honest, identity.mesh, &identity.sealing)));
            vec![Frame::ToNode(ToNode::Keys(keys))]
        });
        let first = hold.held().await.unwrap();
        let again = lab.proxy().hold(answer);
        lab.proxy().cut_links(); // What was held is lost with its link, and asked for again.
        rewritten.happened().await.unwrap();
        drop(first);
        let held_back = again.held().await.unwrap();
        assert_eq!(held(&lab, "beta").await, before, "{what}");
        assert_eq!(alarms(&lab, "beta").await, vec!["state_keys_forged"; n + 1], "{what}");
        let health = lab.client("beta").health().await.unwrap().meshes.pop().unwrap();
        assert!(
            !health.state_key.held && health.state_key.problem.unwrap().contains("no admin has made"),
            "{what}"
        );
        held_back.release();
        holds(&lab, "beta", epoch).await;
        assert_eq!(held(&lab, "beta").await, held(&lab, "alpha").await, "{what}");
    }
}

/// Every slot that the broker has handed out.
fn found_on_the_wire(lab: &Lab) -> Vec<FoundKeys> {
    let found = |frame: Frame| {
        let Frame::ToNode(ToNode::Keys(keys)) = frame else { return None };
        keys.found.map(|found| *found)
    };
    lab.proxy().captured().into_iter().filter_map(|captured| found(captured.frame)).collect()
}

#[tokio::test]
async fn after_a_leave_one_admins_node_makes_an_epoch_and_no_other_does() {
    let mut lab = mesh(&["alpha", "beta", "gamma", "delta"]).await;
    for admin in ["beta", "gamma"] {
        let grant = GrantRequest { node: admin.parse().unwrap(), role: Role::Admin, mesh: None };
        lab.client("alpha").grant(&grant).await.unwrap();
    }
    let left = held(&lab, "delta").await;
    lab.json("delta", &["leave", "--yes"]).await.unwrap();
    for node in ["alpha", "beta", "gamma"] {
        holds(&lab, node, 2).await;
        assert_eq!(held(&lab, node).await, held(&lab, "alpha").await);
    }
    assert_eq!((left.len(), held(&lab, "alpha").await.len()), (1, 2));
    // More happens, and whoever was about to make a second one has had its chance.
    let token = invite(&lab, 1).await;
    join(&mut lab, "epsilon", &token).await;
    revoke(&lab, "gamma").await;
    for node in ["alpha", "beta", "epsilon"] {
        holds(&lab, node, 3).await;
    }
    assert_eq!(epochs(&lab, "epsilon").await, [2, 3], "one for the leave, one for the revoke");
}

#[tokio::test]
async fn after_the_loss_of_the_store_a_resume_brings_one_new_epoch_however_many_admins_there_are() {
    let mut lab = mesh(&["alpha", "beta", "gamma", "delta", "epsilon"]).await;
    let admins = ["beta", "gamma", "delta"];
    for admin in admins {
        let grant = GrantRequest { node: admin.parse().unwrap(), role: Role::Admin, mesh: None };
        lab.client("alpha").grant(&grant).await.unwrap();
    }
    revoke(&lab, "epsilon").await;
    for node in ["alpha", "beta", "gamma", "delta"] {
        holds(&lab, node, 2).await;
    }
    lose_store(&mut lab).await;
    for node in ["alpha", "beta", "gamma", "delta"] {
        lab.linked(node).await.unwrap();
    }
    let client = lab.client("alpha");
    let waits = async || client.health().await.ok()?.meshes.pop()?.resume_wanted;
    eventually(WITHIN, "alpha knows of the loss", waits).await.unwrap();
    client.resume(&ResumeRequest { mesh: None }).await.unwrap();
    for node in ["alpha", "beta", "gamma", "delta"] {
        holds(&lab, node, 3).await;
        assert_eq!(held(&lab, node).await, held(&lab, "alpha").await);
    }
    // Another entry passes: whoever was about to make a second epoch has had its chance.
    let token = invite(&lab, 1).await;
    join(&mut lab, "zeta", &token).await;
    holds(&lab, "zeta", 3).await;
    assert_eq!(epochs(&lab, "zeta").await, [2, 3]);
    assert_eq!(held(&lab, "zeta").await, held(&lab, "alpha").await);
}
