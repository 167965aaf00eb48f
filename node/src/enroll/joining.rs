//! Appending a join while others append theirs.

use waxwing_crypto::membership::{Body, Join, NewMember, Roster, SignedEntry};
use waxwing_crypto::{Error as CryptoError, SigningKey};
use waxwing_protocol::BrokerUrl;

use super::folder::Folder;
use super::rule_error;
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::link::dial::DialError;
use crate::link::entering::{Entering, Refused};

/// Attempts to append a join while others append theirs.
const ATTEMPTS: usize = 8;

/// A join about to be appended.
pub(super) struct Joining<'a> {
    pub(super) link: &'a mut Entering,
    pub(super) key: &'a SigningKey,
    pub(super) identity: &'a Identity,
    pub(super) member: NewMember,
}

impl Joining<'_> {
    /// Signs and appends, again and again while others get in between.
    pub(super) async fn append(
        &mut self,
        broker: &BrokerUrl,
        roster: &mut Roster,
        entries: &mut Vec<SignedEntry>,
        folder: &Folder,
    ) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let join = Body::Join(Join { member: self.member.clone(), invite: self.key.public() });
            let at = self.link.clock();
            let entry = roster.entry(at, join).sign(&[self.key, &self.identity.signing]);
            let mut next = roster.clone();
            match next.apply(&entry) {
                Ok(()) => {}
                Err(CryptoError::NotAllowed(rule)) => return Err(rule_error(rule, &self.member.name)),
                Err(error) => return Err(Error::Damaged(error.to_string())),
            }
            // From here on the entry may be in the log, whatever happens to the answer.
            folder.keep(true);
            match self.link.append(&entry).await {
                Ok(()) => {
                    *roster = next;
                    entries.push(entry);
                    return Ok(());
                }
                Err(Refused::Lost(error)) => return Err(lost(broker, &error)),
                Err(Refused::Conflict) => {
                    folder.keep(false);
                    self.catch_up(broker, roster, entries).await?;
                }
                Err(refused @ Refused::Denied(_)) => {
                    folder.keep(false);
                    return Err(refused.into_error(broker));
                }
            }
        }
        folder.keep(false);
        Err(Refused::Conflict.into_error(broker))
    }

    /// Reads what others have appended meanwhile.
    async fn catch_up(
        &mut self,
        broker: &BrokerUrl,
        roster: &mut Roster,
        entries: &mut Vec<SignedEntry>,
    ) -> Result<()> {
        let new = self.link.log(roster.head().seq).await.map_err(|refused| refused.into_error(broker))?;
        for entry in &new {
            roster.apply(entry).map_err(|error| Error::Incompatible(error.to_string()))?;
        }
        entries.extend(new);
        Ok(())
    }
}

/// The answer to the append did not come.
fn lost(broker: &BrokerUrl, error: &DialError) -> Error {
    let cause = format!("{error}; the join may have worked: run the same command again");
    Error::Unreachable { url: broker.dialled(), cause }
}
