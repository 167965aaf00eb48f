//! What stands in a message: counters, void ranges, and nothing that a node of this version would not have sent.

use waxwing_crypto::Error;
use waxwing_crypto::sealing::{CounterRange, Kind, MAX_VOID_RANGES, Plaintext};

use super::actors::{NOW, Pair, plaintext};
use super::support::Seeded;

/// What the recipient makes of a message that its sender should not have made.
fn travelled(text: &Plaintext) -> Result<Plaintext, Error> {
    let pair = Pair::new();
    let (mut session, _, received) = pair.session(4);
    let header = pair.header(1);
    let envelope = session.seal(&mut Seeded::new(5), &header, text, NOW, false).unwrap();
    received.open(&header, &envelope)
}

fn range(first: u64, last: u64) -> CounterRange {
    CounterRange::new(first, last).unwrap()
}

const REFUSED: Result<Plaintext, Error> = Err(Error::Malformed("plaintext"));

#[test]
fn counters_start_at_1_and_do_not_overflow() {
    for counter in [1, 2, u64::from(u32::MAX) + 1, u64::MAX] {
        let text = Plaintext { counter, ..plaintext(b"x") };
        assert_eq!(travelled(&text), Ok(text.clone()));
    }
    assert_eq!(travelled(&Plaintext { counter: 0, ..plaintext(b"x") }), REFUSED);
}

#[test]
fn what_is_live_has_no_counter_and_everything_else_has_one() {
    for kind in Kind::ALL {
        let with = |counter, void: &[CounterRange]| {
            travelled(&Plaintext { kind, counter, void: void.to_vec(), ..plaintext(b"x") })
        };
        assert_eq!(with(0, &[]).is_ok(), kind.is_live(), "{kind:?}");
        assert_eq!(with(1, &[]).is_ok(), !kind.is_live(), "{kind:?}");
        assert_eq!(with(0, &[range(1, 1)]), REFUSED, "{kind:?}");
    }
    let live = Kind::ALL.map(|kind| (kind.as_str(), kind.is_live()));
    let expected = [("message", false), ("read", false), ("request", true), ("progress", true)];
    assert_eq!(live[..4], expected);
    assert_eq!(live[4..], [("reply", true), ("refusal", true), ("cancel", true)]);
}

#[test]
fn void_ranges_are_bounded_and_lie_below_the_counter() {
    let with = |counter, void: &[CounterRange]| {
        travelled(&Plaintext { counter, void: void.to_vec(), ..plaintext(b"x") })
    };
    assert!(with(9, &[range(1, 8)]).is_ok());
    assert!(with(u64::MAX, &[range(1, u64::MAX - 1)]).is_ok());
    assert!(with(9, &vec![range(3, 4); MAX_VOID_RANGES]).is_ok());
    assert_eq!(with(9, &vec![range(3, 4); MAX_VOID_RANGES + 1]), REFUSED);
    for bad in [range(1, 9), range(9, 9), range(10, 11), range(1, u64::MAX)] {
        assert_eq!(with(9, &[bad]), REFUSED, "{bad:?}");
    }
    assert_eq!(with(u64::MAX, &[range(1, u64::MAX)]), REFUSED);
    assert_eq!(with(1, &[range(1, 1)]), REFUSED);
}

#[test]
fn a_range_is_never_empty_reversed_or_from_zero() {
    assert_eq!(range(3, 7).range(), 3..=7);
    assert_eq!((range(3, 3).first(), range(3, 3).last()), (3, 3));
    for (first, last) in [(0, 0), (0, 5), (5, 4), (u64::MAX, 1)] {
        assert_eq!(CounterRange::new(first, last), None);
        let encoded = rmp_serde::to_vec(&(first, last)).unwrap();
        assert!(rmp_serde::from_slice::<CounterRange>(&encoded).is_err());
    }
}
