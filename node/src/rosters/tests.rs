//! A log on a disk of its own, and what is kept of it.

use std::sync::Arc;
use std::time::Duration;

use waxwing_crypto::membership::{
    Body, Genesis, InviteSeed, Join, NewInvite, NewMember, RecoverySecret, Role,
};
use waxwing_crypto::state_key::StateKeys;
use waxwing_crypto::storage::StorageKey;
use waxwing_crypto::{Digest, SealingKey, SealingPublicKey, SigningKey, Timestamp};
use waxwing_sqlite::Connection;

use super::*;
use crate::mesh::tests::alone;
use crate::store;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const WITHIN: Duration = Duration::from_secs(20);

/// A log, its roster, and who may write it.
struct Log {
    roster: Roster,
    entries: Vec<SignedEntry>,
    founder: Arc<SigningKey>,
    sealing: SealingPublicKey,
    keys: StateKeys,
    seed: InviteSeed,
}

impl Log {
    fn found() -> Self {
        let mut rng = crate::rng();
        let founder = SigningKey::generate(&mut rng);
        let sealing = SealingKey::generate(&mut rng).public().unwrap();
        let keys = StateKeys::found(&mut rng);
        let genesis = Genesis {
            name: "home".parse().unwrap(),
            founder: newcomer("founder", &founder, &sealing),
            recovery: RecoverySecret::generate(&mut rng).signing_key().public(),
            state_keys: keys.seal_to(&sealing, &mut rng).unwrap(),
        };
        let (first, roster) = Roster::found(NOW, genesis, &founder).unwrap();
        let seed = InviteSeed::generate(&mut rng);
        let founder = Arc::new(founder);
        let mut log = Self { roster, entries: vec![first], founder, sealing, keys, seed };
        log.invite(1_000_000);
        log
    }

    fn append(&mut self, body: Body, keys: &[&SigningKey]) {
        let entry = self.roster.entry(NOW, body).sign(keys);
        self.roster.apply(&entry).unwrap();
        self.entries.push(entry);
    }

    fn invite(&mut self, uses: u32) {
        let mut rng = crate::rng();
        self.seed = InviteSeed::generate(&mut rng);
        let sealing = self.seed.sealing_key().public().unwrap();
        let invite = NewInvite {
            key: self.seed.signing_key().public(),
            state_keys: self.keys.seal_to(&sealing, &mut rng).unwrap(),
            sealing,
            role: Role::Member,
            uses,
            expires: NOW.plus(Duration::from_secs(3_600)),
            name: None,
        };
        let founder = Arc::clone(&self.founder);
        self.append(Body::Invite(invite), &[&founder]);
    }

    fn join(&mut self, count: usize) {
        for _ in 0..count {
            let (key, invite) = (SigningKey::generate(&mut crate::rng()), self.seed.signing_key());
            let member = newcomer(&format!("node-{}", self.entries.len()), &key, &self.sealing);
            self.append(Body::Join(Join { member, invite: invite.public() }), &[&invite, &key]);
        }
    }
}

fn newcomer(name: &str, key: &SigningKey, sealing: &SealingPublicKey) -> NewMember {
    let host = Digest::from_bytes([0; 32]);
    NewMember { name: name.parse().unwrap(), signing: key.public(), sealing: sealing.clone(), host }
}

/// A database that holds a log, and the keys of its node.
struct Disk {
    _folder: tempfile::TempDir,
    db: Connection,
    readers: Readers,
    keys: StorageKeys,
}

impl Disk {
    async fn with(log: &Log) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut db, readers) = store::open(&folder.path().join("node.db")).await.unwrap();
        log::put(&mut db, 1, &log.entries).await.unwrap();
        Self { _folder: folder, db, readers, keys: StorageKey::from_bytes(&[7; 32]).keys() }
    }

    async fn keep(&mut self, seq: u64, kept: &[u8]) {
        roster::keep(&mut self.db, seq, kept).await.unwrap();
    }

    /// Opens the roster, which must be right however it came about; says how much was replayed.
    async fn opens(&self, log: &Log) -> u64 {
        let opened = open(&self.readers, &self.keys, log.roster.mesh()).await.unwrap();
        assert_eq!(opened.roster, log.roster);
        opened.replayed
    }
}

#[tokio::test]
async fn a_start_replays_only_what_came_after_the_roster_was_kept() {
    let mut log = Log::found();
    log.join(5);
    let mut disk = Disk::with(&log).await;
    assert_eq!(disk.opens(&log).await, 7, "nothing is kept");
    disk.keep(7, &disk.keys.keep_roster(&log.roster)).await;
    assert_eq!(disk.opens(&log).await, 0);
    log.join(3);
    log::put(&mut disk.db, 8, &log.entries[7..]).await.unwrap();
    assert_eq!(disk.opens(&log).await, 3);
}

