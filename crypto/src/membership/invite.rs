//! Invites: the delegated right to admit, as the log knows it and as the holder's secret seed.

use std::fmt;

use hkdf::Hkdf;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::Result;
use crate::id::{Name, NodeId, Timestamp};
use crate::keys::{SealingKey, SealingPublicKey, SigningKey, VerifyingKey};
use crate::mac::Secret;
use crate::membership::{Member, NewInvite, Role, Rule};

/// An invite as it stands at the head of the log.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Invite {
    /// Signs joins.
    pub key: VerifyingKey,
    /// While the invite is open, each new epoch's list has a slot sealed to this.
    pub sealing: SealingPublicKey,
    /// The role of those who join.
    pub role: Role,
    /// How many may join in all.
    pub uses: u32,
    /// How many have.
    pub used: u32,
    /// The first moment at which it no longer admits, on the broker's clock.
    pub expires: Timestamp,
    /// The only name it admits. Absent: any.
    pub name: Option<Name>,
    /// The admin that made it. Absent: the recovery key did.
    pub maker: Option<NodeId>,
    /// When it was made.
    pub made_at: Timestamp,
    /// The entry that made it, which also carries the state keys for whoever joins.
    pub seq: u64,
    /// Revoked: itself, with its maker, or with a node that joined by it.
    pub revoked: bool,
}

impl Invite {
    pub(crate) fn new(new: NewInvite, maker: Option<NodeId>, made_at: Timestamp, seq: u64) -> Self {
        let NewInvite { key, sealing, role, uses, expires, name, state_keys: _ } = new;
        Self { key, sealing, role, uses, used: 0, expires, name, maker, made_at, seq, revoked: false }
    }

    /// Whether somebody may still join by it at this moment, on the broker's clock.
    ///
    /// # Errors
    /// `InviteRevoked`, `InviteUsedUp` or `InviteExpired`: the first of these that holds, as the holder can do least
    /// about it.
    pub fn admits(&self, at: Timestamp) -> Result<(), Rule> {
        if self.revoked {
            Err(Rule::InviteRevoked)
        } else if self.used >= self.uses {
            Err(Rule::InviteUsedUp)
        } else if at >= self.expires {
            Err(Rule::InviteExpired)
        } else {
            Ok(())
        }
    }

    /// Whether it ends with this membership: what let the node in, and what it let in by, may be in the same wrong hands.
    pub(super) fn ends_with(&self, member: &Member) -> bool {
        member.invite == Some(self.key) || self.maker == Some(member.id)
    }

    /// Whether somebody of this name may join by it. Whether the name is free is for the roster to say.
    ///
    /// # Errors
    /// `NotInvitedName` if it is for another name.
    pub fn admits_name(&self, name: &Name) -> Result<(), Rule> {
        if self.name.as_ref().is_none_or(|only| only == name) { Ok(()) } else { Err(Rule::NotInvitedName) }
    }
}

/// The secret of an invite, 32 bytes: both of its key pairs are derived from it, so a token need carry nothing else.
#[derive(Clone)]
pub struct InviteSeed(Secret);

impl InviteSeed {
    /// Length in bytes.
    pub const SIZE: usize = 32;

    /// A fresh seed.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; Self::SIZE]);
        rng.fill_bytes(&mut *seed);
        Self(seed)
    }

    /// Takes the bytes of a seed.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    /// Reveals the seed, to write it into a token.
    pub fn reveal(&self) -> &[u8; Self::SIZE] {
        &self.0
    }

    /// The key that signs joins and logs in to make one.
    pub fn signing_key(&self) -> SigningKey {
        SigningKey::from_seed(&derive(&self.0, b"waxwing invite signing v1\0"))
    }

    /// The key that opens the state keys in the invite's entry.
    pub fn sealing_key(&self) -> SealingKey {
        SealingKey::from_seed(&derive(&self.0, b"waxwing invite sealing v1\0"))
    }
}

impl fmt::Debug for InviteSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSeed(secret)")
    }
}

/// A key for one job out of a secret: HKDF-SHA256 (RFC 5869) without salt, the label as `info`.
#[expect(clippy::expect_used, reason = "HKDF-SHA256 gives up to 8,160 bytes (RFC 5869, 2.3)")]
pub(super) fn derive(secret: &Secret, label: &[u8]) -> Secret {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, &**secret).expand(label, &mut *key).expect("32 bytes");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_two_keys_that_are_neither_the_seed_nor_each_other() {
        let seed = InviteSeed::from_bytes(&[5; 32]);
        let (signing, sealing) = (seed.signing_key().reveal_seed(), seed.sealing_key().reveal_seed());
        assert_ne!(signing, sealing);
        assert!(*signing != [5; 32] && *sealing != [5; 32]);
        assert_eq!(InviteSeed::from_bytes(&[5; 32]).signing_key().public(), seed.signing_key().public());
        assert_ne!(InviteSeed::from_bytes(&[6; 32]).signing_key().public(), seed.signing_key().public());
    }

    #[test]
    fn a_seed_prints_as_its_type() {
        assert_eq!(format!("{:?}", InviteSeed::from_bytes(&[5; 32])), "InviteSeed(secret)");
    }
}
