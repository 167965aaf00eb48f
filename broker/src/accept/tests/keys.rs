//! Who may put a sealed-key list, how many there are, and when one goes that no entry names.

use waxwing_crypto::Digest;
use waxwing_crypto::state_key::{
    EarlierKeys, Holder, KeyListHead, ProofPath, ProvenSlot, SealedStateKeys, Slot,
};

use super::*;

impl Fixture {
    /// What becomes of a list with this root, said to be of so many slots, of which these come.
    async fn put(&mut self, link: &mut TestLink, root: u8, (epoch, slots): (u64, u64), come: u64) -> Put {
        let earlier = EarlierKeys::from_bytes(vec![7; 40].into()).unwrap();
        let budget = || Budget::new(Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap());
        let put = KeysPut {
            peer: Arc::clone(&link.peer),
            root: Digest::from_bytes([root; 32]),
            head: KeyListHead { epoch, slots, earlier },
            slots: (0..come).map(proven).collect(),
            req: 1,
            reply: link.reply(),
            _budget: [budget(), budget()],
        };
        self.apply(vec![Change::Keys(put)]).await;
        match link.answers.try_recv().map(|answer| *answer) {
            Ok(Answer::Frame(ToNode::Done(_))) => Put::Kept,
            Ok(Answer::Frame(ToNode::Error(err))) => Put::Refused(err.code),
            Ok(other) => panic!("{other:?}"),
            Err(_) => Put::Ignored,
        }
    }

    /// Whether the list with this root is there.
    async fn has_list(&mut self, root: u8) -> bool {
        let mesh = self.roster().mesh();
        store::keys::find(&mut self.db, mesh, &Digest::from_bytes([root; 32])).await.unwrap().is_some()
    }

    /// Takes out at most so many slots of old lists. Says how many it were.
    async fn sweep_lists(&mut self, limit: usize) -> usize {
        self.db.begin().await.unwrap();
        let mut batch = Batch::open(&mut self.db, &self.state, &Work::default()).await.unwrap();
        let removed = super::super::keys::sweep(&mut batch, limit).await.unwrap();
        self.db.commit().await.unwrap();
        removed
    }
}

#[derive(Debug, Eq, PartialEq)]
enum Put {
    Kept,
    Refused(Code),
    Ignored,
}

fn proven(at: u64) -> ProvenSlot {
    let sealed = SealedStateKeys::from_bytes(vec![at as u8; SealedStateKeys::ONE].into()).unwrap();
    let holder = Holder::Node(store::testing::node(at as u8).node);
    ProvenSlot {
        at,
        path: ProofPath::from_bytes(&[5; 64]).unwrap(),
        slot: Slot { holder, to: Digest::from_bytes([9; 32]), sealed },
    }
}

#[tokio::test]
async fn a_list_is_put_by_an_admins_newest_link_for_the_next_epoch_and_for_those_there_are() {
    let mut fixture = Fixture::new().await;
    let (alpha, beta) = (fixture.founder_key(), fixture.join("beta", 2));
    let (next, most) = (fixture.roster().epoch() + 1, fixture.roster().most_key_holders());
    let mut before = fixture.login(alpha).await;
    let (mut admin, mut member) = (fixture.login(alpha).await, fixture.login(beta).await);
    assert_eq!(fixture.put(&mut before, 1, (next, 1), 1).await, Put::Ignored);
    assert_eq!(fixture.put(&mut member, 1, (next, 1), 1).await, Put::Refused(Code::NotAllowed));
    for epoch in [next - 1, next + 1] {
        assert_eq!(fixture.put(&mut admin, 1, (epoch, 1), 1).await, Put::Refused(Code::LogConflict));
    }
    assert_eq!(fixture.put(&mut admin, 1, (next, most + 1), 1).await, Put::Refused(Code::NotAllowed));
    assert!(!fixture.has_list(1).await);
    assert_eq!(fixture.put(&mut admin, 1, (next, most), 1).await, Put::Kept);
    assert!(fixture.has_list(1).await);
    assert_eq!(fixture.put(&mut admin, 2, (next, 1), 1).await, Put::Kept, "fewer are as good");
}

#[tokio::test]
async fn a_mesh_has_eight_lists_until_those_given_up_have_gone() {
    let mut fixture = Fixture::new().await;
    let mut link = fixture.login(fixture.founder_key()).await;
    let of = (fixture.roster().epoch() + 1, 1);
    for root in 1..=8 {
        assert_eq!(fixture.put(&mut link, root, of, 1).await, Put::Kept);
    }
    assert!(matches!(fixture.put(&mut link, 9, of, 1).await, Put::Refused(_)));
    assert_eq!(fixture.put(&mut link, 8, of, 1).await, Put::Kept, "it is one of them");
    assert_eq!(fixture.sweep_lists(99).await, 7, "each was given up for the next");
    assert_eq!(fixture.put(&mut link, 9, of, 1).await, Put::Kept);
}

#[tokio::test]
async fn a_list_that_no_entry_names_goes_ten_minutes_after_its_last_part_in_steps() {
    const UNNAMED: u64 = 600_000;
    let mut fixture = Fixture::new().await;
    for (seed, name) in (2..6).zip(["beta", "gamma", "delta", "epsilon"]) {
        fixture.join(name, seed);
    }
    let mut link = fixture.login(fixture.founder_key()).await;
    let of = (fixture.roster().epoch() + 1, 3);
    fixture.put(&mut link, 1, of, 2).await;
    fixture.advance(UNNAMED);
    assert_eq!(fixture.sweep_lists(99).await, 0, "it is just as old");
    fixture.put(&mut link, 1, of, 3).await;
    fixture.advance(UNNAMED);
    assert_eq!(fixture.sweep_lists(99).await, 0, "its last part is");
    fixture.advance(1);
    // Given up, and old: three and three.
    fixture.put(&mut link, 2, of, 3).await;
    fixture.advance(UNNAMED + 1);
    assert_eq!(fixture.sweep_lists(4).await, 4);
    assert!(!fixture.has_list(1).await && fixture.has_list(2).await);
    assert_eq!(fixture.sweep_lists(4).await, 2);
    assert!(!fixture.has_list(2).await);
}
