//! From the outbox to the broker: lane by lane, in order, within the window.
//!
//! A lane's pending rows are read after a cursor, sealed and handed over. What the broker answers goes to the writer.
//! After a transient refusal the broker refuses the rest of the lane too, until its oldest message comes again marked
//! `first`; so the lane waits until nothing of it is in flight, then a while, then goes back to the row refused.

mod lane;
mod seal;
mod under_way;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::debug;
use waxwing_protocol::limits;
use waxwing_protocol::link::{Outcome, Send, Sent, ToBroker};
use waxwing_sqlite::On;

pub(super) use self::under_way::UnderWay;

use self::lane::{Fresh, Lane};
use self::seal::{Voids, seal_row};
use super::connection::{self, Context};
use super::peers::NoSession;
use super::{CallError, Ended};
use crate::signals::{Back, HELD, Woken};
use crate::store::OutLane;
use crate::store::outbox::{self, Accepted, Pending};
use crate::writer::{Answered, WriteError};

/// Lanes remembered though they have nothing to send.
const IDLE_LANES: usize = 1_024;
/// Rows read at once from one lane: each lane gets its turn after so many.
const TURN: usize = 128;
/// Rows read at once from one that had nothing to send just now.
const FEW: usize = 16;

/// While the broker has not answered, what is new waits for more this long at most, or for its answer (Nagle, RFC 896): one message by
/// itself goes at once, and many make few frames, each one commit of the broker.
const GATHER: Duration = Duration::from_millis(2);

type Written = oneshot::Receiver<Result<(), WriteError>>;

/// Drains the outbox until the link ends.
pub(super) async fn run(context: &Context, sent: mpsc::Receiver<Sent>) -> Ended {
    match Drain::start(context).await {
        Ok(mut drain) => match drain.run(sent).await {
            Ok(never) => match never {},
            Err(ended) => ended,
        },
        Err(error) => Ended::Database(error.to_string()),
    }
}

struct Drain<'a> {
    context: &'a Context,
    /// Lanes that have, or may have, something to send.
    lanes: BTreeMap<OutLane, Lane>,
    /// Requests the broker has not answered.
    asked: HashMap<u64, Vec<Flying>>,
    /// Of the window.
    items: usize,
    bytes: usize,
    /// The highest number of a row that was handed over.
    rows: u64,
    /// When something was handed over last.
    last: Option<Instant>,
}

/// One row in flight.
#[derive(Clone, Copy, Debug)]
struct Flying {
    lane: OutLane,
    row: i64,
    seal: u32,
    bytes: usize,
}

/// The next rows of a lane.
struct Page {
    rows: Vec<Pending>,
    /// Whether nothing is known to follow.
    is_last: bool,
    /// What follows, if it is held, and how often messages had ended when it was taken.
    rest: Option<(VecDeque<Pending>, u64)>,
}

impl Page {
    /// The first of those that are held.
    fn held(mut rows: VecDeque<Pending>, ends: u64, room: usize) -> Self {
        let rest = rows.split_off(room.min(rows.len()));
        Self { rows: rows.into(), is_last: rest.is_empty(), rest: Some((rest, ends)) }
    }

    /// Those that a table has.
    async fn read(on: On<'_>, lane: OutLane, after: i64, room: usize) -> Result<Self, Ended> {
        let read = outbox::pending(on, lane, after, room).await;
        let rows = read.map_err(|error| Ended::Database(error.to_string()))?;
        Ok(Self { is_last: rows.len() < room, rows, rest: None })
    }
}

impl Drop for Drain<'_> {
    fn drop(&mut self) {
        self.context.mesh.signals.set_draining(false);
    }
}

impl<'a> Drain<'a> {
    /// Begins with every lane that has pending rows.
    async fn start(context: &'a Context) -> waxwing_sqlite::Result<Self> {
        let mut db = context.mesh.db.acquire().await?;
        let lanes =
            outbox::pending_lanes(&mut db).await?.into_iter().map(|lane| (lane, Lane::new())).collect();
        context.mesh.signals.set_draining(true);
        Ok(Self { context, lanes, asked: HashMap::new(), items: 0, bytes: 0, rows: 0, last: None })
    }

    async fn run(&mut self, mut sent: mpsc::Receiver<Sent>) -> Result<Infallible, Ended> {
        let mut writing: FuturesUnordered<Written> = FuturesUnordered::new();
        loop {
            let gathers = self.gathers();
            if gathers.is_none() {
                self.send_ready().await?;
            }
            let unblocked = self.lanes.values().filter_map(|lane| lane.blocked).min();
            tokio::select! {
                answer = sent.recv() => {
                    let answer = answer.ok_or_else(|| Ended::Lost("this link is ending".into()))?;
                    writing.push(self.answered(answer).await?);
                }
                (woken, ends) = self.context.mesh.signals.woken() => self.wake(woken, ends),
                Some(written) = writing.next() => check(written)?,
                () = until(gathers.or(unblocked)) => {}
            }
            self.unblock();
        }
    }

