//! What an allowed entry does to the state. By the time there is a [`Change`], nothing can fail.

use crate::id::Timestamp;
use crate::membership::roster::Owner;
use crate::membership::{Invite, Member, NewEpoch, Role, Roster, Standing, Update};

/// The effect of one entry. Numbers are places in the roster's lists.
#[expect(clippy::large_enum_variant, reason = "moved once; a box would cost an allocation per join")]
pub(super) enum Change {
    Invite(Invite),
    Join { member: Member, invite: usize },
    Update { node: usize, update: Update, at: Timestamp, seq: u64 },
    Grant { node: usize, role: Role },
    End { node: usize, standing: Standing, epoch: Option<NewEpoch>, seq: u64 },
    RevokeInvite { invite: usize, epoch: Option<NewEpoch> },
    Epoch(NewEpoch),
    Resume,
}

impl Roster {
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Invite(invite) => {
                self.index.keys.insert(*invite.key.as_bytes(), Owner::Invite(self.invites.len()));
                self.invites.push(invite);
            }
            Change::Join { member, invite } => {
                self.invites[invite].used += 1;
                self.index.add(self.nodes.len(), &member);
                self.nodes.push(member);
            }
            Change::Update { node, update, at, seq } => self.update(node, update, at, seq),
            Change::Grant { node, role } => self.grant(node, role),
            Change::End { node, standing, epoch, seq } => {
                self.end(node, standing, seq);
                self.begin_epoch(epoch);
            }
            Change::RevokeInvite { invite, epoch } => {
                self.invites[invite].revoked = true;
                self.begin_epoch(epoch);
            }
            Change::Epoch(epoch) => self.begin_epoch(Some(epoch)),
            Change::Resume => self.begin_epoch(None),
        }
    }

    fn update(&mut self, node: usize, update: Update, at: Timestamp, seq: u64) {
        let member = &mut self.nodes[node];
        if let Some(new) = update.signing {
            self.index.keys.insert(*new.as_bytes(), Owner::Node(node));
            let old = std::mem::replace(&mut member.signing, new);
            member.former_keys.push((old, seq));
        }
        if let Some(new) = update.sealing {
            member.sealing = new;
        }
        if let Some(new) = update.host {
            member.host = new;
            member.moved_at = Some(at);
        }
    }

    fn grant(&mut self, node: usize, role: Role) {
        self.nodes[node].role = role;
        match role {
            Role::Admin => self.index.admins += 1,
            Role::Member => self.index.admins -= 1,
        }
    }

    fn end(&mut self, node: usize, standing: Standing, seq: u64) {
        let member = &mut self.nodes[node];
        member.standing = standing;
        member.ended_seq = Some(seq);
        member.ended_at = Some(self.at);
        self.index.names.remove(&member.name);
        self.index.admins -= usize::from(member.role == Role::Admin);
        for invite in &mut self.invites {
            invite.revoked |= invite.ends_with(member);
        }
    }

    /// A new epoch, or the wish for one.
    fn begin_epoch(&mut self, epoch: Option<NewEpoch>) {
        self.wants_epoch = epoch.is_none();
        if let Some(NewEpoch { n, keys }) = epoch {
            self.epoch = n;
            self.epoch_keys = Some(keys);
        }
    }
}
