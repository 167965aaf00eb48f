//! Subscribing, and saying how far one has come.

use rand_core::Rng as _;
use waxwing_crypto::{Name, SpaceId};
use waxwing_protocol::api::{
    DeadMessage, Problem, ProblemCode, StartFrom, SubscribeAnswer, SubscribeRequest, Subscription,
    Subscriptions, TopicAckAnswer, TopicAckRequest, TopicCursor, UnsubscribeRequest,
};
use waxwing_protocol::{TopicName, TopicPattern, limits};

use super::state::Kept;
use super::{Sealed, complete, internal, keep, list_space, offline, place, read_now, record};
use crate::clock;
use crate::mesh::Mesh;
use crate::store::topics::{self as table, CursorRow, DeadRow, ID, SubscriptionRow};

/// Messages that were passed over, in one answer.
const DEAD: usize = 100;

/// `POST /v1/topics/subscribe`
pub(crate) async fn subscribe(
    mesh: &Mesh,
    app: &Name,
    request: SubscribeRequest,
) -> Result<SubscribeAnswer, Box<Problem>> {
    check(&request)?;
    let topics = &mesh.topics;
    let _alone = topics.changing.lock().await;
    let found = topics.state().find(app, &request.pattern);
    let (cursors, means) = match (found, request.after) {
        (Some(_), _) => (Vec::new(), meant(mesh, &request.pattern).await?),
        (None, Some(after)) => after_place(mesh, app, &request.pattern, after).await?,
        (None, None) if request.from == Some(StartFrom::Earliest) => {
            (Vec::new(), meant(mesh, &request.pattern).await?)
        }
        (None, None) => from_now(mesh, app, &request.pattern).await?,
    };
    if found.is_none() && topics.state().count() >= limits::SUBSCRIPTIONS {
        let detail = format!("a node keeps {} subscriptions of a mesh", limits::SUBSCRIPTIONS);
        return Err(Box::new(Problem::new(ProblemCode::TooManyTopics).detail(detail)));
    }
    let (id, since) = found.map_or_else(|| (random_id(), clock::now()), |found| (found.id, found.since));
    let kept = Kept { id, no_echo: request.no_echo, since };
    let row = SubscriptionRow { id, app: app.clone(), sealed: seal(mesh, &request.pattern, kept) };
    keep(mesh, table::Kept { subscription: Some(row), cursors: cursors.clone(), ..table::Kept::default() })
        .await?;
    topics.state().subscribe(app, request.pattern.clone(), kept);
    topics.state().save(&cursors);
    topics.has_changed();
    // What is here at this moment is not taken for what comes: without a link, that is what it is.
    for topic in &means {
        let _ = complete(mesh, &mesh.space(&record::space(topic))).await;
    }
    topics.watched(&means).await;
    Ok(SubscribeAnswer {
        app: app.clone(),
        new: found.is_none(),
        subscription: Subscription { pattern: request.pattern, no_echo: request.no_echo, since },
        topics: means,
    })
}

fn check(request: &SubscribeRequest) -> Result<(), Box<Problem>> {
    let malformed = |detail| Err(Box::new(Problem::new(ProblemCode::Malformed).detail(detail)));
    match request.after {
        Some(_) if request.from.is_some() => malformed("give from or after, not both"),
        Some(_) if request.pattern.only().is_none() => malformed("after is a place in one topic"),
        Some(_) | None => Ok(()),
    }
}

/// The topics that a pattern means at the moment, as far as is known here.
async fn meant(mesh: &Mesh, pattern: &TopicPattern) -> Result<Vec<TopicName>, Box<Problem>> {
    let list = list_space(mesh);
    // Without a link it is what it was.
    let _ = complete(mesh, &list).await;
    let listing = read_now(mesh, &list).await?;
    Ok(listing.topics().keys().filter(|name| pattern.matches(name)).cloned().collect())
}

