//! The rules: what a verified entry may do at this point of the log. Nothing here changes the roster.

use crate::id::{Digest, MeshId, NodeId, Timestamp};
use crate::keys::VerifyingKey;
use crate::membership::change::Change;
use crate::membership::roster::{Index, Owner};
use crate::membership::{
    Body, Entry, Genesis, Grant, Invite, Join, Leave, Member, NewEpoch, NewInvite, NewMember, Resume, Revoke,
    Role, Roster, Rule, Standing, Target, Update,
};

/// Who acts with an admin's rights.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Author {
    Node(usize),
    Recovery,
}

impl Roster {
    /// The roster after a genesis with this hash.
    pub(super) fn begin(hash: Digest, entry: Entry) -> Result<Self, Rule> {
        let Entry { mesh, seq, prev, at, signers, body } = entry;
        let Body::Genesis(Genesis { name, founder, recovery, state_keys: _ }) = body else {
            return Err(Rule::NotGenesis);
        };
        let begins =
            seq == 1 && mesh.as_bytes() == &[0; MeshId::SIZE] && prev.as_bytes() == &[0; Digest::SIZE];
        if !begins {
            return Err(Rule::NotGenesis);
        }
        signed_by(&signers, &[&founder.signing])?;
        if recovery == founder.signing {
            return Err(Rule::KeyUsed);
        }
        let mut roster = Self {
            mesh: mesh_id(&hash),
            name,
            recovery,
            hashes: vec![hash],
            at,
            epoch: crate::state_key::StateKeys::FIRST_EPOCH,
            epoch_keys: None,
            wants_epoch: false,
            nodes: vec![member(founder, Role::Admin, None, at, seq)],
            invites: Vec::new(),
            index: Index::default(),
        };
        roster.index = Index::of(&roster);
        Ok(roster)
    }

    /// What an entry does, if every rule allows it: its time, and the change to the state.
    pub(super) fn check(&self, entry: Entry) -> Result<(Timestamp, Change), Rule> {
        let Entry { mesh, seq, prev, at, signers, body } = entry;
        if mesh != self.mesh {
            return Err(if seq == 1 { Rule::GenesisAgain } else { Rule::OtherMesh });
        }
        let head = self.head();
        if (seq, prev) != (head.seq + 1, head.hash) {
            return Err(Rule::NotAtHead);
        }
        if at < self.at {
            return Err(Rule::BackInTime);
        }
        let change = match body {
            Body::Genesis(_) => Err(Rule::GenesisAgain),
            Body::Invite(invite) => self.check_invite(invite, self.admin(&signers)?, at, seq),
            Body::Join(join) => self.check_join(join, &signers, at, seq),
            Body::Update(update) => self.check_update(update, &signers, at, seq),
            Body::Grant(grant) => self.check_grant(grant, self.admin(&signers)?),
            Body::Revoke(revoke) => self.check_revoke(&revoke, self.admin(&signers)?, seq),
            Body::Leave(leave) => self.check_leave(leave, &signers, seq),
            Body::Epoch(epoch) => self.admin(&signers).and_then(|_| self.check_epoch(epoch)),
            Body::Resume(resume) => self.admin(&signers).and_then(|_| self.check_resume(resume)),
        };
        Ok((at, change?))
    }

    fn check_invite(&self, new: NewInvite, author: Author, at: Timestamp, seq: u64) -> Result<Change, Rule> {
        self.fresh(&new.key)?;
        if new.uses == 0 {
            return Err(Rule::InviteWithoutUses);
        }
        if new.expires <= at {
            return Err(Rule::InviteExpired);
        }
        let maker = match author {
            Author::Node(node) => Some(self.nodes[node].id),
            Author::Recovery => None,
        };
        Ok(Change::Invite(Invite::new(new, maker, at, seq)))
    }

    fn check_join(
        &self,
        join: Join,
        signers: &[VerifyingKey],
        at: Timestamp,
        seq: u64,
    ) -> Result<Change, Rule> {
        let Join { member: new, invite: key } = join;
        signed_by(signers, &[&key, &new.signing])?;
        let (invite, standing) = self.invite_index(&key)?;
        standing.admits(at)?;
        standing.admits_name(&new.name)?;
        self.fresh(&new.signing)?;
        self.admits_name(&new.name)?;
        let member = member(new, standing.role, Some(key), at, seq);
        // Cannot follow from a fresh key alone: an id is half a hash.
        if self.index.ids.contains_key(&member.id) {
            return Err(Rule::IdUsed);
        }
        Ok(Change::Join { member, invite })
    }

    fn check_update(
        &self,
        update: Update,
        signers: &[VerifyingKey],
        at: Timestamp,
        seq: u64,
    ) -> Result<Change, Rule> {
        let node = self.live(&update.node)?;
        self.own(node, signers)?;
        match &update.signing {
            None => signed_by(signers, &[&self.nodes[node].signing])?,
            Some(new) => {
                signed_by(signers, &[&self.nodes[node].signing, new])?;
                self.fresh(new)?;
            }
        }
        if update.signing.is_none() && update.sealing.is_none() && update.host.is_none() {
            return Err(Rule::NothingChanges);
        }
        Ok(Change::Update { node, update, at, seq })
    }

