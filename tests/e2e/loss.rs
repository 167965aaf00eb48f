//! A broker that loses its store, or is set back to an older copy of it: no mail is lost, and who decides what the
//! membership log is are the admins, not the broker.

use std::path::Path;

use waxwing_client::api::{BatchOutcome, BatchRequest, InviteRequest, MeshQuery, MessageState};
use waxwing_crypto::membership::Role;
use waxwing_lab::{Frame, Lab, Recorder, When, apps, eventually};
use waxwing_protocol::link::{ToBroker, ToNodeLogin};

use crate::support::{PROGRAM, Pair, WITHIN, mesh};

/// Messages between accepted and delivered when the store is lost.
const MESSAGES: usize = 5_000;
/// Messages in one request.
const BATCH: usize = 1_000;

/// A copy of the store, made while the broker is stopped.
async fn copy_store(lab: &mut Lab) {
    lab.stop(Lab::BROKER).await.unwrap();
    std::fs::copy(lab.state(Lab::BROKER).join("broker.db"), lab.folder().join("copy.db")).unwrap();
    lab.restart(Lab::BROKER).await.unwrap();
}

/// Puts that copy back.
async fn set_back(lab: &mut Lab) {
    lab.stop(Lab::BROKER).await.unwrap();
    let store = lab.state(Lab::BROKER).join("broker.db");
    assert!(!Path::new(&store.with_extension("db-wal")).exists(), "a stopped broker has folded its log");
    std::fs::copy(lab.folder().join("copy.db"), store).unwrap();
    lab.restart(Lab::BROKER).await.unwrap();
}

/// Hands over messages from `first` to before `end`, in big requests.
async fn send(lab: &Lab, record: &Recorder, first: usize, end: usize) {
    let client = lab.client("alpha");
    for begin in (first..end).step_by(BATCH) {
        let ids: Vec<_> = (begin..end.min(begin + BATCH)).map(|n| format!("m-{n}")).collect();
        let items = ids.iter().map(|id| apps::request("beta", id).unwrap()).collect();
        let answer = client.send_batch(&BatchRequest { items }).await.unwrap();
        assert!(answer.items.iter().all(|item| matches!(item, BatchOutcome::Sent(_))));
        for id in &ids {
            record.push(apps::accepted("alpha", "beta", id));
        }
    }
}

/// Waits until the broker has so many messages of alpha that are not delivered.
async fn until_accepted(lab: &Lab, count: u64) {
    let client = lab.client("alpha");
    let accepted = async || {
        let mesh = client.health().await.ok()?.meshes.pop()?;
        (mesh.outbox_pending == 0 && mesh.outbox_unreceipted == count).then_some(())
    };
    eventually(WITHIN, "the broker has accepted everything", accepted).await.unwrap();
}

/// Sees that every message arrives once, in order, and that its sender knows.
async fn all_arrive(lab: &Lab, record: &Recorder, count: usize) {
    let read = lab.reader("beta", record).read(count, 2 * WITHIN).await.unwrap();
    let ids: Vec<_> = read.iter().map(|item| item.client_message_id.to_string()).collect();
    assert_eq!(ids, (0..count).map(|n| format!("m-{n}")).collect::<Vec<_>>(), "once, and in order");
    let client = lab.client("alpha");
    let receipted = async || {
        let mesh = client.health().await.ok()?.meshes.pop()?;
        (mesh.outbox_pending + mesh.outbox_unreceipted == 0).then_some(())
    };
    eventually(WITHIN, "alpha knows of every delivery", receipted).await.unwrap();
    let last = lab.sender("alpha", record).settled(&format!("m-{}", count - 1), WITHIN).await.unwrap();
    assert_eq!(last.state, MessageState::Delivered);
}