/// A cursor behind all that is there, in each topic that is meant; where the app has one already, that is left.
async fn from_now(
    mesh: &Mesh,
    app: &Name,
    pattern: &TopicPattern,
) -> Result<(Vec<CursorRow>, Vec<TopicName>), Box<Problem>> {
    let list = list_space(mesh);
    complete(mesh, &list).await?;
    let means = meant(mesh, pattern).await?;
    let mut rows = Vec::new();
    for topic in &means {
        let space = mesh.space(&record::space(topic));
        // An app that wants the topic already goes on there as it does.
        let goes_on = mesh.topics.state().wants(app, topic).is_some();
        if goes_on {
            continue;
        }
        complete(mesh, &space).await?;
        let freshness = *space.freshness().borrow();
        let store = freshness.store.ok_or_else(|| offline("the copy of a topic is not complete yet"))?;
        let mut state = mesh.topics.state();
        rows.push(state.change(app, space.id(), store, |row| {
            (row.store, row.place, row.missed, row.tries) = (store, freshness.place, 0, 0);
        }));
    }
    Ok((rows, means))
}

/// A cursor at this place.
async fn after_place(
    mesh: &Mesh,
    app: &Name,
    pattern: &TopicPattern,
    after: u64,
) -> Result<(Vec<CursorRow>, Vec<TopicName>), Box<Problem>> {
    let means = meant(mesh, pattern).await?;
    let unknown = || Box::new(Problem::new(ProblemCode::UnknownTopic));
    let topic = means.first().ok_or_else(unknown)?;
    let space = mesh.space(&record::space(topic));
    complete(mesh, &space).await?;
    let freshness = *space.freshness().borrow();
    let store = freshness.store.ok_or_else(|| offline("the copy of a topic is not complete yet"))?;
    if after > freshness.place {
        return Err(beyond(freshness.place));
    }
    let mut state = mesh.topics.state();
    let row = state.change(app, space.id(), store, |row| {
        (row.store, row.place, row.missed, row.tries) = (store, after, 0, 0);
    });
    drop(state);
    Ok((vec![row], means))
}

fn beyond(place: u64) -> Box<Problem> {
    let detail = format!("that is behind the end of the topic, which is {place}");
    Box::new(Problem::new(ProblemCode::Malformed).detail(detail))
}

#[expect(clippy::expect_used, reason = "a plain struct into memory; nothing in it can fail to encode")]
fn seal(mesh: &Mesh, pattern: &TopicPattern, kept: Kept) -> Vec<u8> {
    let Kept { id, no_echo, since } = kept;
    let sealed = Sealed { pattern: pattern.clone(), no_echo, since };
    let plain = rmp_serde::to_vec_named(&sealed).expect("encodes");
    mesh.keys.seal(&mut crate::rng(), place(&id), &plain)
}

fn random_id() -> [u8; ID] {
    let mut id = [0; ID];
    crate::rng().fill_bytes(&mut id);
    id
}

/// `POST /v1/topics/unsubscribe`
pub(crate) async fn unsubscribe(
    mesh: &Mesh,
    app: &Name,
    request: &UnsubscribeRequest,
) -> Result<(), Box<Problem>> {
    let topics = &mesh.topics;
    let _alone = topics.changing.lock().await;
    let found = topics.state().find(app, &request.pattern);
    let found = found.ok_or_else(|| not_subscribed(app))?;
    topics.state().unsubscribe(app, &request.pattern);
    let forgotten = not_needed(mesh, app, &request.pattern).await;
    let kept = match forgotten {
        Ok(forgotten) => table::Kept { ended: Some(found.id), forgotten, ..table::Kept::default() },
        Err(problem) => {
            topics.state().subscribe(app, request.pattern.clone(), found);
            return Err(problem);
        }
    };
    if let Err(problem) = keep(mesh, kept.clone()).await {
        topics.state().subscribe(app, request.pattern.clone(), found);
        return Err(problem);
    }
    topics.state().forget(&kept.forgotten);
    topics.has_changed();
    Ok(())
}

