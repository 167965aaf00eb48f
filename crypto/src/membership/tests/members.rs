//! Members: names, keys, roles, and the ways out.

use super::*;
use crate::membership::Standing;

#[test]
fn a_name_is_taken_while_its_member_is_live() {
    let mut mesh = Mesh::with_members(11..=11);
    mesh.append(invite(50, |invite| invite.uses = 9), &[FOUNDER]);
    mesh.refuses(join(12, "n11", 50), &[50, 12], Rule::NameTaken);
    mesh.refuses(join(12, "founder", 50), &[50, 12], Rule::NameTaken);
    assert_eq!(mesh.roster.admits_name(&name("n11")), Err(Rule::NameTaken));
    mesh.append(revoke(11), &[FOUNDER]);
    assert_eq!(mesh.roster.admits_name(&name("n11")), Ok(()));
    mesh.append(join(12, "n11", 50), &[50, 12]);
    assert_eq!(mesh.roster.by_name(&name("n11")).unwrap().id, id(12));
}

#[test]
fn a_node_that_is_out_does_not_come_back_under_its_id() {
    let mut mesh = Mesh::with_members(11..=12);
    mesh.append(invite(50, |invite| invite.uses = 9), &[FOUNDER]);
    mesh.append(revoke(11), &[FOUNDER]);
    mesh.append(leave(12), &[12]);
    for n in [11, 12] {
        mesh.refuses(join(n, "again", 50), &[50, n], Rule::KeyUsed);
        mesh.refuses(grant(n, Role::Admin), &[FOUNDER], Rule::NotLive);
        mesh.refuses(revoke(n), &[FOUNDER], Rule::NotLive);
        mesh.refuses(leave(n), &[n], Rule::NotLive);
        mesh.refuses(rotate(n, 61), &[n, 61], Rule::NotLive);
    }
}

#[test]
fn standing_tells_live_revoked_left_and_unknown() {
    let mut mesh = Mesh::with_members(11..=13);
    mesh.append(revoke(11), &[FOUNDER]);
    mesh.append(leave(12), &[12]);
    let standings = [11, 12, 13, 14].map(|n| mesh.roster.standing(&id(n)));
    assert_eq!(standings, [Standing::Revoked, Standing::Left, Standing::Live, Standing::Unknown]);
    assert!(mesh.roster.member(&id(11)).is_none() && mesh.roster.by_name(&name("n11")).is_none());
    assert_eq!(mesh.roster.former(&id(11)).unwrap().name, name("n11"));
    let names: Vec<_> = mesh.roster.members().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["founder", "n13"], "in the order of joining");
    let names: Vec<_> = mesh.roster.everybody().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["founder", "n11", "n12", "n13"], "and those who are out");
    assert_eq!(mesh.roster.names_like("n12"), [name("n13")]);
}

#[test]
fn a_rotation_is_signed_by_the_old_key_and_the_new() {
    let mut mesh = Mesh::with_members(11..=12);
    for signers in [&[11][..], &[61], &[61, 11], &[FOUNDER, 61], &[12, 61], &[RECOVERY, 61]] {
        mesh.refuses(rotate(11, 61), signers, Rule::WrongSigners);
    }
    mesh.append(rotate(11, 61), &[11, 61]);
    let member = mesh.roster.member(&id(11)).unwrap();
    assert_eq!((member.signing, member.id), (public(61), id(11)), "the id stays");
    assert!(member.is_former_key(&public(11)) && !member.is_former_key(&public(61)));
    for key in [11, 61] {
        assert_eq!(mesh.roster.by_key(&public(key)).unwrap().id, id(11));
    }
    assert!(mesh.roster.by_key(&public(111)).is_none() && mesh.roster.by_key(&public(RECOVERY)).is_none());
    mesh.append(rotate(11, 62), &[61, 62]);
    let former: Vec<_> = mesh.roster.member(&id(11)).unwrap().former_keys().copied().collect();
    assert_eq!(former, [public(61), public(11)], "newest first");
}

#[test]
fn a_replaced_key_speaks_for_nobody() {
    let mut mesh = Mesh::with_members(11..=11);
    mesh.append(grant(11, Role::Admin), &[FOUNDER]);
    mesh.append(rotate(11, 61), &[11, 61]);
    mesh.refuses(rotate(11, 62), &[11, 62], Rule::Superseded);
    mesh.refuses(update(11, |update| update.host = Some(digest(1))), &[11], Rule::Superseded);
    mesh.refuses(leave(11), &[11], Rule::Superseded);
    mesh.refuses(invite(50, |_| ()), &[11], Rule::Superseded);
    mesh.append(invite(50, |_| ()), &[61]);
    mesh.append(leave(11), &[61]);
}

