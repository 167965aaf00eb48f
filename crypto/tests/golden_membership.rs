//! Bytes that must never change: a log with an entry of each body, state keys, a token, recovery words and a host
//! record, all made from fixed seeds and compared with what is kept in tests/vectors/.
//!
//! `WAXWING_BLESS=1 cargo test -p waxwing-crypto --test golden_membership` writes the files anew. Once there are
//! meshes, a change here means that they can no longer be read.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

mod support;

use serde_json::{Value, json};
use support::{Seeded, bytes, golden, hex};
use waxwing_crypto::host::{Evidence, HostKey, HostRecord, Verdict};
use waxwing_crypto::membership::{
    Body, Genesis, Grant, InviteSeed, InviteToken, Join, Leave, NewEpoch, NewInvite, NewMember,
    RecoverySecret, Resume, Revoke, Role, Roster, SignedEntry, Target, Update,
};
use waxwing_crypto::state_key::{
    Holder, KeyList, KeyListHead, ProvenSlot, SealedStateKeys, StateKey, StateKeys,
};
use waxwing_crypto::{
    CreationToken, Digest, MeshId, Pin, SealingKey, Signature, SigningKey, Timestamp, VerifyingKey,
};

#[test]
fn the_log_is_as_it_was() {
    let (log, roster) = write_log();
    let entries: Vec<_> = log.iter().map(|(name, entry)| show(name, entry)).collect();
    let kept = golden("membership.json", &json!({ "mesh": roster.mesh(), "entries": entries }));
    let read: Vec<_> = kept["entries"].as_array().unwrap().iter().map(read).collect();
    assert_eq!(Roster::replay(&read).unwrap(), roster);
    for (entry, kept) in read.iter().zip(kept["entries"].as_array().unwrap()) {
        assert_eq!(entry.hash().to_string(), kept["hash"]);
    }
}

#[test]
fn state_keys_are_as_they_were() {
    let mut keys = StateKeys::found(&mut Seeded::new(1));
    keys.add(2, StateKey::generate(&mut Seeded::new(2))).unwrap();
    let recipient = SealingKey::from_seed(&[3; 32]);
    let sealed = keys.seal_to(&recipient.public().unwrap(), &mut Seeded::new(4)).unwrap();
    let shown: Vec<_> =
        keys.iter().map(|(epoch, key)| json!({ "epoch": epoch, "key": hex(key.reveal()) })).collect();
    let vector = json!({ "keys": shown, "recipient_seed": hex(&[3; 32]), "sealed": hex(sealed.as_bytes()) });
    let kept = golden("state_keys.json", &vector);
    let opened =
        SealedStateKeys::from_bytes(bytes(&kept["sealed"]).into()).unwrap().open(&recipient).unwrap();
    let opened: Vec<_> =
        opened.iter().map(|(epoch, key)| json!({ "epoch": epoch, "key": hex(key.reveal()) })).collect();
    assert_eq!(kept["keys"], json!(opened));
}

#[test]
fn a_list_of_state_keys_is_as_it_was() {
    let mesh = MeshId::from_bytes([0x4d; 16]);
    let keys = StateKeys::found(&mut Seeded::new(1)).next(2, &mut Seeded::new(2)).unwrap();
    let invite = key(5).public();
    let holders = [1, 2, 3].map(|n| match n {
        3 => (Holder::Invite(invite), sealing(n)),
        n => (Holder::Node(key(n).public().node_id()), sealing(n)),
    });
    let list = KeyList::seal(mesh, &keys, &holders, &mut Seeded::new(4)).unwrap();
    let slots: Vec<_> = list.slots().map(|slot| hex(&rmp_serde::to_vec_named(&slot).unwrap())).collect();
    let vector = json!({
        "mesh": mesh,
        "head": hex(&rmp_serde::to_vec_named(list.head()).unwrap()),
        "slots": slots,
        "root": list.root(),
        "seeds": [hex(&[1; 32]), hex(&[2; 32]), hex(&[3; 32])],
    });
    let kept = golden("key_list.json", &vector);
    let head: KeyListHead = rmp_serde::from_slice(&bytes(&kept["head"])).unwrap();
    for (n, slot) in (1..).zip(kept["slots"].as_array().unwrap()) {
        let slot: ProvenSlot = rmp_serde::from_slice(&bytes(slot)).unwrap();
        let own = slot.verify(mesh, &head, &list.root()).unwrap();
        let opened = own.open(mesh, &head, &SealingKey::from_seed(&[n; 32])).unwrap();
        assert_eq!(*opened.to_bytes(), *keys.to_bytes());
    }
}

