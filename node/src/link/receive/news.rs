//! What the broker reports of messages this node sent. Nothing of it is believed without proof, where proof is possible.

use tracing::{info, warn};
use waxwing_crypto::sealing::{Nack, NackReason};
use waxwing_crypto::{Receipt, Signed, WireId};
use waxwing_protocol::link::{Notice, NoticeKind};

use super::{Ended, Receiver};
use crate::store::outbox::{self, Sent};
use crate::writer::News;

impl Receiver<'_> {
    /// Verifies what the broker reports of messages this node sent. What does not verify is dropped, and said.
    pub(super) async fn news(&self, notices: &[Notice]) -> Result<Vec<News>, Ended> {
        if notices.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |error: sqlx::Error| Ended::Database(error.to_string());
        let ids: Vec<WireId> = notices.iter().map(|notice| notice.id).collect();
        let mut db = self.context.mesh.db.acquire().await.map_err(failed)?;
        let sent = outbox::by_wire_id(&mut db, &ids).await.map_err(failed)?;
        drop(db);
        let mut news = Vec::with_capacity(notices.len());
        let mut refetch = false;
        for notice in notices {
            let Some(sent) = sent.get(&notice.id) else {
                warn!(id = %notice.id, "the broker reports on a message that this node never sent");
                continue;
            };
            refetch |= self.verify(&notice.kind, sent, &mut news);
        }
        if refetch {
            self.context.log_wanted.notify_one();
        }
        Ok(news)
    }

    /// Notes one verified notice. True if the log should be fetched before the message is sealed again.
    fn verify(&self, kind: &NoticeKind, sent: &Sent, news: &mut Vec<News>) -> bool {
        match kind {
            NoticeKind::Delivered { receipt } => {
                self.delivered(receipt, sent, news);
                false
            }
            NoticeKind::Nack { nack } => self.refused(nack, sent, news),
            NoticeKind::Expired => {
                news.push(News::Ended { row: sent.row, reason: "expired" });
                false
            }
            NoticeKind::RevokedRecipient => {
                news.push(News::Ended { row: sent.row, reason: "revoked_recipient" });
                false
            }
        }
    }

    fn delivered(&self, receipt: &Receipt, sent: &Sent, news: &mut Vec<News>) {
        let context = self.context;
        let keys = &context.mesh.keys;
        let secret = keys.receipt_secret(&sent.lane.recipient, &sent.client_id, &sent.fingerprint);
        if !secret.verify(&sent.wire_id, receipt) {
            warn!(id = %sent.wire_id, "a receipt does not verify: the message is not taken for delivered");
            return;
        }
        context.peers.receipted(sent.lane.recipient, &sent.wire_id);
        news.push(News::Delivered { row: sent.row });
        if let Some(ranges) = context.told.take(&sent.wire_id) {
            news.push(News::Told { lane: sent.lane, ranges });
        }
    }

    fn refused(&self, nack: &Signed, sent: &Sent, news: &mut Vec<News>) -> bool {
        let (mesh, recipient) = (&self.context.mesh, sent.lane.recipient);
        let signer = mesh.roster(|roster| roster.former(&recipient).map(|member| member.signing));
        let verified = signer.map(|signer| Nack::verify(nack, &signer, mesh.identity.node, sent.wire_id));
        let Some(Ok(Nack { seal, reason, .. })) = verified else {
            warn!(id = %sent.wire_id, "a nack does not verify: it is ignored");
            return false;
        };
        if seal < sent.seal {
            return false;
        }
        info!(id = %sent.wire_id, %reason, "a recipient refused a message");
        self.context.peers.end(recipient);
        news.push(News::Refused { row: sent.row, lane: sent.lane, seal, reason, current: sent.seal });
        matches!(reason, NackReason::UnknownSender | NackReason::LogMismatch)
    }
}
