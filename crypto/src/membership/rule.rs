//! The rules of the log, by name: what an entry that is well formed and well signed can still do wrong.

/// The rule that an entry breaks, in words its author can act on. Flat, so that each has one text and one code.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Rule {
    /// The first entry is not a genesis.
    #[error("a log begins with its genesis entry")]
    NotGenesis,
    /// A genesis anywhere but at the start.
    #[error("this mesh has been founded already")]
    GenesisAgain,
    /// Made for another mesh.
    #[error("the entry belongs to another mesh")]
    OtherMesh,
    /// Does not continue the head: somebody else was faster. Sign again on the new head.
    #[error("the log has moved on since the entry was made")]
    NotAtHead,
    /// Dated before its predecessor.
    #[error("the entry is dated before the one it follows")]
    BackInTime,
    /// Signed by other keys than its body asks for, or by too few or too many.
    #[error("the entry is not signed by those who must sign it")]
    WrongSigners,
    /// The signing key is no live admin's current one, nor the recovery key.
    #[error("only an admin may do this")]
    NotAnAdmin,
    /// An update or leave signed by a key that its node has since replaced.
    #[error("the signing key has been replaced by a newer one of the same node")]
    Superseded,
    /// The key stands in the log already: a node's, former ones included, an invite's or the recovery key.
    #[error("this key is in use in this mesh, or was")]
    KeyUsed,
    /// The id stands in the log already. A revoked node can come back only under a new one.
    #[error("this node id is in use in this mesh, or was")]
    IdUsed,
    /// A live member has the name.
    #[error("a member has this name already")]
    NameTaken,
    /// The invite is for one name, and this is another.
    #[error("the invite is for another name")]
    NotInvitedName,
    /// No invite has this key.
    #[error("there is no such invite")]
    UnknownInvite,
    /// Past the invite's end, or, in an invite entry, an end that is not after its beginning.
    #[error("the invite has expired")]
    InviteExpired,
    /// As many have joined by the invite as it was made for.
    #[error("the invite has been used up")]
    InviteUsedUp,
    /// The invite was revoked: itself, with its maker, or with a node that joined by it.
    #[error("the invite has been revoked")]
    InviteRevoked,
    /// An invite that nobody could use.
    #[error("an invite must be good for at least one use")]
    InviteWithoutUses,
    /// No node has this id.
    #[error("there is no such node")]
    UnknownNode,
    /// The node was a member and is none now.
    #[error("the node is no longer a member")]
    NotLive,
    /// Demotes, revokes or dismisses the last admin, without the recovery key.
    #[error("this would leave the mesh without an admin: name another first, or use the recovery words")]
    LastAdmin,
    /// An update without a change, or a grant of the role that the node has.
    #[error("this would change nothing")]
    NothingChanges,
    /// Epochs are numbered without gaps.
    #[error("the epoch does not follow the current one")]
    EpochNotNext,
    /// A resume that names another head than the one it stands on.
    #[error("the head to resume is not the one the entry follows")]
    OtherHead,
}
