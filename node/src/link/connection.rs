//! One connection, from the welcome to its end.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tracing::info;
use waxwing_protocol::api::LinkState;
use waxwing_protocol::limits::{self, DEAD_AFTER, PING_EVERY};
use waxwing_protocol::link::{
    self, Deliver, Delivery, Limits, MeshNotice, MeshNoticeKind, Sent, Settle, ToBroker, ToNode,
};

use super::calls::{CallError, Calls};
use super::dial::{Connection, Socket};
use super::peers::Peers;
use super::{Ended, drain, receive};
use crate::clock::Boot;
use crate::epochs;
use crate::mesh::{GrowError, Mesh};
use crate::spaces;

/// Frames waiting to be written. Whoever has one more waits too.
const OUT: usize = 64;
/// Outcomes waiting to be worked on. There cannot be more than requests, nor more of these than items in flight.
const OUTCOMES: usize = limits::WINDOW_ITEMS;
/// Deliveries waiting to be worked on. A frame has one item at least, most have many, and notices come beside the window.
const DELIVERIES: usize = 16 * limits::WINDOW_ITEMS;
/// Bytes of them: the broker's window, and as much again for what it sends before it has seen a settle.
const DELIVERY_BYTES: usize = 2 * limits::WINDOW_BYTES;
/// A write that takes longer means that nobody reads at the other end.
const WRITE_WITHIN: Duration = DEAD_AFTER;

/// What the parts of one connection share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) mesh: Arc<Mesh>,
    pub(super) calls: Calls,
    pub(super) out: mpsc::Sender<ToBroker>,
    pub(super) peers: Peers,
    pub(super) under_way: drain::UnderWay,
    pub(super) limits: Limits,
    /// The log has entries that this node missed.
    pub(super) log_wanted: Notify,
    /// Bytes delivered and not worked on yet.
    pub(super) waiting: AtomicUsize,
}

/// Undoes what the start of a connection did, however it ends.
struct Up<'a>(&'a Context);

impl<'a> Up<'a> {
    fn new(context: &'a Context, login: Option<u64>) -> Self {
        let mesh = &context.mesh;
        mesh.set_calls(Some(context.calls.clone()));
        info!(broker = %mesh.broker, login, "link up");
        Self(context)
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        let mesh = &self.0.mesh;
        mesh.set_calls(None);
        mesh.set_caught_up(false);
        mesh.signals.link_lost();
        self.0.calls.close();
    }
}

pub(super) async fn run(mesh: &Arc<Mesh>, connection: Connection) -> Ended {
    let (out, frames) = mpsc::channel(OUT);
    let (sent_tx, sent) = mpsc::channel(OUTCOMES);
    let (deliver_tx, deliveries) = mpsc::channel(DELIVERIES);
    let context = Context {
        mesh: Arc::clone(mesh),
        calls: Calls::new(out.clone()),
        out,
        peers: Peers::default(),
        under_way: drain::UnderWay::default(),
        limits: connection.welcome.limits,
        log_wanted: Notify::new(),
        waiting: AtomicUsize::new(0),
    };
    let store = connection.store;
    let (sink, stream) = connection.socket.split();
    // The welcome is committed: from now on a copy that has not seen it is behind. Before everything else.
    let confirmed = ToBroker::Settle(Settle { through: 0, items: Vec::new() });
    if context.out.try_send(confirmed).is_err() {
        return Ended::Lost("this link is ending".into());
    }
    let _up = Up::new(&context, connection.welcome.login);
    tokio::select! {
        ended = read(stream, &context, sent_tx, deliver_tx) => ended,
        ended = write(sink, frames) => ended,
        ended = drain::run(&context, sent) => ended,
        ended = receive::run(&context, deliveries) => ended,
        ended = greet(&context) => ended,
        ended = epochs::run(mesh, &context.calls) => ended,
        ended = spaces::run(mesh, &context.calls, store) => ended,
    }
}

