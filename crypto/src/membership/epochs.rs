//! Who gets a new epoch's key.

use crate::id::Timestamp;
use crate::keys::SealingPublicKey;
use crate::membership::{Invite, Member, Roster, Target};
use crate::state_key::Holder;

impl Roster {
    /// Those for whom the next epoch's list has a slot: the live members, and the invites by which somebody could still
    /// join at this moment or after it, since whoever does will have nobody else to ask. `ending` is what the same
    /// entry revokes: it has none, nor has any invite that ends with it.
    pub fn key_holders(&self, at: Timestamp, ending: Option<&Target>) -> Vec<(Holder, SealingPublicKey)> {
        let going = match ending {
            Some(Target::Node(id)) => self.member(id),
            Some(Target::Invite(_)) | None => None,
        };
        let stays = |member: &&Member| going.is_none_or(|going| going.id != member.id);
        let stays_open = |invite: &&Invite| {
            !matches!(ending, Some(Target::Invite(key)) if *key == invite.key)
                && !going.is_some_and(|going| invite.ends_with(going))
        };
        let members = self.members().filter(stays);
        let members = members.map(|member| (Holder::Node(member.id), member.sealing.clone()));
        let invites = self.open_invites(at).filter(stays_open);
        let invites = invites.map(|invite| (Holder::Invite(invite.key), invite.sealing.clone()));
        members.chain(invites).collect()
    }

    /// How many slots a list can have at most, if it was made on this log or a shorter one.
    pub fn most_key_holders(&self) -> u64 {
        (self.nodes.len() + self.invites.len()) as u64
    }
}