#[test]
fn a_creation_proof_is_as_it_was() {
    let (token, mesh) = (CreationToken::from_bytes(&[8; 32]), write_log().1.mesh());
    let vector = json!({
        "token": *token.reveal(),
        "nonce": hex(&[0xc0; 32]),
        "mesh": mesh,
        "proof": token.prove(&[0xc0; 32], mesh),
    });
    let kept = golden("creation.json", &vector);
    let read: CreationToken = kept["token"].as_str().unwrap().parse().unwrap();
    let proof = kept["proof"].as_str().unwrap().parse().unwrap();
    assert!(read.is_proven(&proof, &[0xc0; 32], mesh));
}

#[test]
fn a_token_is_as_it_was() {
    let mesh = write_log().1.mesh();
    let seed = InviteSeed::from_bytes(&[5; 32]);
    let (signing, sealing) = (seed.signing_key().public(), seed.sealing_key().public().unwrap());
    let make = |url, pin| InviteToken::new(url, mesh, seed.clone(), pin).unwrap().reveal().to_string();
    let vector = json!({
        "mesh": mesh,
        "seed": hex(&[5; 32]),
        "signing": hex(signing.as_bytes()),
        "sealing": hex(&sealing.to_bytes()),
        "public": make("wss://broker.example", None),
        "pinned": make("wss://192.0.2.7:7400", Some(Pin::from_bytes([6; 32]))),
    });
    let kept = golden("token.json", &vector);
    for (name, url, pin) in [
        ("public", "wss://broker.example", None),
        ("pinned", "wss://192.0.2.7:7400", Some(Pin::from_bytes([6; 32]))),
    ] {
        let token: InviteToken = kept[name].as_str().unwrap().parse().unwrap();
        assert_eq!((token.broker_url(), token.mesh(), token.pin()), (url, mesh, pin));
        assert_eq!(token.seed().signing_key().public(), signing);
    }
}

#[test]
fn recovery_words_are_as_they_were() {
    let secret = RecoverySecret::generate(&mut Seeded::new(7));
    let key = secret.signing_key().public();
    let kept =
        golden("recovery.json", &json!({ "words": *secret.reveal_words(), "signing": hex(key.as_bytes()) }));
    let read: RecoverySecret = kept["words"].as_str().unwrap().parse().unwrap();
    assert_eq!(read.signing_key().public(), key);
}

#[test]
fn words_are_read_with_careless_spacing_up_to_a_kibibyte() {
    let words = RecoverySecret::from_bytes(&[5; 32]).reveal_words();
    let read = |bytes: usize| format!("{:bytes$}", words.as_str()).parse::<RecoverySecret>();
    assert_eq!(*read(1_024).unwrap().reveal_words(), *words);
    assert!(read(1_025).is_err());
}

#[test]
fn who_had_a_name_and_is_gone_is_found_by_it_and_nobody_who_is_there() {
    let (_, roster) = write_log();
    for member in roster.members() {
        assert_eq!(roster.former_by_name(&member.name), None);
    }
    let known = (1..=9).filter_map(|n| roster.former(&key(n).public().node_id()));
    let gone: Vec<_> = known.filter(|member| roster.member(&member.id).is_none()).collect();
    assert_eq!(gone.len(), 2, "one has left, and one was revoked");
    for member in gone {
        assert_eq!(roster.former_by_name(&member.name), Some(member));
    }
}

#[test]
fn host_records_are_as_they_were() {
    let key = HostKey::from_bytes([8; 32]);
    let macs =
        [("eth0", [0, 1, 2, 3, 4, 5]), ("docker0", [0x02, 0x42, 0, 0, 0, 1]), ("wlan0", [0, 1, 2, 3, 4, 6])];
    let seen = [
        ("configured", Evidence::new(Some("rack-7"), Some("feedbeef"), macs)),
        ("machine_id", Evidence::new(None, Some("feedbeef"), macs)),
        ("macs", Evidence::new(None, None, macs)),
        ("random", Evidence::new::<&str>(None, None, [])),
    ];
    let vectors = seen.each_ref().map(|(source, evidence)| {
        let record = HostRecord::observe(evidence, &key, &mut Seeded::new(9));
        json!({ "source": source, "record": record.to_json(), "commitment": record.commitment() })
    });
    let kept = golden("host.json", &json!({ "host_key": hex(&[8; 32]), "records": vectors }));
    for (kept, (source, evidence)) in kept["records"].as_array().unwrap().iter().zip(&seen) {
        let record = HostRecord::from_json(kept["record"].as_str().unwrap()).unwrap();
        assert_eq!(
            (record.source().as_str(), record.commitment().to_string().into()),
            (*source, kept["commitment"].clone())
        );
        assert!(matches!(record.judge(evidence, &key), Verdict::Run { updated: None, .. }));
    }
}

