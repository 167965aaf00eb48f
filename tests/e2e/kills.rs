//! `kill -9` of the sender, the broker and the recipient at each of eight steps of a message's way: nothing is lost,
//! nothing is shown twice, order is kept, and no state is shown before it is true.

use waxwing_lab::{Lab, When};

use crate::support::Pair;

/// Where a message is when somebody dies.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// An app is posting to its node.
    BeforeAnswer,
    /// The node has just answered that it has it.
    AfterAnswer,
    /// The sender has sealed it and is handing it to the broker.
    Send,
    /// The broker has it and is saying so.
    Sent,
    /// The broker is handing it to the recipient.
    Deliver,
    /// The recipient has it and is saying so.
    Settle,
    /// The broker is handing the receipt to the sender.
    Notice,
    /// The sender has verified the receipt.
    AfterReceipt,
}

/// Messages under way when somebody dies, and messages sent after.
const BATCH: usize = 4;

/// Kills a process at a step, starts it again, and holds the whole history against the promises.
async fn kill(victim: &str, step: Step) {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    match step {
        Step::BeforeAnswer => before_the_answer(&mut pair, victim).await,
        Step::AfterAnswer => {
            pair.send(BATCH).await;
            pair.lab.kill(victim).await.unwrap();
        }
        Step::AfterReceipt => {
            pair.send(BATCH).await;
            pair.read(BATCH).await;
            for id in pair.sent.clone() {
                pair.settled(&id).await;
            }
            pair.lab.kill(victim).await.unwrap();
        }
        Step::Send | Step::Sent | Step::Deliver | Step::Settle | Step::Notice => {
            let hold = pair.lab.proxy().hold(frame(step, &pair.lab));
            pair.send(BATCH).await;
            let held = hold.held().await.unwrap();
            pair.lab.kill(victim).await.unwrap();
            held.release();
        }
    }
    if !matches!(step, Step::BeforeAnswer) {
        pair.lab.restart(victim).await.unwrap();
    }
    pair.send(BATCH).await;
    pair.conclude().await;
}

/// Kills a process while an app is sending without a pause, and starts it again while the app keeps trying.
async fn before_the_answer(pair: &mut Pair, victim: &str) {
    let app = pair.sender.clone();
    let ids: Vec<String> = (0..5 * BATCH).map(|n| format!("m-{}", pair.sent.len() + 1 + n)).collect();
    let (first_sent, first) = tokio::sync::oneshot::channel();
    let posting = async {
        let mut first_sent = Some(first_sent);
        for id in &ids {
            app.send("beta", id, crate::support::WITHIN).await.unwrap();
            if let Some(tell) = first_sent.take() {
                tell.send(()).unwrap();
            }
        }
    };
    let killing = async {
        first.await.unwrap();
        pair.lab.kill(victim).await.unwrap();
        pair.lab.restart(victim).await.unwrap();
    };
    tokio::join!(posting, killing);
    pair.sent.extend(ids);
}

/// The frame in which a message is at this step.
fn frame(step: Step, lab: &Lab) -> When {
    let (alpha, beta) = (lab.id("alpha"), lab.id("beta"));
    match step {
        Step::Send => When::named(alpha, "send"),
        Step::Sent => When::named(alpha, "sent"),
        Step::Deliver => When::envelope(beta),
        Step::Settle => When::settlement(beta),
        Step::Notice => When::notice(alpha),
        Step::BeforeAnswer | Step::AfterAnswer | Step::AfterReceipt => unreachable!("no frame is on its way"),
    }
}

macro_rules! matrix {
    ($($name:ident: $victim:expr, $step:ident;)*) => {
        $(#[tokio::test]
        async fn $name() {
            kill($victim, Step::$step).await;
        })*
    };
}

matrix! {
    sender_killed_before_the_202: "alpha", BeforeAnswer;
    sender_killed_after_the_202: "alpha", AfterAnswer;
    sender_killed_holding_send: "alpha", Send;
    sender_killed_holding_sent: "alpha", Sent;
    sender_killed_holding_deliver: "alpha", Deliver;
    sender_killed_holding_settle: "alpha", Settle;
    sender_killed_holding_the_notice: "alpha", Notice;
    sender_killed_after_the_receipt: "alpha", AfterReceipt;
    broker_killed_before_the_202: Lab::BROKER, BeforeAnswer;
    broker_killed_after_the_202: Lab::BROKER, AfterAnswer;
    broker_killed_holding_send: Lab::BROKER, Send;
    broker_killed_holding_sent: Lab::BROKER, Sent;
    broker_killed_holding_deliver: Lab::BROKER, Deliver;
    broker_killed_holding_settle: Lab::BROKER, Settle;
    broker_killed_holding_the_notice: Lab::BROKER, Notice;
    broker_killed_after_the_receipt: Lab::BROKER, AfterReceipt;
    recipient_killed_before_the_202: "beta", BeforeAnswer;
    recipient_killed_after_the_202: "beta", AfterAnswer;
    recipient_killed_holding_send: "beta", Send;
    recipient_killed_holding_sent: "beta", Sent;
    recipient_killed_holding_deliver: "beta", Deliver;
    recipient_killed_holding_settle: "beta", Settle;
    recipient_killed_holding_the_notice: "beta", Notice;
    recipient_killed_after_the_receipt: "beta", AfterReceipt;
}