#[test]
fn an_update_changes_what_it_names_and_is_signed_by_its_node() {
    let mut mesh = Mesh::with_members(11..=11);
    let sealing = SealingKey::from_seed(&[10; 32]).public().unwrap();
    mesh.refuses(update(11, |_| ()), &[11], Rule::NothingChanges);
    let move_host = || update(11, |update| update.host = Some(digest(200)));
    for signers in [&[FOUNDER][..], &[RECOVERY], &[11, 61], &[99]] {
        mesh.refuses(move_host(), signers, Rule::WrongSigners);
    }
    mesh.refuses(update(14, |update| update.host = Some(digest(1))), &[14], Rule::UnknownNode);
    mesh.now += 7;
    mesh.append(move_host(), &[11]);
    let member = mesh.roster.member(&id(11)).unwrap();
    assert_eq!(
        (member.host, member.moved_at, &member.sealing),
        (digest(200), Some(at(START + 7)), &super::sealing())
    );
    mesh.now += 1;
    mesh.append(update(11, |update| update.sealing = Some(sealing.clone())), &[11]);
    let member = mesh.roster.member(&id(11)).unwrap();
    assert_eq!(
        (&member.sealing, member.moved_at, member.signing),
        (&sealing, Some(at(START + 7)), public(11))
    );
}

#[test]
fn the_past_remembers_which_key_spoke() {
    let mut mesh = Mesh::with_members(11..=11);
    mesh.append(rotate(11, 61), &[11, 61]);
    mesh.append(invite(50, |_| ()), &[FOUNDER]);
    mesh.append(rotate(11, 62), &[61, 62]);
    mesh.append(revoke(11), &[FOUNDER]);
    let member = mesh.roster.former(&id(11)).unwrap();
    let spoke: Vec<_> = (0..9).map(|seq| member.signing_at(seq).copied()).collect();
    let key = |n| Some(public(n));
    assert_eq!(spoke, [None, None, None, key(11), key(61), key(61), key(62), None, None]);
}

#[test]
fn admins_grant_and_take_roles() {
    let mut mesh = Mesh::with_members(11..=12);
    mesh.refuses(grant(12, Role::Admin), &[11], Rule::NotAnAdmin);
    mesh.refuses(grant(11, Role::Member), &[FOUNDER], Rule::NothingChanges);
    mesh.refuses(grant(14, Role::Member), &[FOUNDER], Rule::UnknownNode);
    mesh.append(grant(11, Role::Admin), &[FOUNDER]);
    mesh.append(grant(12, Role::Admin), &[11]);
    mesh.append(grant(FOUNDER, Role::Member), &[12]);
    mesh.refuses(grant(FOUNDER, Role::Admin), &[FOUNDER], Rule::NotAnAdmin);
    mesh.append(revoke(12), &[11]);
    mesh.refuses(revoke(11), &[12], Rule::NotAnAdmin);
}

#[test]
fn only_admins_revoke() {
    let mut mesh = Mesh::with_members(11..=12);
    for signer in [11, 12, 112, 99] {
        mesh.refuses(revoke(12), &[signer], Rule::NotAnAdmin);
    }
    mesh.refuses(revoke(14), &[FOUNDER], Rule::UnknownNode);
    mesh.refuses(leave(12), &[11], Rule::WrongSigners);
    mesh.refuses(leave(12), &[FOUNDER], Rule::WrongSigners);
    mesh.refuses(leave(14), &[14], Rule::UnknownNode);
    mesh.append(revoke(12), &[RECOVERY]);
}

#[test]
fn the_last_admin_stays_unless_the_recovery_key_signs() {
    let mut mesh = Mesh::with_members(11..=11);
    let demote = || grant(FOUNDER, Role::Member);
    mesh.refuses(demote(), &[FOUNDER], Rule::LastAdmin);
    mesh.refuses(revoke(FOUNDER), &[FOUNDER], Rule::LastAdmin);
    mesh.refuses(leave(FOUNDER), &[FOUNDER], Rule::LastAdmin);
    mesh.append(revoke(11), &[FOUNDER]);
    mesh.append(demote(), &[RECOVERY]);
    mesh.refuses(invite(50, |_| ()), &[FOUNDER], Rule::NotAnAdmin);
    mesh.append(grant(FOUNDER, Role::Admin), &[RECOVERY]);
    mesh.append(revoke(FOUNDER), &[RECOVERY]);
    assert_eq!(mesh.roster.members().count(), 0);
    mesh.append(invite(50, |invite| invite.role = Role::Admin), &[RECOVERY]);
    mesh.append(join(12, "founder", 50), &[50, 12]);
    mesh.append(invite(51, |_| ()), &[12]);
}

#[test]
fn one_of_two_admins_may_go() {
    for end in [revoke(11), leave(11), grant(11, Role::Member)] {
        let mut mesh = Mesh::with_members(11..=11);
        mesh.append(grant(11, Role::Admin), &[FOUNDER]);
        mesh.append(end, &[11]);
        mesh.refuses(leave(FOUNDER), &[FOUNDER], Rule::LastAdmin);
    }
}