/// What a link owes: the log beyond ours, whenever it turns out that there is more, and our prekey. Ends only if it
/// fails.
async fn greet(context: &Context) -> Ended {
    let mesh = &context.mesh;
    let greeted: Result<Infallible, CallError> = async {
        context.calls.fetch_log(mesh).await?;
        context.calls.publish(mesh).await?;
        mesh.epochs.nudge();
        // Not before: whom nobody can seal for cannot be said to be linked.
        mesh.set_link(LinkState::Up, None).await;
        loop {
            context.log_wanted.notified().await;
            context.calls.fetch_log(mesh).await?;
        }
    }
    .await;
    match greeted {
        Ok(never) => match never {},
        Err(error) => ended(error),
    }
}

/// What a failed request means for the connection.
pub(crate) fn ended(error: CallError) -> Ended {
    match error {
        CallError::Grow(GrowError::Rollback(why)) => Ended::Rollback(why),
        CallError::Grow(GrowError::Write(error)) => error.into(),
        CallError::Grow(GrowError::Read(error)) => Ended::Database(error.to_string()),
        CallError::Read(error) => Ended::Database(error.to_string()),
        CallError::Lost
        | CallError::Unanswered(_)
        | CallError::Refused { .. }
        | CallError::NoKeys { .. }
        | CallError::Limited { .. }
        | CallError::Grow(GrowError::Gap) => Ended::Lost(error.to_string()),
        CallError::Grow(GrowError::Parts(_)) => Ended::Parted(error.to_string()),
    }
}

/// Reads frames and hands each to whoever it is for.
async fn read(
    mut stream: SplitStream<Socket>,
    context: &Context,
    sent: mpsc::Sender<Sent>,
    deliveries: mpsc::Sender<Deliver>,
) -> Ended {
    loop {
        let message = match timeout(DEAD_AFTER, stream.next()).await {
            Err(_) => return Ended::Lost(format!("nothing heard for {} s", DEAD_AFTER.as_secs())),
            Ok(None) => return Ended::Lost("the broker closed the link".into()),
            Ok(Some(Err(error))) => return Ended::Lost(error.to_string()),
            Ok(Some(Ok(message))) => message,
        };
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Pong(sent) => {
                // Whatever a ping had in it comes back.
                if let Ok(sent) = <[u8; 8]>::try_from(&*sent) {
                    context.calls.note_answered(Boot::from_millis(u64::from_be_bytes(sent)).min(Boot::now()));
                }
                continue;
            }
            Message::Ping(_) => continue,
            Message::Close(_) => return Ended::Lost("the broker closed the link".into()),
            Message::Text(_) | Message::Frame(_) => {
                return Ended::Lost("the broker sent a frame that is not binary".into());
            }
        };
        let frame = match link::decode(&bytes) {
            Ok(frame) => frame,
            Err(error) => return Ended::Lost(format!("from the broker: {error}")),
        };
        if let Err(ended) = dispatch(frame, context, &sent, &deliveries).await {
            return ended;
        }
    }
}

