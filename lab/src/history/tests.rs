//! Broken histories, each of which must be caught, beside whole ones that must pass.

use super::*;

fn accepted(id: &str) -> Event {
    Event::Accepted { key: Key::new("alpha", id), to: "beta".to_owned(), priority: "next".to_owned() }
}

fn shown(id: &str, place: u64) -> Event {
    Event::Shown {
        key: Key::new("alpha", id),
        to: "beta".to_owned(),
        place,
        stored_at: 1_000 + place,
        late: false,
    }
}

fn late(id: &str, place: u64) -> Event {
    Event::Shown {
        key: Key::new("alpha", id),
        to: "beta".to_owned(),
        place,
        stored_at: 1_000 + place,
        late: true,
    }
}

fn delivered(id: &str, at: u64) -> Event {
    Event::Delivered { key: Key::new("alpha", id), at }
}

fn acknowledged(id: &str) -> Event {
    Event::Acknowledged { key: Key::new("alpha", id), to: "beta".to_owned() }
}

fn dead(id: &str) -> Event {
    Event::Ended {
        key: Key::new("alpha", id),
        state: MessageState::Dead,
        reason: "revoked_recipient".to_owned(),
    }
}

fn history(events: impl IntoIterator<Item = Event>) -> History {
    History { events: events.into_iter().collect() }
}

/// The violations of a history, and which message each is about.
fn broken(events: impl IntoIterator<Item = Event>) -> Vec<(Violation, String)> {
    let broken = history(events).check().unwrap_err();
    broken.violations().map(|(violation, key)| (violation, key.id.clone())).collect()
}

#[test]
fn a_whole_history_passes() {
    let summary = history([
        accepted("a"),
        accepted("b"),
        accepted("b"),
        shown("a", 1),
        shown("b", 2),
        delivered("a", 1_001),
        delivered("b", 1_500),
        acknowledged("a"),
        accepted("c"),
        dead("c"),
    ])
    .check()
    .unwrap();
    assert_eq!(summary, Summary { accepted: 3, shown: 2, delivered: 2, ended: 1 });
}

#[test]
fn a_lost_message_is_caught() {
    assert_eq!(broken([accepted("a"), accepted("b"), shown("b", 1)]), [(Violation::Lost, "a".to_owned())]);
}

#[test]
fn a_repeated_message_is_caught() {
    let repeated = [accepted("a"), shown("a", 1), shown("a", 2)];
    assert_eq!(broken(repeated), [(Violation::Repeated, "a".to_owned())]);
}

#[test]
fn a_message_that_nobody_sent_is_caught() {
    assert_eq!(broken([shown("a", 1)]), [(Violation::Unsent, "a".to_owned())]);
}

#[test]
fn a_misdelivered_message_is_caught() {
    let astray = Event::Shown {
        key: Key::new("alpha", "a"),
        to: "gamma".to_owned(),
        place: 1,
        stored_at: 1,
        late: false,
    };
    assert_eq!(broken([accepted("a"), astray]), [(Violation::Misdelivered, "a".to_owned())]);
}

#[test]
fn a_reordered_message_is_caught() {
    let reordered = [accepted("a"), accepted("b"), shown("b", 1), shown("a", 2)];
    assert_eq!(broken(reordered), [(Violation::Reordered, "b".to_owned())]);
}

#[test]
fn order_is_a_lanes_own_and_does_not_bind_what_was_passed_over() {
    let mut other = accepted("a");
    if let Event::Accepted { priority, .. } = &mut other {
        "now".clone_into(priority);
    }
    history([other, accepted("b"), shown("b", 1), shown("a", 2)]).check().unwrap();
    history([accepted("a"), accepted("b"), shown("b", 1), late("a", 2)]).check().unwrap();
}

#[test]
fn an_early_delivery_is_caught() {
    let early = [accepted("a"), delivered("a", 1_000), shown("a", 1)];
    assert_eq!(broken(early), [(Violation::DeliveredEarly, "a".to_owned())]);
    let never = [accepted("a"), delivered("a", 5_000), dead("a")];
    assert_eq!(broken(never), [(Violation::DeliveredEarly, "a".to_owned())]);
}

#[test]
fn an_acknowledgement_of_what_was_not_shown_is_caught() {
    let unseen = [accepted("a"), acknowledged("a"), shown("a", 1)];
    assert_eq!(broken(unseen), [(Violation::AcknowledgedUnseen, "a".to_owned())]);
}

#[test]
fn once_it_is_over_a_sender_that_was_not_told_is_caught() {
    let untold = history([accepted("a"), shown("a", 1), accepted("b"), dead("b")]);
    untold.check().unwrap();
    let found = untold.check_all().unwrap_err();
    let found: Vec<_> = found.violations().map(|(violation, key)| (violation, &*key.id)).collect();
    assert_eq!(found, [(Violation::Untold, "a")]);
}

#[test]
fn a_broken_history_tells_the_message_story() {
    let error = history([accepted("a"), accepted("b"), shown("b", 1)]).check().unwrap_err().to_string();
    assert!(error.contains("a from alpha was accepted, and neither shown nor reported dead"), "{error}");
    assert!(error.contains("Accepted {") && !error.contains("\"b\""), "{error}");
}

#[test]
fn a_history_survives_its_file() {
    let before = history([accepted("a"), late("a", 1), delivered("a", 9), acknowledged("a"), dead("b")]);
    let mut file = Vec::new();
    before.write(&mut file).unwrap();
    assert_eq!(file.iter().filter(|&&byte| byte == b'\n').count(), 5);
    assert_eq!(History::read(file.as_slice()).unwrap(), before);
    assert!(History::read(&b"{\"event\":\"vanished\"}"[..]).is_err());
}
