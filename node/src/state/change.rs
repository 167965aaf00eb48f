//! Putting and deleting: what stands in the copy, on the condition that it still does.
//!
//! A change is one `space.write`, so one commit of the broker: the version that stands is put to where versions of before are, on
//! the condition that nobody has done so, and the new one in its place, on the condition that it stands. Where that is not so any
//! more, the copy is behind: it is waited for, and looked at again.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};
use waxwing_crypto::space::{Condition, KeyName, Stands};
use waxwing_crypto::{ClientMessageId, Name};
use waxwing_protocol::api::{Category, KvState};
use waxwing_protocol::link::ChangeOutcome;

use super::record::{By, Key, Says, Version, encode};
use super::{BEHIND, PATIENCE, Refusal, View, changes, current};
use crate::apps::Which;
use crate::mesh::Mesh;
use crate::spaces::{Draft, DraftChange, Entry, NotWritten, Space};

/// What must stand under a key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum When {
    /// Whatever.
    #[default]
    Any,
    /// Nothing.
    Absent,
    /// Something.
    Present,
    /// A version of this number.
    Version(u64),
    /// The one with this etag.
    Exactly {
        /// Its number.
        version: u64,
        /// Its place.
        seq: u64,
    },
}

/// What somebody wants to stand under a key.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) value: Bytes,
    /// None for as it was.
    pub(crate) category: Option<Category>,
    /// In milliseconds.
    pub(crate) ttl: Option<u64>,
    pub(crate) when: When,
    pub(crate) by: Which,
    /// What he calls his request: repeated, it is made once.
    pub(crate) request: Option<ClientMessageId>,
}

/// What has been put.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) state: KvState,
    /// It was put before, by the same request.
    pub(crate) duplicate: bool,
    pub(crate) version: Version,
}

/// What the copy has under a key.
struct There {
    /// The place of what stands there, also of what cannot be read.
    seq: Option<u64>,
    now: Option<Version>,
    /// How far the copy has come, at least.
    place: u64,
}

impl There {
    async fn read(mesh: &Mesh, space: &Space, key: &Key) -> Result<Self, Refusal> {
        let place = space.freshness().borrow().place;
        let entries = space.under(mesh, &key.now()).await?;
        let shared = entries.into_iter().find(|entry| entry.stands == Stands::Shared);
        let now = shared.as_ref().filter(|entry| Key::of(entry).is_some()).and_then(Version::of);
        Ok(Self { seq: shared.map(|entry| entry.seq), now, place })
    }

    /// Whether it is what must stand there.
    fn is(&self, when: When) -> Result<(), Refusal> {
        let version = self.now.as_ref().map(|now| (now.version, now.seq));
        let is = match when {
            When::Any => true,
            When::Absent => version.is_none(),
            When::Present => version.is_some(),
            When::Version(wanted) => version.is_some_and(|(version, _)| version == wanted),
            When::Exactly { version: wanted, seq } => version == Some((wanted, seq)),
        };
        if is { Ok(()) } else { Err(Refusal::Conflict(self.now.as_ref().map(Version::etag))) }
    }

    /// That it still stands there.
    fn still(&self) -> Condition {
        self.seq.map_or(Condition::Absent, Condition::Seq)
    }
}

/// Puts something under a key.
pub(crate) async fn put(mesh: &Mesh, key: &Key, wish: &Wish) -> Result<Done, Refusal> {
    let deadline = Instant::now() + PATIENCE;
    let space = current(mesh).await?;
    reached(&space, wish.when).await;
    loop {
        let there = There::read(mesh, &space, key).await?;
        let kept = space.shared(mesh, &places(key, &there, wish)).await?;
        if let Some(done) = made_before(mesh, &there, &kept, wish)? {
            return Ok(done);
        }
        there.is(wish.when)?;
        let says = says(mesh, &there, wish);
        let mut drafts = keeping(key, &there, &kept, wish);
        drafts.push(Draft {
            id: None,
            app: Some(wish.by.name.clone()),
            change: DraftChange::Put {
                key: key.now(),
                own: false,
                when: there.still(),
                ttl: wish.ttl,
                bound: None,
                value: encode(&says),
            },
        });
        let outcomes = space.write(mesh, drafts).await?;
        if let Some(seq) = placed(&outcomes)? {
            return Ok(shown(mesh, &space, key, &there, (says, wish), seq).await);
        }
        if !changes(&space, there.place, deadline).await {
            return Err(NotWritten::Unanswered.into());
        }
    }
}

/// Deletes a key, and then what is kept of its versions of before.
pub(crate) async fn delete(mesh: &Mesh, key: &Key, when: When, app: &Name) -> Result<(), Refusal> {
    let deadline = Instant::now() + PATIENCE;
    let space = current(mesh).await?;
    reached(&space, when).await;
    let draft = |key: KeyName, seq: u64| {
        let change = DraftChange::Delete { key, own: false, seq: None, when: Condition::Seq(seq) };
        Draft { id: None, app: Some(app.clone()), change }
    };
    loop {
        let there = There::read(mesh, &space, key).await?;
        if when != When::Any {
            there.is(when)?;
        }
        let (Some(seq), Some(_)) = (there.seq, &there.now) else { return Err(Refusal::NotFound) };
        let outcomes = space.write(mesh, vec![draft(key.now(), seq)]).await?;
        if let Some(place) = placed(&outcomes)? {
            seen(mesh, &space, place, |view| view.get(key).is_none_or(|shown| shown.seq > seq)).await;
            let kept = space.shared(mesh, &key.places()).await?;
            let drafts: Vec<_> = kept.into_iter().map(|entry| draft(entry.key, entry.seq)).collect();
            // They are of no history any more, whether they go or not.
            if let Err(error) = space.write(mesh, drafts).await {
                debug!(%error, "versions of a key that was deleted are kept");
            }
            return Ok(());
        }
        if !changes(&space, there.place, deadline).await {
            return Err(NotWritten::Unanswered.into());
        }
    }
}