#[tokio::test]
async fn a_kept_roster_that_was_changed_or_is_of_another_mesh_place_log_or_key_is_noticed() {
    let mut log = Log::found();
    log.join(2);
    let earlier = log.roster.clone();
    log.join(2);
    let mut other = Log::found();
    other.join(4);
    let mut disk = Disk::with(&log).await;
    let (kept, of_earlier) = (disk.keys.keep_roster(&log.roster), disk.keys.keep_roster(&earlier));
    let changed = |at: usize| {
        let mut kept = kept.clone();
        kept[at] ^= 1;
        kept
    };
    let foreign = StorageKey::from_bytes(&[8; 32]).keys().keep_roster(&log.roster);
    let mut wrong = vec![
        ("another mesh", 6, disk.keys.keep_roster(&other.roster)),
        ("another place", 6, of_earlier.clone()),
        ("an earlier place", 4, kept.clone()),
        ("a place that the log has not", 9, kept.clone()),
        ("another key", 6, foreign),
        ("cut", 6, kept[..kept.len() - 1].to_vec()),
        ("nothing", 6, Vec::new()),
    ];
    let places = (0..kept.len()).step_by(61).chain([0, 31, 32, kept.len() - 1]);
    wrong.extend(places.map(|at| ("a changed byte", 6, changed(at))));
    for (what, seq, kept) in wrong {
        disk.keep(seq, &kept).await;
        assert_eq!(disk.opens(&log).await, 6, "{what}: all is replayed");
    }
    // The right one for its place is right, however old.
    disk.keep(4, &of_earlier).await;
    assert_eq!(disk.opens(&log).await, 2);
    // The log that it stood for is another one now.
    disk.keep(6, &kept).await;
    log.entries.truncate(4);
    log.roster = earlier;
    log.join(3);
    log::put(&mut disk.db, 5, &log.entries[4..]).await.unwrap();
    assert_eq!(disk.opens(&log).await, 7, "another branch");
    assert!(open(&disk.readers, &disk.keys, other.roster.mesh()).await.is_err());
}

#[tokio::test]
async fn what_is_new_when_a_mesh_closes_is_kept() {
    let (folder, mesh) = alone().await;
    assert_eq!(mesh.kept.get().0, 0);
    mesh.stop.cancel();
    tokio::time::timeout(WITHIN, mesh.run()).await.unwrap().unwrap();
    let (tasks, keys, id) = (mesh.tasks.clone(), Arc::clone(&mesh.keys), mesh.identity.mesh);
    drop(mesh);
    tasks.close();
    tokio::time::timeout(WITHIN, tasks.wait()).await.unwrap();
    let db = store::open_to_read(&folder.path().join("meshes/home/node.db"));
    let opened = open(&db, &keys, id).await.unwrap();
    assert_eq!((opened.kept, opened.replayed), (1, 0));
}

#[test]
fn a_roster_is_kept_again_when_a_good_part_of_it_is_new_or_in_time() {
    let kept = Kept::at(1_000);
    assert!(!kept.is_due(1_000) && !kept.is_due(1_063));
    assert!(kept.is_due(1_143), "an eighth");
    assert!(Kept::at(0).is_due(64) && !Kept::at(0).is_due(63));
    assert!(Kept::at(10_000).is_due(5_000), "another log, which is shorter");
    let old = Kept(Mutex::new((1_000, Instant::now().checked_sub(AGE).unwrap_or_else(Instant::now))));
    assert!(!old.is_due(1_000) && (old.is_due(1_001) || old.get().1.elapsed() < AGE));
}

#[tokio::test]
#[ignore = "measures; docs/performance.md says how to run it"]
async fn how_long_a_start_with_10_000_members_takes() {
    let mut log = Log::found();
    for _ in 0..10_000 {
        log.invite(1);
        log.join(1);
    }
    let mut disk = Disk::with(&log).await;
    let start = async |disk: &Disk| {
        let began = Instant::now();
        let replayed = disk.opens(&log).await;
        (began.elapsed(), replayed)
    };
    for _ in 0..3 {
        let (took, replayed) = start(&disk).await;
        println!("nothing kept: {replayed} entries replayed in {took:.0?}");
    }
    let began = Instant::now();
    let kept = disk.keys.keep_roster(&log.roster);
    disk.keep(log.roster.head().seq, &kept).await;
    println!("kept: {} KiB in {:.0?}", kept.len() >> 10, began.elapsed());
    for _ in 0..3 {
        let (took, replayed) = start(&disk).await;
        println!("kept: {replayed} entries replayed in {took:.0?}");
        assert_eq!(replayed, 0);
    }
}
