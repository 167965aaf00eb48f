//! The bytes of every frame, compared with tests/golden/ and with what docs/protocol.md shows.
//!
//! `WAXWING_BLESS=1 cargo test -p waxwing-protocol --test golden` writes the files anew. A change here means that a node
//! and a broker of two versions may no longer understand each other.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

mod examples;

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::path::PathBuf;

use examples::variants;
use waxwing_crypto::VerifyingKey;
use waxwing_crypto::sealing::{Nack, NackReason, Opening, Prekey, SESSION_MESSAGES};
use waxwing_crypto::space::{Condition, KeyName, SpaceName};
use waxwing_crypto::state_key::KeyList;
use waxwing_protocol::limits;
use waxwing_protocol::link::{
    Change, ChangeOutcome, Code, EndedBy, Frame, Hello, MeshNoticeKind, NoticeKind, Outcome, Reason, Stands,
    ToBroker, ToBrokerLogin, ToNode, ToNodeLogin, What, decode, encode,
};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A comment with the name, then the bytes in hex, 48 to a line.
fn written(name: &str, bytes: &[u8]) -> String {
    let mut text = format!("# {name}, {} bytes\n", bytes.len());
    for line in bytes.chunks(48) {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
        text.push('\n');
    }
    text
}

fn read(text: &str) -> Vec<u8> {
    let hex: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let digits: Vec<_> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Compares one direction's examples with their files, both ways. Returns the files.
fn compare<F: Frame + Debug + PartialEq>(
    direction: &str,
    examples: Vec<(&'static str, F)>,
) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (name, frame) in examples {
        let path = folder().join(format!("{name}.hex"));
        let bytes = encode(&frame).unwrap();
        let made = written(&format!("{direction} {name}"), &bytes);
        if std::env::var_os("WAXWING_BLESS").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(kept, made, "{name}.hex differs from what is made now");
        assert_eq!(decode::<F>(&read(&kept)).unwrap(), frame, "{name}");
        assert!(files.insert(format!("{name}.hex"), kept).is_none(), "{name} twice");
    }
    files
}

fn all() -> BTreeMap<String, String> {
    let mut files = compare("to the node, before login:", examples::to_node_login());
    files.extend(compare("to the broker, before login:", examples::to_broker_login()));
    files.extend(compare("to the broker:", examples::to_broker()));
    files.extend(compare("to the node:", examples::to_node()));
    files
}

#[test]
fn every_frame_is_as_it_was() {
    let files = all();
    let kept = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut kept: Vec<_> = kept.map(|name| name.into_string().unwrap()).collect();
    kept.sort();
    assert!(kept.iter().eq(files.keys()), "{kept:?}");
}

const DOCUMENTATION: &str = include_str!("../../docs/protocol.md");

#[test]
fn the_documentation_shows_these_very_bytes() {
    let squeeze = |text: &str| text.split_whitespace().collect::<String>();
    let documentation = squeeze(DOCUMENTATION);
    for (name, file) in all() {
        let hex: String = file.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(documentation.contains(&squeeze(&hex)), "docs/protocol.md lacks the bytes of {name}");
    }
}

#[test]
fn the_documentation_names_every_frame_outcome_code_and_reason() {
    for name in [ToBroker::NAMES, ToNode::NAMES, ToBrokerLogin::NAMES, ToNodeLogin::NAMES].concat() {
        assert!(DOCUMENTATION.contains(&format!("\n### `{name}`\n")), "no section on `{name}`");
    }
    let words = [
        variants::<Outcome>(),
        variants::<Code>(),
        variants::<Reason>(),
        variants::<NoticeKind>(),
        variants::<NackReason>(),
        variants::<MeshNoticeKind>(),
        variants::<Change>(),
        variants::<ChangeOutcome>(),
        variants::<Condition>(),
        variants::<What>(),
        variants::<Stands>(),
        variants::<EndedBy>(),
    ];
    for word in words.iter().flatten() {
        let in_a_table =
            DOCUMENTATION.lines().any(|line| line.starts_with('|') && line.contains(&format!("`{word}`")));
        assert!(in_a_table, "no table says what `{word}` is");
    }
}

#[test]
fn the_documentation_states_the_limits_in_force() {
    let (_, table) = DOCUMENTATION.split_once("\n## Limits\n").unwrap();
    let grouped = |number: usize| {
        let digits = number.to_string();
        let groups: Vec<_> =
            digits.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).unwrap()).collect();
        groups.join(",")
    };
    for (what, number) in [
        ("body of a message", limits::BODY),
        ("metadata", limits::META),
        ("content type", limits::CONTENT_TYPE),
        ("thread", limits::THREAD),
        ("envelope", limits::ENVELOPE),
        ("frame", limits::FRAME),
        ("envelopes in one frame", limits::FRAME_ENVELOPES),
        ("before login, in all", limits::BEFORE_LOGIN),
        ("in flight per direction", limits::WINDOW_ITEMS),
        ("in flight per direction", limits::WINDOW_BYTES),
        ("membership log, brought back", limits::LOG),
        ("logs of one mesh", limits::BRANCHES),
        ("membership entry", waxwing_crypto::membership::MAX_ENTRY),
        ("log entries in one frame", limits::LOG_PAGE),
        ("log entries in one frame", limits::LOG_PAGE_BYTES),
        ("sealed record of a space", limits::RECORD),
        ("name of a space, of a key", SpaceName::MAX),
        ("name of a space, of a key", KeyName::MAX),
        ("value of a record", limits::VALUE),
        ("changes in one frame", limits::SPACE_PAGE),
        ("spaces followed on one link", limits::SPACES_FOLLOWED),
        ("lifetime of a record", limits::LIFETIME_MIN.as_secs() as usize),
        ("lifetime of a record", limits::LIFETIME_MAX.as_secs() as usize / 86_400),
        ("grace of a bound record", limits::GRACE_MAX.as_secs() as usize / 3_600),
        ("tombstones, answers to changes", limits::TOMBSTONES.as_secs() as usize / 86_400),
        ("nodes in one `prekey.get`", limits::PREKEY_PAGE),
        ("slots in one `keys.put`", limits::KEY_SLOTS),
        ("slots of a sealed-key list", KeyList::MAX_SLOTS as usize),
        ("signed bytes of a prekey, an opening", Prekey::MAX),
        ("signed bytes of a prekey, an opening", Opening::MAX),
        ("signed bytes of a nack", Nack::MAX),
        ("detail of an `error` or `goaway`", limits::DETAIL),
        ("features in a hello or welcome", limits::FEATURES),
        ("features in a hello or welcome", limits::FEATURE_NAME),
        ("coming back after a `goaway`", limits::AGAIN_MAX.as_secs() as usize),
        ("waiting after `rate_limited`", limits::AFTER_MAX.as_secs() as usize),
        ("ping, dead after", limits::PING_EVERY.as_secs() as usize),
        ("ping, dead after", limits::DEAD_AFTER.as_secs() as usize),
        ("login within", limits::LOGIN_WITHIN.as_secs() as usize),
        ("session", SESSION_MESSAGES as usize),
    ] {
        let row = table.lines().find(|line| line.starts_with(&format!("| {what} |"))).unwrap();
        let stated = row
            .split(|c: char| !c.is_ascii_digit() && c != ',')
            .any(|word| word.trim_matches(',') == grouped(number));
        assert!(stated, "{what} is {number}, and the table says {row}");
    }
}

#[test]
fn a_hello_is_signed_by_the_key_it_needs() {
    let other = VerifyingKey::from_bytes(waxwing_crypto::SigningKey::from_seed(&[2; 32]).public().as_bytes());
    for (name, frame) in examples::to_broker_login() {
        let ToBrokerLogin::Hello(signed) = frame else { continue };
        let hello = Hello::peek(&signed).unwrap();
        assert_eq!((hello.nonce(), hello.url()), (&[0xc0; 32], "ws://127.0.0.1:7900"), "{name}");
        assert_eq!(Hello::verify(&signed, &examples::key().public()), Ok(()), "{name}");
        assert!(Hello::verify(&signed, other.as_ref().unwrap()).is_err(), "{name}");
    }
}
