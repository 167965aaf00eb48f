//! Invites: who makes them, whom they admit, and what closes them.

use super::*;
use crate::membership::Standing;

#[test]
fn an_invite_admits_as_many_as_it_is_for() {
    let mut mesh = Mesh::found();
    mesh.append(invite(50, |invite| invite.uses = 2), &[FOUNDER]);
    mesh.append(join(11, "n11", 50), &[50, 11]);
    mesh.append(join(12, "n12", 50), &[50, 12]);
    mesh.refuses(join(13, "n13", 50), &[50, 13], Rule::InviteUsedUp);
    let invite = mesh.roster.invite(&public(50)).unwrap();
    assert_eq!((invite.used, invite.maker, invite.seq), (2, Some(id(FOUNDER)), 2));
    let member = mesh.roster.member(&id(12)).unwrap();
    assert_eq!((member.role, member.joined_seq, member.invite), (Role::Member, 4, Some(public(50))));
}

#[test]
fn an_invite_admits_until_the_moment_it_expires() {
    let mut mesh = Mesh::found();
    mesh.append(invite(50, |invite| invite.uses = 2), &[FOUNDER]);
    mesh.now = START + LIFETIME - 1;
    mesh.append(join(11, "n11", 50), &[50, 11]);
    assert_eq!(mesh.roster.open_invites(at(mesh.now)).count(), 1);
    mesh.now = START + LIFETIME;
    mesh.refuses(join(12, "n12", 50), &[50, 12], Rule::InviteExpired);
    assert_eq!(mesh.roster.open_invites(at(mesh.now)).count(), 0);
    assert_eq!(mesh.roster.invites().map(|invite| invite.key).collect::<Vec<_>>(), [public(50)]);
}

#[test]
fn an_invite_is_born_alive() {
    let mut mesh = Mesh::found();
    mesh.refuses(invite(50, |invite| invite.expires = at(START)), &[FOUNDER], Rule::InviteExpired);
    mesh.refuses(invite(50, |invite| invite.uses = 0), &[FOUNDER], Rule::InviteWithoutUses);
}

#[test]
fn an_invite_may_be_for_one_name() {
    let mut mesh = Mesh::found();
    mesh.append(invite(50, |invite| invite.name = Some(name("alpha"))), &[FOUNDER]);
    mesh.refuses(join(11, "beta", 50), &[50, 11], Rule::NotInvitedName);
    mesh.append(join(11, "alpha", 50), &[50, 11]);
    assert_eq!(mesh.roster.by_name(&name("alpha")).unwrap().id, id(11));
}

#[test]
fn an_invite_gives_its_role() {
    let mut mesh = Mesh::found();
    mesh.append(invite(50, |invite| invite.role = Role::Admin), &[FOUNDER]);
    mesh.append(join(11, "n11", 50), &[50, 11]);
    mesh.append(invite(51, |_| ()), &[11]);
    assert_eq!(mesh.roster.invite(&public(51)).unwrap().maker, Some(id(11)));
}

#[test]
fn only_admins_invite() {
    let mut mesh = Mesh::with_members(11..=11);
    for signer in [11, 111, 77] {
        mesh.refuses(invite(50, |_| ()), &[signer], Rule::NotAnAdmin);
    }
    mesh.refuses(invite(50, |_| ()), &[FOUNDER, 11], Rule::WrongSigners);
    mesh.append(invite(50, |_| ()), &[RECOVERY]);
    assert_eq!(mesh.roster.invite(&public(50)).unwrap().maker, None);
}

#[test]
fn a_join_is_signed_by_the_invite_and_the_newcomer_in_this_order() {
    let mut mesh = Mesh::found();
    mesh.append(invite(50, |_| ()), &[FOUNDER]);
    for signers in [&[50][..], &[11], &[11, 50], &[50, 12], &[50, 50], &[FOUNDER, 11]] {
        mesh.refuses(join(11, "n11", 50), signers, Rule::WrongSigners);
    }
}