#[tokio::test]
async fn a_broker_that_loses_its_whole_store_loses_no_mail() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let record = Recorder::default();
    lab.stop("beta").await.unwrap();
    send(&lab, &record, 0, MESSAGES).await;
    until_accepted(&lab, MESSAGES as u64).await;
    lab.lose_store().await.unwrap();
    // While beta is away, too: its prekey is on alpha's disk.
    let client = lab.client("alpha");
    let knows = async || client.health().await.ok()?.meshes.pop()?.resume_wanted;
    eventually(WITHIN, "alpha knows of the loss", knows).await.unwrap();
    until_accepted(&lab, MESSAGES as u64).await;
    lab.restart("beta").await.unwrap();
    all_arrive(&lab, &record, MESSAGES).await;
}

#[tokio::test]
async fn a_broker_that_is_set_back_to_an_older_copy_loses_no_mail() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let record = Recorder::default();
    lab.stop("beta").await.unwrap();
    send(&lab, &record, 0, 1_000).await;
    until_accepted(&lab, 1_000).await;
    copy_store(&mut lab).await;
    lab.linked("alpha").await.unwrap();
    // What the copy does not know: a member, deliveries, and most of the messages.
    lab.add("gamma").await.unwrap();
    lab.restart("beta").await.unwrap();
    let mut reader = lab.reader("beta", &record);
    reader.read(1_000, WITHIN).await.unwrap();
    until_accepted(&lab, 0).await;
    lab.stop("beta").await.unwrap();
    send(&lab, &record, 1_000, MESSAGES).await;
    until_accepted(&lab, (MESSAGES - 1_000) as u64).await;
    set_back(&mut lab).await;
    lab.restart("beta").await.unwrap();
    lab.linked("gamma").await.unwrap();
    let rest = reader.read(MESSAGES - 1_000, 2 * WITHIN).await.unwrap();
    assert_eq!(rest.len(), MESSAGES - 1_000);
    all_arrive(&lab, &Recorder::default(), MESSAGES).await;
}

#[tokio::test]
async fn a_receipt_that_was_lost_with_the_store_is_given_again() {
    let mut pair = Pair::start().await;
    pair.lab.stop("beta").await.unwrap();
    pair.send(3).await;
    pair.accepted("m-3").await;
    // Beta settles, and what the broker then owes to alpha is lost.
    pair.lab.stop("alpha").await.unwrap();
    pair.lab.restart("beta").await.unwrap();
    pair.read(3).await;
    let settled = async || {
        let frames = pair.lab.proxy().captured();
        let settled = frames.iter().filter_map(|captured| {
            let Frame::ToBroker(ToBroker::Settle(settle)) = &captured.frame else { return None };
            Some(settle.items.len())
        });
        (settled.sum::<usize>() == 3).then_some(())
    };
    eventually(WITHIN, "beta has settled", settled).await.unwrap();
    pair.lab.lose_store().await.unwrap();
    pair.lab.restart("alpha").await.unwrap();
    for id in ["m-1", "m-2", "m-3"] {
        assert_eq!(pair.settled(id).await.state, MessageState::Delivered);
    }
    assert_eq!(pair.reader.reread().await.unwrap().len(), 3);
    pair.record.history().check().unwrap_or_else(|broken| panic!("{broken}"));
}

#[tokio::test]
async fn after_a_loss_a_mesh_takes_nobody_in_until_an_admin_resumes_it() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    lab.lose_store().await.unwrap();
    lab.linked("beta").await.unwrap();
    lab.linked("alpha").await.unwrap();
    let status = lab.run("alpha", &["node", "status"], b"").await.unwrap();
    assert!(status.stdout.contains("waxwing mesh resume"), "{}", status.stdout);
    let invite = lab.run("alpha", &["invite"], b"").await.unwrap();
    assert_eq!(invite.code, Some(8), "{}", invite.stderr);
    assert!(invite.stderr.contains("waxwing mesh resume"), "{}", invite.stderr);
    let member = lab.run("beta", &["mesh", "resume"], b"").await.unwrap();
    assert_eq!(member.code, Some(3), "{}", member.stderr);
    let resumed = lab.json("alpha", &["mesh", "resume"]).await.unwrap();
    assert_eq!(resumed["mesh"], "lab");
    let again = lab.run("alpha", &["mesh", "resume"], b"").await.unwrap();
    assert_eq!(again.code, Some(8), "{}", again.stderr);
    lab.add("gamma").await.unwrap();
    // And a restart later, nothing is wanted any more.
    lab.stop(Lab::BROKER).await.unwrap();
    lab.restart(Lab::BROKER).await.unwrap();
    lab.linked("beta").await.unwrap();
    let health = lab.client("beta").health().await.unwrap();
    assert_eq!(health.meshes[0].resume_wanted, None);
}

