//! `waxwing demo` does what the README says.

use serde_json::Value;
use tokio::process::Command;

use crate::support::PROGRAM;

#[tokio::test]
async fn the_demo_delivers_both_ways_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["--json", "demo"])
        .env("TMPDIR", temporary.path())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let demo: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&demo["schema"], &demo["delivered"]), (&1.into(), &true.into()));
    for message in demo["messages"].as_array().unwrap() {
        assert_eq!(message["receipt_verified"], true);
        let states: Vec<_> =
            message["hops"].as_array().unwrap().iter().map(|hop| hop["step"].as_str().unwrap()).collect();
        for state in ["queued", "accepted", "stored", "delivered"] {
            assert!(states.contains(&state), "{states:?}");
        }
    }
    assert_eq!(demo["messages"].as_array().unwrap().len(), 2);
    assert!(demo["broker_saw"].as_array().unwrap().len() >= 2);
    assert_eq!(demo["searched"]["found"], Value::Array(Vec::new()));
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn the_demo_speaks_to_people() {
    let output = Command::new(PROGRAM).arg("demo").output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for expected in [
        "kingfisher@alpha -> nightjar@beta",
        "verified the receipt",
        "What the broker could see",
        "found none of it",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
    }
}
