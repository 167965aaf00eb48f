use std::time::Duration;

use waxwing_crypto::SpaceId;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Append, Change, Code, Put, SpaceFollow, What};

use crate::harness::space::{after, append, delete, own, put, seq, touch, words};
use crate::harness::{Broker, Mesh};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn wait(asked: SpaceFollow) -> SpaceFollow {
    SpaceFollow { wait: true, ..asked }
}

#[tokio::test]
async fn who_waits_is_answered_when_there_is_something_and_not_before() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let empty = b.follow(after(0, 0)).await;
    assert_eq!((empty.head, empty.upto, empty.begun, empty.changes.len()), (0, 0, 0, 0));
    let first = b.ask(wait(after(0, 0))).await;
    b.round_trip().await;
    assert!(!b.has_changes());
    let one = a.put_one(put(1, 1)).await;
    let page = b.changes(first).await;
    assert_eq!((words(&page.changes), page.upto, page.head), (vec!["sealed 1".to_owned()], one, one));
    assert_eq!((page.begun, page.reset), (one, false));
    // From here on what is committed is handed over.
    let mut at = page;
    for n in 2..20 {
        let req = b.ask(wait(after(at.upto, at.begun))).await;
        b.round_trip().await;
        assert!(!b.has_changes(), "there is nothing new");
        let place = a.put_one(put(n, 1)).await;
        at = b.changes(req).await;
        assert_eq!((words(&at.changes), at.upto, at.begun), (vec![format!("sealed {n}")], place, one));
        assert_eq!(b.follow(after(place - 1, one)).await.changes, at.changes, "as the store has it");
    }
}

#[tokio::test]
async fn a_newer_question_takes_the_place_of_an_older_one() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let older = b.ask(wait(after(0, 0))).await;
    b.round_trip().await;
    let newer = b.ask(wait(after(0, 0))).await;
    b.round_trip().await;
    a.put_one(put(1, 1)).await;
    assert_eq!(words(&b.changes(newer).await.changes), ["sealed 1"]);
    a.put_one(put(2, 1)).await;
    b.round_trip().await;
    assert!(!b.has_changes(), "neither {older} nor anything that was not asked for");
}

#[tokio::test]
async fn who_does_not_ask_gets_nothing_and_misses_nothing() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let begin = a.put_one(put(0, 0)).await;
    let req = b.ask(wait(after(begin, begin))).await;
    b.round_trip().await;
    let mut last = 0;
    for n in 1..=1_500 {
        last = seq(&a.change(Change::Append(append(n, (n % 7) as u8))).await);
    }
    let mut page = b.changes(req).await;
    b.round_trip().await;
    assert!(!b.has_changes(), "one answer to one question");
    let mut got = words(&page.changes);
    while page.upto < last {
        assert!(page.changes.len() <= limits::SPACE_PAGE);
        page = b.follow(wait(after(page.upto, page.begun))).await;
        got.extend(words(&page.changes));
    }
    assert!(got.iter().eq(&(1..=1_500).map(|n| format!("sealed {n}")).collect::<Vec<_>>()));
}

#[tokio::test]
async fn a_page_is_no_larger_than_a_frame() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut a = mesh.login(&broker, &alpha).await;
    let large = |n| Change::Append(Append { sealed: vec![n as u8; limits::RECORD].into(), ..append(n, 1) });
    for n in 0..5 {
        a.change(large(n)).await;
    }
    let small = (10..2_000).map(|n| Change::Append(append(n, 1))).collect::<Vec<_>>();
    for part in small.chunks(limits::SPACE_PAGE) {
        a.write(part.to_vec()).await;
    }
    let (mut page, mut got) = (a.follow(after(0, 0)).await, Vec::new());
    loop {
        got.push(page.changes.len());
        if page.upto == page.head {
            break;
        }
        page = a.follow(after(page.upto, page.begun)).await;
    }
    assert_eq!(got.iter().sum::<usize>(), 1_995);
    assert_eq!(got[..2], [2, 2], "two of the largest fit");
}

