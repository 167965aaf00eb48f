//! nats-server with JetStream: a stream in files, a durable consumer that acknowledges each message.

use std::time::Duration;

use anyhow::{Context as _, Result};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, StorageType};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use crate::measure::{AWHILE, Figures, Publish, Receive, Received, WINDOW, both};
use crate::server::Server;

const SUBJECT: &str = "compare";

struct Publisher(Context);
struct Consumer(pull::Stream);

/// With a full window, and one at a time.
pub(crate) async fn round(time: Duration) -> Result<[Figures; 2]> {
    let server = Server::start("nats-server", |folder, port| {
        let store = folder.join("store").to_string_lossy().into_owned();
        let words = ["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd", &store];
        Ok(words.map(str::to_owned).to_vec())
    })
    .await?;
    let url = format!("nats://127.0.0.1:{}", server.port);
    let publisher = Publisher(jetstream::new(async_nats::connect(&url).await?));
    let config = Config {
        name: SUBJECT.to_owned(),
        subjects: vec![SUBJECT.to_owned()],
        storage: StorageType::File,
        ..Config::default()
    };
    publisher.0.create_stream(config).await?;
    let stream = jetstream::new(async_nats::connect(&url).await?).get_stream(SUBJECT).await?;
    let config = pull::Config {
        durable_name: Some(SUBJECT.to_owned()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 4 * WINDOW as i64,
        ..pull::Config::default()
    };
    let consumer: PullConsumer = stream.create_consumer(config).await?;
    let consumer = Consumer(consumer.messages().await?);
    let figures = both(publisher, consumer, server.pid(), time).await?;
    server.stop().await?;
    Ok(figures)
}

impl Publish for Publisher {
    async fn publish(&self, body: Bytes) -> Result<()> {
        self.0.publish(SUBJECT, body).await?.await?;
        Ok(())
    }
}

impl Receive for Consumer {
    async fn receive(&mut self) -> Result<Received> {
        let Ok(message) = timeout(AWHILE, self.0.next()).await else { return Ok(Received::now(Vec::new())) };
        let message = message.context("the consumer has ended")??;
        let received = Received::now(vec![message.payload.clone()]);
        message.ack().await.map_err(|err| anyhow::anyhow!(err))?;
        Ok(received)
    }
}
