//! Every row of the verdict table, and the record's form.

use getrandom::{SysRng, rand_core::UnwrapErr};

use super::*;

type Mac = [u8; 6];

const A: Mac = [0, 1, 2, 3, 4, 0xa];
const B: Mac = [0, 1, 2, 3, 4, 0xb];
const C: Mac = [0, 1, 2, 3, 4, 0xc];

fn key() -> HostKey {
    HostKey::from_bytes([3; 32])
}

/// What a host shows: a configured id, a machine id, addresses.
fn seen(configured: Option<&str>, machine_id: Option<&str>, macs: &[Mac]) -> Evidence {
    Evidence::new(configured, machine_id, macs.iter().map(|mac| ("eth0", *mac)))
}

fn record(evidence: &Evidence) -> HostRecord {
    HostRecord::observe(evidence, &key(), &mut UnwrapErr(SysRng))
}

fn judge(stored: &Evidence, now: &Evidence) -> Verdict {
    record(stored).judge(now, &key())
}

fn run() -> Verdict {
    Verdict::Run { warning: None, updated: None }
}

fn run_as(now: &Evidence) -> Verdict {
    Verdict::Run { warning: None, updated: Some(record(now)) }
}

fn warned(warning: Warning) -> Verdict {
    Verdict::Run { warning: Some(warning), updated: None }
}

fn cause(verdict: &Verdict) -> Cause {
    match verdict {
        Verdict::Refuse { cause, .. } => *cause,
        Verdict::Run { .. } => panic!("ran: {verdict:?}"),
    }
}

#[test]
fn the_best_evidence_there_is_becomes_the_source() {
    let sources = [
        (seen(Some("rack"), Some("id"), &[A]), Source::Configured),
        (seen(None, Some("id"), &[A]), Source::MachineId),
        (seen(None, Some("id"), &[]), Source::MachineId),
        (seen(None, Some("uninitialized"), &[A]), Source::Macs),
        (seen(Some(" "), Some("000"), &[]), Source::Random),
    ];
    for (evidence, source) in sources {
        let record = record(&evidence);
        assert_eq!((record.source(), record.progress_only()), (source, source == Source::Random));
    }
}

#[test]
fn machine_id_equal_runs() {
    assert_eq!(judge(&seen(None, Some("id"), &[A, B]), &seen(None, Some("ID\n"), &[B, A])), run());
    assert_eq!(judge(&seen(None, Some("id"), &[]), &seen(None, Some("id"), &[])), run());
}

#[test]
fn machine_id_equal_records_changed_macs() {
    for now in [&[C][..], &[A, B], &[A, B, C]] {
        let now = seen(None, Some("id"), now);
        assert_eq!(judge(&seen(None, Some("id"), &[A]), &now), run_as(&now));
    }
    let none_now = seen(None, Some("id"), &[]);
    assert_eq!(judge(&seen(None, Some("id"), &[A]), &none_now), run(), "unseen addresses are not forgotten");
}

#[test]
fn machine_id_different_refuses_even_with_the_same_macs() {
    let verdict = judge(&seen(None, Some("id"), &[A]), &seen(None, Some("other"), &[A]));
    assert_eq!(cause(&verdict), Cause::MachineIdDiffers);
}

#[test]
fn machine_id_unreadable_runs_with_a_warning_if_a_mac_matches() {
    let now = seen(None, Some("uninitialized"), &[B, C]);
    assert_eq!(judge(&seen(None, Some("id"), &[A, B]), &now), warned(Warning::MachineIdUnreadable));
}

#[test]
fn machine_id_unreadable_refuses_if_no_mac_matches() {
    for now in [&[C][..], &[]] {
        let verdict = judge(&seen(None, Some("id"), &[A, B]), &seen(None, None, now));
        assert_eq!(cause(&verdict), Cause::MachineIdUnreadable);
    }
    let verdict = judge(&seen(None, Some("id"), &[]), &seen(None, None, &[]));
    assert_eq!(cause(&verdict), Cause::MachineIdUnreadable);
}

#[test]
fn macs_of_which_one_matches_run_and_stay_as_they_were() {
    for now in [&[A, B][..], &[B, C], &[B]] {
        assert_eq!(judge(&seen(None, None, &[A, B]), &seen(None, None, now)), run());
    }
}

#[test]
fn macs_of_which_one_matches_adopt_a_machine_id() {
    let now = seen(None, Some("id"), &[B, C]);
    assert_eq!(judge(&seen(None, None, &[A, B]), &now), run_as(&now));
}

