//! What the messages of a pair are called.

use std::time::{SystemTime, UNIX_EPOCH};

use ulid::Ulid;
use waxwing_client::ClientMessageId;

use crate::error::{Error, Result};

/// How many messages have the same time in their ids: as if 10,000 were made in a second.
const IN_A_MILLISECOND: u64 = 10;
/// Bits for a message's number.
const NUMBER: u32 = 64;

/// The ids of a pair's messages in one round: ULIDs, as a node gives to messages whose app has no id for them. Which one a number has can
/// be told at any time.
#[derive(Clone, Copy)]
pub(super) struct Ids {
    began: u64,
    pair: u16,
}

impl Ids {
    /// Those of a round that begins.
    pub(super) fn begin(pair: usize) -> Self {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            began: u64::try_from(began.as_millis()).unwrap_or(u64::MAX),
            pair: u16::try_from(pair).unwrap_or(u16::MAX),
        }
    }

    /// The id of a message.
    ///
    /// # Errors
    /// None, as a ULID is an id.
    pub(super) fn id(self, number: usize) -> Result<ClientMessageId> {
        let id = self.ulid(number as u64).to_string();
        id.parse().map_err(|_| Error::Unreadable(format!("{id} is no id")))
    }

    /// Which message has this id; none of another pair or round.
    pub(super) fn number(self, id: &ClientMessageId) -> Option<usize> {
        let ulid: Ulid = id.as_str().parse().ok()?;
        let number = ulid.random() as u64;
        (self.ulid(number) == ulid).then(|| usize::try_from(number).ok()).flatten()
    }

    fn ulid(self, number: u64) -> Ulid {
        let made_at = self.began.saturating_add(number / IN_A_MILLISECOND);
        Ulid::from_parts(made_at, u128::from(self.pair) << NUMBER | u128::from(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_which_message_it_is_to_its_own_pair_and_round() {
        let ids = Ids { began: 1_700_000_000_000, pair: 3 };
        for number in [0, 1, 9, 10, 123_456_789] {
            let id = ids.id(number).unwrap();
            assert_eq!(ids.number(&id), Some(number));
            assert_eq!(Ids { pair: 4, ..ids }.number(&id), None);
            assert_eq!(Ids { began: ids.began + 1, ..ids }.number(&id), None);
        }
        assert!(ids.id(9).unwrap() < ids.id(10).unwrap(), "in the order of their making");
        assert_eq!(ids.number(&"m-1".parse().unwrap()), None);
    }
}