#[tokio::test]
async fn of_two_logs_each_node_keeps_its_own_until_an_admin_resumes_one() {
    let mut lab = mesh(&["alpha"]).await;
    let admin = InviteRequest { role: Some(Role::Admin), ..InviteRequest::default() };
    lab.enrol_by("beta", &admin).await.unwrap();
    lab.restart("beta").await.unwrap();
    lab.linked("beta").await.unwrap();
    let mut pair = Pair::on(lab);
    pair.warm_up().await;
    // Beta sees nothing of the run that is lost: any answer of it would bring a mark that proves the loss.
    pair.lab.stop("beta").await.unwrap();
    copy_store(&mut pair.lab).await;
    pair.lab.linked("alpha").await.unwrap();
    pair.lab.add("gamma").await.unwrap();
    pair.lab.stop("alpha").await.unwrap();
    pair.lab.stop("gamma").await.unwrap();
    set_back(&mut pair.lab).await;
    // Neither beta nor the broker knows of a loss, and beta appends to the log as it was.
    pair.lab.restart("beta").await.unwrap();
    pair.lab.linked("beta").await.unwrap();
    pair.lab.json("beta", &["invite"]).await.unwrap();
    // Alpha knows, and holds another log. Mail between the two waits.
    pair.lab.restart("alpha").await.unwrap();
    pair.lab.linked("alpha").await.unwrap();
    let client = pair.lab.client("beta");
    let branches = async || client.health().await.ok()?.meshes.pop()?.resume_wanted.filter(|b| b.len() == 2);
    eventually(WITHIN, "beta is told of two logs", branches).await.unwrap();
    let status = pair.lab.run("beta", &["node", "status"], b"").await.unwrap();
    assert!(status.stdout.contains("nodes hold logs that end at entry"), "{}", status.stdout);
    pair.send(1).await;
    pair.lab.json("alpha", &["mesh", "resume"]).await.unwrap();
    pair.read(1).await;
    pair.settled("m-2").await;
    let peers = client.peers(&MeshQuery::default()).await.unwrap();
    assert_eq!(peers.peers.len(), 3, "beta has taken the log that knows gamma");
    pair.lab.restart("gamma").await.unwrap();
    pair.lab.linked("gamma").await.unwrap();
    pair.conclude().await;
}

#[tokio::test]
async fn a_broker_that_shows_an_older_membership_log_is_refused() {
    let mut lab = Lab::start(PROGRAM).await.unwrap();
    lab.add("alpha").await.unwrap();
    lab.add("beta").await.unwrap();
    let beta = lab.id("beta");
    // The broker's word alone, under the store id that beta knows. It then shows the log that it has, and no admin has
    // resumed that.
    let shown = lab.proxy().rewrite_next(When::named(beta, "welcome"), |mut frame| {
        if let Frame::Login(ToNodeLogin::Welcome(welcome)) = &mut frame {
            let head = welcome.head.as_mut().unwrap();
            head.seq -= 1;
        }
        vec![frame]
    });
    lab.proxy().cut_links();
    shown.happened().await.unwrap();
    // Nothing is left that beta could do, so it ends, and says why.
    let ended = lab.process("beta").ended(WITHIN).await.unwrap();
    assert_eq!(ended.code(), Some(5), "{}", lab.process("beta").log_end());
    assert!(lab.process("beta").log().contains("log_rollback"), "{}", lab.process("beta").log_end());
}
