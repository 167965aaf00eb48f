//! How long a log of 10,000 members takes to replay, on one core: `cargo run --release --example replay [members]`. And
//! how long the roster takes that a node keeps under a code, so that it need not.
//!
//! Two logs: everybody by one invite, and everybody by an invite of their own.

#![expect(clippy::disallowed_types, reason = "a benchmark reads the real clock")]

use std::time::{Duration, Instant};

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use waxwing_crypto::membership::{
    Body, Genesis, InviteSeed, Join, NewInvite, NewMember, RecoverySecret, Role, Roster, SignedEntry,
};
use waxwing_crypto::state_key::StateKeys;
use waxwing_crypto::storage::StorageKey;
use waxwing_crypto::{Digest, Result, SealingKey, SigningKey, Timestamp};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn main() -> Result<()> {
    let members = std::env::args().nth(1).and_then(|arg| arg.parse().ok()).unwrap_or(10_000);
    println!(
        "{:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "members", "invites", "entries", "log", "replay", "roster", "keep", "restore"
    );
    report(members, members)?;
    report(members, 1)
}

fn report(members: u32, uses: u32) -> Result<()> {
    let log = write(members, uses)?;
    let bytes: usize = log.iter().map(|entry| entry.bytes.len() + 64 * entry.signatures.len()).sum();
    let (roster, replay) = timed(|| Roster::replay(&log));
    let (roster, keys) = (roster?, StorageKey::generate(&mut UnwrapErr(SysRng)).keys());
    let (kept, save) = timed(|| Ok(keys.keep_roster(&roster)));
    let kept = kept?;
    let (restored, restore) = timed(|| keys.kept_roster(roster.mesh(), roster.head(), &kept));
    assert_eq!(restored?, roster);
    let (invites, entries, mib) = (members / uses, log.len(), bytes >> 20);
    let kept = kept.len() >> 20;
    println!(
        "{members:>8} {invites:>8} {entries:>8} {mib:>5} MiB {replay:>9.2?} {kept:>5} MiB {save:>9.2?} {restore:>9.2?}"
    );
    Ok(())
}

fn timed<T>(run: impl FnOnce() -> Result<T>) -> (Result<T>, Duration) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed())
}

fn write(members: u32, uses: u32) -> Result<Vec<SignedEntry>> {
    let mut rng = UnwrapErr(SysRng);
    let founder = SigningKey::generate(&mut rng);
    let keys = StateKeys::found(&mut rng);
    let sealing = SealingKey::generate(&mut rng).public()?;
    let genesis = Genesis {
        name: "bench".parse()?,
        founder: newcomer("founder", &founder)?,
        recovery: RecoverySecret::generate(&mut rng).signing_key().public(),
        state_keys: keys.seal_to(&sealing, &mut rng)?,
    };
    let (first, mut roster) = Roster::found(NOW, genesis, &founder)?;
    let mut log = vec![first];
    let mut append = |body: Body, keys: &[&SigningKey]| {
        let signed = roster.entry(NOW, body).sign(keys);
        roster.apply(&signed)?;
        log.push(signed);
        Result::Ok(())
    };
    let mut seed = InviteSeed::generate(&mut rng);
    for n in 0..members {
        if n % uses == 0 {
            seed = InviteSeed::generate(&mut rng);
            let sealing = seed.sealing_key().public()?;
            let state_keys = keys.seal_to(&sealing, &mut rng)?;
            let (key, expires) = (seed.signing_key().public(), NOW.plus(Duration::from_hours(24)));
            let invite =
                NewInvite { key, sealing, role: Role::Member, uses, expires, name: None, state_keys };
            append(Body::Invite(invite), &[&founder])?;
        }
        let key = SigningKey::generate(&mut rng);
        let (member, invite) = (newcomer(&format!("node-{n}"), &key)?, seed.signing_key());
        append(Body::Join(Join { member, invite: invite.public() }), &[&invite, &key])?;
    }
    Ok(log)
}

fn newcomer(name: &str, key: &SigningKey) -> Result<NewMember> {
    let sealing = SealingKey::from_seed(&key.reveal_seed()).public()?;
    Ok(NewMember { name: name.parse()?, signing: key.public(), sealing, host: Digest::from_bytes([0; 32]) })
}
