use waxwing_crypto::membership::{Leave, NewEpoch, Revoke, Target};
use waxwing_crypto::state_key::{Holder, KeyList, KeyListHead, StateKeys};
use waxwing_crypto::{Digest, MeshId, NodeId, SealingKey};
use waxwing_protocol::link::FoundKeys;

use super::fetch::{Wanted, Wrong, open, take};
use super::*;
use crate::mesh::tests::alone;
use crate::store::meta;

const MESH: MeshId = MeshId::from_bytes([7; 16]);
const OWN: NodeId = NodeId::from_bytes([1; 16]);
const OTHER: NodeId = NodeId::from_bytes([2; 16]);

/// Lets a mesh hold these keys.
pub(crate) async fn hold(mesh: &Mesh, keys: StateKeys) {
    keep(mesh, keys, false).await.unwrap();
}

fn secret(n: u8) -> SealingKey {
    SealingKey::from_seed(&[n; 32])
}

/// A mesh's keys up to an epoch, the same each time.
fn keys(epochs: std::ops::RangeInclusive<u64>) -> StateKeys {
    let bytes: Vec<u8> = epochs.flat_map(|n| [&n.to_be_bytes()[..], &[n as u8; 32]].concat()).collect();
    StateKeys::from_bytes(&bytes).unwrap()
}

/// A list for this node, sealed to secret 1, and another, sealed to secret 2.
fn list(keys: &StateKeys) -> KeyList {
    let holders = [(OWN, 1), (OTHER, 2)].map(|(id, n)| (Holder::Node(id), secret(n).public().unwrap()));
    KeyList::seal(MESH, keys, &holders, &mut crate::rng()).unwrap()
}

fn found(list: &KeyList, at: usize) -> FoundKeys {
    FoundKeys { head: list.head().clone(), slot: list.slots().nth(at).unwrap() }
}

fn wanted(epoch: u64, root: Digest) -> Wanted {
    Wanted { mesh: MESH, epoch, root, holders: vec![Holder::Node(OWN)] }
}

fn opened(wanted: &Wanted, found: &FoundKeys, secrets: &[u8]) -> Result<Vec<u64>, Wrong> {
    let secrets: Vec<_> = secrets.iter().map(|n| secret(*n)).collect();
    open(wanted, found, secrets.iter()).map(|keys| keys.iter().map(|(epoch, _)| epoch).collect())
}

#[test]
fn the_secret_is_chosen_by_the_digest_in_the_slot() {
    let list = list(&keys(1..=3));
    let wanted = wanted(3, list.root());
    assert_eq!(opened(&wanted, &found(&list, 0), &[9, 1]), Ok(vec![1, 2, 3]), "after a change of keys");
    assert_eq!(opened(&wanted, &found(&list, 0), &[9, 2]), Err(Wrong::NoKey));
}

#[test]
fn a_slot_that_the_broker_made_up_is_forged() {
    let (honest, made_up) = (list(&keys(1..=3)), list(&keys(1..=3)));
    let wanted = wanted(3, honest.root());
    assert_eq!(opened(&wanted, &found(&made_up, 0), &[1]), Err(Wrong::Forged), "keys of its own");
    let mixed = FoundKeys { slot: found(&made_up, 0).slot, ..found(&honest, 0) };
    assert_eq!(opened(&wanted, &mixed, &[1]), Err(Wrong::Forged));
    let earlier = made_up.head().earlier.clone();
    let mixed = FoundKeys { head: KeyListHead { earlier, ..honest.head().clone() }, ..found(&honest, 0) };
    assert_eq!(opened(&wanted, &mixed, &[1]), Err(Wrong::Forged), "earlier keys of its own");
}

#[test]
fn an_older_slot_anothers_and_a_bad_proof_are_forged() {
    let (old, new) = (list(&keys(1..=2)), list(&keys(1..=3)));
    let wanted = wanted(3, new.root());
    assert_eq!(opened(&wanted, &found(&old, 0), &[1]), Err(Wrong::Forged), "an older one");
    let claimed = FoundKeys { head: new.head().clone(), ..found(&old, 0) };
    assert_eq!(opened(&wanted, &claimed, &[1]), Err(Wrong::Forged), "an older one under the new head");
    assert_eq!(opened(&wanted, &found(&new, 1), &[1, 2]), Err(Wrong::Forged), "another's");
    let mut moved = found(&new, 0);
    moved.slot.at = 1;
    assert_eq!(opened(&wanted, &moved, &[1]), Err(Wrong::Forged), "a bad proof");
}

