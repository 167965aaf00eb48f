//! A new signing key of this node, or of one that writes to it.

use waxwing_crypto::{SigningKey, VerifyingKey};

use super::*;
use crate::store::{meta, renewal};

fn signer(n: u8) -> VerifyingKey {
    SigningKey::from_seed(&[n; 32]).public()
}

impl Fixture {
    /// Begins under a signing key, as opening the mesh does: nothing else is written meanwhile.
    pub(super) async fn begin_under(self, n: u8) -> Self {
        let (mut db, readers) = crate::store::open(&self.folder.path().join("node.db")).await.unwrap();
        renewal::begin_under(&mut db, &signer(n)).await.unwrap();
        crate::store::close(db, readers).await.unwrap();
        self.killed_and_restarted().await
    }
}

#[tokio::test]
async fn under_a_new_key_every_unreceipted_message_has_a_new_counter_in_its_old_order_and_is_sent_again() {
    let f = Fixture::new().await.begin_under(1).await;
    f.writer.welcomed(7, StoreId::from_bytes([1; 16]), None).await.unwrap();
    for id in ["delivered", "accepted", "dead", "queued", "another"] {
        f.accept(send(id, 1)).await;
    }
    for id in ["delivered", "accepted"] {
        f.accepted_by_broker(id).await;
    }
    f.news(News::Delivered { row: f.row("delivered").await }).await;
    f.answered(Answered::Refused { row: f.row("dead").await, seal: 0, reason: "too_large" }).await;
    assert_eq!(outbox::untold(&f.db, lane(1), u64::MAX >> 1, 9).await.unwrap(), [3]);

    let f = f.begin_under(2).await;
    let counters = f.counters().await;
    assert_eq!([counters["accepted"], counters["queued"], counters["another"]], [1, 2, 3]);
    let accepted = f.life("accepted").await;
    assert_eq!((accepted.state, accepted.seal, accepted.accepted_at), (State::Pending, 1, None));
    assert_eq!(f.life("delivered").await.state, State::Done);
    assert_eq!(f.life("dead").await.state, State::Dead);
    assert_eq!(
        outbox::untold(&f.db, lane(1), 99, 9).await.unwrap(),
        [0; 0],
        "counters of the old lane are not told"
    );
    assert_eq!(meta::number(&f.db, meta::LOGIN).await.unwrap(), 0, "progress begins anew");
    f.accept(send("next", 1)).await;
    assert_eq!(f.counters().await["next"], 4);

    // It was delivered under the old key after all: its new counter never comes.
    f.news(News::Delivered { row: f.row("accepted").await }).await;
    assert_eq!(outbox::untold(&f.db, lane(1), 99, 9).await.unwrap(), [1]);
    let f = f.begin_under(2).await;
    assert_eq!(f.counters().await["next"], 4, "the same key changes nothing");
}

#[tokio::test]
async fn a_message_that_comes_again_under_a_new_key_is_no_gap_in_the_new_lane() {
    let f = Fixture::new().await;
    let under = |n: u8, id: &str, counter: u64| {
        let mut item = item(id, counter);
        item.new.lane.signer = *signer(n).as_bytes();
        item
    };
    f.receive(vec![under(1, "a", 1), under(1, "b", 2)]).await;
    // Both again, in the counting of the new key, and one that is new.
    f.receive(vec![under(2, "a", 1), under(2, "c", 3), under(2, "b", 2)]).await;
    assert_eq!(f.shown().await, [("a".into(), false), ("b".into(), false), ("c".into(), false)]);
}
