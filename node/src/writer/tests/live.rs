//! Mail for somebody who waits: without a place in its lane, at both ends.

use waxwing_crypto::sealing::NackReason;

use super::*;
use crate::requests::Live;
use crate::signals::Happened;

/// A live item, as it came.
fn live(id: &str) -> ReceivedItem {
    let plaintext = waxwing_crypto::sealing::Plaintext {
        id: id.parse().unwrap(),
        counter: 0,
        void: Vec::new(),
        receipt_secret: waxwing_crypto::sealing::ReceiptSecret::from_bytes([7; 16]),
        from_app: None,
        to_app: Some("ci".parse().unwrap()),
        kind: Kind::Request,
        content_type: "text/plain".to_owned(),
        body: Bytes::from_static(b"secret"),
        meta: Bytes::new(),
        reply_to: None,
        thread: None,
        wants_read: false,
        sent_at: Timestamp::default(),
    };
    let came = Live::read(NodeId::from_bytes([9; 16]), Timestamp::default(), &plaintext).unwrap();
    let item = item(id, 0);
    let new = NewItem { content: Vec::new(), ..item.new };
    ReceivedItem { new, live: Some(Box::new(came)), ..item }
}

impl Fixture {
    /// Whether the outbox still has what a message says.
    async fn has_content(&self, id: &str) -> bool {
        const FIND: &str = "SELECT size + EXISTS (SELECT 1 FROM outbox_content c WHERE c.row = o.row) FROM outbox o WHERE client_id = ?";
        let left: i64 = waxwing_sqlite::query_scalar(FIND).bind(id).fetch_one(&self.db).await.unwrap();
        left > 0
    }
}

#[tokio::test]
async fn what_is_live_has_had_its_use_once_it_is_delivered_and_mail_is_kept_until_it_is_pruned() {
    let f = Fixture::new().await;
    f.accept(NewRow { kind: Kind::Request, ..send("r-1", 1) }).await;
    f.accept(send("m-1", 1)).await;
    assert!(f.has_content("r-1").await && f.has_content("m-1").await);
    let rows = waxwing_sqlite::query_scalar("SELECT row FROM outbox").fetch_all(&f.db).await.unwrap();
    let news = rows.into_iter().map(|row| News::Delivered { row }).collect();
    f.writer.received(Delivered { news, ..Delivered::default() }).await.unwrap();
    assert!(!f.has_content("r-1").await && f.has_content("m-1").await);
}

#[tokio::test]
async fn what_is_live_takes_no_counter_of_its_lane_and_leaves_no_gap_when_it_never_arrives() {
    let f = Fixture::new().await.begin_under(1).await;
    let request = || NewRow { kind: Kind::Request, ..send("r-1", 1) };
    f.accept(send("m-1", 1)).await;
    f.accept(request()).await;
    f.accept(send("m-2", 1)).await;
    let counters = f.counters().await;
    assert_eq!([counters["m-1"], counters["r-1"], counters["m-2"]], [1, 0, 2]);
    assert_eq!(name(&f.accept(request()).await), "same", "its id is bound as any");
    let row: i64 = waxwing_sqlite::query_scalar("SELECT row FROM outbox WHERE client_id = 'r-1'")
        .fetch_one(&f.db)
        .await
        .unwrap();
    f.answered(Answered::Refused { row, seal: 0, reason: "unsupported_version" }).await;
    assert_eq!(outbox::untold(&f.db, lane(1), 99, 9).await.unwrap(), [0; 0], "nobody is told of counter 0");
    let told = f.signals.live().await;
    assert!(
        matches!(&told[..], [Happened::Undeliverable { request, reason }]
            if request.as_str() == "r-1" && reason == "unsupported_version"),
        "{told:?}"
    );
    assert!(!f.has_content("r-1").await, "what was asked is wiped with it");
    f.accept(NewRow { kind: Kind::Reply, ..send("r-2", 1) }).await;
    let f = f.begin_under(2).await;
    let counters = f.counters().await;
    assert_eq!([counters["m-1"], counters["r-1"], counters["r-2"], counters["m-2"]], [1, 0, 0, 2]);
}

#[tokio::test]
async fn what_is_live_is_handed_on_once_waits_for_no_mail_and_only_its_id_is_kept() {
    let f = Fixture::new().await;
    // The first of its lane is missing: mail waits for that, and what is live does not.
    let stored = f.receive(vec![item("m-2", 2), live("r-1")]).await;
    assert!(stored.iter().all(|stored| matches!(stored, Stored::Received(_))), "{stored:?}");
    assert_eq!(f.shown().await, []);
    let arrived = f.signals.live().await;
    assert!(matches!(&arrived[..], [Happened::Arrived(_)]), "{arrived:?}");
    let again = f
        .receive(vec![live("r-1"), ReceivedItem { unwelcome: Some(NackReason::Blocked), ..live("r-2") }])
        .await;
    assert!(matches!(again[..], [Stored::Received(_), Stored::Refused(NackReason::Blocked)]), "{again:?}");
    f.receive(vec![item("m-1", 1)]).await;
    assert_eq!(f.shown().await, [("m-1".to_owned(), false), ("m-2".to_owned(), false)]);
    f.receive(vec![live("r-3")]).await;
    let arrived = f.signals.live().await;
    assert_eq!(arrived.len(), 1, "neither what came again nor what is not wanted: {arrived:?}");
    let rows: i64 =
        waxwing_sqlite::query_scalar("SELECT count(*) FROM inbox").fetch_one(&f.db).await.unwrap();
    let ids: i64 =
        waxwing_sqlite::query_scalar("SELECT count(*) FROM dedupe").fetch_one(&f.db).await.unwrap();
    assert_eq!((rows, ids), (2, 4));
}

#[tokio::test]
async fn what_was_asked_and_not_sent_ends_with_the_process_and_answers_do_not() {
    let f = Fixture::new().await;
    for (id, kind) in
        [("ask", Kind::Request), ("note", Kind::Progress), ("no", Kind::Cancel), ("yes", Kind::Reply)]
    {
        f.accept(NewRow { kind, ..send(id, 1) }).await;
    }
    f.accept(send("mail", 1)).await;
    let (mut db, readers) = crate::store::open(&f.folder.path().join("node.db")).await.unwrap();
    outbox::end_asked(&mut db, crate::clock::now()).await.unwrap();
    let rows = waxwing_sqlite::query_as::<(String, i64)>("SELECT client_id, state FROM outbox ORDER BY row");
    let states: Vec<(String, i64)> = rows.fetch_all(&mut db).await.unwrap();
    crate::store::close(db, readers).await.unwrap();
    let expected = [("ask", 2), ("note", 2), ("no", 2), ("yes", 0), ("mail", 0)];
    assert_eq!(states, expected.map(|(id, state)| (id.to_owned(), state)));
}