#[test]
fn only_a_key_that_was_invited_admits() {
    let mut mesh = Mesh::found();
    mesh.refuses(join(11, "n11", 50), &[50, 11], Rule::UnknownInvite);
    mesh.refuses(join(11, "n11", FOUNDER), &[FOUNDER, 11], Rule::UnknownInvite);
    mesh.refuses(join(11, "n11", RECOVERY), &[RECOVERY, 11], Rule::UnknownInvite);
    mesh.refuses(revoke_invite(50), &[FOUNDER], Rule::UnknownInvite);
    mesh.refuses(revoke_invite(FOUNDER), &[FOUNDER], Rule::UnknownInvite);
    assert!(mesh.roster.invite(&public(FOUNDER)).is_none());
}

#[test]
fn no_key_has_two_owners() {
    let mut mesh = Mesh::with_members(11..=11);
    mesh.append(rotate(11, 61), &[11, 61]);
    mesh.append(invite(50, |invite| invite.uses = 9), &[FOUNDER]);
    for used in [FOUNDER, RECOVERY, 11, 61, 50, 111] {
        mesh.refuses(invite(used, |_| ()), &[FOUNDER], Rule::KeyUsed);
        mesh.refuses(join(used, "new", 50), &[50, used], Rule::KeyUsed);
        mesh.refuses(rotate(11, used), &[61, used], Rule::KeyUsed);
    }
}

#[test]
fn a_revoked_invite_admits_nobody_and_cannot_be_revoked_again() {
    let mut mesh = Mesh::with_members(11..=11);
    mesh.append(invite(50, |_| ()), &[FOUNDER]);
    mesh.refuses(revoke_invite(50), &[11], Rule::NotAnAdmin);
    mesh.append(revoke_invite(50), &[FOUNDER]);
    mesh.refuses(join(12, "n12", 50), &[50, 12], Rule::InviteRevoked);
    mesh.refuses(revoke_invite(50), &[FOUNDER], Rule::InviteRevoked);
    mesh.append(revoke_invite(111), &[FOUNDER]);
    assert_eq!(
        mesh.roster.standing(&id(11)),
        Standing::Live,
        "who joined by an invite stays when it is revoked"
    );
}

#[test]
fn a_revoke_closes_the_invite_the_node_joined_by_and_those_it_made() {
    closes_invites(|mesh| mesh.append(revoke(11), &[FOUNDER]));
}

#[test]
fn a_leave_closes_the_invite_the_node_joined_by_and_those_it_made() {
    closes_invites(|mesh| mesh.append(leave(11), &[11]));
}

fn closes_invites(end: impl FnOnce(&mut Mesh)) {
    let mut mesh = Mesh::found();
    let many = |invite: &mut NewInvite| (invite.role, invite.uses) = (Role::Admin, 9);
    mesh.append(invite(50, many), &[FOUNDER]);
    mesh.append(invite(51, many), &[FOUNDER]);
    mesh.append(join(11, "n11", 50), &[50, 11]);
    mesh.append(invite(52, many), &[11]);
    mesh.append(join(12, "n12", 52), &[52, 12]);
    mesh.append(invite(53, many), &[12]);
    mesh.append(invite(54, many), &[RECOVERY]);
    end(&mut mesh);
    for (invite, revoked) in [(50, true), (51, false), (52, true), (53, false), (54, false)] {
        assert_eq!(mesh.roster.invite(&public(invite)).unwrap().revoked, revoked, "invite {invite}");
    }
    mesh.refuses(join(13, "n13", 50), &[50, 13], Rule::InviteRevoked);
    mesh.refuses(join(13, "n13", 52), &[52, 13], Rule::InviteRevoked);
    mesh.append(join(13, "n13", 51), &[51, 13]);
    assert_eq!(mesh.roster.standing(&id(12)), Standing::Live, "whom it let in stays");
}

#[test]
fn of_several_reasons_the_most_final_is_told() {
    let mut mesh = Mesh::with_members(11..=11);
    let invite = |mesh: &Mesh| mesh.roster.invite(&public(111)).unwrap().admits(at(START + LIFETIME));
    assert_eq!(invite(&mesh), Err(Rule::InviteUsedUp));
    mesh.append(revoke_invite(111), &[FOUNDER]);
    assert_eq!(invite(&mesh), Err(Rule::InviteRevoked));
}
