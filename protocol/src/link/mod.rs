//! The link: what a node and a broker say to each other over one WebSocket.
//!
//! ```text
//! broker                              node
//!   challenge            ->
//!                        <-           hello            (a member's, or an entering one)
//!   log_wanted           ->                            if it has lost its store
//!                        <-           log.upload ...
//!   welcome | goaway     ->
//!                        <-           log.get, prekey.put
//!   log, done            ->
//!                        <-           send {items}     sealed messages, lane order
//!   sent {outcomes}      ->                            after the commit
//!   deliver {items,tail} ->                            envelopes and notices, within the window
//!                        <-           settle           a receipt or nack per envelope, after the commit
//!                        <-           space.write, space.follow
//!   space.written, space.changes ->
//!                        <-           bye              it goes, and its lease ends
//!   goaway               ->                            the last frame, whatever the reason
//! ```
//!
//! One enum per direction, so that a broker cannot be handed a broker's frame. Login steps are separate types, because
//! there the next frame is known: a `send` before login is not a rule to check but a frame that does not decode.

mod codec;
mod features;
mod handshake;
mod refusal;
mod space;
mod to_broker;
mod to_node;

pub use codec::{DecodeError, Frame, decode, encode};
pub use features::{Features, Lacking, VERSIONS, common_version};
pub use handshake::{
    Challenge, EnteringHello, Hello, Limits, LogUpload, LogWanted, Mark, MemberHello, Progress,
    ToBrokerLogin, ToNodeLogin, Welcome,
};
pub use refusal::{Code, ErrorFrame, GoAway, Reason};
pub use space::{
    Append, Change, ChangeOutcome, Changed, Delete, Deleted, EndedBy, EndedRecord, Offered, Put, Record,
    SpaceChanges, SpaceFollow, SpaceOffer, SpaceOffered, SpaceWrite, SpaceWritten, Stands, Touch, What,
};
pub use to_broker::{
    Bye, KeysGet, KeysPut, LogAppend, LogGet, PrekeyGet, PrekeyPut, QueueShow, Send, SendItem, Settle,
    Settlement, ToBroker,
};
pub use to_node::{
    Deliver, Delivery, Done, Envelope, FoundKeys, Keys, Log, MeshNotice, MeshNoticeKind, Notice, NoticeKind,
    Outcome, PeerPrekey, Prekeys, QueueShown, Sent, Shown, ToNode,
};

/// WebSocket subprotocol of this version.
pub const SUBPROTOCOL: &str = "waxwing.v1";
/// Path of the link on a broker.
pub const PATH: &str = "/v1/link";