/// Waits until the copy has come to what somebody knows already.
async fn reached(space: &Space, when: When) {
    if let When::Exactly { seq, .. } = when {
        // A place of another life of the store never comes.
        let _ = timeout(BEHIND, space.reached(seq)).await;
    }
}

/// Which of the places for versions of before are looked at.
fn places(key: &Key, there: &There, wish: &Wish) -> Vec<KeyName> {
    match (&wish.request, &there.now) {
        (Some(_), _) => key.places(),
        (None, Some(now)) => vec![key.past(now.version)],
        (None, None) => Vec::new(),
    }
}

/// What this very request has put, if it has.
fn made_before(mesh: &Mesh, there: &There, kept: &[Entry], wish: &Wish) -> Result<Option<Done>, Refusal> {
    let Some(request) = &wish.request else { return Ok(None) };
    let by = by(mesh, wish);
    let is_his = |version: &Version| version.by == by && version.says.request.as_ref() == Some(request);
    let versions = there.now.clone().into_iter().chain(kept.iter().filter_map(Version::kept));
    let Some(version) = versions.into_iter().find(is_his) else { return Ok(None) };
    let says = &version.says;
    if says.value != wish.value || wish.category.is_some_and(|category| category != says.category) {
        return Err(Refusal::Reused);
    }
    Ok(Some(Done { state: state(says), duplicate: true, version }))
}

const fn state(says: &Says) -> KvState {
    if says.first { KvState::Created } else { KvState::Updated }
}

/// The app that wants something, of this node.
fn by(mesh: &Mesh, wish: &Wish) -> By {
    let Which { name, instance } = wish.by.clone();
    By { node: mesh.identity.node, app: Some(name), instance }
}

/// What the record of the new version says.
fn says(mesh: &Mesh, there: &There, wish: &Wish) -> Says {
    let before = there.now.as_ref().map(|now| &now.says);
    let category = wish.category.or(before.map(|says| says.category)).unwrap_or_default();
    let began = before.map(|says| (says.created_by.clone(), says.created_at));
    let (created_by, created_at) = began.unwrap_or_else(|| (by(mesh, wish), mesh.clock.broker_now()));
    Says {
        value: wish.value.clone(),
        category,
        instance: wish.by.instance.clone(),
        first: before.is_none(),
        created_by,
        created_at,
        request: wish.request.clone(),
    }
}

/// The change that keeps the version which is replaced, unless somebody has made it.
fn keeping(key: &Key, there: &There, kept: &[Entry], wish: &Wish) -> Vec<Draft> {
    let Some(now) = &there.now else { return Vec::new() };
    let place = key.past(now.version);
    let there = kept.iter().find(|entry| entry.key == place);
    if there.and_then(Version::kept).is_some_and(|kept| kept == *now) {
        return Vec::new();
    }
    let when = there.map_or(Condition::Absent, |entry| Condition::Seq(entry.seq));
    // It goes with the key.
    let ttl = wish.ttl;
    let change = DraftChange::Put { key: place, own: false, when, ttl, bound: None, value: encode(now) };
    vec![Draft { id: None, app: Some(wish.by.name.clone()), change }]
}

/// Where the last of some changes was made; nothing if what it rests on does not stand there.
fn placed(outcomes: &[ChangeOutcome]) -> Result<Option<u64>, Refusal> {
    let (last, others) = outcomes.split_last().ok_or(NotWritten::Unanswered)?;
    let is_kept = |outcome: &&ChangeOutcome| {
        !matches!(outcome, ChangeOutcome::Applied { .. } | ChangeOutcome::Conflict { .. })
    };
    if let Some(outcome) = others.iter().find(is_kept) {
        warn!(?outcome, "a version of a key is not kept");
    }
    match last {
        ChangeOutcome::Applied { seq } => Ok(Some(*seq)),
        ChangeOutcome::Conflict { .. } | ChangeOutcome::NotFound => Ok(None),
        ChangeOutcome::NotYours => Err(Refusal::NotYours),
        ChangeOutcome::TooLarge => Err(NotWritten::TooLarge.into()),
        ChangeOutcome::Full => Err(Refusal::Full),
        ChangeOutcome::Touched { .. } | ChangeOutcome::IdReused | ChangeOutcome::BadChange => {
            Err(NotWritten::Refused("the broker does not take it".to_owned()).into())
        }
    }
}

/// The version that was made at a place, once whoever looks here sees it.
async fn shown(
    mesh: &Mesh,
    space: &Space,
    key: &Key,
    there: &There,
    (says, wish): (Says, &Wish),
    seq: u64,
) -> Done {
    seen(mesh, space, seq, |view| view.has_come_to(seq)).await;
    let state = state(&says);
    let read = There::read(mesh, space, key).await.ok().and_then(|there| there.now);
    let version = read.filter(|version| version.seq == seq).unwrap_or_else(|| {
        // Replaced already, or not here yet.
        let version = there.now.as_ref().map_or(0, |now| now.version) + 1;
        let at = mesh.clock.broker_now();
        let expires = wish.ttl.map(|ttl| at.plus(Duration::from_millis(ttl)));
        Version { version, seq, by: by(mesh, wish), at, expires, says }
    });
    Done { state, duplicate: false, version }
}

/// Waits until a change has come back, and the view shows it.
async fn seen(mesh: &Mesh, space: &Space, place: u64, is_so: impl Fn(&View) -> bool) {
    if timeout(PATIENCE, space.reached(place)).await.is_ok() {
        mesh.state.shows(is_so).await;
    }
}
