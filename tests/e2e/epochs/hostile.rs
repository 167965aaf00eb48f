//! A broker that hands out keys which nobody made, or none.

use std::sync::{Arc, Mutex};

use getrandom::SysRng;
use rand_core::UnwrapErr;
use waxwing_crypto::state_key::{KeyList, StateKeys};
use waxwing_crypto::{MeshId, SealingKey};
use waxwing_lab::{Frame, Lab, When};
use waxwing_protocol::link::{FoundKeys, ToNode};

use super::{alarms, held, holds, revoke, secrets};
use crate::support::mesh;

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
