//! How a notice is kept in the queue: a number for its kind, and its proof as bytes.

use bytes::Bytes;
use waxwing_crypto::{Receipt, Signature, Signed};
use waxwing_protocol::link::NoticeKind;

use crate::error::{Error, Result};

const DELIVERED: i64 = 1;
const NACK: i64 = 2;
const EXPIRED: i64 = 3;
const REVOKED_RECIPIENT: i64 = 4;

/// What a notice counts for without its proof, in bytes: about what it takes in a frame.
const COST: usize = 64;

/// The number of its kind.
pub(super) const fn code(kind: &NoticeKind) -> i64 {
    match kind {
        NoticeKind::Delivered { .. } => DELIVERED,
        NoticeKind::Nack { .. } => NACK,
        NoticeKind::Expired => EXPIRED,
        NoticeKind::RevokedRecipient => REVOKED_RECIPIENT,
    }
}

/// Its proof.
pub(super) fn body(kind: &NoticeKind) -> Vec<u8> {
    match kind {
        NoticeKind::Delivered { receipt } => receipt.as_bytes().to_vec(),
        NoticeKind::Nack { nack } => [&nack.signature.as_bytes()[..], &nack.bytes].concat(),
        NoticeKind::Expired | NoticeKind::RevokedRecipient => Vec::new(),
    }
}

/// What it counts for in a frame and a window, in bytes.
pub(super) const fn cost(kind: &NoticeKind) -> usize {
    match kind {
        NoticeKind::Delivered { .. } => COST + Receipt::SIZE,
        NoticeKind::Nack { nack } => COST + Signature::SIZE + nack.bytes.len(),
        NoticeKind::Expired | NoticeKind::RevokedRecipient => COST,
    }
}

/// The kind back from its number and proof.
pub(super) fn kind(code: i64, body: &[u8]) -> Result<NoticeKind> {
    let damaged = |_| Error::damaged("a notice");
    match code {
        DELIVERED => Ok(NoticeKind::Delivered { receipt: Receipt::try_from(body).map_err(damaged)? }),
        NACK => {
            let (signature, bytes) =
                body.split_at_checked(Signature::SIZE).ok_or_else(|| Error::damaged("a nack"))?;
            let signature = Signature::from_bytes(signature).map_err(damaged)?;
            Ok(NoticeKind::Nack { nack: Signed { bytes: Bytes::copy_from_slice(bytes), signature } })
        }
        EXPIRED => Ok(NoticeKind::Expired),
        REVOKED_RECIPIENT => Ok(NoticeKind::RevokedRecipient),
        _ => Err(Error::damaged("a kind of row")),
    }
}
