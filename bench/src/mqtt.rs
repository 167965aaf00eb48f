//! mosquitto with persistence: two clients with sessions that are kept, QoS 1 or 2 on both sides.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use rumqttc::{AsyncClient, Event, MqttOptions, NetworkOptions, Packet, QoS};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::measure::{AWHILE, Figures, Publish, Receive, Received, WINDOW, both};
use crate::server::Server;

const TOPIC: &str = "compare";

struct Publisher {
    client: AsyncClient,
    qos: QoS,
    /// One for each message that the server has answered for, in the order that they were published in.
    answered: Arc<Semaphore>,
}

struct Consumer {
    packets: mpsc::Receiver<Packet>,
    /// Whoever drops it is not subscribed any more.
    _client: AsyncClient,
}

/// With a full window, and one at a time.
pub(crate) async fn round(qos: QoS, time: Duration) -> Result<[Figures; 2]> {
    let server = start().await?;
    let mut tasks = JoinSet::new();
    let (client, mut answers) = connect("publisher", server.port, &mut tasks);
    let answered = Arc::new(Semaphore::new(0));
    let publisher = Publisher { client, qos, answered: Arc::clone(&answered) };
    tasks.spawn(async move {
        while let Some(packet) = answers.recv().await {
            if matches!(packet, Packet::PubAck(_) | Packet::PubComp(_)) {
                answered.add_permits(1);
            }
        }
    });
    let (client, mut packets) = connect("subscriber", server.port, &mut tasks);
    client.subscribe(TOPIC, qos).await?;
    while !matches!(packets.recv().await.context("no answer to subscribe")?, Packet::SubAck(_)) {}
    let figures = both(publisher, Consumer { packets, _client: client }, server.pid(), time).await?;
    tasks.shutdown().await;
    server.stop().await?;
    Ok(figures)
}

async fn start() -> Result<Server> {
    Server::start("mosquitto", |folder, port| {
        // It changes to a user of its own when root starts it, who could not write the folder. It holds back nothing that a window lets
        // out, and no small packet.
        let text = format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n\
             persistence_location {}/\nmax_inflight_messages 0\nmax_queued_messages 0\nset_tcp_nodelay true\n",
            folder.display()
        );
        let file = folder.join("mosquitto.conf");
        std::fs::write(&file, text)?;
        Ok(vec!["-c".to_owned(), file.to_string_lossy().into_owned()])
    })
    .await
}

/// A client, and what it is sent. Acknowledgements are the client's own, as each message comes.
fn connect(id: &str, port: u16, tasks: &mut JoinSet<()>) -> (AsyncClient, mpsc::Receiver<Packet>) {
    let mut options = MqttOptions::new(id, "127.0.0.1", port);
    options.set_clean_session(false).set_inflight(WINDOW as u16).set_keep_alive(Duration::from_secs(30));
    let (client, mut events) = AsyncClient::new(options, WINDOW);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    let (to, packets) = mpsc::channel(8 * WINDOW);
    tasks.spawn(async move {
        while let Ok(event) = events.poll().await {
            if let Event::Incoming(packet) = event
                && to.send(packet).await.is_err()
            {
                return;
            }
        }
    });
    (client, packets)
}

impl Publish for Publisher {
    /// PUBACK ends it with QoS 1, PUBCOMP with QoS 2.
    async fn publish(&self, body: Bytes) -> Result<()> {
        self.client.publish_bytes(TOPIC, self.qos, false, body).await?;
        self.answered.acquire().await?.forget();
        Ok(())
    }
}

impl Receive for Consumer {
    async fn receive(&mut self) -> Result<Received> {
        loop {
            match timeout(AWHILE, self.packets.recv()).await {
                Ok(Some(Packet::Publish(message))) => return Ok(Received::now(vec![message.payload])),
                Ok(Some(_)) => {}
                Ok(None) => bail!("the connection has ended"),
                Err(_) => return Ok(Received::now(Vec::new())),
            }
        }
    }
}
