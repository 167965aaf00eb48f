//! What a crash may leave of a broker's database: whatever of it is on the disk, the broker opens it and goes on, with everything that
//! it has answered, once and in its order.
//!
//! By default a sample; `just images` takes all images of few writes, and more of many. `WAXWING_SEED` repeats a run.

mod work;

use waxwing_lab_images::{Choice, Run, Window};
use waxwing_protocol::link::ChangeOutcome;

use self::work::{Come, WITHIN, Work, answer, login, put, queue, start, writes, written};
use super::*;
use crate::Broker;
use crate::store::inspect;
use crate::store::queue::Item;

/// Looks at an image: what it holds, and what the broker does with it.
async fn look(window: &Window, choice: &Choice, work: &Work) {
    let folder = window.image(choice).unwrap();
    let come = work.history.judge(window, folder.path()).await;
    let come = come.unwrap_or_else(|broken| panic!("{broken} ({choice:?})"));
    let broker = start(folder.path(), &work.fixture).await;
    let mut db = inspect::file(&folder.path().join("broker.db")).await.unwrap();
    assert_eq!(inspect::integrity(&mut db, inspect::Depth::Full).await.unwrap(), [""; 0]);
    drop(db);
    if let Some(come) = come.filter(|come| come.mark.is_some()) {
        goes_on(&broker, come, work).await;
    }
    broker.stop(WITHIN).await.unwrap();
}

/// Every mark is of this store's past, all that comes again is known, and no number or place is given twice.
async fn goes_on(broker: &Broker, come: &Come, work: &Work) {
    assert!(!broker.state.life.is_set_back(&come.mark.unwrap()), "{:?}", come.mark);
    assert!(broker.state.meshes.only().head().seq >= come.head);
    for (at, node) in work.nodes.into_iter().enumerate() {
        let mut link = login(broker, node).await;
        assert!(link.peer.login.0 > come.logins[at], "login {}", come.logins[at]);
        let sent = come.accepted.iter().filter(|(sender, ..)| *sender == at);
        for (_, item, message) in sent {
            broker.state.writer.submit(Change::Send(link.sends(vec![item.clone()]))).await.unwrap();
            let answer = answer(&mut link).await;
            let Answer::Frame(ToNode::Sent(sent)) = answer else { panic!("{answer:?}") };
            let known = matches!(sent.outcomes[..], [Outcome::Duplicate { message: m, .. }] if m == *message);
            assert!(known, "{:?}", sent.outcomes);
        }
        let (changes, places): (Vec<_>, Vec<_>) = come
            .written
            .iter()
            .filter(|(by, ..)| *by == at)
            .map(|(_, change, seq)| (change.clone(), ChangeOutcome::Applied { seq: *seq }))
            .unzip();
        broker.state.writer.submit(writes(&link, changes)).await.unwrap();
        assert_eq!(written(&mut link).await, places);
        is_given_new_places(broker, &mut link, come, work).await;
    }
}

/// A message to a node itself, and a change.
async fn is_given_new_places(broker: &Broker, link: &mut TestLink, come: &Come, work: &Work) {
    let node = link.peer.key;
    let at = work.nodes.iter().position(|one| *one == node).unwrap();
    let item = work.fixture.item(node, 255, 0);
    broker.state.writer.submit(Change::Send(link.sends(vec![item]))).await.unwrap();
    answer(link).await;
    let queue = queue(broker, node, Rank::Next).await;
    let (seq, last) = queue.last().unwrap();
    assert!(matches!(last, Item::Envelope(mail) if mail.id == WireId::from_bytes([255; 16])), "{last:?}");
    assert!(seq.0 >= come.next[at], "place {} was given: {seq:?}", come.next[at]);
    let before = come.written.iter().map(|(.., seq)| *seq).max().unwrap_or(0);
    broker.state.writer.submit(writes(link, vec![put(1_000 + at as u64, true, 9)])).await.unwrap();
    let outcomes = written(link).await;
    assert!(matches!(outcomes[..], [ChangeOutcome::Applied { seq }] if seq > before), "{outcomes:?}");
}

#[tokio::test]
async fn whatever_a_crash_leaves_of_a_brokers_database_it_goes_on_with_all_that_was_answered() {
    let mut run = Run::of("broker");
    let work = Work::begin(run.seed()).await.steps(run.steps()).await;
    let mut windows = work.history.windows();
    while let Some(window) = windows.advance() {
        for choice in run.choices(window) {
            look(window, &choice, &work).await;
        }
    }
    run.ends(work.history.count());
}

#[tokio::test]
async fn one_sync_that_a_disk_lets_pass_is_found_in_a_brokers_images_whichever_answer_rests_on_it() {
    let work = Work::begin(1).await.steps(40).await;
    let history = &work.history;
    assert!(history.broken(history.windows()).await.unwrap().is_none());
    let mut found = 0;
    for answer in 0..history.count() {
        if let Some(windows) = history.windows_without_the_sync_of(answer) {
            assert!(history.broken(windows).await.unwrap().is_some(), "answer {answer}");
            found += 1;
        }
    }
    assert!(found > 15, "{found}");
    let lazy = history.windows_without_syncs_of_the_database();
    assert!(history.broken(lazy).await.unwrap().is_some());
}