    fn check_grant(&self, grant: Grant, author: Author) -> Result<Change, Rule> {
        let node = self.live(&grant.node)?;
        if self.nodes[node].role == grant.role {
            return Err(Rule::NothingChanges);
        }
        self.admin_remains(node, Some(author))?;
        Ok(Change::Grant { node, role: grant.role })
    }

    fn check_revoke(&self, revoke: &Revoke, author: Author, seq: u64) -> Result<Change, Rule> {
        let epoch = revoke.epoch;
        if let Some(epoch) = epoch {
            self.next_epoch(epoch)?;
        }
        match &revoke.target {
            Target::Node(id) => {
                let node = self.live(id)?;
                self.admin_remains(node, Some(author))?;
                Ok(Change::End { node, standing: Standing::Revoked, epoch, seq })
            }
            Target::Invite(key) => {
                let (invite, standing) = self.invite_index(key)?;
                if standing.revoked {
                    return Err(Rule::InviteRevoked);
                }
                Ok(Change::RevokeInvite { invite, epoch })
            }
        }
    }

    fn check_leave(&self, leave: Leave, signers: &[VerifyingKey], seq: u64) -> Result<Change, Rule> {
        let node = self.live(&leave.node)?;
        self.own(node, signers)?;
        signed_by(signers, &[&self.nodes[node].signing])?;
        self.admin_remains(node, None)?;
        Ok(Change::End { node, standing: Standing::Left, epoch: None, seq })
    }

    fn check_epoch(&self, epoch: NewEpoch) -> Result<Change, Rule> {
        self.next_epoch(epoch)?;
        Ok(Change::Epoch(epoch))
    }

    /// On one log the head that an admin chose can only be the one it was signed on.
    fn check_resume(&self, resume: Resume) -> Result<Change, Rule> {
        if resume.head == self.head() { Ok(Change::Resume) } else { Err(Rule::OtherHead) }
    }

    /// The admin whose current key, and no other, signed: or the recovery key.
    pub(super) fn admin(&self, signers: &[VerifyingKey]) -> Result<Author, Rule> {
        let [key] = signers else {
            return Err(Rule::WrongSigners);
        };
        match self.index.keys.get(key.as_bytes()) {
            Some(Owner::Recovery) => Ok(Author::Recovery),
            Some(&Owner::Node(node)) => {
                let member = &self.nodes[node];
                if member.standing != Standing::Live || member.role != Role::Admin {
                    Err(Rule::NotAnAdmin)
                } else if member.signing != *key {
                    Err(Rule::Superseded)
                } else {
                    Ok(Author::Node(node))
                }
            }
            Some(Owner::Invite(_)) | None => Err(Rule::NotAnAdmin),
        }
    }

    /// Tells a node whose keys were replaced, by a copy of it, from a stranger.
    fn own(&self, node: usize, signers: &[VerifyingKey]) -> Result<(), Rule> {
        let replaced = signers.first().is_some_and(|key| self.nodes[node].is_former_key(key));
        if replaced { Err(Rule::Superseded) } else { Ok(()) }
    }

    fn live(&self, id: &NodeId) -> Result<usize, Rule> {
        let node = *self.index.ids.get(id).ok_or(Rule::UnknownNode)?;
        if self.nodes[node].standing == Standing::Live { Ok(node) } else { Err(Rule::NotLive) }
    }

    fn invite_index(&self, key: &VerifyingKey) -> Result<(usize, &Invite), Rule> {
        match self.index.keys.get(key.as_bytes()) {
            Some(&Owner::Invite(invite)) => Ok((invite, &self.invites[invite])),
            Some(Owner::Node(_) | Owner::Recovery) | None => Err(Rule::UnknownInvite),
        }
    }

    fn fresh(&self, key: &VerifyingKey) -> Result<(), Rule> {
        if self.index.keys.contains_key(key.as_bytes()) { Err(Rule::KeyUsed) } else { Ok(()) }
    }

    fn next_epoch(&self, epoch: NewEpoch) -> Result<(), Rule> {
        if Some(epoch.n) == self.epoch.checked_add(1) { Ok(()) } else { Err(Rule::EpochNotNext) }
    }

    /// Whether the mesh keeps an admin when this member stops being one. Only the recovery key may take the last.
    fn admin_remains(&self, node: usize, author: Option<Author>) -> Result<(), Rule> {
        let last = self.nodes[node].role == Role::Admin && self.index.admins == 1;
        if last && author != Some(Author::Recovery) { Err(Rule::LastAdmin) } else { Ok(()) }
    }
}

fn signed_by(signers: &[VerifyingKey], expected: &[&VerifyingKey]) -> Result<(), Rule> {
    if signers.iter().eq(expected.iter().copied()) { Ok(()) } else { Err(Rule::WrongSigners) }
}

fn member(new: NewMember, role: Role, invite: Option<VerifyingKey>, at: Timestamp, seq: u64) -> Member {
    let NewMember { name, signing, sealing, host } = new;
    Member {
        id: signing.node_id(),
        name,
        signing,
        sealing,
        host,
        role,
        standing: Standing::Live,
        joined_seq: seq,
        joined_at: at,
        moved_at: None,
        invite,
        former_keys: Vec::new(),
        ended_seq: None,
        ended_at: None,
    }
}

fn mesh_id(genesis: &Digest) -> MeshId {
    let mut id = [0; MeshId::SIZE];
    id.copy_from_slice(&genesis.as_bytes()[..MeshId::SIZE]);
    MeshId::from_bytes(id)
}
