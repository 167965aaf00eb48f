//! A member that writes into a space that all follow, as fast as it can: it is told when to come again, and that there is no more
//! room; others' mail and presence go on, and nobody's memory grows with what it wants.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use waxwing_crypto::SpaceId;
use waxwing_lab::Lab;
use waxwing_lab::bench::Usage;
use waxwing_lab::hostile::Member;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Change, ChangeOutcome, Code, SpaceWrite, ToBroker, ToNode};

use crate::forks::hostile;
use crate::spaces::{says, shows};
use crate::support::{PROGRAM, Pair};

/// What a node may send in a second, and a mesh have in its spaces.
const SETTINGS: &str = "[limits]\nsend_items = 500\nsend_items_burst = 2000\nsend_bytes = 4194304\n\
    send_bytes_burst = 16777216\nspace_records = 1500\n";
/// Names that it writes under: more than there is room for.
const NAMES: u64 = 3_000;
/// Small records in a frame, and the largest there may be that fit into one.
const SMALL: u64 = 400;
const LARGE: u64 = 2;
/// Frames under way at once.
const AHEAD: usize = 4;
/// Messages and changes of presence while it does so: these at least, some of them when there is no more room, and no more than those.
const ROUNDS: [usize; 2] = [12, 99];
/// What takes a tenth of a second without it takes no longer than this, on a machine that does much else.
const WITHIN: Duration = Duration::from_secs(15);
/// What a process may have more than before: windows and pages, not what is wanted of it.
const MEMORY: u64 = 64 * 1024 * 1024;

/// What the broker has answered.
#[derive(Debug, Default)]
struct Answers {
    applied: usize,
    full: usize,
    limited: usize,
    other: Vec<String>,
}

impl Answers {
    /// Counts an answer. False if a frame is none: whoever logs in is delivered to as well.
    fn count(&mut self, frame: ToNode) -> bool {
        if let ToNode::SpaceWritten(written) = frame {
            for outcome in written.outcomes {
                if let ChangeOutcome::Applied { .. } = outcome {
                    self.applied += 1;
                } else if outcome == ChangeOutcome::Full {
                    self.full += 1;
                } else {
                    self.other.push(format!("{outcome:?}"));
                }
            }
        } else if let ToNode::Error(error) = frame {
            assert!(error.code == Code::RateLimited && error.after.is_some(), "{error:?}");
            self.limited += 1;
        } else {
            assert!(!matches!(frame, ToNode::GoAway(_)), "{frame:?}");
            return false;
        }
        true
    }
}

/// A frame of what it wants to write.
fn frame(mallory: &Member, written: &mut u64, count: u64, bytes: usize) -> (SpaceId, Vec<Change>) {
    let records = (0..count).map(|_| {
        *written += 1;
        let key = format!("flood-{}", *written % NAMES);
        mallory.record("presence", &key, *written, vec![7; bytes]).unwrap()
    });
    let records: Vec<_> = records.collect();
    (records[0].0, records.into_iter().map(|(_, put)| Change::Put(put)).collect())
}

/// Writes until it is over, without ever waiting because it was told to.
async fn floods(mut mallory: Member, full: CancellationToken, over: CancellationToken) -> Answers {
    let (mut answers, mut written, mut frames) = (Answers::default(), 0, Vec::new());
    for (sent, req) in (1..).enumerate() {
        if over.is_cancelled() {
            break;
        }
        if sent % 4 == 0 {
            // What was refused is the same again; what was made is made of other words.
            frames = vec![
                frame(&mallory, &mut written, SMALL, 100),
                frame(&mallory, &mut written, LARGE, limits::VALUE),
            ];
        }
        let (space, changes) = frames[sent % 2].clone();
        mallory.link.transmit(&ToBroker::SpaceWrite(SpaceWrite { req, space, changes })).await.unwrap();
        if sent >= AHEAD {
            while !answers.count(mallory.link.receive().await.unwrap()) {}
            if answers.full > 0 {
                full.cancel();
            }
        }
    }
    answers
}

fn resident(lab: &mut Lab) -> [u64; 3] {
    [Lab::BROKER, "alpha", "beta"].map(|name| Usage::of(lab.process(name).pid().unwrap()).unwrap().resident)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_floods_a_space_is_refused_and_holds_up_neither_mail_nor_presence() {
    let mut pair = Pair::on(Lab::mesh_by(PROGRAM, SETTINGS, &["alpha", "beta"]).await.unwrap());
    pair.warm_up().await;
    // As long as the others, so that there is room for them when there is no more for anything else.
    let words = |n| format!("change {n:02}");
    says(&pair.lab, &words(0)).await;
    shows(&pair.lab, &words(0)).await;
    let mallory = hostile(&pair.lab, &["alpha", "beta"]).await;
    let before = resident(&mut pair.lab);
    let (full, over) = (CancellationToken::new(), CancellationToken::new());
    let flood = tokio::spawn(floods(mallory, full.clone(), over.clone()));
    let (mut mail, mut presence, mut most) = (Duration::ZERO, Duration::ZERO, before);
    let (mut rounds, mut when_full) = (0, 0);
    while rounds < ROUNDS[0] || (when_full < ROUNDS[0] / 2 && rounds < ROUNDS[1]) {
        rounds += 1;
        when_full += usize::from(full.is_cancelled());
        let begun = Instant::now();
        pair.send(1).await;
        pair.read(1).await;
        let id = pair.sent.last().unwrap().clone();
        pair.settled(&id).await;
        mail = mail.max(begun.elapsed());
        let begun = Instant::now();
        says(&pair.lab, &words(rounds)).await;
        shows(&pair.lab, &words(rounds)).await;
        presence = presence.max(begun.elapsed());
        let now = resident(&mut pair.lab);
        most.iter_mut().zip(now).for_each(|(most, now)| *most = now.max(*most));
    }
    over.cancel();
    let answers = flood.await.unwrap();
    println!(
        "{answers:?}; mail took {mail:?} at most, presence {presence:?}; from {before:?} bytes to {most:?}"
    );
    assert!(answers.applied > 500 && answers.full > 0 && answers.limited > 0, "{answers:?}");
    assert!(answers.other.is_empty(), "{answers:?}");
    assert!(mail < WITHIN && presence < WITHIN, "mail {mail:?}, presence {presence:?}");
    for (before, most) in before.into_iter().zip(most) {
        assert!(most < before + MEMORY, "{before} {most}");
    }
    pair.conclude().await;
}
