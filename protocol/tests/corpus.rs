//! Everything that the fuzzer has found worth keeping, and what it starts from, run again: fuzz/corpus/.
//!
//! `WAXWING_BLESS=1 cargo test -p waxwing-protocol --test corpus` writes what it starts from anew.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's setup may panic")]
#![allow(missing_docs, unreachable_pub, reason = "the targets are the fuzzer's")]

#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

use std::fs;
use std::path::PathBuf;

use targets::{TARGETS, golden, golden_texts, hex};
use waxwing_crypto::sealing::{Refusal, Why};
use waxwing_crypto::state_key::KeyListHead;
use waxwing_protocol::link::{FoundKeys, Keys, ToBrokerLogin, ToNode, decode, encode};

fn corpus(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

/// What the fuzzer starts from: the golden frames, by the target that reads them, and the vectors.
fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let target = match text.lines().next().unwrap() {
            line if line.starts_with("# to the node, before login:") => "to_node_login",
            line if line.starts_with("# to the broker, before login:") => "to_broker_login",
            line if line.starts_with("# to the broker:") => "to_broker",
            line if line.starts_with("# to the node:") => "to_node",
            line => panic!("{line}"),
        };
        let lines = text.lines().filter(|line| !line.starts_with('#')).collect::<String>();
        let bytes = hex(&lines.into());
        if let ("to_broker_login", Ok(ToBrokerLogin::Hello(signed))) = (target, decode(&bytes)) {
            seeds.push(("hello", name.clone(), signed.bytes.to_vec()));
        }
        seeds.push((target, name, bytes));
    }
    for entry in golden("membership.json")["entries"].as_array().unwrap() {
        let name = entry["name"].as_str().unwrap().replace(' ', "_");
        seeds.push(("entry", name, hex(&entry["bytes"])));
    }
    let conversation = golden("conversation.json");
    for name in ["first_envelope", "later_envelope"] {
        seeds.push(("envelope", name.to_owned(), hex(&conversation[name])));
    }
    seeds.push(("opening", "opening".to_owned(), hex(&conversation["opening"]["bytes"])));
    let list = golden("key_list.json");
    let head: KeyListHead = rmp_serde::from_slice(&hex(&list["head"])).unwrap();
    for (n, slot) in list["slots"].as_array().unwrap().iter().enumerate() {
        let slot = rmp_serde::from_slice(&hex(slot)).unwrap();
        let found = Some(Box::new(FoundKeys { head: head.clone(), slot }));
        let bytes = encode(&ToNode::Keys(Keys { req: 1, found })).unwrap().to_vec();
        seeds.push(("key_slot", format!("slot_{n}"), bytes));
    }
    for record in golden("space.json")["records"].as_array().unwrap() {
        let name = record["name"].as_str().unwrap().replace(' ', "_");
        seeds.push(("record", format!("{name}_sealed"), hex(&record["sealed"])));
        seeds.push(("record", format!("{name}_signed"), hex(&record["signed"]["bytes"])));
    }
    let tokens = include_str!("../../crypto/tests/vectors/token.json");
    let tokens: serde_json::Value = serde_json::from_str(tokens).unwrap();
    let words = include_str!("../../crypto/tests/vectors/recovery.json");
    let words: serde_json::Value = serde_json::from_str(words).unwrap();
    for (name, text) in [
        ("public", &tokens["public"]),
        ("pinned", &tokens["pinned"]),
        ("words", &words["words"]),
        ("mesh", &tokens["mesh"]),
    ] {
        seeds.push(("token", name.to_owned(), text.as_str().unwrap().into()));
    }
    for (n, text) in golden_texts().into_iter().enumerate() {
        seeds.push(("plaintext", format!("message_{n}"), text));
    }
    let refusal = Refusal { why: Why::Refused, code: Some("later".into()), detail: Some("not now".into()) };
    seeds.push(("plaintext", "refusal".to_owned(), refusal.encode().unwrap()));
    for (name, body) in BODIES {
        seeds.push(("api", name.to_owned(), body.into()));
    }
    for (name, text) in NAMES {
        seeds.push(("address", name.to_owned(), text.into()));
    }
    seeds
}

/// What apps post.
const BODIES: [(&str, &str); 14] = [
    (
        "send",
        r#"{"to":"ci@lab","body":"hi","client_message_id":"m-1","ttl":"1h","priority":"now","meta":{"a":[1,null]}}"#,
    ),
    ("batch", r##"{"messages":[{"to":"lab","body":"hi"},{"to":"#builds","body_base64":"aGk="}]}"##),
    ("ack", r#"{"through":7,"app":"ci"}"#),
    ("register", r#"{"ttl":"1m","kind":"agent","capabilities":["rust"],"takeover":true}"#),
    ("acquire", r#"{"name":"deploy","ttl":"1m","wait":"10m","mode":"shared","on_disconnect":"hold"}"#),
    ("claim", r#"{"key":"event-1","ttl":"30m"}"#),
    ("complete", r#"{"key":"event-1","token":1,"outcome":"done"}"#),
    ("put", r#"{"value":{"a":1.5e300},"ttl":"1h","category":"decision"}"#),
    ("call", r#"{"to":"ci@lab","body":"?","timeout":"5s"}"#),
    ("publish", r#"{"topic":"builds:main","body":"green","retention":"7d"}"#),
    ("subscribe", r#"{"topic":"builds:*","from":"start"}"#),
    ("join", r#"{"token":"waxwing-invite-x","name":"lab","mesh":"home"}"#),
    ("invite", r#"{"role":"member","uses":3,"ttl":"1d"}"#),
    ("token", r#"{"name":"ci","scope":"send","app":"ci"}"#),
];

/// What people and apps name.
const NAMES: [(&str, &str); 6] = [
    ("app", "ci@lab"),
    ("topic", "#builds:main"),
    ("pattern", "builds:*"),
    ("broker", "wss://broker.example:7900/v1/link"),
    ("plain_broker", "ws://[::1]:7900"),
    ("key", "file:https%3A//git.example/app:src/api.rs"),
];

#[test]
fn the_fuzzer_starts_from_the_golden_bytes() {
    for (target, name, bytes) in seeds() {
        let path = corpus(target).join(&name);
        if std::env::var_os("WAXWING_BLESS").is_some() {
            fs::create_dir_all(corpus(target)).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(fs::read(&path).ok(), Some(bytes), "{target}/{name}: WAXWING_BLESS=1 writes it");
    }
}

#[test]
fn nothing_that_the_fuzzer_knows_makes_a_panic_or_changes_its_meaning() {
    let mut kept = 0;
    for (name, target) in TARGETS {
        let mut inputs = 0;
        for file in fs::read_dir(corpus(name)).unwrap() {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            kept += bytes.len();
            inputs += 1;
            target(&bytes);
            target(&bytes[..bytes.len() / 2]);
        }
        assert!(inputs > 0, "{name} has no corpus");
    }
    assert!(kept < 1024 * 1024, "the corpus has {kept} bytes: `cargo fuzz cmin` makes it smaller");
}