/// Cursors of an app in topics that it wants no more.
async fn not_needed(
    mesh: &Mesh,
    app: &Name,
    pattern: &TopicPattern,
) -> Result<Vec<(Name, SpaceId)>, Box<Problem>> {
    let means = meant(mesh, pattern).await?;
    let state = mesh.topics.state();
    let unwanted = means.iter().filter(|topic| state.wants(app, topic).is_none());
    let spaces: Vec<_> = unwanted.map(|topic| mesh.space_id(&record::space(topic))).collect();
    // Who wants nothing any more needs none, not even of topics that are not listed any more.
    let all = if state.of(app).is_empty() { state.spaces(app) } else { spaces };
    Ok(all.into_iter().map(|space| (app.clone(), space)).collect())
}

fn not_subscribed(app: &Name) -> Box<Problem> {
    let detail = format!("`waxwing topic subscriptions --app {app}` shows what it has subscribed to");
    Box::new(Problem::new(ProblemCode::NotSubscribed).detail(detail))
}

/// `GET /v1/topics/subscriptions`
pub(crate) async fn subscriptions(mesh: &Mesh, app: &Name) -> Result<Subscriptions, Box<Problem>> {
    let subscriptions = mesh.topics.state().of(app);
    let mut answer = Subscriptions {
        app: app.clone(),
        subscriptions,
        cursors: Vec::new(),
        dead: Vec::new(),
        current: true,
    };
    if answer.subscriptions.is_empty() {
        return Ok(answer);
    }
    let list = list_space(mesh);
    answer.current = list.freshness().borrow().complete;
    let listing = read_now(mesh, &list).await?;
    let dead = table::dead(&mesh.db, app, DEAD).await.map_err(|error| internal(&error.into()))?;
    for topic in listing.topics().keys() {
        if mesh.topics.state().wants(app, topic).is_none() {
            continue;
        }
        let space = mesh.space(&record::space(topic));
        answer.current &= space.freshness().borrow().complete;
        let cursor = mesh.topics.state().cursor(app, space.id()).map(|row| (row.place, row.missed));
        let (acknowledged, missed) = cursor.unwrap_or((0, 0));
        let pending = space.count(mesh, acknowledged).await.map_err(|error| internal(&error))?;
        answer.cursors.push(TopicCursor { topic: topic.clone(), acknowledged, pending, missed });
        let here = dead.iter().filter(|row| row.space == space.id());
        answer.dead.extend(here.map(|row| shown(topic, row)));
    }
    answer.dead.sort_by_key(|dead| std::cmp::Reverse(dead.at));
    Ok(answer)
}

/// A message that was passed over, as apps see it.
pub(super) fn shown(topic: &TopicName, row: &DeadRow) -> DeadMessage {
    DeadMessage { topic: topic.clone(), seq: row.seq, tries: row.tries, at: row.at }
}

/// `POST /v1/topics/ack`
pub(crate) async fn acknowledge(
    mesh: &Mesh,
    app: &Name,
    request: TopicAckRequest,
) -> Result<TopicAckAnswer, Box<Problem>> {
    let TopicAckRequest { topic, through, .. } = request;
    let wants = mesh.topics.state().wants(app, &topic);
    wants.ok_or_else(|| not_subscribed(app))?;
    let unknown = || Box::new(Problem::new(ProblemCode::UnknownTopic));
    let feed = mesh.topics.feed(&topic).ok_or_else(unknown)?;
    let (end, store) = match (feed.last(), feed.store()) {
        (Some(last), Some(store)) if last >= through => (last, store),
        // What was read from the copy may be further than what was told of it.
        _ => {
            let (end, store) = feed.space.kept(mesh).await.map_err(|error| internal(&error))?;
            (end, store.ok_or_else(unknown)?)
        }
    };
    if through > end {
        return Err(beyond(end));
    }
    let space = feed.id();
    let (advanced, row) = {
        let mut state = mesh.topics.state();
        (state.acknowledge(app, space, store, through), state.unsaved(app, space))
    };
    if let Some(row) = row {
        keep(mesh, table::Kept { cursors: vec![row.clone()], ..table::Kept::default() }).await?;
        mesh.topics.state().save(&[row]);
    }
    let acknowledged = mesh.topics.state().cursor(app, space).map_or(0, |row| row.place);
    Ok(TopicAckAnswer { topic, acknowledged, advanced })
}
