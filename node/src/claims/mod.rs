//! Claims: one of many acts on something, once. Made of leases and a record that it is done, in one space.
//!
//! ```text
//! try       done? -> its outcome; else the lease of that name, without waiting -> claimed, or held by another
//!           having it, on a copy that has come to its place: done meanwhile? -> given back, its outcome
//! complete  one `space.write`: the record that it is done, under the same key, and the end of the lease
//! abandon   the end of the lease
//! ```
//!
//! The record comes before the end of the lease, in the same commit: whoever has the lease next has the record in his copy.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use waxwing_crypto::space::{Condition, KeyName, Stands};
use waxwing_crypto::{Name, NodeId, Timestamp};
use waxwing_protocol::api::{EventBody, LeaseMode, LeaseNews, OnDisconnect};
use waxwing_protocol::limits;
use waxwing_protocol::link::ChangeOutcome;

use crate::apps::{Holder, Which};
use crate::error::Result;
use crate::leases::{Denied, Got, Standing, Told, Want};
use crate::mesh::Mesh;
use crate::records;
use crate::spaces::{Draft, DraftChange, Entry, NotWritten};

/// The space of claims.
pub(crate) const SPACE: &str = "claims";
/// What has been committed is in the copy after this, or the link is gone.
const SHOWS_WITHIN: Duration = Duration::from_secs(10);

/// What an app is told of a claim: that it is its turn, it is told by the answer it waits for.
pub(crate) fn event(told: &Told) -> Option<EventBody> {
    let what = Some(told.what).filter(|what| *what != LeaseNews::Granted)?;
    Some(EventBody::Claim {
        what,
        key: told.key.to_string(),
        token: told.token,
        app: told.which.name.clone(),
        instance: told.which.instance.clone(),
        remaining: told.remaining.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        reason: told.reason,
    })
}

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) key: KeyName,
    pub(crate) holder: Holder,
    pub(crate) ttl: Duration,
    pub(crate) wait: Duration,
    pub(crate) on_disconnect: OnDisconnect,
    pub(crate) purpose: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) enum Tried {
    /// The app is the one to act.
    Claimed { token: u64, remaining: Duration },
    /// Another is.
    Held(Option<Standing>),
    /// Somebody has.
    Done(Done),
}

/// That somebody has acted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Done {
    /// Its place.
    seq: u64,
    pub(crate) node: NodeId,
    pub(crate) at: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) says: Says,
}

/// What his record says.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Says {
    pub(crate) app: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) instance: Option<Name>,
    /// Of his claim.
    pub(crate) token: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<String>,
}

impl Done {
    /// What a record says, if it says that something is done: and is one that ends.
    fn of(entry: &Entry) -> Option<Self> {
        let counts = entry.stands == Stands::Shared && entry.bound.is_none();
        let says = records::decode(&entry.value).filter(|_| counts)?;
        Some(Self { seq: entry.seq, node: entry.writer, at: entry.at, until: entry.expires?, says })
    }

    fn is_by(&self, mesh: &Mesh, which: &Which, token: u64) -> bool {
        self.node == mesh.identity.node
            && (&self.says.app, &self.says.instance, self.says.token) == (&which.name, &which.instance, token)
    }
}

/// What is done under a key, by the copy as it is.
async fn done(mesh: &Mesh, key: &KeyName) -> Result<Option<Done>> {
    let space = mesh.claims.space(mesh);
    let entries = space.shared(mesh, std::slice::from_ref(key)).await?;
    let found = entries.iter().find_map(Done::of);
    let complete = space.freshness().borrow().complete;
    // Without a link nobody says what has ended but the clock.
    Ok(found.filter(|done| complete || done.until > mesh.clock.broker_now()))
}

/// Waits until something is done under a key.
async fn until_done(mesh: &Mesh, key: &KeyName) -> Result<Done> {
    let mut freshness = mesh.claims.space(mesh).freshness();
    loop {
        freshness.mark_unchanged();
        if let Some(done) = done(mesh, key).await? {
            return Ok(done);
        }
        // The sender is in the space, which is held here.
        let _ = freshness.changed().await;
    }
}