#[tokio::test]
async fn a_renewal_is_told_to_who_has_the_record_and_others_get_it_renewed() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let one = a.put_one(Put { ttl: Some(60_000), ..own(1, 1) }).await;
    let two = a.put_one(put(2, 2)).await;
    let req = b.ask(wait(after(two, two))).await;
    b.round_trip().await;
    a.change(touch(&[one, two], 3_600_000)).await;
    let page = b.changes(req).await;
    let [changed] = &page.changes[..] else { panic!("{page:?}") };
    let What::Touched { seq: touched, expires } = changed.what else { panic!("{changed:?}") };
    assert_eq!((touched, changed.n), (one, two + 1));
    assert!(expires.since(broker.clock.now()) > Duration::from_secs(3_500));
    let all = b.all().await;
    assert_eq!(words(&all), ["sealed 1", "sealed 2"]);
    let What::Record(record) = &all[0].what else { panic!("{all:?}") };
    assert_eq!((record.seq, all[0].n, record.expires), (one, one, Some(expires)));
    assert_eq!(b.follow(after(one, one)).await.changes.len(), 2);
}

#[tokio::test]
async fn a_copy_older_than_the_tombstones_is_reset_and_a_younger_one_is_not() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut a = mesh.login(&broker, &alpha).await;
    let before = a.put_one(put(1, 1)).await;
    let kept = a.put_one(put(2, 2)).await;
    let gone = seq(&a.change(Change::Delete(delete(3, 1))).await);
    broker.clock.advance(34 * DAY);
    let broker = broker.restart().await; // A start looks through the store.
    let mut a = mesh.login(&broker, &alpha).await;
    let young = a.follow(after(before, before)).await;
    assert_eq!(
        (young.reset, words(&young.changes)),
        (false, vec!["sealed 2".into(), "deleted by sealed 3".into()])
    );
    broker.clock.advance(2 * DAY);
    let broker = broker.restart().await;
    let mut a = mesh.login(&broker, &alpha).await;
    let old = loop {
        let page = a.follow(after(before, before)).await;
        if page.changes.len() == 1 {
            break page;
        }
    };
    assert_eq!((old.reset, words(&old.changes)), (true, vec!["sealed 2".into()]));
    assert!(old.begun == old.upto && old.upto > gone, "places went on at each start: {old:?}");
    let filling = a.follow(after(before, gone)).await;
    assert!(!filling.reset, "what was gone when it was begun is nothing to a copy that is being filled");
    assert!(!a.follow(after(gone, before)).await.reset);
    assert!(!a.follow(after(kept, old.begun)).await.reset);
    assert!(a.follow(after(kept, kept)).await.reset);
    assert!(!a.follow(after(0, 0)).await.reset);
}

#[tokio::test]
async fn a_link_follows_so_many_spaces_and_those_it_waits_for_stay() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let space = |n: u32| {
        let mut bytes = [9; 32];
        bytes[..4].copy_from_slice(&n.to_be_bytes());
        SpaceId::from_bytes(bytes)
    };
    let most = limits::SPACES_FOLLOWED as u32;
    let mut first = 0;
    for n in 0..most {
        let req = b.ask(SpaceFollow { space: space(n), ..wait(after(0, 0)) }).await;
        first = if n == 0 { req } else { first };
    }
    let more = b.ask(SpaceFollow { space: space(most), ..wait(after(0, 0)) }).await;
    let error = b.error().await;
    assert_eq!((error.req, error.code), (Some(more), Code::NotAllowed));
    a.try_write_in(space(0), vec![Change::Put(put(1, 1))]).await.unwrap();
    assert_eq!(words(&b.changes(first).await.changes), ["sealed 1"]);
    // That one is answered: there is room for another.
    let more = b.ask(SpaceFollow { space: space(most), ..wait(after(0, 0)) }).await;
    b.round_trip().await;
    a.try_write_in(space(most), vec![Change::Put(put(2, 1))]).await.unwrap();
    assert_eq!(words(&b.changes(more).await.changes), ["sealed 2"]);
}

#[tokio::test]
async fn going_on_with_a_copy_is_no_request_and_beginning_one_is() {
    let broker = Broker::with(|config| {
        (config.limits.requests, config.limits.requests_burst) = (1, limits::PREKEY_PAGE as u32);
    })
    .await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let (mut a, mut b) = (mesh.login(&broker, &alpha).await, mesh.login(&broker, &beta).await);
    let mut page = b.follow(after(0, 0)).await;
    for n in 0..600 {
        a.put_one(put(n, 1)).await;
        page = b.follow(wait(after(page.upto, page.begun))).await;
        assert_eq!(words(&page.changes), [format!("sealed {n}")]);
    }
    // To ask again and again whether there is something is no going on.
    for _ in 0..300 {
        b.ask(after(page.upto, page.begun)).await;
    }
    let error = b.error().await;
    assert!(error.code == Code::RateLimited && error.after.is_some(), "{error:?}");
}