    /// Lanes with new rows, or with old ones to be sent again.
    fn wake(&mut self, woken: BTreeMap<OutLane, Woken>, ends: u64) {
        let held: usize = self.lanes.values().map(Lane::held).sum();
        for (key, woken) in woken {
            let lane = self.lanes.entry(key).or_insert_with(Lane::empty);
            let back_to = if let Woken::Table(back_to) = &woken { *back_to } else { None };
            lane.wake(woken, ends, HELD.saturating_sub(held));
            if let Some(Back { row, nacks }) = back_to {
                lane.refused_before(nacks);
                lane.back_to(row);
            }
        }
    }

    fn unblock(&mut self) {
        let now = Instant::now();
        for lane in self.lanes.values_mut() {
            if lane.blocked.is_some_and(|until| until <= now) {
                lane.blocked = None;
            }
        }
        // A lane that has nothing left is kept for its cursor: without it, rows whose outcome is not on disk yet would be
        // read and sent again. That is harmless, so there is no need to keep very many.
        if self.lanes.len() > IDLE_LANES {
            self.lanes.retain(|_, lane| !lane.dry || !lane.flying.is_empty() || lane.refused.is_some());
        }
    }

    fn window_left(&self) -> usize {
        let limits = &self.context.limits;
        let (items, bytes) = (limits.items as usize, limits.bytes as usize);
        if self.bytes + limits::ENVELOPE > bytes { 0 } else { items.saturating_sub(self.items) }
    }

    /// Until when what is new waits for more, if it does.
    fn gathers(&self) -> Option<Instant> {
        let until = self.last.map(|last| last + GATHER);
        until.filter(|until| !self.asked.is_empty() && *until > Instant::now())
    }

    /// Hands over whatever may go, most urgent lanes first, in turns.
    async fn send_ready(&mut self) -> Result<(), Ended> {
        loop {
            let now = Instant::now();
            let ready: Vec<OutLane> =
                self.lanes.iter().filter(|(_, lane)| lane.is_ready(now)).map(|(key, _)| *key).collect();
            if ready.is_empty() {
                return Ok(());
            }
            for key in ready {
                let room = self.window_left().min(TURN);
                if room == 0 {
                    return Ok(());
                }
                self.turn(key, room).await?;
            }
        }
    }

    /// Hands over the next rows of one lane.
    async fn turn(&mut self, key: OutLane, room: usize) -> Result<(), Ended> {
        let context = self.context;
        let Some(lane) = self.lanes.get_mut(&key) else {
            return Ok(());
        };
        let db = &context.mesh.db;
        let page = match lane.take_fresh(context.mesh.signals.ends()) {
            Fresh::Rows { rows, ends } => Page::held(rows, ends, room),
            Fresh::Few => Page::read(db.brief().into(), key, lane.cursor, room.min(FEW)).await?,
            Fresh::Unknown => Page::read(db.into(), key, lane.cursor, room).await?,
        };
        lane.dry = page.is_last;
        if page.rows.is_empty() {
            return Ok(());
        }
        match context.peers.ready(&context.mesh, &context.calls, key.recipient).await {
            Ok(()) => lane.prekey.reset(),
            Err(NoSession::Call(error @ (CallError::Lost | CallError::Grow(_) | CallError::Read(_)))) => {
                return Err(connection::ended(error));
            }
            Err(error) => {
                let mut wait = lane.prekey.next();
                if let NoSession::Call(CallError::Limited { after }) = error {
                    wait = wait.max(after);
                }
                debug!(peer = %key.recipient, %error, ?wait, "nothing can be sealed yet");
                lane.dry = false;
                lane.blocked = Some(Instant::now() + wait);
                return Ok(());
            }
        }
        self.hand_over(key, page).await
    }

