//! Publishing: listed if need be, appended, and told what is known of who gets it.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;
use waxwing_crypto::space::Condition;
use waxwing_crypto::{ChangeId, ClientMessageId, Name};
use waxwing_protocol::api::{
    Problem, ProblemCode, PublishAnswer, PublishRequest, RetentionRequest, Topic as Shown,
};
use waxwing_protocol::link::ChangeOutcome;
use waxwing_protocol::{TopicName, limits};

use super::listing::Topic;
use super::record::{self, Listed, Says};
use super::{COMPLETE_WITHIN, complete, internal, list_space, read_now, subscribers};
use crate::mesh::Mesh;
use crate::outbox::{self, Written};
use crate::records;
use crate::spaces::{Draft, DraftChange, Entry, Space};

/// A message for those alone who are there ends after this.
const LIVE: Duration = Duration::from_secs(10);
/// A topic falls off the list so long after its last message could have ended.
const LISTED: Duration = Duration::from_secs(24 * 60 * 60);
/// Records that are looked through at once for a message that was published before.
const PART: usize = 256;

/// `POST /v1/topics/publish`
pub(crate) async fn publish(
    mesh: &Mesh,
    app: &Name,
    header: Option<ClientMessageId>,
    request: PublishRequest,
) -> Result<PublishAnswer, Box<Problem>> {
    let topic = request.topic.clone();
    let ephemeral = request.ephemeral;
    let says = says(request, header)?;
    mesh.topics.limiter.take(app, &topic).map_err(too_fast)?;
    let retention = listed(mesh, app, &topic).await?;
    let ttl = if ephemeral { LIVE } else { retention };
    let space = mesh.space(&record::space(&topic));
    let change = DraftChange::Append {
        key: record::message(ephemeral),
        if_empty: false,
        ttl: Some(millis(ttl)),
        bound: None,
        value: record::encode(&says),
    };
    let id = mesh.keys.change_id(&["topic", topic.as_str()], Some(app), &says.id);
    let outcome = write(mesh, &space, app, Some(id), change).await?;
    let current = mesh.space(&record::list()).freshness().borrow().complete;
    let answer = |seq, duplicate| PublishAnswer {
        topic: topic.clone(),
        seq,
        client_message_id: says.id.clone(),
        duplicate,
        subscribers: subscribers(mesh, &topic, current),
    };
    match outcome {
        ChangeOutcome::Applied { seq } => {
            mesh.topics.has_published(space.id(), seq);
            Ok(answer(Some(seq), false))
        }
        ChangeOutcome::IdReused => Ok(answer(again(mesh, &space, app, &says).await?, true)),
        ChangeOutcome::Full => {
            let detail = "shorten the retention of some topics, or have the broker's limits raised";
            Err(Box::new(Problem::new(ProblemCode::SpaceFull).detail(detail)))
        }
        ChangeOutcome::TooLarge => Err(Box::new(Problem::new(ProblemCode::TooLarge))),
        ChangeOutcome::Touched { .. }
        | ChangeOutcome::Conflict { .. }
        | ChangeOutcome::NotFound
        | ChangeOutcome::NotYours
        | ChangeOutcome::BadChange => Err(conflict("the broker does not take it")),
    }
}

/// What an app wants said, if that can be.
fn says(request: PublishRequest, header: Option<ClientMessageId>) -> Result<Says, Box<Problem>> {
    let PublishRequest { body, body_base64, content_type, meta, client_message_id, .. } = request;
    let id = outbox::client_id(client_message_id, header)?;
    let content = outbox::written(Written { body, body_base64, content_type, meta })?;
    if content.body.len() > limits::TOPIC_BODY {
        let detail = format!("a message for a topic may have {} KiB", limits::TOPIC_BODY / 1024);
        return Err(Box::new(Problem::new(ProblemCode::TooLarge).detail(detail)));
    }
    Ok(Says { id, content })
}

fn too_fast(wait: Duration) -> Box<Problem> {
    let mut problem = Problem::new(ProblemCode::RateLimited).detail(format!(
        "an app may publish {} messages to a topic at once, and {} a second in the long run",
        limits::PUBLISH_BURST,
        limits::PUBLISH_RATE
    ));
    problem.retry_after_ms = u32::try_from(millis(wait).max(1)).ok().and_then(NonZeroU32::new);
    Box::new(problem)
}

/// How long the topic keeps its messages. It is listed if it is not, and stays so for longer than a message that is published now.
async fn listed(mesh: &Mesh, app: &Name, topic: &TopicName) -> Result<Duration, Box<Problem>> {
    let space = list_space(mesh);
    let known = mesh.topics.listing().topics().get(topic).copied();
    if let Some(retention) = known.and_then(|known| lasts(mesh, &known)) {
        return Ok(retention);
    }
    complete(mesh, &space).await?;
    let listing = read_now(mesh, &space).await?;
    let there = listing.topics().get(topic).copied();
    if let Some(retention) = there.and_then(|there| lasts(mesh, &there)) {
        return Ok(retention);
    }
    if there.is_none() && listing.topics().len() >= limits::TOPICS {
        let detail =
            format!("a mesh has {} topics at most; one goes when its last message has ended", limits::TOPICS);
        return Err(Box::new(Problem::new(ProblemCode::TooManyTopics).detail(detail)));
    }
    let retention = there.map_or(limits::RETENTION, |there| Duration::from_millis(there.retention));
    list(mesh, &space, app, topic, retention, there.as_ref()).await?;
    Ok(retention)
}

