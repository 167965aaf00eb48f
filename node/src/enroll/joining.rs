//! Appending a join while others append theirs, and finding it when its answer is lost.

use waxwing_crypto::membership::{Body, Join, NewMember, Roster, SignedEntry, Standing};
use waxwing_crypto::{Error as CryptoError, SigningKey};
use waxwing_protocol::BrokerUrl;

use super::folder::Folder;
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::link::dial::DialError;
use crate::link::entering::{Entering, Refused};

/// Attempts to append a join while others append theirs.
const ATTEMPTS: usize = 8;

/// A join about to be appended.
pub(super) struct Joining<'a> {
    pub(super) broker: &'a BrokerUrl,
    pub(super) link: &'a mut Entering,
    pub(super) key: &'a SigningKey,
    pub(super) identity: &'a Identity,
    pub(super) member: NewMember,
}

impl Joining<'_> {
    /// Signs and appends, again and again while others get in between or the link is lost.
    pub(super) async fn append(
        &mut self,
        roster: &mut Roster,
        entries: &mut Vec<SignedEntry>,
        folder: &Folder,
    ) -> Result<()> {
        let mut unanswered = false;
        for _ in 0..ATTEMPTS {
            // One whose answer was lost is in the log: that is all that was wanted.
            if roster.standing(&self.identity.node) == Standing::Live {
                return Ok(());
            }
            let (entry, next) = self.sign(roster)?;
            // From here on the entry may be in the log, whatever happens to the answer.
            folder.keep(true);
            match self.link.append(&entry).await {
                Ok(()) => {
                    *roster = next;
                    entries.push(entry);
                    return Ok(());
                }
                Err(Refused::Lost(error)) => {
                    unanswered = true;
                    self.dial_again(roster, &error).await?;
                }
                Err(Refused::Conflict) => folder.keep(unanswered),
                Err(refused @ Refused::Denied(_)) => {
                    folder.keep(unanswered);
                    return Err(refused.into_error(self.broker));
                }
            }
            self.catch_up(roster, entries).await?;
            folder.keep(false);
        }
        Err(Refused::Conflict.into_error(self.broker))
    }

    /// The join for the place after the head, and the roster that it makes.
    fn sign(&self, roster: &Roster) -> Result<(SignedEntry, Roster)> {
        let join = Body::Join(Join { member: self.member.clone(), invite: self.key.public() });
        let entry = roster.entry(self.link.clock(), join).sign(&[self.key, &self.identity.signing]);
        let mut next = roster.clone();
        match next.apply(&entry) {
            Ok(()) => Ok((entry, next)),
            Err(CryptoError::NotAllowed(rule)) => Err(Error::join(rule, &self.member.name)),
            Err(error) => Err(Error::Damaged(error.to_string())),
        }
    }

    async fn dial_again(&mut self, roster: &Roster, lost: &DialError) -> Result<()> {
        match Entering::dial_again(self.broker, roster.mesh(), self.key, None).await {
            Ok(link) => {
                *self.link = link;
                Ok(())
            }
            Err(_) => {
                let cause = format!("{lost}; the join may have worked: run the same command again");
                Err(Error::Unreachable { url: self.broker.dialled(), cause })
            }
        }
    }

    /// Reads what was appended meanwhile.
    async fn catch_up(&mut self, roster: &mut Roster, entries: &mut Vec<SignedEntry>) -> Result<()> {
        let new = self.link.log(roster.head().seq).await;
        let new = new.map_err(|refused| refused.into_error(self.broker))?;
        for entry in &new {
            roster.apply(entry).map_err(|error| Error::Incompatible(error.to_string()))?;
        }
        entries.extend(new);
        Ok(())
    }
}