    /// Seals rows and sends them. Those that do not fit wait for the next turn.
    async fn hand_over(&mut self, key: OutLane, page: Page) -> Result<(), Ended> {
        let context = self.context;
        let Some(lane) = self.lanes.get_mut(&key) else {
            return Ok(());
        };
        let Page { rows, rest, .. } = page;
        let count = rows.len();
        let voids = Voids::read(context, key, rows.last().map_or(0, |row| row.counter)).await?;
        let mut items = Vec::with_capacity(rows.len());
        let mut flying = Vec::with_capacity(rows.len());
        let (mut bytes, mut done) = (0, 0);
        // Noted before the clock is looked at: whoever ends what has had its time looks at it first, and then at what is noted.
        // So what he takes for never handed over is not handed over here.
        let noted: Vec<i64> = rows.iter().map(|row| row.row).collect();
        context.mesh.signals.launched(noted.iter().copied());
        let now = context.mesh.clock.steady();
        for row in rows {
            if lane.flying.contains(&row.row) || row.expires <= now {
                lane.cursor = row.row;
                done += 1;
                continue;
            }
            let first = lane.flying.is_empty();
            let (number, seal, sent) = (row.row, row.seal, row.sent(key));
            let void = voids.below(row.counter);
            let Some(item) = seal_row(context, key, row, void.clone(), first)? else {
                lane.dry = false;
                break;
            };
            if bytes + item.env.len() > limits::FRAME_ENVELOPES && !items.is_empty() {
                lane.dry = false;
                break;
            }
            context.under_way.note(sent, &void);
            bytes += item.env.len();
            flying.push(Flying { lane: key, row: number, seal, bytes: item.env.len() });
            lane.flying.insert(number);
            self.rows = self.rows.max(u64::try_from(number).unwrap_or(0));
            lane.cursor = number;
            done += 1;
            items.push(item);
        }
        let left: Vec<i64> = noted.into_iter().filter(|row| !lane.flying.contains(row)).collect();
        context.mesh.signals.landed(&left);
        if let Some((rest, ends)) = rest.filter(|_| done == count) {
            lane.keep(rest, ends);
        }
        if items.is_empty() {
            return Ok(());
        }
        self.items += items.len();
        self.bytes += bytes;
        let req = context.calls.number();
        self.asked.insert(req, flying);
        self.last = Some(Instant::now());
        let sent = context.out.send(ToBroker::Send(Send { req, rows: self.rows, items })).await;
        sent.map_err(|_| Ended::Lost("this link is ending".into()))
    }

    /// Takes the broker's outcomes to the writer.
    async fn answered(&mut self, answer: Sent) -> Result<Written, Ended> {
        let asked = self.asked.remove(&answer.req).filter(|asked| asked.len() == answer.outcomes.len());
        let asked = asked.ok_or_else(|| Ended::Lost("the broker answered what was not asked".into()))?;
        let mut answered = Vec::with_capacity(asked.len());
        for (flying, outcome) in asked.into_iter().zip(answer.outcomes) {
            self.items -= 1;
            self.bytes -= flying.bytes;
            answered.push(verdict(&flying, outcome));
            let Some(lane) = self.lanes.get_mut(&flying.lane) else {
                continue;
            };
            lane.flying.remove(&flying.row);
            if outcome.is_transient() {
                debug!(row = flying.row, ?outcome, "not accepted yet");
                lane.not_before(not_before(outcome));
                lane.back_to(flying.row);
            } else {
                lane.resend.reset();
                lane.settle();
            }
        }
        Ok(self.context.mesh.writer.answered(answered, answer.mark).await)
    }
}

/// What an outcome means for our row.
fn verdict(flying: &Flying, outcome: Outcome) -> Answered {
    let (row, seal) = (flying.row, flying.seal);
    let refused = |reason| Answered::Refused { row, seal, reason };
    match outcome {
        Outcome::Accepted { message } | Outcome::Duplicate { message, .. } => {
            Answered::Accepted(Accepted { row, seal, message_id: message })
        }
        Outcome::IdReused => refused("id_reused"),
        Outcome::UnknownRecipient => refused("unknown_recipient"),
        Outcome::RevokedRecipient => refused("revoked_recipient"),
        Outcome::TooLarge => refused("too_large"),
        Outcome::TtlTooLong => refused("ttl_too_long"),
        Outcome::Expired => refused("expired"),
        Outcome::BadItem => refused("bad_item"),
        Outcome::QueueFull | Outcome::RateLimited { .. } | Outcome::Behind => Answered::Later { row },
    }
}

/// When an item may be offered again, if the broker has said so.
fn not_before(outcome: Outcome) -> Option<Instant> {
    match outcome {
        Outcome::RateLimited { after } => {
            Some(Instant::now() + Duration::from_millis(after).min(limits::AFTER_MAX))
        }
        Outcome::Accepted { .. }
        | Outcome::Duplicate { .. }
        | Outcome::IdReused
        | Outcome::UnknownRecipient
        | Outcome::RevokedRecipient
        | Outcome::TooLarge
        | Outcome::TtlTooLong
        | Outcome::Expired
        | Outcome::BadItem
        | Outcome::QueueFull
        | Outcome::Behind => None,
    }
}

fn check(written: Result<Result<(), WriteError>, oneshot::error::RecvError>) -> Result<(), Ended> {
    match written {
        Ok(Ok(())) => Ok(()),
        // What the broker said is lost here: a new link sends these rows again, and is told the same.
        Ok(Err(error)) => Err(Ended::Lost(error.to_string())),
        Err(_) => Err(Ended::Database("the writer has stopped".into())),
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