/// Hands a frame on. Never waits for whoever works on it: a node that does not read is not read from, and two such ends
/// would wait for each other. An honest broker's window keeps the queues short; one that exceeds it is left.
async fn dispatch(
    frame: ToNode,
    context: &Context,
    sent: &mpsc::Sender<Sent>,
    deliveries: &mpsc::Sender<Deliver>,
) -> Result<(), Ended> {
    let exceeds = || Ended::Lost("the broker exceeds the window".into());
    match frame {
        ToNode::Sent(answer) => sent.try_send(answer).map_err(|_| exceeds()),
        ToNode::Deliver(deliver) => {
            let bytes = bytes(&deliver);
            let waiting = context.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if deliver.items.len() > limits::WINDOW_ITEMS || waiting > DELIVERY_BYTES {
                return Err(exceeds());
            }
            deliveries.try_send(deliver).map_err(|_| exceeds())
        }
        ToNode::Done(done) => {
            context.calls.answer(done.req, ToNode::Done(done));
            Ok(())
        }
        ToNode::Prekeys(prekeys) => {
            context.calls.answer(prekeys.req, ToNode::Prekeys(prekeys));
            Ok(())
        }
        ToNode::Keys(keys) => {
            context.calls.answer(keys.req, ToNode::Keys(keys));
            Ok(())
        }
        ToNode::QueueShown(shown) => {
            context.calls.answer(shown.req, ToNode::QueueShown(shown));
            Ok(())
        }
        ToNode::SpaceWritten(written) => {
            context.calls.answer(written.req, ToNode::SpaceWritten(written));
            Ok(())
        }
        ToNode::SpaceChanges(changes) => {
            context.calls.answer(changes.req, ToNode::SpaceChanges(changes));
            Ok(())
        }
        ToNode::SpaceOffered(offered) => {
            context.calls.answer(offered.req, ToNode::SpaceOffered(offered));
            Ok(())
        }
        ToNode::Log(log) => match log.req {
            Some(req) => {
                context.calls.answer(req, ToNode::Log(log));
                Ok(())
            }
            None => match context.mesh.grow(&log.entries, log.mark).await {
                Ok(()) => Ok(()),
                Err(GrowError::Parts(_)) if context.mesh.waits_beside(log.head) => Ok(()),
                Err(GrowError::Gap) => {
                    context.log_wanted.notify_one();
                    Ok(())
                }
                Err(error) => Err(ended(error.into())),
            },
        },
        ToNode::MeshNotice(MeshNotice { kind: MeshNoticeKind::ResumeWanted { branches } }) => {
            context.mesh.set_resume_wanted(Some(branches)).await;
            Ok(())
        }
        ToNode::MeshNotice(MeshNotice { kind: MeshNoticeKind::NodeDuplicated { node } }) => {
            context.mesh.duplicated(node).await;
            Ok(())
        }
        ToNode::Error(error) => match error.req {
            Some(req) => {
                context.calls.answer(req, ToNode::Error(error));
                Ok(())
            }
            None => Err(Ended::Lost(format!("the broker did not understand this node: {}", error.detail))),
        },
        ToNode::GoAway(goaway) => Err(Ended::GoAway(goaway)),
    }
}

/// Envelope bytes of a delivery.
fn bytes(deliver: &Deliver) -> usize {
    let size = |delivery: &Delivery| match delivery {
        Delivery::Envelope(envelope) => envelope.env.len(),
        Delivery::Notice(_) => 0,
    };
    deliver.items.iter().map(size).sum()
}

/// Writes frames as they come, those that are ready together, and pings. A goodbye is the last frame: whatever else the parts
/// of this link have to say waits here, and ends with it. Nothing of it is lost, since what was under way is in the tables.
async fn write(mut sink: SplitSink<Socket, Message>, mut frames: mpsc::Receiver<ToBroker>) -> Ended {
    let mut pings = interval(PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = Said::More;
    loop {
        let written = tokio::select! {
            frame = frames.recv(), if said == Said::More => match frame {
                Some(frame) => timeout(WRITE_WITHIN, write_ready(&mut sink, frame, &mut frames)).await,
                None => return Ended::Lost("this link is ending".into()),
            },
            _ = pings.tick() => timeout(WRITE_WITHIN, ping(&mut sink)).await.map(|pinged| pinged.map(|()| said)),
        };
        match written {
            Ok(Ok(now)) => said = now,
            Ok(Err(error)) => return Ended::Lost(error),
            Err(_) => return Ended::Lost("the broker does not read".into()),
        }
    }
}

/// Whether there may be more to say on a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Said {
    More,
    Goodbye,
}

async fn write_ready(
    sink: &mut SplitSink<Socket, Message>,
    first: ToBroker,
    frames: &mut mpsc::Receiver<ToBroker>,
) -> Result<Said, String> {
    let (mut next, mut said) = (Some(first), Said::More);
    while let Some(frame) = next {
        let bytes = link::encode(&frame).map_err(|error| error.to_string())?;
        sink.feed(Message::Binary(bytes)).await.map_err(|error| error.to_string())?;
        if matches!(frame, ToBroker::Bye(_)) {
            said = Said::Goodbye;
            break;
        }
        next = frames.try_recv().ok();
    }
    sink.flush().await.map_err(|error| error.to_string())?;
    Ok(said)
}

async fn ping(sink: &mut SplitSink<Socket, Message>) -> Result<(), String> {
    let sent = Boot::now().as_millis().to_be_bytes();
    sink.send(Message::Ping(bytes::Bytes::copy_from_slice(&sent))).await.map_err(|error| error.to_string())
}