/// How long a topic keeps its messages, if it is listed for long enough.
fn lasts(mesh: &Mesh, topic: &Topic) -> Option<Duration> {
    let retention = Duration::from_millis(topic.retention);
    let until = mesh.clock.broker_now().plus(retention).plus(LISTED);
    topic.expires.is_none_or(|expires| expires > until).then_some(retention)
}

/// Lists a topic. Who is overtaken by another who lists it has what he wants.
async fn list(
    mesh: &Mesh,
    space: &Space,
    app: &Name,
    topic: &TopicName,
    retention: Duration,
    there: Option<&Topic>,
) -> Result<(), Box<Problem>> {
    let change = DraftChange::Put {
        key: record::listed(topic),
        own: false,
        when: there.map_or(Condition::Absent, |there| Condition::Seq(there.seq)),
        ttl: Some(millis(retention * 2 + LISTED * 2)),
        bound: None,
        value: record::encode(&Listed { retention: millis(retention) }),
    };
    let outcome = write(mesh, space, app, None, change).await?;
    let seq = match outcome {
        ChangeOutcome::Applied { seq } | ChangeOutcome::Conflict { seq: Some(seq) } => seq,
        ChangeOutcome::Conflict { seq: None }
        | ChangeOutcome::Touched { .. }
        | ChangeOutcome::NotFound
        | ChangeOutcome::NotYours
        | ChangeOutcome::TooLarge
        | ChangeOutcome::Full
        | ChangeOutcome::IdReused
        | ChangeOutcome::BadChange => {
            debug!(?outcome, "a topic is not listed");
            return Err(conflict("the broker does not list the topic: try again"));
        }
    };
    // So that whoever asks this node for topics is shown it. It is listed however long that takes.
    let _ = timeout(COMPLETE_WITHIN, space.reached(seq)).await;
    Ok(())
}

async fn write(
    mesh: &Mesh,
    space: &Space,
    app: &Name,
    id: Option<ChangeId>,
    change: DraftChange,
) -> Result<ChangeOutcome, Box<Problem>> {
    let draft = Draft { id, app: Some(app.clone()), change };
    let outcomes = space.write(mesh, vec![draft]).await.map_err(|why| Box::new(why.problem()))?;
    let none = || conflict("the broker has not said what became of it");
    outcomes.into_iter().next().ok_or_else(none)
}

fn conflict(detail: &str) -> Box<Problem> {
    Box::new(Problem::new(ProblemCode::Conflict).detail(detail))
}

/// Where a message is that this app has published before under the same id. None if it is not kept any more.
async fn again(mesh: &Mesh, space: &Space, app: &Name, says: &Says) -> Result<Option<u64>, Box<Problem>> {
    complete(mesh, space).await?;
    let mut before = u64::MAX;
    loop {
        let part = space.before(mesh, before, PART).await.map_err(|error| internal(&error))?;
        let Some(first) = part.entries.first() else { return Ok(None) };
        before = first.seq;
        let mine = |entry: &&Entry| entry.writer == mesh.identity.node && entry.app.as_ref() == Some(app);
        for entry in part.entries.iter().filter(mine) {
            match records::decode::<Says>(&entry.value) {
                Some(said) if said == *says => return Ok(Some(entry.seq)),
                Some(said) if said.id == says.id => {
                    let problem = Problem::new(ProblemCode::IdempotencyKeyReused);
                    return Err(Box::new(problem.detail("another message has this id: choose a new one")));
                }
                Some(_) | None => {}
            }
        }
    }
}

/// `POST /v1/topics/retention`
pub(crate) async fn set_retention(
    mesh: &Mesh,
    app: &Name,
    request: RetentionRequest,
) -> Result<Shown, Box<Problem>> {
    let range = limits::RETENTION_MIN..=limits::RETENTION_MAX;
    let retention = humantime::parse_duration(&request.retention).ok().filter(|time| range.contains(time));
    let retention = retention.ok_or_else(|| {
        Box::new(Problem::new(ProblemCode::Malformed).detail("retention is 1m to 30d, as 12h or 7d"))
    })?;
    let space = list_space(mesh);
    complete(mesh, &space).await?;
    let listing = read_now(mesh, &space).await?;
    let there = listing.topics().get(&request.topic);
    if there.is_none() && listing.topics().len() >= limits::TOPICS {
        return Err(Box::new(Problem::new(ProblemCode::TooManyTopics)));
    }
    if there.is_none_or(|there| there.retention != millis(retention)) {
        list(mesh, &space, app, &request.topic, retention, there).await?;
        let now = read_now(mesh, &space).await?;
        if now.topics().get(&request.topic).is_none_or(|now| now.retention != millis(retention)) {
            return Err(conflict(
                "somebody else has changed the topic at the same moment: look, and try again",
            ));
        }
    }
    Ok(Shown {
        subscribers: subscribers(mesh, &request.topic, true),
        topic: request.topic,
        retention_ms: millis(retention),
        messages: None,
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
