//! Messages accepted from apps, until they are delivered and after. One file per moment of a message's life.

mod accept;
mod life;
mod outcome;
mod send;

use waxwing_crypto::sealing::Kind;
use waxwing_protocol::api::Voucher;
use waxwing_sqlite::Row;

use super::{OutLane, columns, damaged};

pub(crate) use accept::{Known, NewRow, find, insert};
pub(crate) use life::{Life, Load, Which, content, life, list, load, oldest, routing};
pub(crate) use outcome::{
    Accepted, Affected, Sent, abort, accept, by_wire_id, deliver, doubt, doubt_after_crash, end_asked,
    end_pending, expire, first_expiry, kill, mark_read, renumber, reseal, rows, sent_to, take_back,
};
pub(crate) use send::{Pending, Written, pending, pending_lanes, told, untold};

/// The stored state of a row. That it is in flight is the link's knowledge, not a state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum State {
    /// To be sent.
    Pending,
    /// At the broker.
    Done,
    /// Refused for good, or out of time.
    Dead,
    /// Given up by an operator.
    Aborted,
}

impl State {
    const fn code(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Done => 1,
            Self::Dead => 2,
            Self::Aborted => 3,
        }
    }

    fn from_code(code: i64) -> waxwing_sqlite::Result<Self> {
        [Self::Pending, Self::Done, Self::Dead, Self::Aborted]
            .into_iter()
            .find(|state| state.code() == code)
            .ok_or_else(|| damaged("outbox state"))
    }
}

const fn kind_code(kind: Kind) -> i64 {
    match kind {
        Kind::Message => 0,
        Kind::Read => 1,
        Kind::Request => 2,
        Kind::Progress => 3,
        Kind::Reply => 4,
        Kind::Refusal => 5,
        Kind::Cancel => 6,
    }
}

fn kind(code: i64) -> waxwing_sqlite::Result<Kind> {
    Kind::ALL.into_iter().find(|kind| kind_code(*kind) == code).ok_or_else(|| damaged("kind"))
}

const fn voucher_code(by: Voucher) -> i64 {
    match by {
        Voucher::Node => 0,
        Voucher::Broker => 1,
        Voucher::Recipient => 2,
    }
}

const fn voucher(code: Option<i64>) -> Voucher {
    match code {
        Some(1) => Voucher::Broker,
        Some(2) => Voucher::Recipient,
        _ => Voucher::Node,
    }
}

fn lane(row: &Row) -> waxwing_sqlite::Result<OutLane> {
    Ok(OutLane { priority: columns::priority(row)?, recipient: columns::node(row, "recipient")? })
}
