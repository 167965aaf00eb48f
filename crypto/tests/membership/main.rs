//! The membership log against a second, simpler opinion: random entries, most of them sensible, many not, some forged,
//! replayed, reordered, backdated or from another mesh. The machine and the model must agree on every one, and a
//! refused entry must leave no trace.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

mod model;
mod steps;

use std::cell::RefCell;
use std::collections::BTreeMap;

use data_encoding::BASE64URL_NOPAD;
use model::Model;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use steps::{MOST_STEPS, Step, genesis, key, step};
use waxwing_crypto::Timestamp;
use waxwing_crypto::host::HostRecord;
use waxwing_crypto::membership::{InviteToken, RecoverySecret, Role, Roster, SignedEntry};
use waxwing_crypto::state_key::SealedStateKeys;

const START: u64 = 1_000;

/// How often each kind of step was accepted and refused: to see that the test tests something.
type Tally = BTreeMap<&'static str, [u32; 2]>;

#[test]
fn the_machine_agrees_with_the_model() {
    let mut runner = TestRunner::new(ProptestConfig { cases: 96, ..ProptestConfig::default() });
    let tally = RefCell::new(Tally::new());
    let steps = proptest::collection::vec(step(), 1..MOST_STEPS);
    if let Err(failure) = runner.run(&steps, |steps| run(&steps, &mut tally.borrow_mut())) {
        panic!("{failure}");
    }
    let tally = tally.into_inner();
    for kind in ["invite", "join", "update", "grant", "revoke", "leave", "epoch", "resume"] {
        let [accepted, refused] = tally.get(kind).copied().unwrap_or_default();
        assert!(accepted > 2 && refused > 2, "{kind}: {tally:?}");
    }
    assert!(tally["tampered"][0] == 0 && tally["tampered"][1] > 0, "{tally:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn what_is_nothing_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
        let text = String::from_utf8_lossy(&bytes);
        let entry = SignedEntry { bytes: bytes.clone().into(), signatures: vec![] };
        prop_assert!(entry.parse().is_err());
        prop_assert!(Roster::restore(&bytes).is_err());
        prop_assert!(SealedStateKeys::from_bytes(bytes.clone().into()).is_err());
        for text in [text.to_string(), BASE64URL_NOPAD.encode(&bytes)] {
            let token = "ww1_".to_owned() + &text;
            prop_assert!(token.parse::<InviteToken>().is_err());
        }
        prop_assert!(text.parse::<RecoverySecret>().is_err());
        prop_assert!(HostRecord::from_json(&text).is_err());
    }
}

fn run(steps: &[Step], tally: &mut Tally) -> Result<(), TestCaseError> {
    let (first, mut roster) = Roster::found(Timestamp::from_millis(START), genesis(), &key(0)).unwrap();
    let (mut log, mut model) = (vec![first], Model::found(START));
    for step in steps {
        let step = &step.clone().made_sensible(&model);
        let signed = step.signed(&roster, &model, &log);
        let expected = step.tamper.is_none() && model.allows(step);
        let before = roster.clone();
        let result = roster.apply(&signed);
        prop_assert_eq!(result.is_ok(), expected, "{:?}: {:?}", step, result);
        let kind = if step.tamper.is_some() { "tampered" } else { step.op.kind() };
        tally.entry(kind).or_default()[usize::from(!expected)] += 1;
        if expected {
            model.apply(step);
            log.push(signed);
        } else {
            prop_assert_eq!(&roster, &before, "refused, yet changed");
        }
        agree(&roster, &model, &log)?;
    }
    prop_assert_eq!(&Roster::replay(&log).unwrap(), &roster);
    prop_assert_eq!(&Roster::restore(&roster.snapshot()).unwrap(), &roster);
    Ok(())
}

/// All that can be seen of both.
fn agree(roster: &Roster, model: &Model, log: &[SignedEntry]) -> Result<(), TestCaseError> {
    prop_assert_eq!(roster.head().seq, log.len() as u64);
    prop_assert_eq!(roster.head().hash, log[log.len() - 1].hash());
    prop_assert_eq!(roster.at().as_millis(), model.at);
    prop_assert_eq!((roster.epoch(), roster.wants_epoch()), (model.epoch, model.wants_epoch));
    let seen = roster.members().map(|m| (m.id, m.name.to_string(), m.signing, m.role == Role::Admin));
    let told = model.nodes.iter().filter(|node| node.live).map(|node| {
        let (id, signing) = (key(node.first).public().node_id(), key(node.current).public());
        (id, format!("n{}", node.name), signing, node.admin)
    });
    prop_assert_eq!(seen.collect::<Vec<_>>(), told.collect::<Vec<_>>());
    for invite in &model.invites {
        let seen = roster.invite(&key(invite.key).public()).unwrap();
        prop_assert_eq!(seen.admits(roster.at()).is_ok(), invite.open(model.at), "{:?}", invite);
    }
    Ok(())
}