/// Asks to be the one.
pub(crate) async fn ask(mesh: &Mesh, ask: Ask) -> Result<Tried, Denied> {
    if let Some(done) = done(mesh, &ask.key).await? {
        return Ok(Tried::Done(done));
    }
    let Ask { key, holder, ttl, wait, on_disconnect, purpose } = ask;
    let which = holder.clone();
    let want = Want {
        key: key.clone(),
        holder,
        ttl,
        mode: LeaseMode::Exclusive,
        on_disconnect,
        purpose,
        wait,
        within: wait,
    };
    let acquired = tokio::select! {
        acquired = mesh.claims.acquire(mesh, want) => acquired?,
        // Who waits no longer is taken out of the line.
        done = until_done(mesh, &key), if !wait.is_zero() => {
            // It may just have been his turn.
            mesh.claims.give_up(&key, &which.which);
            return Ok(Tried::Done(done?));
        }
    };
    let (token, remaining) = match acquired.got {
        Got::Acquired { token, remaining } | Got::Extended { token, remaining } => (token, remaining),
        Got::Queued { .. } | Got::Locked => {
            let done = done(mesh, &key).await?;
            return Ok(done.map_or_else(|| Tried::Held(acquired.holders.into_iter().next()), Tried::Done));
        }
        Got::Lost(_) => return Err(Denied::Expired),
    };
    // The copy has come to its place: what was done before it is in it.
    if let Some(done) = done(mesh, &key).await? {
        mesh.claims.release(mesh, &which, &key, token).await?;
        return Ok(Tried::Done(done));
    }
    Ok(Tried::Claimed { token, remaining })
}

/// Says that an app has acted, for whoever asks later.
pub(crate) async fn complete(
    mesh: &Mesh,
    holder: &Holder,
    key: &KeyName,
    token: u64,
    outcome: Option<String>,
) -> Result<Done, Denied> {
    let which = &holder.which;
    let space = mesh.claims.space(mesh);
    if let Some(done) = done(mesh, key).await?.filter(|done| done.is_by(mesh, which, token)) {
        return Ok(done);
    }
    // What cannot be read is in nobody's way.
    let there = space.shared(mesh, std::slice::from_ref(key)).await?;
    let junk = there.iter().find(|entry| Done::of(entry).is_none());
    let when = junk.map_or(Condition::Absent, |entry| Condition::Seq(entry.seq));
    let says = Says { app: which.name.clone(), instance: which.instance.clone(), token, outcome };
    let outcomes = mesh.claims.release_with(mesh, holder, key, token, vec![says.draft(key, when)]).await?;
    match outcomes[..] {
        [ChangeOutcome::Applied { seq }, ChangeOutcome::Applied { .. }] => {
            // Whoever looks here next sees it.
            let _ = timeout(SHOWS_WITHIN, space.reached(seq)).await;
            let (node, at) = (mesh.identity.node, mesh.clock.broker_now());
            let made = Done { seq, node, at, until: at.plus(limits::CLAIM_DONE), says };
            Ok(done(mesh, key).await?.filter(|done| done.seq == seq).unwrap_or(made))
        }
        // It was not his any more.
        [ChangeOutcome::Applied { seq }, _] => {
            let change =
                DraftChange::Delete { key: key.clone(), own: false, seq: None, when: Condition::Seq(seq) };
            space.write(mesh, vec![Draft { id: None, app: Some(which.name.clone()), change }]).await?;
            Err(Denied::Expired)
        }
        // Another has acted.
        [ChangeOutcome::Conflict { .. }, _] => Err(Denied::Stale),
        _ => Err(NotWritten::Refused("the broker does not take the completion".to_owned()).into()),
    }
}

/// Every claim that somebody has, or is done with, by key.
pub(crate) async fn list(mesh: &Mesh) -> Result<BTreeMap<KeyName, (Option<Standing>, Option<Done>)>> {
    let space = mesh.claims.space(mesh);
    let complete = space.freshness().borrow().complete;
    let now = mesh.clock.broker_now();
    let mut claims: BTreeMap<_, (Option<Standing>, Option<Done>)> = BTreeMap::new();
    for entry in space.entries(mesh).await? {
        if let Some(done) = Done::of(&entry).filter(|done| complete || done.until > now) {
            claims.entry(entry.key).or_default().1 = Some(done);
        }
    }
    for (key, queue) in mesh.claims.list(mesh).await? {
        claims.entry(key).or_default().0 = queue.holders().first().cloned();
    }
    Ok(claims)
}

/// What a record says, written again.
pub(crate) fn again(entry: &Entry) -> Option<Bytes> {
    Done::of(entry).map(|done| done.says.encode())
}

impl Says {
    /// As a record's value.
    #[expect(clippy::expect_used, reason = "plain structs into memory; nothing in them can fail to encode")]
    fn encode(&self) -> Bytes {
        rmp_serde::to_vec_named(self).expect("encodes").into()
    }

    /// As a change of the space.
    fn draft(&self, key: &KeyName, when: Condition) -> Draft {
        let value = self.encode();
        let ttl = u64::try_from(limits::CLAIM_DONE.as_millis()).ok();
        let change = DraftChange::Put { key: key.clone(), own: false, when, ttl, bound: None, value };
        Draft { id: None, app: Some(self.app.clone()), change }
    }
}