/// A log with one entry of each body, and every optional field at least once.
fn write_log() -> (Vec<(&'static str, SignedEntry)>, Roster) {
    let mut log = Log::found();
    log.admit();
    log.update();
    log.end();
    (log.entries, log.roster)
}

/// Key 1 is the founder's, 2 and then 3 are alpha's, 4 is beta's, 7 and 8 are invites'.
struct Log {
    entries: Vec<(&'static str, SignedEntry)>,
    roster: Roster,
}

impl Log {
    fn found() -> Self {
        let genesis = Genesis {
            name: "golden".parse().unwrap(),
            founder: newcomer(1, "founder"),
            recovery: recovery().public(),
            state_keys: state_keys(10),
        };
        let at = Timestamp::from_millis(1_800_000_000_000);
        let (first, roster) = Roster::found(at, genesis, &key(1)).unwrap();
        Self { entries: vec![("genesis", first)], roster }
    }

    fn append(&mut self, name: &'static str, body: Body, keys: &[&SigningKey]) {
        let at = Timestamp::from_millis(self.roster.at().as_millis() + 1_000);
        let signed = self.roster.entry(at, body).sign(keys);
        self.roster.apply(&signed).unwrap();
        self.entries.push((name, signed));
    }

    fn admit(&mut self) {
        let invite = InviteSeed::from_bytes(&[5; 32]).signing_key();
        let join = |n, name| Body::Join(Join { member: newcomer(n, name), invite: invite.public() });
        self.append("invite", Body::Invite(new_invite(invite.public(), None)), &[&key(1)]);
        let named = new_invite(key(7).public(), Some("printer"));
        self.append("invite for a name", Body::Invite(named), &[&key(1)]);
        self.append("join", join(2, "alpha"), &[&invite, &key(2)]);
        self.append("second join", join(4, "beta"), &[&invite, &key(4)]);
    }

    fn update(&mut self) {
        let node = key(2).public().node_id();
        let host = |n| Some(Digest::from_bytes([n; 32]));
        let all = Update { node, signing: Some(key(3).public()), sealing: Some(sealing(3)), host: host(33) };
        self.append("update", Body::Update(all), &[&key(2), &key(3)]);
        let one = Update { node, signing: None, sealing: None, host: host(34) };
        self.append("update of the host", Body::Update(one), &[&key(3)]);
        self.append("grant", Body::Grant(Grant { node, role: Role::Admin }), &[&key(1)]);
        let epoch = NewEpoch { n: 2, keys: Digest::from_bytes([44; 32]) };
        self.append("epoch", Body::Epoch(epoch), &[&key(3)]);
    }

    fn end(&mut self) {
        let (founder, guest) = (key(1).public().node_id(), key(4).public().node_id());
        self.append("leave", Body::Leave(Leave { node: guest }), &[&key(4)]);
        let epoch = Some(NewEpoch { n: 3, keys: Digest::from_bytes([45; 32]) });
        let revoke = Revoke { target: Target::Node(founder), reason: "lost laptop".parse().unwrap(), epoch };
        self.append("revoke", Body::Revoke(revoke), &[&key(3)]);
        let late = new_invite(key(8).public(), None);
        self.append("late invite", Body::Invite(late), &[&key(3)]);
        let target = Target::Invite(key(8).public());
        let revoke = Revoke { target, reason: "".parse().unwrap(), epoch: None };
        self.append("revoke of an invite", Body::Revoke(revoke), &[&recovery()]);
        let head = self.roster.head();
        self.append("resume", Body::Resume(Resume { head }), &[&recovery()]);
    }
}

fn recovery() -> SigningKey {
    RecoverySecret::from_bytes(&[6; 32]).signing_key()
}

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn sealing(n: u8) -> waxwing_crypto::SealingPublicKey {
    SealingKey::from_seed(&[n; 32]).public().unwrap()
}

fn newcomer(n: u8, name: &str) -> NewMember {
    let (name, signing) = (name.parse().unwrap(), key(n).public());
    NewMember { name, signing, sealing: sealing(n), host: Digest::from_bytes([n; 32]) }
}

fn state_keys(seed: u8) -> SealedStateKeys {
    let mut rng = Seeded::new(seed);
    StateKeys::found(&mut rng).seal_to(&sealing(1), &mut rng).unwrap()
}

fn new_invite(key: VerifyingKey, name: Option<&str>) -> NewInvite {
    NewInvite {
        key,
        sealing: sealing(5),
        role: Role::Member,
        uses: 2,
        expires: Timestamp::from_millis(1_800_000_086_400),
        name: name.map(|name| name.parse().unwrap()),
        state_keys: state_keys(11),
    }
}

fn show(name: &str, entry: &SignedEntry) -> Value {
    let signatures: Vec<_> = entry.signatures.iter().map(|signature| hex(signature.as_bytes())).collect();
    json!({ "name": name, "bytes": hex(&entry.bytes), "signatures": signatures, "hash": entry.hash() })
}

fn read(vector: &Value) -> SignedEntry {
    let signatures = vector["signatures"].as_array().unwrap();
    let signatures =
        signatures.iter().map(|signature| Signature::from_bytes(&bytes(signature)).unwrap()).collect();
    SignedEntry { bytes: bytes(&vector["bytes"]).into(), signatures }
}
