//! Items to send, and what comes back for them.

use std::time::Duration;

use bytes::Bytes;
use waxwing_crypto::{Fingerprint, Priority, Receipt, WireId};
use waxwing_protocol::link::{Delivery, Envelope, NoticeKind, SendItem};

use super::{Keys, TestClock};

/// An item with a wire id and body made from a number.
pub fn item(clock: &TestClock, to: &Keys, n: u32) -> SendItem {
    SendItem {
        to: to.id(),
        id: wire(n),
        fp: Fingerprint::from_bytes([n as u8; 32]),
        pri: Priority::Next,
        exp: clock.now().plus(Duration::from_secs(7 * 24 * 60 * 60)),
        seal: 0,
        first: false,
        env: Bytes::from(format!("envelope {n}")),
    }
}

pub fn wire(n: u32) -> WireId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    WireId::from_bytes(bytes)
}

pub fn receipt(id: &WireId) -> Receipt {
    Receipt::from_bytes(*id.as_bytes())
}

pub fn delivered(id: WireId) -> NoticeKind {
    NoticeKind::Delivered { receipt: receipt(&id) }
}

/// The envelopes among deliveries.
pub fn envelopes(items: &[Delivery]) -> Vec<&Envelope> {
    items
        .iter()
        .filter_map(|item| match item {
            Delivery::Envelope(envelope) => Some(envelope),
            Delivery::Notice(_) => None,
        })
        .collect()
}
