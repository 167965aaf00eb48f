//! Topics of some members, against a broker in memory.

mod hub;
mod losses;
mod promises;

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use waxwing_crypto::Name;
use waxwing_protocol::api::{
    HistoryQuery, PublishAnswer, PublishRequest, StartFrom, SubscribeAnswer, SubscribeRequest,
    TopicAckAnswer, TopicAckRequest, TopicEvent, TopicMessage, TopicsQuery, UnsubscribeRequest,
};

use self::hub::{Hub, Member};
use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn request(topic: &str, body: &str) -> PublishRequest {
    PublishRequest {
        topic: topic.parse().unwrap(),
        body: Some(body.to_owned()),
        body_base64: None,
        content_type: None,
        meta: None,
        ephemeral: false,
        client_message_id: None,
        mesh: None,
    }
}

fn wish(pattern: &str) -> SubscribeRequest {
    SubscribeRequest {
        pattern: pattern.parse().unwrap(),
        from: None,
        after: None,
        no_echo: false,
        mesh: None,
    }
}

fn of(topic: &str) -> HistoryQuery {
    HistoryQuery { topic: topic.parse().unwrap(), after: None, last: None, limit: None, mesh: None }
}

async fn bodies(member: &Member, query: HistoryQuery) -> Vec<String> {
    let history = history(&member.mesh, &query).await.unwrap();
    history.items.into_iter().map(|item| item.body.unwrap()).collect()
}

fn space(member: &Member, topic: &str) -> SpaceId {
    member.mesh.space_id(&record::space(&topic.parse().unwrap()))
}
