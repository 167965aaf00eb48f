//! What a broker hands out of spaces, and what members seal in them.

use std::sync::LazyLock;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use waxwing_crypto::space::{Frame, NamingKey, Space, digest, epoch_of, verify_all};
use waxwing_crypto::state_key::{KeyListHead, ProvenSlot, StateKeys};
use waxwing_crypto::{Digest, MeshId, Purpose, SealingKey, Signed};
use waxwing_protocol::link::{FoundKeys, Keys, ToNode, decode};

use super::golden::{golden, hex, key, padded};

/// What a broker hands out as a node's slot of a sealed-key list. Only the three true ones belong to the golden list;
/// and whatever an admin has put into a box, opening it ends well.
pub fn key_slot(bytes: &[u8]) {
    let Ok(ToNode::Keys(Keys { found: Some(found), .. })) = decode(bytes) else { return };
    let (list, FoundKeys { head, slot }) = (&*KEY_LIST, *found);
    if slot.verify(list.mesh, &head, &list.root).is_ok() {
        assert!(head == list.head && list.slots.contains(&slot), "proven to be in a list that it is not in");
    }
    if let Ok(keys) = slot.slot.open(list.mesh, &head, &list.reader) {
        assert_eq!(keys.newest().0, head.epoch);
    }
}

/// What a broker hands out as a record of a space, and what a member seals and signs as one. What is read means the same when it is
/// sealed again, and whether it is believed does not rest on how it was checked.
pub fn record(bytes: &[u8]) {
    let golden = &*RECORDS;
    let _ = (epoch_of(bytes), digest(bytes));
    let signed = Signed::new(&key(1), Purpose::Record, bytes.to_vec());
    let Ok(signed) = rmp_serde::to_vec_named(&signed) else { return };
    for (frame, aad, _) in &golden.records {
        let open = |sealed: &[u8]| golden.space.open(sealed, frame, &golden.keys);
        let made = golden.records.iter().any(|(of, _, sealed)| of == frame && sealed == bytes);
        assert_eq!(open(bytes).is_ok(), made, "what was sealed opens, and nothing else");
        for content in [bytes, &signed] {
            let Some(sealed) = golden.seal(content, aad) else { continue };
            let (Ok(one), Ok(other)) = (open(&sealed), open(&sealed)) else { continue };
            let alone = one.verify(&key(1).public());
            let among = verify_all(vec![(other, key(1).public())], &mut UnwrapErr(SysRng));
            assert_eq!(among, std::slice::from_ref(&alone));
            let Ok(said) = alone else { continue };
            let again = golden.space.seal(&said, EPOCH, &golden.keys, &key(1), &mut UnwrapErr(SysRng));
            let again = again.and_then(|again| open(&again)).and_then(|again| again.verify(&key(1).public()));
            assert_eq!(again, Ok(said));
        }
    }
}

/// The golden list, and the secret that opens its first slot.
struct List {
    mesh: MeshId,
    head: KeyListHead,
    root: Digest,
    slots: Vec<ProvenSlot>,
    reader: SealingKey,
}

#[expect(clippy::expect_used, reason = "the vector is there")]
static KEY_LIST: LazyLock<List> = LazyLock::new(|| {
    let vector = golden("key_list.json");
    let slots = vector["slots"].as_array().into_iter().flatten();
    List {
        mesh: MeshId::from_bytes([0x4d; 16]),
        head: rmp_serde::from_slice(&hex(&vector["head"])).expect("a head"),
        root: vector["root"].as_str().and_then(|root| root.parse().ok()).expect("a root"),
        slots: slots.map(|slot| rmp_serde::from_slice(&hex(slot)).expect("a slot")).collect(),
        reader: SealingKey::from_seed(&[1; 32]),
    }
});

/// The epoch of the golden records.
const EPOCH: u64 = 2;

/// The golden records, and what seals any content as one of them.
struct Records {
    keys: StateKeys,
    space: Space,
    cipher: XChaCha20Poly1305,
    /// What a broker says of each, what it is bound to, and its bytes.
    records: Vec<(Frame, Vec<u8>, Vec<u8>)>,
}

impl Records {
    fn seal(&self, content: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
        let padded = padded(content);
        let nonce = [9; 24];
        let text = self.cipher.encrypt(&XNonce::from(nonce), Payload { msg: &padded, aad }).ok()?;
        Some([&EPOCH.to_be_bytes()[..], &nonce, &text].concat())
    }
}

#[expect(clippy::expect_used, reason = "the vector is there")]
static RECORDS: LazyLock<Records> = LazyLock::new(|| {
    let vector = golden("space.json");
    let mesh = MeshId::from_bytes([0x4d; 16]);
    let keys = vector["state_keys"].as_array().into_iter().flatten().zip(1_u64..);
    let keys: Vec<_> = keys.flat_map(|(key, epoch)| [&epoch.to_be_bytes()[..], &hex(key)].concat()).collect();
    let keys = StateKeys::from_bytes(&keys).expect("two keys");
    let space = Space::new(mesh, &NamingKey::of(mesh, &keys), "team".parse().expect("a name"));
    let key_id = space.key(&"plan".parse().expect("a name"));
    let record = |record: &serde_json::Value| {
        let frame = Frame {
            key: key_id,
            operation: serde_json::from_value(record["operation"].clone()).expect("an operation"),
            stands: serde_json::from_value(record["stands"].clone()).expect("how it stands"),
            writer: key(1).public().node_id(),
        };
        (frame, hex(&record["aad"]), hex(&record["sealed"]))
    };
    let records = vector["records"].as_array().into_iter().flatten().map(record).collect();
    let cipher = XChaCha20Poly1305::new_from_slice(&hex(&vector["record_key"])).expect("32 bytes");
    Records { keys, space, cipher, records }
});
