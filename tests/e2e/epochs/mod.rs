//! Mesh state keys: a new one after everybody who goes, which whoever went cannot have, and everybody else gets.

mod hostile;
mod making;

use std::path::{Path, PathBuf};

use serde_json::Value;
use waxwing_client::api::{EventBody, GrantRequest, InviteRequest};
use waxwing_crypto::membership::{Body, InviteToken, Role, SignedEntry};
use waxwing_crypto::state_key::{SealedStateKeys, StateKeys};
use waxwing_crypto::storage::{Place, StorageKey};
use waxwing_crypto::{MeshId, SealingKey};
use waxwing_lab::{Lab, eventually};

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

fn database(path: &Path) -> waxwing_sqlite::Connection {
    waxwing_sqlite::Options::new(path).read_only().open().unwrap()
}

/// The state keys that a node holds, read off its disk.
async fn held(lab: &Lab, node: &str) -> Vec<(u64, [u8; 32])> {
    let mut db = database(&folder(lab, node).join("node.db"));
    let sealed: Vec<u8> = waxwing_sqlite::query_scalar("SELECT value FROM meta WHERE name = 'state_keys'")
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
    let mut db = database(&folder(lab, node).join("node.db"));
    let rows = waxwing_sqlite::query("SELECT entry FROM log ORDER BY seq").fetch_all(&mut db).await.unwrap();
    let body =
        |bytes: Vec<u8>| SignedEntry { bytes: bytes.into(), signatures: Vec::new() }.parse().unwrap().body;
    let begun = |body| {
        if let Body::Epoch(epoch) = body {
            return Some(epoch.n);
        }
        if let Body::Revoke(revoke) = body { revoke.epoch.map(|epoch| epoch.n) } else { None }
    };
    rows.iter().filter_map(|row| begun(body(row.try_get(0).unwrap()))).collect()
}

/// What a node has told of its keys.
async fn alarms(lab: &Lab, node: &str) -> Vec<String> {
    let mut db = database(&folder(lab, node).join("node.db"));
    let rows = waxwing_sqlite::query("SELECT body FROM event ORDER BY seq").fetch_all(&mut db).await.unwrap();
    let what = |row: &waxwing_sqlite::Row| {
        let EventBody::Security { what, .. } = serde_json::from_str(row.try_get(0).unwrap()).unwrap() else {
            return None;
        };
        what.starts_with("state_keys").then_some(what)
    };
    rows.iter().filter_map(what).collect()
}

async fn make_admin(lab: &Lab, node: &str) {
    let grant = GrantRequest { node: node.parse().unwrap(), role: Role::Admin, mesh: None };
    lab.client("alpha").grant(&grant).await.unwrap();
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
    make_admin(&lab, "gamma").await;
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
    let mut db = database(&lab.state(Lab::BROKER).join("broker.db"));
    let slots =
        waxwing_sqlite::query("SELECT holder, sealed FROM key_slot").fetch_all(&mut db).await.unwrap();
    let holders: Vec<Vec<u8>> = slots.iter().map(|row| row.try_get(0).unwrap()).collect();
    let invited = open.seed().signing_key().public();
    assert_eq!(slots.len(), 3, "alpha, beta, and the invite that is open");
    assert!(holders.contains(&invited.as_bytes().to_vec()));
    assert!(!holders.contains(&lab.id("gamma").as_bytes().to_vec()));
    let readers =
        [&secrets(&lab, "alpha").sealing, &secrets(&lab, "beta").sealing, &open.seed().sealing_key()];
    for row in &slots {
        let sealed = SealedStateKeys::from_bytes(row.try_get::<Vec<u8>, _>(1).unwrap().into()).unwrap();
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
    let mut db = database(&folder(&lab, "delta").join("node.db"));
    let left: i64 = waxwing_sqlite::query_scalar("SELECT count(*) FROM meta WHERE name = 'invite_key'")
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
