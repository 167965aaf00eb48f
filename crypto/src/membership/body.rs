//! What an entry can say. Every field here is final: the log is immutable, and everybody must read it alike.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::error::{Error, Result};
use crate::id::{Digest, Name, NodeId, Timestamp};
use crate::keys::{SealingPublicKey, VerifyingKey};
use crate::membership::LogHead;
use crate::state_key::SealedStateKeys;

/// The body of an entry. Travels as a map of one field, named as below.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// Founds the mesh. Always and only the first entry. Signed by the founder.
    Genesis(Genesis),
    /// Delegates the right to admit. Signed by an admin.
    Invite(NewInvite),
    /// Admits a node, and uses the invite once. Signed by the invite's key and the new member's.
    Join(Join),
    /// Rotates a node's keys, or moves it to another host. Signed by its current key and, if that changes, the new.
    Update(Update),
    /// Gives a member another role. Signed by an admin.
    Grant(Grant),
    /// Ends a membership or an invite for good. Signed by an admin.
    Revoke(Revoke),
    /// Ends the signer's own membership for good. Signed by that node.
    Leave(Leave),
    /// Begins an epoch: a new mesh state key. Signed by an admin.
    Epoch(NewEpoch),
    /// Says which head is right, after a broker lost its store. Signed by an admin.
    Resume(Resume),
}

/// What a member may do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends and receives.
    Member,
    /// Also invites, grants, revokes, begins epochs and resumes.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Member => "member",
            Self::Admin => "admin",
        })
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "member" => Ok(Self::Member),
            "admin" => Ok(Self::Admin),
            _ => Err(Error::Malformed("role")),
        }
    }
}

/// A node as it enters the log. Its id follows from its signing key: [`VerifyingKey::node_id`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// Unique among live members.
    pub name: Name,
    /// Its first signing key.
    pub signing: VerifyingKey,
    /// What the mesh's state keys are sealed to.
    pub sealing: SealingPublicKey,
    /// What its host record commits to, for people to see when a node moved. Compared by nobody.
    pub host: Digest,
}

/// Founds a mesh.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// What the founder calls the mesh.
    pub name: Name,
    /// The first member, and the first admin.
    pub founder: NewMember,
    /// An admin that is no node: the public half of what the founder keeps as words.
    pub recovery: VerifyingKey,
    /// The first state key, sealed to the founder.
    pub state_keys: SealedStateKeys,
}

/// Delegates the right to admit to whoever holds the key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewInvite {
    /// Signs joins. Its secret is derived from the seed in the token.
    pub key: VerifyingKey,
    /// What the state keys below are sealed to. Its secret is derived from the same seed.
    pub sealing: SealingPublicKey,
    /// The role of those who join.
    pub role: Role,
    /// How many may join. At least 1.
    pub uses: u32,
    /// The first moment at which it no longer admits, on the broker's clock.
    pub expires: Timestamp,
    /// The only name it admits. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Name>,
    /// All state keys, so that a newcomer needs nobody online. Not kept in the roster; they are up to 42 KiB.
    pub state_keys: SealedStateKeys,
}

/// Admits a node.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// Who joins.
    pub member: NewMember,
    /// The key of the invite by which it does.
    pub invite: VerifyingKey,
}

/// Changes what the log says of a node. At least one field must be there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// Whose keys or host change.
    pub node: NodeId,
    /// Its new signing key. Never one that stood in the log before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<VerifyingKey>,
    /// Its new sealing key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing: Option<SealingPublicKey>,
    /// Its new host commitment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Digest>,
}

/// Gives a member another role.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Whose role changes.
    pub node: NodeId,
    /// The role from now on.
    pub role: Role,
}

/// Ends a membership or an invite.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// What ends.
    pub target: Target,
    /// Why, for people.
    pub reason: Reason,
    /// The epoch begun with it, so that what comes later is closed to the target. Absent when the recovery key
    /// signs, which holds no state keys: then an admin's node appends an epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<NewEpoch>,
}

/// What a revoke ends.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// A member; with it the invite it joined by and every invite it made.
    Node(NodeId),
    /// An invite. Those who joined by it stay.
    Invite(VerifyingKey),
}

/// Ends the signer's own membership; with it the invite it joined by and every invite it made.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Leave {
    /// Who leaves.
    pub node: NodeId,
}

/// Begins an epoch.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewEpoch {
    /// One above the current epoch; the genesis began epoch 1.
    pub n: u64,
    /// The root of the sealed-key list ([`KeyList::root`](crate::state_key::KeyList::root)), which travels beside the
    /// log.
    pub keys: Digest,
}

/// Says which head is right.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The head that the mesh continues from: the very entry that this one follows. Said in so many words because
    /// it is what an admin was shown and chose.
    pub head: LogHead,
}

/// Why something was revoked: at most 256 bytes of UTF-8 without control characters, as it is shown in terminals.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Reason(String);

impl Reason {
    /// Longest reason, in bytes.
    pub const MAX: usize = 256;

    /// The reason as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reason {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let ok = text.len() <= Self::MAX && !text.chars().any(char::is_control);
        if ok { Ok(Self(text.to_owned())) } else { Err(Error::Malformed("reason")) }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_and_a_reason_are_shown_as_they_are_read() {
        for role in [Role::Member, Role::Admin] {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert_eq!(format!("{:>7}|", Role::Admin), "  admin|");
        assert!("Admin".parse::<Role>().is_err());
        let reason: Reason = "its disk is lost".parse().unwrap();
        assert_eq!((reason.as_str(), reason.to_string().as_str()), ("its disk is lost", "its disk is lost"));
        assert!("two\nlines".parse::<Reason>().is_err());
        assert!(
            "x".repeat(Reason::MAX).parse::<Reason>().is_ok()
                && "x".repeat(Reason::MAX + 1).parse::<Reason>().is_err()
        );
    }
}
