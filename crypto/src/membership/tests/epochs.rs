//! Epochs and resumption.

use super::*;
use crate::membership::{LogHead, NewEpoch, Resume};
use crate::state_key::Holder;

fn epoch(n: u64) -> NewEpoch {
    NewEpoch { n, keys: digest(n as u8) }
}

fn revoke_with(target: Target, n: u64) -> Body {
    Body::Revoke(Revoke { target, reason: "lost".parse().unwrap(), epoch: Some(epoch(n)) })
}

#[test]
fn epochs_are_numbered_without_gaps() {
    let mut mesh = Mesh::with_members(11..=11);
    for n in [0, 1, 3, u64::MAX] {
        mesh.refuses(Body::Epoch(epoch(n)), &[FOUNDER], Rule::EpochNotNext);
        mesh.refuses(revoke_with(Target::Node(id(11)), n), &[FOUNDER], Rule::EpochNotNext);
    }
    mesh.refuses(Body::Epoch(epoch(2)), &[11], Rule::NotAnAdmin);
    mesh.append(Body::Epoch(epoch(2)), &[FOUNDER]);
    assert_eq!((mesh.roster.epoch(), mesh.roster.epoch_keys()), (2, Some(digest(2))));
    mesh.append(Body::Epoch(epoch(3)), &[RECOVERY]);
    mesh.append(revoke_with(Target::Node(id(11)), 4), &[FOUNDER]);
    assert_eq!((mesh.roster.epoch(), mesh.roster.epoch_keys()), (4, Some(digest(4))));
}

#[test]
fn an_epoch_is_wanted_after_a_leave_a_resume_and_a_revoke_without_one() {
    let head = Mesh::with_members(11..=11).roster.head();
    let resume = Body::Resume(Resume { head });
    let ends = [(leave(11), 11), (revoke(11), FOUNDER), (revoke_invite(111), FOUNDER), (resume, FOUNDER)];
    for (end, signer) in ends {
        let mut mesh = Mesh::with_members(11..=11);
        mesh.append(end, &[signer]);
        assert!(mesh.roster.wants_epoch());
        assert_eq!(mesh.roster.epoch(), 1);
        mesh.append(invite(50, |_| ()), &[FOUNDER]);
        assert!(mesh.roster.wants_epoch(), "still");
        mesh.append(Body::Epoch(epoch(2)), &[FOUNDER]);
        assert!(!mesh.roster.wants_epoch());
    }
}

#[test]
fn a_revoke_with_an_epoch_wants_no_other() {
    let mut mesh = Mesh::with_members(11..=13);
    mesh.append(leave(12), &[12]);
    mesh.append(revoke_with(Target::Node(id(11)), 2), &[FOUNDER]);
    assert!(!mesh.roster.wants_epoch(), "its list leaves out whoever went before, too");
    mesh.append(revoke_with(Target::Invite(public(113)), 3), &[FOUNDER]);
    assert!(!mesh.roster.wants_epoch());
}

#[test]
fn a_resume_names_the_head_it_follows() {
    let mut mesh = Mesh::with_members(11..=11);
    let head = mesh.roster.head();
    let before = LogHead { seq: head.seq - 1, hash: mesh.roster.hash_at(head.seq - 1).unwrap() };
    let wrong = [
        before,
        LogHead { seq: head.seq + 1, ..head },
        LogHead { hash: digest(1), ..head },
        LogHead { seq: 0, ..head },
    ];
    for head in wrong {
        mesh.refuses(Body::Resume(Resume { head }), &[FOUNDER], Rule::OtherHead);
    }
    mesh.refuses(Body::Resume(Resume { head }), &[11], Rule::NotAnAdmin);
    mesh.append(Body::Resume(Resume { head }), &[FOUNDER]);
    mesh.refuses(Body::Resume(Resume { head }), &[FOUNDER], Rule::OtherHead);
    let head = mesh.roster.head();
    mesh.append(Body::Resume(Resume { head }), &[RECOVERY]);
}

/// For whom a list would have slots, as the test's numbers.
fn holders(mesh: &Mesh, ending: Option<&Target>) -> Vec<Holder> {
    let holders = mesh.roster.key_holders(mesh.roster.at(), ending);
    for (holder, key) in &holders {
        match holder {
            Holder::Node(id) => assert_eq!(*key, mesh.roster.member(id).unwrap().sealing),
            Holder::Invite(invite) => assert_eq!(*key, mesh.roster.invite(invite).unwrap().sealing),
        }
    }
    assert!(holders.len() as u64 <= mesh.roster.most_key_holders());
    holders.into_iter().map(|(holder, _)| holder).collect()
}

#[test]
fn every_member_and_every_open_invite_gets_the_new_key() {
    let mut mesh = Mesh::with_members(11..=12);
    mesh.append(invite(50, |_| ()), &[FOUNDER]);
    let nodes = [FOUNDER, 11, 12].map(|n| Holder::Node(id(n)));
    assert_eq!(mesh.roster.most_key_holders(), 6, "as many as there were ever invites and nodes");
    let all = [&nodes[..], &[Holder::Invite(public(50))]].concat();
    assert_eq!(holders(&mesh, None), all, "an invite that is used up has none");
    mesh.append(revoke_invite(50), &[FOUNDER]);
    assert_eq!(holders(&mesh, None), nodes);
    mesh.append(leave(12), &[12]);
    assert_eq!(holders(&mesh, None), nodes[..2]);
}

/// What a list leaves out is what the entry that names it ends: found by applying that entry.
#[test]
fn what_an_entry_ends_has_no_slot_in_the_list_it_names() {
    let mut mesh = Mesh::with_members(11..=13);
    mesh.append(grant(11, Role::Admin), &[FOUNDER]);
    mesh.append(invite(50, |_| ()), &[11]);
    mesh.append(invite(51, |invite| invite.uses = 3), &[FOUNDER]);
    mesh.append(join(14, "n14", 51), &[51, 14]);
    for target in
        [Target::Node(id(11)), Target::Node(id(14)), Target::Invite(public(50)), Target::Invite(public(51))]
    {
        let named = holders(&mesh, Some(&target));
        let mut after = Mesh { roster: mesh.roster.clone(), ..Mesh::with_members(11..=11) };
        after.append(revoke_with(target.clone(), 2), &[FOUNDER]);
        assert_eq!(named, holders(&after, None), "{target:?}");
        assert!(named.len() < holders(&mesh, None).len());
    }
}
