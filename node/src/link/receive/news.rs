//! What the broker reports of messages this node sent. Nothing of it is believed without proof, where proof is possible.

use std::collections::HashMap;

use tracing::{info, warn};
use waxwing_crypto::membership::LogHead;
use waxwing_crypto::sealing::{Nack, NackReason};
use waxwing_crypto::{NodeId, Receipt, Signed, WireId};
use waxwing_protocol::link::{Notice, NoticeKind};

use super::{Ended, Receiver};
use crate::alarms::{Attempt, Part, Refused, Wrong};
use crate::store::outbox::{self, Sent};
use crate::writer::News;

impl Receiver<'_> {
    /// Verifies what the broker reports of messages this node sent. What does not verify is dropped, and said.
    pub(super) async fn news(&self, notices: &[Notice]) -> Result<Vec<News>, Ended> {
        if notices.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |error: waxwing_sqlite::Error| Ended::Database(error.to_string());
        // Which seal a nack is about may have changed since it was handed over: that is looked up.
        let known = |notice: &Notice| match notice.kind {
            NoticeKind::Delivered { .. } => self.context.under_way.get(&notice.id),
            NoticeKind::Nack { .. } | NoticeKind::Expired | NoticeKind::RevokedRecipient => None,
        };
        let mut sent: HashMap<WireId, Sent> =
            notices.iter().filter_map(known).map(|sent| (sent.wire_id, sent)).collect();
        let is_unknown = |id: &WireId| !sent.contains_key(id);
        let ids: Vec<WireId> = notices.iter().map(|notice| notice.id).filter(is_unknown).collect();
        if !ids.is_empty() {
            let found = outbox::by_wire_id(self.context.mesh.db.brief(), &ids).await.map_err(failed)?;
            sent.extend(found);
        }
        let mut news = Vec::with_capacity(notices.len());
        let mut said = Vec::new();
        for notice in notices {
            let Some(sent) = sent.get(&notice.id) else {
                warn!(id = %notice.id, "the broker reports on a message that this node never sent");
                continue;
            };
            said.extend(self.verify(&notice.kind, sent, &mut news));
        }
        self.heard(&said).await?;
        Ok(news)
    }

    /// What recipients have proved to say of this node's log.
    async fn heard(&self, said: &[Said]) -> Result<(), Ended> {
        let mesh = &self.context.mesh;
        for said in said {
            let noted = match said {
                Said::Agrees(peer) => mesh.agrees(*peer, Part::Recipient).await,
                Said::Unknown => {
                    self.context.log_wanted.notify_one();
                    Ok(())
                }
                Said::Differs(refused) => {
                    self.context.log_wanted.notify_one();
                    mesh.refused_by_log(refused).await
                }
            };
            noted.map_err(|error| Ended::Lost(error.to_string()))?;
        }
        Ok(())
    }

    /// Notes one verified notice.
    fn verify(&self, kind: &NoticeKind, sent: &Sent, news: &mut Vec<News>) -> Option<Said> {
        match kind {
            NoticeKind::Delivered { receipt } => self.delivered(receipt, sent, news),
            NoticeKind::Nack { nack } => self.refused(nack, sent, news),
            NoticeKind::Expired => {
                news.push(News::Ended { row: sent.row, reason: "expired" });
                None
            }
            NoticeKind::RevokedRecipient => {
                news.push(News::Ended { row: sent.row, reason: "revoked_recipient" });
                None
            }
        }
    }

    fn delivered(&self, receipt: &Receipt, sent: &Sent, news: &mut Vec<News>) -> Option<Said> {
        let context = self.context;
        let keys = &context.mesh.keys;
        let secret = keys.receipt_secret(&sent.lane.recipient, &sent.client_id, &sent.fingerprint);
        if !secret.verify(&sent.wire_id, receipt) {
            warn!(id = %sent.wire_id, "a receipt does not verify: the message is not taken for delivered");
            return None;
        }
        context.peers.receipted(sent.lane.recipient, &sent.wire_id);
        news.push(News::Delivered { row: sent.row });
        if let Some(ranges) = context.under_way.take(&sent.wire_id) {
            news.push(News::Told { lane: sent.lane, ranges });
        }
        Some(Said::Agrees(sent.lane.recipient))
    }

    fn refused(&self, nack: &Signed, sent: &Sent, news: &mut Vec<News>) -> Option<Said> {
        let (mesh, recipient) = (&self.context.mesh, sent.lane.recipient);
        let signer = mesh.roster(|roster| roster.former(&recipient).map(|member| member.signing));
        let verified = signer.map(|signer| Nack::verify(nack, &signer, mesh.identity.node, sent.wire_id));
        let Some(Ok(Nack { seal, reason, log, .. })) = verified else {
            warn!(id = %sent.wire_id, "a nack does not verify: it is ignored");
            return None;
        };
        if seal < sent.seal {
            return None;
        }
        info!(id = %sent.wire_id, %reason, "a recipient refused a message");
        self.context.peers.end(recipient);
        news.push(News::Refused { row: sent.row, lane: sent.lane, seal, reason, current: sent.seal });
        let wrong = match reason {
            NackReason::LogMismatch => Some(Wrong::Mismatch),
            NackReason::UnknownSender => log.and_then(|theirs| self.differs(theirs)),
            NackReason::UnknownSession
            | NackReason::UnknownPrekey
            | NackReason::BadSeal
            | NackReason::TooLarge
            | NackReason::UnsupportedVersion
            | NackReason::ExpiredHere
            | NackReason::Blocked => return None,
        };
        Some(wrong.map_or(Said::Unknown, |wrong| {
            let (id, attempt) = (sent.wire_id, Attempt::Seal(seal));
            Said::Differs(Refused { peer: recipient, part: Part::Recipient, id, attempt, wrong, theirs: log })
        }))
    }

    /// What is wrong if a recipient's log ends there, and does not know this node: nothing, if it goes on from ours.
    fn differs(&self, theirs: LogHead) -> Option<Wrong> {
        self.context.mesh.roster(|roster| match roster.hash_at(theirs.seq) {
            Some(hash) if hash != theirs.hash => Some(Wrong::Mismatch),
            Some(_) if theirs.seq < roster.head().seq => Some(Wrong::Withheld),
            Some(_) | None => None,
        })
    }
}

/// What a recipient's answer says of this node's log.
enum Said {
    /// It has opened what this node sealed: it holds the same log.
    Agrees(NodeId),
    /// It does not know this node, or not by its key.
    Unknown,
    /// It holds another log.
    Differs(Refused),
}
