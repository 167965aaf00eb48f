//! The writer's two ends: what it takes at once, what it waits for, and what waits for it.

use futures_util::FutureExt as _;

use super::*;

#[tokio::test]
async fn a_batch_ends_at_its_size() {
    let (writer, mut inbox) = Writer::new();
    let link = TestLink::new(store::testing::node(1), 1);
    let fixture = Fixture::new().await;
    let mut large = fixture.item(fixture.founder_key(), 1, 0);
    large.env = vec![0; 300 * 1024].into();
    for _ in 0..20 {
        writer.submit(Change::Send(link.sends(vec![large.clone()]))).await.unwrap();
    }
    let stop = CancellationToken::new();
    let many = vec![fixture.item(fixture.founder_key(), 1, 0); BATCH_ITEMS / 8];
    assert_eq!(inbox.collect(&stop).await.unwrap().sends.len(), 14, "the first beyond 4 MiB is the last");
    assert_eq!(inbox.collect(&stop).await.unwrap().sends.len(), 6);
    for _ in 0..11 {
        writer.submit(Change::Send(link.sends(many.clone()))).await.unwrap();
    }
    assert_eq!(inbox.collect(&stop).await.unwrap().sends.len(), 8, "so do 1,024 items");
    stop.cancel();
    assert_eq!(inbox.collect(&stop).await.unwrap().sends.len(), 3, "what waits is taken even when stopping");
    assert!(inbox.collect(&stop).await.is_none());
    assert!(writer.submit(Change::Send(link.sends(vec![large]))).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_notice_that_is_settled_waits_a_moment_to_go_with_what_somebody_waits_for() {
    let (writer, mut inbox) = Writer::new();
    let link = TestLink::new(store::testing::node(1), 1);
    let (stop, begun) = (CancellationToken::new(), Instant::now());
    let notice = || {
        let settled = vec![Settled { place: Place { rank: Rank::Notice, seq: Seq(1) }, mail: None }];
        Change::Settle(Settles { peer: Arc::clone(&link.peer), through: 1, settled, reply: link.reply() })
    };
    writer.submit(notice()).await.unwrap();
    assert_eq!(inbox.collect(&stop).await.unwrap().settles.len(), 1);
    assert_eq!(begun.elapsed(), PATIENCE, "nothing came");

    writer.submit(notice()).await.unwrap();
    let probe = async {
        tokio::time::sleep(PATIENCE / 5).await;
        writer.submit(Change::Probe(oneshot::channel().0)).await.unwrap();
        writer.submit(notice()).await.unwrap();
    };
    let (work, ()) = tokio::join!(inbox.collect(&stop), probe);
    let work = work.unwrap();
    assert_eq!((work.probes.len(), work.settles.len()), (1, 2), "with all that is there");
    assert_eq!(begun.elapsed(), PATIENCE + PATIENCE / 5, "at once");

    let mail = link.settles(1, receipt(), store::testing::node(2), 0);
    writer.submit(Change::Settle(mail)).await.unwrap();
    let confirmed =
        Settles { peer: Arc::clone(&link.peer), through: 0, settled: Vec::new(), reply: link.reply() };
    assert_eq!(inbox.collect(&stop).await.unwrap().settles.len(), 1, "its sender waits");
    writer.submit(Change::Settle(confirmed)).await.unwrap();
    assert_eq!(inbox.collect(&stop).await.unwrap().settles.len(), 1, "a welcome is confirmed");
    writer.submit(notice()).await.unwrap();
    stop.cancel();
    assert_eq!(inbox.collect(&stop).await.unwrap().settles.len(), 1, "the broker stops");
    assert_eq!(begun.elapsed(), PATIENCE + PATIENCE / 5, "none of these waited");
}

#[tokio::test]
async fn what_waits_for_the_writer_is_counted_until_it_is_taken() {
    let (writer, mut inbox) = Writer::new();
    assert_eq!(writer.waiting(), (0, 0));
    let budget = writer.reserve(1_000).await.unwrap();
    writer.submit(Change::Probe(oneshot::channel().0)).await.unwrap();
    assert_eq!(writer.waiting(), (1, 1_000));
    drop(budget);
    inbox.collect(&CancellationToken::new()).await.unwrap();
    assert_eq!(writer.waiting(), (0, 0));
    let all = writer.reserve(64 << 20).await.unwrap();
    assert!(writer.reserve(1).now_or_never().is_none(), "64 MiB in all");
    drop(all);
    writer.reserve(1).now_or_never().unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_recent_until_its_time_is_over_or_one_fails() {
    let (last, span) = (LastCommit::default(), Duration::from_secs(5));
    assert!(!last.is_within(span));
    last.is_now();
    tokio::time::advance(span).await;
    assert!(last.is_within(span));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(!last.is_within(span));
    last.is_now();
    last.is_past();
    assert!(!last.is_within(span));
}
