//! Whose an opening is, and whether its sender holds the same log as this node.
//!
//! Authentic first here too: until the signature holds, what an opening says of a log is nobody's word.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use waxwing_crypto::keys::Purpose;
use waxwing_crypto::membership::LogHead;
use waxwing_crypto::sealing::{NackReason, Opening};
use waxwing_crypto::{NodeId, Signed, VerifyingKey};
use waxwing_protocol::link::Envelope;

use super::super::connection;
use super::open::Refusal;
use super::{Ended, Receiver};
use crate::alarms::{Attempt, Part, Refused, Wrong};

/// Once the broker has had nothing new to show on a sender's account, it is not asked again before.
const FETCH_PAUSE: Duration = Duration::from_secs(10);

/// When the log was last fetched in vain, and on whose account; none for all who are no members, whoever they say they are.
#[derive(Debug, Default)]
pub(super) struct InVain(HashMap<Option<NodeId>, Instant>);

impl InVain {
    fn is_recent(&self, account: Option<NodeId>) -> bool {
        self.0.get(&account).is_some_and(|at| at.elapsed() < FETCH_PAUSE)
    }

    fn note(&mut self, account: Option<NodeId>) {
        self.0.insert(account, Instant::now());
    }
}

impl Receiver<'_> {
    /// Believes an opening if the sender has signed it with its current key, and it names a place of the log held here:
    /// asking for the log first if it may be longer than this node knows.
    pub(super) async fn believe(
        &mut self,
        delivered: &Envelope,
        signed: &Signed,
    ) -> Result<(Opening, VerifyingKey), Refusal> {
        let opening = Opening::peek(signed).map_err(|_| Refusal::Nack(NackReason::BadSeal))?;
        if opening.log.seq > self.seq() {
            self.fetch(delivered.from, opening.log.seq).await?;
        }
        // Perhaps it has changed its key, and this node does not know yet.
        let signer = self.signer(delivered.from, signed).ok_or(Refusal::Nack(NackReason::UnknownSender))?;
        // A signature is for one recipient; here it stands for who may be blamed, so it must be for this one.
        if (opening.from, opening.to) != (delivered.from, self.context.mesh.identity.node) {
            return Err(Refusal::Nack(NackReason::BadSeal));
        }
        let held = self.context.mesh.roster(|roster| roster.hash_at(opening.log.seq));
        match held {
            Some(hash) if hash == opening.log.hash => {
                let agreed = self.context.mesh.agrees(delivered.from, Part::Sender).await;
                agreed.map_err(|error| Refusal::Ended(Ended::Lost(error.to_string())))?;
                Ok((opening, signer))
            }
            Some(_) => self.disagrees(delivered, signed, opening.log, Wrong::Mismatch).await,
            None => self.disagrees(delivered, signed, opening.log, Wrong::Withheld).await,
        }
    }

    /// Where the log held here ends.
    fn seq(&self) -> u64 {
        self.context.mesh.roster(|roster| roster.head().seq)
    }

    /// The sender's current key, if it has signed this.
    fn signer(&self, from: NodeId, signed: &Signed) -> Option<VerifyingKey> {
        let signer = self.context.mesh.roster(|roster| roster.member(&from).map(|member| member.signing))?;
        signed.verified(&signer, Purpose::Opening).is_ok().then_some(signer)
    }

    /// Asks the broker for what the log has beyond this node's, unless that was in vain just now: somebody may be lying.
    async fn fetch(&mut self, from: NodeId, wanted: u64) -> Result<(), Refusal> {
        let mesh = &self.context.mesh;
        let account = mesh.roster(|roster| roster.member(&from).map(|member| member.id));
        if self.in_vain.is_recent(account) {
            return Ok(());
        }
        let fetched = self.context.calls.fetch_log(mesh).await;
        fetched.map_err(|error| Refusal::Ended(connection::ended(error)))?;
        if self.seq() < wanted {
            self.in_vain.note(account);
        }
        Ok(())
    }

    /// The sender holds another log, or more of it than the broker shows here: it is told, and looks for itself.
    async fn disagrees<T>(
        &self,
        delivered: &Envelope,
        signed: &Signed,
        theirs: LogHead,
        wrong: Wrong,
    ) -> Result<T, Refusal> {
        let refused = Refused {
            peer: delivered.from,
            part: Part::Sender,
            id: delivered.id,
            attempt: Attempt::Session(Opening::session_id(signed)),
            wrong,
            theirs: Some(theirs),
        };
        let noted = self.context.mesh.refused_by_log(&refused).await;
        noted.map_err(|error| Refusal::Ended(Ended::Lost(error.to_string())))?;
        Err(Refusal::Nack(match wrong {
            Wrong::Mismatch | Wrong::Rollback => NackReason::LogMismatch,
            Wrong::Withheld => NackReason::UnknownSender,
        }))
    }
}
