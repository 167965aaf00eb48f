use waxwing_crypto::{Purpose, Receipt, Signed, SigningKey};

use super::*;
use crate::store::testing::{database, node, plan};

fn key(owner: u8, rank: Rank, seq: u64) -> QueueKey {
    QueueKey { owner: node(owner), place: Place { rank, seq: Seq(seq) } }
}

fn mail(seal: u32, exp: u64, size: usize) -> Item {
    Item::Envelope(Mail {
        from: node(9).node,
        id: WireId::from_bytes([3; 16]),
        seal,
        exp: Timestamp::from_millis(exp),
        env: Bytes::from(vec![seal as u8; size]),
    })
}

async fn read_all(db: &mut Connection, owner: u8, rank: Rank) -> Vec<(Seq, Item)> {
    let after = Place { rank, seq: Seq(0) };
    let page = read(db, node(owner), after, 1_000, usize::MAX).await.unwrap();
    assert!(!page.more);
    page.rows
}

#[tokio::test]
async fn every_kind_of_row_comes_back_as_it_was() {
    let mut db = database().await;
    let nack = Signed::new(&SigningKey::from_seed(&[1; 32]), Purpose::Nack, b"nack".to_vec());
    let kinds = [
        NoticeKind::Delivered { receipt: Receipt::from_bytes([8; 16]) },
        NoticeKind::Nack { nack },
        NoticeKind::Expired,
        NoticeKind::RevokedRecipient,
    ];
    let notices = kinds.into_iter().enumerate().map(|(n, kind)| {
        let notice = Notice { id: WireId::from_bytes([n as u8; 16]), kind, ends: Timestamp::from_millis(77) };
        (key(1, Rank::Notice, n as u64 + 1), Item::Notice(notice))
    });
    let rows: Vec<_> = notices.chain([(key(1, Rank::Now, 5), mail(u32::MAX, 9, 100))]).collect();
    insert(&mut db, &rows).await.unwrap();
    let mut found = read_all(&mut db, 1, Rank::Notice).await;
    found.extend(read_all(&mut db, 1, Rank::Now).await);
    let expected: Vec<_> = rows.into_iter().map(|(key, item)| (key.place.seq, item)).collect();
    assert_eq!(found, expected);
    insert(&mut db, &[(key(1, Rank::Now, 5), mail(0, 9, 1))]).await.unwrap_err();
}

#[tokio::test]
async fn a_page_ends_at_its_items_or_bytes() {
    let mut db = database().await;
    let rows: Vec<_> = (1..=10).map(|seq| (key(1, Rank::Next, seq), mail(0, 9, 100))).collect();
    insert(&mut db, &rows).await.unwrap();
    let mut page = async |after, items, bytes| {
        let page =
            read(&mut db, node(1), Place { rank: Rank::Next, seq: Seq(after) }, items, bytes).await.unwrap();
        (page.rows.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>(), page.more)
    };
    assert_eq!(page(0, 3, 9_999).await, (vec![1, 2, 3], true));
    assert_eq!(page(7, 3, 9_999).await, (vec![8, 9, 10], false), "knows that nothing is left");
    assert_eq!(page(4, 9, 250).await, (vec![5, 6], true));
    assert_eq!(page(4, 9, 99).await, (vec![], true));
    assert_eq!(page(10, 9, 99).await, (vec![], false));
}

#[tokio::test]
async fn deleting_says_what_was_there() {
    let mut db = database().await;
    let rows: Vec<_> = (1..=300).map(|seq| (key(1, Rank::Next, seq), mail(2, 9, 7))).collect();
    insert(&mut db, &rows).await.unwrap();
    let keys: Vec<_> = rows.iter().take(270).map(|(key, _)| *key).collect();
    // One that is not there, and one that is there once only.
    let keys: Vec<_> = keys.into_iter().chain([key(2, Rank::Next, 1), key(1, Rank::Next, 7)]).collect();
    assert_eq!(sizes(&mut db, &keys).await.unwrap().len(), 270);
    let gone = delete(&mut db, &keys).await.unwrap();
    assert_eq!((gone.len(), gone.iter().map(|gone| gone.bytes).sum::<u64>()), (270, 270 * 7));
    let sealed = [(key(1, Rank::Next, 280), 1), (key(1, Rank::Next, 281), 2)];
    let gone = delete_sealed(&mut db, &sealed).await.unwrap();
    assert_eq!(gone.iter().map(|gone| gone.key).collect::<Vec<_>>(), [sealed[1].0]);
    assert_eq!(read_all(&mut db, 1, Rank::Next).await.len(), 29);
}

#[tokio::test]
async fn the_oldest_end_first_and_name_their_sender() {
    let mut db = database().await;
    let notice = Notice {
        id: WireId::from_bytes([4; 16]),
        kind: NoticeKind::Expired,
        ends: Timestamp::from_millis(1),
    };
    let rows = [
        (key(1, Rank::Next, 1), mail(0, 30, 5)),
        (key(2, Rank::Low, 1), mail(0, 10, 6)),
        (key(1, Rank::Notice, 2), Item::Notice(notice)),
        (key(1, Rank::Next, 3), mail(0, 31, 5)),
    ];
    insert(&mut db, &rows).await.unwrap();
    let now = Timestamp::from_millis(30);
    let first = expire(&mut db, now, 2).await.unwrap();
    assert_eq!(first.len(), 2);
    assert!(first.iter().any(|ended| ended.mail.is_none() && ended.removed.key == rows[2].0));
    let expected = (node(9), WireId::from_bytes([3; 16]), Timestamp::from_millis(10));
    assert!(first.iter().any(|ended| ended.mail == Some(expected) && ended.removed.bytes == 6));
    assert_eq!(expire(&mut db, now, 2).await.unwrap().len(), 1);
    assert_eq!(expire(&mut db, now, 2).await.unwrap().len(), 0);
    assert_eq!(read_all(&mut db, 1, Rank::Next).await.len(), 1);
}

#[tokio::test]
async fn a_queue_is_evicted_in_bounded_steps() {
    let mut db = database().await;
    let rows: Vec<_> = [1, 2]
        .iter()
        .flat_map(|owner| (1..=5).map(|seq| (key(*owner, Rank::Low, seq), mail(0, 9, 7))))
        .collect();
    insert(&mut db, &rows).await.unwrap();
    assert_eq!(evict(&mut db, node(1), 3).await.unwrap().len(), 3);
    assert_eq!(evict(&mut db, node(1), 3).await.unwrap().len(), 2);
    assert_eq!(evict(&mut db, node(1), 3).await.unwrap().len(), 0);
    assert_eq!(read_all(&mut db, 2, Rank::Low).await.len(), 5);
}

#[tokio::test]
async fn rows_are_looked_up_by_their_place() {
    for sql in [SIZES.for_one(), DELETE.for_one()] {
        let plan = plan(sql).await;
        assert!(
            plan.contains("INDEX sqlite_autoindex_queue_1 (mesh=? AND recipient=? AND rank=? AND seq=?)"),
            "{plan}"
        );
    }
    for sql in [SIZES.for_near(), DELETE.for_near()] {
        let plan = plan(sql).await;
        let range = "(mesh=? AND recipient=? AND rank=? AND seq>? AND seq<?)";
        assert!(plan.contains(&format!("INDEX sqlite_autoindex_queue_1 {range}")), "{plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
}