#[test]
fn macs_of_which_none_matches_refuse_whatever_else_there_is() {
    for now in [seen(None, None, &[C]), seen(None, None, &[]), seen(None, Some("id"), &[C])] {
        assert_eq!(cause(&judge(&seen(None, None, &[A, B]), &now)), Cause::NoMacMatches);
    }
}

#[test]
fn configured_equal_runs_on_any_machine() {
    let stored = seen(Some("rack-7"), Some("id"), &[A]);
    for now in [seen(Some(" rack-7\n"), Some("other"), &[B]), seen(Some("rack-7"), None, &[])] {
        assert_eq!(judge(&stored, &now), run());
    }
}

#[test]
fn configured_different_refuses_on_the_same_machine() {
    let verdict = judge(&seen(Some("rack-7"), Some("id"), &[A]), &seen(Some("rack-8"), Some("id"), &[A]));
    assert_eq!(cause(&verdict), Cause::ConfiguredDiffers);
}

#[test]
fn configured_missing_refuses_on_the_same_machine() {
    let verdict = judge(&seen(Some("rack-7"), Some("id"), &[A]), &seen(None, Some("id"), &[A]));
    assert_eq!(cause(&verdict), Cause::ConfiguredMissing);
}

#[test]
fn random_runs_and_says_that_progress_alone_protects() {
    for now in [seen(None, None, &[]), seen(None, Some("id"), &[A])] {
        assert_eq!(judge(&seen(None, None, &[]), &now), warned(Warning::ProgressOnly));
    }
}

#[test]
fn a_configured_id_that_is_new_is_adopted_where_the_node_may_run() {
    let now = seen(Some("rack-7"), Some("id"), &[A]);
    for stored in [seen(None, Some("id"), &[]), seen(None, None, &[A]), seen(None, None, &[])] {
        assert_eq!(judge(&stored, &now), run_as(&now));
    }
    let unreadable = seen(Some("rack-7"), None, &[A]);
    assert_eq!(judge(&seen(None, Some("id"), &[A]), &unreadable), run_as(&unreadable));
}

#[test]
fn a_configured_id_that_is_new_turns_no_refusal_into_a_run() {
    let now = seen(Some("rack-7"), Some("other"), &[B]);
    assert_eq!(cause(&judge(&seen(None, Some("id"), &[A]), &now)), Cause::MachineIdDiffers);
    assert_eq!(cause(&judge(&seen(None, None, &[A]), &now)), Cause::NoMacMatches);
}

#[test]
fn another_key_recognises_nothing() {
    let stored = seen(None, Some("id"), &[A]);
    let verdict = record(&stored).judge(&stored, &HostKey::from_bytes([4; 32]));
    assert_eq!(cause(&verdict), Cause::MachineIdDiffers);
}

#[test]
fn a_refusal_shows_eight_digits_of_both_sides() {
    let verdict = judge(&seen(None, Some("id"), &[A]), &seen(Some("rack"), Some("other"), &[]));
    let Verdict::Refuse { stored, found, .. } = verdict else { panic!("ran") };
    let shown: Vec<_> = stored.iter().chain(&found).map(ToString::to_string).collect();
    let (kinds, digits): (Vec<_>, Vec<_>) = shown.iter().map(|shown| shown.rsplit_once(' ').unwrap()).unzip();
    assert_eq!(kinds, ["machine id", "MAC", "configured host id", "machine id"]);
    assert!(digits.iter().all(|d| d.len() == 8 && d.bytes().all(|b| b.is_ascii_hexdigit())));
    assert_ne!(digits[0], digits[3]);
    assert!(serde_json::to_string(&found).unwrap().starts_with("[\"configured host id "));
    let verdict = judge(&seen(Some("rack"), None, &[]), &seen(None, None, &[]));
    assert!(matches!(verdict, Verdict::Refuse { found, .. } if found.is_empty()));
}

#[test]
fn a_record_survives_its_json_and_holds_no_raw_value() {
    let all = [
        seen(Some("rack-7"), None, &[]),
        seen(None, Some("feedbeef"), &[A, B]),
        seen(None, Some("feedbeef"), &[]),
        seen(None, None, &[A, B]),
        seen(None, None, &[]),
    ];
    for evidence in all {
        let record = record(&evidence);
        let json = record.to_json();
        assert_eq!(HostRecord::from_json(&json), Ok(record));
        for raw in ["rack-7", "feedbeef", "0001020304", "00:01:02"] {
            assert!(!json.contains(raw), "{json}");
        }
        for cut in 0..json.trim_end().len() {
            assert_eq!(HostRecord::from_json(&json[..cut]), Err(HostRecordError::Malformed));
        }
    }
}