#[test]
fn a_list_whose_maker_lies_is_told_from_a_broker_that_does() {
    // Proven, and of the epoch that it says, but not of the one that its entry says.
    let list = list(&keys(1..=3));
    assert_eq!(opened(&wanted(4, list.root()), &found(&list, 0), &[1]), Err(Wrong::Forged));
    // Sealed to a key under the digest of another.
    let holders = [(Holder::Node(OWN), secret(2).public().unwrap())];
    let wrong = KeyList::seal(MESH, &keys(1..=3), &holders, &mut crate::rng()).unwrap();
    assert_eq!(opened(&wanted(3, wrong.root()), &found(&wrong, 0), &[1]), Err(Wrong::NoKey));
}

#[tokio::test]
async fn keys_are_kept_encrypted_and_the_invites_as_long_as_it_is_needed() {
    let (folder, mesh) = alone().await;
    let (invite, state) = (Arc::new(secret(9)), keys(1..=3));
    *lock(&mesh.epochs.invite) = Some(Arc::clone(&invite));
    keep(&mesh, state.clone(), false).await.unwrap();
    let again = Epochs::load(&mesh.db, &mesh.keys).await.unwrap();
    assert_eq!(*again.held().to_bytes(), *state.to_bytes());
    assert_eq!(lock(&again.invite).as_ref().unwrap().reveal_seed(), invite.reveal_seed());
    for file in std::fs::read_dir(folder.path().join("meshes/home")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for plain in [&[3_u8; 32], &[9; 32]] {
            assert!(!bytes.windows(32).any(|window| window == plain));
        }
    }
    keep(&mesh, keys(1..=4), true).await.unwrap();
    assert_eq!(meta::bytes(&mesh.db, meta::INVITE_KEY).await.unwrap(), None);
    let again = Epochs::load(&mesh.db, &mesh.keys).await.unwrap();
    assert!(lock(&again.invite).is_none() && again.held().get(4).is_some());
}

#[tokio::test]
async fn who_needs_the_newest_keys_waits_for_them() {
    let (_folder, mesh) = alone().await;
    let waiting = mesh.epochs.holding(2);
    let (held, kept) = tokio::join!(waiting, keep(&mesh, keys(1..=2), true));
    kept.unwrap();
    assert!(held.unwrap().get(2).is_some());
}

#[tokio::test]
async fn keys_of_epochs_that_another_log_has_not_are_forgotten_and_no_others() {
    let (_folder, mesh) = alone().await;
    keep(&mesh, keys(1..=5), true).await.unwrap();
    let entry = |body| mesh.roster(|roster| mesh.sign_entry_on(roster, &mesh.identity.signing, body));
    let epoch = |n| NewEpoch { n, keys: Digest::from_bytes([n as u8; 32]) };
    let target = Target::Node(OTHER);
    let revoke = Revoke { target, reason: "".parse().unwrap(), epoch: Some(epoch(4)) };
    let lost = [
        entry(Body::Leave(Leave { node: OTHER })),
        entry(Body::Revoke(revoke)),
        entry(Body::Epoch(epoch(5))),
    ];
    forget(&mesh, &lost[..1]).await.unwrap();
    assert_eq!(mesh.epochs.held().newest().0, 5, "no epoch began there");
    forget(&mesh, &lost).await.unwrap();
    let kept = Epochs::load(&mesh.db, &mesh.keys).await.unwrap();
    assert_eq!((mesh.epochs.held().newest().0, kept.held().newest().0), (3, 3));
}

#[tokio::test]
async fn an_admin_who_hands_on_other_earlier_keys_changes_none_that_are_held() {
    let (_folder, mesh) = alone().await;
    keep(&mesh, keys(1..=3), true).await.unwrap();
    let mut other = keys(1..=4).to_bytes();
    other[40 + 8] ^= 1; // In the key of epoch 2.
    let other = StateKeys::from_bytes(&other).unwrap();
    assert!(take(&mesh, 4, &other).await.is_ok());
    assert_eq!(*mesh.epochs.held().to_bytes(), *keys(1..=4).to_bytes());
    let told: String =
        waxwing_sqlite::query_scalar("SELECT body FROM event").fetch_one(&mesh.db).await.unwrap();
    assert!(told.contains("state_keys_differ") && told.contains("[2]"), "{told}");
}

#[tokio::test]
async fn an_alarm_is_told_once_for_each_epoch() {
    let (_folder, mesh) = alone().await;
    for epoch in [2, 2, 3] {
        alarm(&mesh, epoch, "state_keys_forged", "x").await.unwrap();
    }
    let told: i64 =
        waxwing_sqlite::query_scalar("SELECT count(*) FROM event").fetch_one(&mesh.db).await.unwrap();
    assert_eq!(told, 2);
}

#[test]
fn nothing_of_it_prints_a_key() {
    let shown = format!("{:?} {:?}", keys(1..=2), Arc::new(secret(9)));
    assert_eq!(shown, "StateKeys([(1, StateKey(secret)), (2, StateKey(secret))]) SealingKey(secret)");
}
