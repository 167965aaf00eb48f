//! Looking: which topics there are, and what is kept of one. It changes nothing.

use waxwing_protocol::api::{
    HistoryQuery, Problem, ProblemCode, Topic, TopicHistory, TopicMessage, Topics as Shown, TopicsQuery,
};
use waxwing_protocol::{TopicName, limits};

use super::{complete, feed, internal, list_space, lock, read_now, record, subscribers};
use crate::mesh::Mesh;
use crate::spaces::{Entry, Part, Space};

/// Messages in an answer, unless it is said.
const PAGE: usize = 100;
/// Records that are read at once.
const PART: usize = 64;
/// An answer ends before it has more bytes of messages than this, give or take one part.
const BYTES: usize = limits::INBOX_PAGE_BYTES / 2;

/// `GET /v1/topics`
pub(crate) async fn list(mesh: &Mesh, query: &TopicsQuery) -> Result<Shown, Box<Problem>> {
    let space = list_space(mesh);
    settled(mesh, &space).await;
    let freshness = *space.freshness().borrow();
    let listing = read_now(mesh, &space).await?;
    let mut topics = Vec::new();
    for (name, listed) in listing.topics() {
        if query.pattern.as_ref().is_some_and(|pattern| !pattern.matches(name)) {
            continue;
        }
        topics.push(Topic {
            topic: name.clone(),
            retention_ms: listed.retention,
            messages: messages(mesh, name).await?,
            subscribers: subscribers(mesh, name, freshness.complete),
        });
    }
    Ok(Shown { mesh: mesh.name.clone(), topics, current: freshness.complete, as_of: freshness.as_of })
}

/// How many messages of a topic this node has, if it has a copy.
async fn messages(mesh: &Mesh, topic: &TopicName) -> Result<Option<u64>, Box<Problem>> {
    let name = record::space(topic);
    if !mesh.has_copy(&name).await.map_err(|error| internal(&error))? {
        return Ok(None);
    }
    mesh.space(&name).count(mesh, 0).await.map(Some).map_err(|error| internal(&error))
}

/// Messages that some app here has subscribed to and not acknowledged. Nothing is read of topics of which all have everything.
pub(crate) async fn backlog(mesh: &Mesh) -> crate::error::Result<u64> {
    let feeds: Vec<_> = lock(&mesh.topics.feeds).values().cloned().collect();
    let mut backlog = 0;
    for feed in feeds {
        let last = feed.last().unwrap_or(0);
        let furthest = mesh.topics.state().furthest_behind(&feed.topic, feed.id());
        if let Some(place) = furthest.filter(|place| *place < last) {
            backlog += feed.space.count(mesh, place).await?;
        }
    }
    Ok(backlog)
}

/// Gives a copy the time to become what it will be; without a link it is what it is.
async fn settled(mesh: &Mesh, space: &Space) {
    // Said in the answer: whether it is current.
    let _ = complete(mesh, space).await;
}

/// `GET /v1/topics/history`
pub(crate) async fn history(mesh: &Mesh, query: &HistoryQuery) -> Result<TopicHistory, Box<Problem>> {
    let malformed = |detail: String| Box::new(Problem::new(ProblemCode::Malformed).detail(detail));
    let limit = query.last.or(query.limit).unwrap_or(PAGE);
    if limit == 0 || limit > limits::HISTORY_PAGE {
        return Err(malformed(format!(
            "so many messages cannot be asked for: 1 to {}",
            limits::HISTORY_PAGE
        )));
    }
    if query.last.is_some() && (query.after.is_some() || query.limit.is_some()) {
        return Err(malformed("last goes without after and limit".to_owned()));
    }
    let list = list_space(mesh);
    settled(mesh, &list).await;
    if !read_now(mesh, &list).await?.topics().contains_key(&query.topic) {
        let detail = "`waxwing topic list` shows which there are; a topic is made by its first message";
        return Err(Box::new(Problem::new(ProblemCode::UnknownTopic).detail(detail)));
    }
    let space = mesh.space(&record::space(&query.topic));
    settled(mesh, &space).await;
    let freshness = *space.freshness().borrow();
    let (items, next) = match query.last {
        Some(last) => newest(mesh, &space, &query.topic, last).await?,
        None => behind(mesh, &space, &query.topic, query.after.unwrap_or(0), limit).await?,
    };
    Ok(TopicHistory { items, next, current: freshness.complete, as_of: freshness.as_of })
}

/// Messages behind a place, and where to read on.
async fn behind(
    mesh: &Mesh,
    space: &Space,
    topic: &TopicName,
    after: u64,
    limit: usize,
) -> Result<(Vec<TopicMessage>, u64), Box<Problem>> {
    let (mut items, mut next, mut bytes) = (Vec::new(), after, 0);
    loop {
        let part = space.behind(mesh, next, PART).await.map_err(|error| internal(&error))?;
        let is_last = part.entries.len() < PART;
        for entry in kept(&part) {
            if items.len() == limit {
                return Ok((items, next));
            }
            next = entry.seq;
            bytes += entry.value.len();
            items.extend(feed::shown(mesh, topic, entry));
        }
        next = next.max(part.upto);
        if is_last || bytes > BYTES || items.len() == limit {
            return Ok((items, next));
        }
    }
}

/// The newest messages, and where they end.
async fn newest(
    mesh: &Mesh,
    space: &Space,
    topic: &TopicName,
    last: usize,
) -> Result<(Vec<TopicMessage>, u64), Box<Problem>> {
    let (mut items, mut before, mut next, mut bytes) = (Vec::new(), u64::MAX, None, 0);
    loop {
        let part = space.before(mesh, before, PART).await.map_err(|error| internal(&error))?;
        next = next.or(Some(part.upto));
        for entry in kept(&part).rev() {
            if items.len() == last {
                break;
            }
            bytes += entry.value.len();
            items.extend(feed::shown(mesh, topic, entry));
        }
        let first = part.entries.first().map(|entry| entry.seq);
        match first.filter(|_| items.len() < last && bytes <= BYTES) {
            Some(first) => before = first,
            None => break,
        }
    }
    items.reverse();
    Ok((items, next.unwrap_or(0)))
}

/// What was for those alone who were there is no part of the history.
fn kept(part: &Part) -> impl DoubleEndedIterator<Item = &Entry> {
    part.entries.iter().filter(|entry| !record::is_live(entry))
}
