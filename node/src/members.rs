//! Who a mesh's log says is in it, and who may come in: as answers, from a roster in memory or in a folder.

use waxwing_crypto::membership::{Invite, Member, Roster, Standing};
use waxwing_crypto::{Name, NodeId, Timestamp, VerifyingKey};
use waxwing_protocol::api::{self, Members, OpenInvite};

use crate::config::Config;
use crate::error::Result;
use crate::home::Home;
use crate::identity::Identity;
use crate::rosters;
use crate::store;

/// The members of a mesh that no node is serving, as its folder has them. `all`: also those that are none any more.
///
/// # Errors
/// `Usage` if it is not clear which mesh is meant; `NotFound` if the node is in none of this name; `Damaged`, `Database`.
pub async fn members(config: &Config, only: Option<&Name>, all: bool) -> Result<Members> {
    let home = Home::new(config.state.clone());
    let mesh = home.only(only)?;
    let folder = home.mesh(&mesh);
    let identity = Identity::load(&folder)?;
    let db = store::open_to_read(&folder.join("node.db"));
    let opened = rosters::open(&db, &identity.storage.keys(), identity.mesh).await;
    db.close().await;
    Ok(Members { members: of(&opened?.roster, identity.node, all), mesh })
}

/// The members that a roster has.
pub(crate) fn of(roster: &Roster, this: NodeId, all: bool) -> Vec<api::Member> {
    let shown = roster.everybody().filter(|member| all || member.standing == Standing::Live);
    shown.map(|member| shown_as(roster, this, member)).collect()
}

fn shown_as(roster: &Roster, this: NodeId, member: &Member) -> api::Member {
    let maker = member.invite.and_then(|key| roster.invite(&key)?.maker);
    api::Member {
        node: member.name.clone(),
        id: member.id,
        role: member.role,
        standing: member.standing,
        joined_at: member.joined_at,
        invited_by: maker.and_then(|maker| name(roster, &maker)),
        moved_at: member.moved_at,
        ended_at: member.ended_at,
        founder: member.invite.is_none(),
        this: member.id == this,
    }
}

/// The invites that let somebody in at this moment.
pub(crate) fn open_invites(roster: &Roster, at: Timestamp) -> Vec<OpenInvite> {
    let shown = |invite: &Invite| OpenInvite {
        key: hex(&invite.key),
        role: invite.role,
        left: invite.uses.saturating_sub(invite.used),
        uses: invite.uses,
        expires_at: invite.expires,
        name: invite.name.clone(),
        made_by: invite.maker.and_then(|maker| name(roster, &maker)),
        made_at: invite.made_at,
    };
    roster.open_invites(at).map(shown).collect()
}

/// The invites whose key begins so.
pub(crate) fn invites_like(roster: &Roster, beginning: &str) -> Vec<VerifyingKey> {
    let keys = roster.invites().map(|invite| invite.key);
    keys.filter(|key| hex(key).starts_with(beginning)).collect()
}

/// A public key as people see it.
pub(crate) fn hex(key: &VerifyingKey) -> String {
    data_encoding::HEXLOWER.encode(key.as_bytes())
}

fn name(roster: &Roster, id: &NodeId) -> Option<Name> {
    roster.former(id).map(|member| member.name.clone())
}
