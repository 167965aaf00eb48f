//! What names become: something that says nothing of them, and differs wherever it should.

use std::collections::BTreeSet;

use waxwing_crypto::MeshId;
use waxwing_crypto::space::NamingKey;
use waxwing_crypto::state_key::StateKeys;

use super::actors::{MESH, key_name, keys, space};
use super::support::Seeded;

#[test]
fn the_naming_key_stays_when_epochs_come() {
    let (first, later) = (space(MESH, &keys(1), "team"), space(MESH, &keys(9), "team"));
    assert_eq!(first.id(), later.id());
    assert_eq!(first.key(&key_name("plan")), later.key(&key_name("plan")));
}

#[test]
fn an_id_differs_by_mesh_state_key_space_and_key_and_by_what_it_is_of() {
    let keys = keys(1);
    let other_mesh = MeshId::from_bytes([0x4e; 16]);
    let other_keys = StateKeys::found(&mut Seeded::new(1));
    let mut ids = BTreeSet::new();
    for space in [
        space(MESH, &keys, "team"),
        space(MESH, &keys, "teams"),
        space(MESH, &keys, "Team"),
        space(other_mesh, &keys, "team"),
        space(MESH, &other_keys, "team"),
    ] {
        assert!(ids.insert(*space.id().as_bytes()));
        for key in ["team", "plan", "plans"] {
            assert!(ids.insert(*space.key(&key_name(key)).as_bytes()), "{key} of {:?}", space.name());
        }
    }
}

/// "ab" and "c", "a" and "bc": the border between the two names counts.
#[test]
fn the_same_letters_in_another_space_are_another_key() {
    let keys = keys(1);
    let (one, other) = (space(MESH, &keys, "ab"), space(MESH, &keys, "a"));
    assert_ne!(one.key(&key_name("c")), other.key(&key_name("bc")));
}

#[test]
fn a_space_prints_what_the_broker_knows_and_no_more() {
    let space = space(MESH, &keys(1), "secret plans");
    assert_eq!(format!("{space:?}"), format!("Space({})", space.id()));
    assert_eq!(format!("{:?}", NamingKey::of(MESH, &keys(1))), "NamingKey(secret)");
}