#[test]
fn a_record_that_is_not_exactly_one_is_malformed() {
    let digest = "ab".repeat(32);
    let many = [digest.as_str(); 3].join("\",\"");
    let cases = [
        String::new(),
        "{}".into(),
        "[]".into(),
        r#"{"schema":1}"#.into(),
        r#"{"schema":"1","source":"random"}"#.into(),
        r#"{"schema":1,"source":"random"}"#.into(),
        r#"{"schema":1,"source":"macs","macs":[]}"#.into(),
        r#"{"schema":1,"source":"machine_id"}"#.into(),
        r#"{"schema":1,"source":"other"}"#.into(),
        format!(r#"{{"schema":1,"source":"machine_id","machine_id":"{}"}}"#, &digest[2..]),
        format!(r#"{{"schema":1,"source":"machine_id","machine_id":"{digest}","random":"{digest}"}}"#),
        format!(r#"{{"schema":1,"source":"machine_id","machine_id":"{digest}","extra":1}}"#),
        format!(r#"{{"schema":1,"source":"configured","machine_id":"{digest}"}}"#),
        format!(r#"{{"schema":1,"source":"configured","configured":"{digest}","macs":["{many}"]}}"#),
        format!(r#"{{"schema":1,"source":"random","random":"{digest}"}} x"#),
        " ".repeat(20_000),
    ];
    for case in cases {
        assert_eq!(HostRecord::from_json(&case), Err(HostRecordError::Malformed), "{case}");
    }
}

#[test]
fn a_record_has_64_addresses_at_most_in_16_kib() {
    let json = |count: u8| {
        let macs: Vec<_> = (0..count).map(|n| Digest::from_bytes([n; 32])).collect();
        serde_json::json!({ "schema": 1, "source": "macs", "macs": macs }).to_string()
    };
    let most = HostRecord::from_json(&json(64)).unwrap();
    assert_eq!(HostRecord::from_json(&most.to_json()), Ok(most));
    for count in [65, 66] {
        assert_eq!(HostRecord::from_json(&json(count)), Err(HostRecordError::Malformed), "{count}");
    }
    let spaced = |spaces: usize| " ".repeat(spaces - json(1).len()) + &json(1);
    assert!(HostRecord::from_json(&spaced(16 * 1024)).is_ok());
    assert_eq!(HostRecord::from_json(&spaced(16 * 1024 + 1)), Err(HostRecordError::Malformed));
}

#[test]
fn a_source_has_the_same_word_in_the_record_and_for_people() {
    for source in [Source::Configured, Source::MachineId, Source::Macs, Source::Random] {
        assert_eq!(serde_json::json!(source), source.as_str());
        assert_eq!(source.to_string(), source.as_str());
    }
}

#[test]
fn each_cause_has_a_word_that_programs_can_rely_on() {
    let causes = [
        (Cause::MachineIdDiffers, "machine_id_differs"),
        (Cause::MachineIdUnreadable, "machine_id_unreadable"),
        (Cause::NoMacMatches, "no_mac_matches"),
        (Cause::ConfiguredDiffers, "configured_differs"),
        (Cause::ConfiguredMissing, "configured_missing"),
    ];
    for (cause, word) in causes {
        assert_eq!(cause.code(), word);
    }
}

#[test]
fn a_later_schema_is_told_from_a_broken_file() {
    for schema in [0, 2, u64::MAX] {
        let json = format!(r#"{{"schema":{schema},"source":"tpm","quote":"x"}}"#);
        assert_eq!(HostRecord::from_json(&json), Err(HostRecordError::UnknownSchema(schema)));
    }
}

#[test]
fn the_commitment_changes_with_the_host_and_not_with_a_network_card() {
    let of = |evidence: &Evidence| record(evidence).commitment();
    let host = of(&seen(None, Some("id"), &[A]));
    assert_eq!(host, of(&seen(None, Some("id"), &[B, C])));
    assert_ne!(host, of(&seen(None, Some("other"), &[A])));
    assert_ne!(host, of(&seen(Some("id"), None, &[A])));
    assert_ne!(of(&seen(None, None, &[A])), of(&seen(None, None, &[A, B])));
    assert_ne!(of(&seen(None, None, &[])), of(&seen(None, None, &[])), "random");
}

#[test]
fn the_key_prints_as_its_type() {
    assert_eq!(format!("{:?}", key()), "HostKey(secret)");
}
