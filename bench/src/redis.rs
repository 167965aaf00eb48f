//! redis-server with `appendfsync always`: a stream, and a group of one consumer that acknowledges what it has read.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands as _, AsyncConnectionConfig, Client, IntoConnectionInfo as _, RedisResult};
use tokio::task::JoinHandle;

use crate::measure::{AWHILE, Figures, PATIENCE, Publish, Receive, Received, WINDOW, both};
use crate::server::Server;

const STREAM: &str = "compare";

struct Publisher(MultiplexedConnection);
struct Consumer {
    reads: MultiplexedConnection,
    /// Another connection: behind a read that waits, an acknowledgement would wait too.
    acknowledges: MultiplexedConnection,
    acknowledging: Option<JoinHandle<RedisResult<()>>>,
}

/// With a full window, and one at a time.
pub(crate) async fn round(time: Duration) -> Result<[Figures; 2]> {
    let server = Server::start("redis-server", |folder, port| {
        let (port, folder) = (port.to_string(), folder.to_string_lossy().into_owned());
        let words = ["--bind", "127.0.0.1", "--port", &port, "--dir", &folder, "--save", ""];
        let synced = ["--appendonly", "yes", "--appendfsync", "always"];
        Ok(words.into_iter().chain(synced).map(str::to_owned).collect())
    })
    .await?;
    let publisher = Publisher(connect(server.port).await?);
    let mut consumer = Consumer {
        reads: connect(server.port).await?,
        acknowledges: connect(server.port).await?,
        acknowledging: None,
    };
    let _: () = consumer.reads.xgroup_create_mkstream(STREAM, STREAM, "$").await?;
    let figures = both(publisher, consumer, server.pid(), time).await?;
    server.stop().await?;
    Ok(figures)
}

/// Small packets go at once, as from everybody else; a slow disk is no error before it is one for everybody else.
async fn connect(port: u16) -> Result<MultiplexedConnection> {
    let address = ("127.0.0.1", port).into_connection_info()?;
    let client = Client::open(address.set_tcp_settings(TcpSettings::default().set_nodelay(true)))?;
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

impl Publish for Publisher {
    async fn publish(&self, body: Bytes) -> Result<()> {
        let _: String = self.0.clone().xadd(STREAM, "*", &[("body", &body[..])]).await?;
        Ok(())
    }
}

impl Receive for Consumer {
    async fn receive(&mut self) -> Result<Received> {
        let options = StreamReadOptions::default()
            .group(STREAM, STREAM)
            .count(WINDOW)
            .block(usize::try_from(AWHILE.as_millis())?);
        let read: Option<StreamReadReply> = self.reads.xread_options(&[STREAM], &[">"], &options).await?;
        let mut received = Received::now(Vec::new());
        let entries = read.into_iter().flat_map(|read| read.keys).flat_map(|key| key.ids);
        let mut ids = Vec::new();
        for entry in entries {
            let body: Vec<u8> = entry.get("body").context("an entry without a body")?;
            ids.push(entry.id);
            received.bodies.push(Bytes::from(body));
        }
        if !ids.is_empty() {
            if let Some(before) = self.acknowledging.take() {
                before.await??;
            }
            let mut connection = self.acknowledges.clone();
            self.acknowledging = Some(tokio::spawn(async move {
                let _: usize = connection.xack(STREAM, STREAM, &ids).await?;
                Ok(())
            }));
        }
        Ok(received)
    }
}
