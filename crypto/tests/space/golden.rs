//! Bytes that must never change, made from fixed seeds and compared with what is kept in tests/vectors/.
//!
//! `WAXWING_BLESS=1 cargo test -p waxwing-crypto --test space golden` writes the file anew. A change here means that members of two
//! versions can no longer read each other's records, or their own.

use serde_json::json;
use waxwing_crypto::Signed;
use waxwing_crypto::space::{Operation, Stands, Statement, digest};

use super::actors::{EPOCH, MESH, Scene, key_name, state};
use super::reference::Target;
use super::support::{bytes, golden, hex};

/// By name.
fn statements(scene: &Scene) -> [(&'static str, Statement); 4] {
    let append = Statement {
        operation: Operation::Append,
        stands: Stands::Appended,
        counter: 8,
        ..scene.put(b"line")
    };
    [
        ("first put", scene.put(b"hello")),
        ("full put", scene.full()),
        ("append", append),
        ("tombstone", scene.tombstone()),
    ]
}

#[test]
fn records_are_as_they_were() {
    let scene = Scene::new();
    let records = statements(&scene).map(|(name, statement)| {
        let sealed = scene.seal(&statement);
        let target = Target::of(&scene, scene.frame(&statement));
        let signed: Signed = rmp_serde::from_slice(&target.content(&sealed)).unwrap();
        json!({
            "name": name,
            "operation": statement.operation,
            "stands": statement.stands,
            "signed": { "bytes": hex(&signed.bytes), "signature": hex(signed.signature.as_bytes()) },
            "aad": hex(&target.aad()),
            "sealed": hex(&sealed),
            "digest": hex(&digest(&sealed)),
        })
    });
    let target = Target::of(&scene, scene.frame(&scene.put(b"")));
    let vector = json!({
        "mesh": MESH,
        "state_keys": ([1, 2].map(|epoch| hex(state(epoch).reveal()))),
        "epoch": EPOCH,
        "space": { "name": "team", "id": scene.space.id() },
        "record_key": hex(&target.record_key()),
        "key": { "name": "plan", "id": scene.space.key(&key_name("plan")) },
        "writer": { "seed": hex(&[1; 32]), "node": scene.alpha_id() },
        "records": records,
    });
    let kept = golden("space.json", &vector);
    for (kept, (name, statement)) in kept["records"].as_array().unwrap().iter().zip(statements(&scene)) {
        let opened = scene.open(&bytes(&kept["sealed"]), &scene.frame(&statement)).unwrap();
        assert_eq!(opened.verify(&scene.alpha.public()), Ok(statement), "{name}");
    }
}
