//! The path of a message with nothing else on it: what a broker of sealed, durable messages costs at the least.
//!
//! ```text
//! outbox commit -> seal -> WebSocket -> queue commit -> WebSocket -> open -> inbox commit
//! ```
//!
//! Three SQLite files with a thread each, which commits whatever has arrived as one transaction with `synchronous=FULL`; a bare driver.
//! No local API, no membership, no sessions, no receipts, no order, no limits; all of it in this process. What has been done with rides
//! on the next commit: outbox rows are marked, queue rows deleted.

mod store;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use self::store::{Change, Done, Row, store};
use crate::measure::{AWHILE, Figures, Publish, Receive, Received, WINDOW, both};

/// Frames on their way to a socket: more than a window has, so that nothing waits for room.
const ROOM: usize = 8 * WINDOW;

type Reader = SplitStream<WebSocketStream<TcpStream>>;
type Writer = SplitSink<WebSocketStream<TcpStream>, Message>;
type Changes = std::sync::mpsc::SyncSender<Change>;

struct Publisher {
    outbox: Changes,
    last: AtomicU64,
}

struct Consumer {
    inbox: mpsc::Receiver<Row>,
    settled: mpsc::Sender<Message>,
}

/// What is on the way: it ends when whoever publishes and receives has gone, and this is told to.
struct Running {
    tasks: JoinSet<Result<()>>,
    stores: Vec<JoinHandle<Result<()>>>,
}

/// With a full window, and one at a time.
pub(crate) async fn round(time: Duration) -> Result<[Figures; 2]> {
    let folder = tempfile::Builder::new().prefix("waxwing-compare-").tempdir()?;
    let (running, publisher, consumer) = start(folder.path()).await?;
    let figures = both(publisher, consumer, None, time).await;
    // What ended by itself says why messages did not come.
    running.stop().await?;
    figures
}

impl Running {
    async fn stop(mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(ended) = self.tasks.try_join_next() {
            result = result.and(ended?);
        }
        self.tasks.shutdown().await;
        for store in self.stores {
            // It is what the others failed of.
            store.await??;
        }
        result
    }
}

async fn start(folder: &Path) -> Result<(Running, Publisher, Consumer)> {
    let (outbox, sent, first) = store(&folder.join("outbox.db"), Done::Marked)?;
    let (queue, queued, second) = store(&folder.join("queue.db"), Done::Deleted)?;
    let (inbox, received, third) = store(&folder.join("inbox.db"), Done::Marked)?;
    let ((sender, from_broker), (to_sender, from_sender)) = link().await?;
    let ((recipient, to_open), (to_recipient, from_recipient)) = link().await?;
    let mut tasks = JoinSet::new();
    let mut writer = |sink: Writer| {
        let (frames, queue) = mpsc::channel(ROOM);
        tasks.spawn(write(queue, sink));
        frames
    };
    let (sender, to_sender) = (writer(sender), writer(to_sender));
    let (recipient, to_recipient) = (writer(recipient), writer(to_recipient));
    tasks.spawn(seal(sent, sender, key()?));
    tasks.spawn(done(from_broker, outbox.clone()));
    tasks.spawn(enqueue(from_sender, queue.clone()));
    tasks.spawn(forward(queued, to_sender, to_recipient));
    tasks.spawn(done(from_recipient, queue));
    tasks.spawn(open(to_open, inbox, key()?));
    let publisher = Publisher { outbox, last: AtomicU64::new(0) };
    let running = Running { tasks, stores: vec![first, second, third] };
    Ok((running, publisher, Consumer { inbox: received, settled: recipient }))
}

impl Publish for Publisher {
    async fn publish(&self, body: Bytes) -> Result<()> {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let (told, committed) = tokio::sync::oneshot::channel();
        self.outbox.try_send(Change::Add(Row { number, body }, Some(told))).map_err(|_| full())?;
        Ok(committed.await?)
    }
}

impl Receive for Consumer {
    async fn receive(&mut self) -> Result<Received> {
        let Ok(row) = timeout(AWHILE, self.inbox.recv()).await else { return Ok(Received::now(Vec::new())) };
        let row = row.context("the inbox has ended")?;
        let received = Received::now(vec![row.body]);
        self.settled.send(Message::Binary(row.number.to_le_bytes().to_vec().into())).await?;
        Ok(received)
    }
}

/// The sender's node: what is committed is sealed, and sent.
async fn seal(mut sent: mpsc::Receiver<Row>, link: mpsc::Sender<Message>, key: LessSafeKey) -> Result<()> {
    while let Some(row) = sent.recv().await {
        let mut sealed = row.body.to_vec();
        let sealing = key.seal_in_place_append_tag(nonce(row.number), Aad::empty(), &mut sealed);
        sealing.map_err(|_| anyhow!("a body was not sealed"))?;
        link.send(frame(row.number, &sealed)).await?;
    }
    Ok(())
}

/// The broker: what comes is stored.
async fn enqueue(mut link: Reader, queue: Changes) -> Result<()> {
    while let Some(frame) = link.next().await {
        queue.try_send(Change::Add(row(&frame?.into_data())?, None)).map_err(|_| full())?;
    }
    Ok(())
}

/// The broker: what is stored is answered for, and goes on.
async fn forward(
    mut queued: mpsc::Receiver<Row>,
    sender: mpsc::Sender<Message>,
    recipient: mpsc::Sender<Message>,
) -> Result<()> {
    while let Some(row) = queued.recv().await {
        sender.send(Message::Binary(row.number.to_le_bytes().to_vec().into())).await?;
        recipient.send(frame(row.number, &row.body)).await?;
    }
    Ok(())
}

/// The recipient's node: what comes is opened, and stored.
async fn open(mut link: Reader, inbox: Changes, key: LessSafeKey) -> Result<()> {
    while let Some(frame) = link.next().await {
        let sealed = row(&frame?.into_data())?;
        let mut body = sealed.body.to_vec();
        let opened = key.open_in_place(nonce(sealed.number), Aad::empty(), &mut body);
        let length = opened.map_err(|_| anyhow!("a body did not open"))?.len();
        body.truncate(length);
        inbox.try_send(Change::Add(Row { body: body.into(), ..sealed }, None)).map_err(|_| full())?;
    }
    Ok(())
}

/// What the other end has answered for is done with.
async fn done(mut link: Reader, store: Changes) -> Result<()> {
    while let Some(frame) = link.next().await {
        let number = number(&frame?.into_data())?;
        store.try_send(Change::Done(number)).map_err(|_| full())?;
    }
    Ok(())
}

/// Writes frames, flushing when there are no more for the moment.
async fn write(mut frames: mpsc::Receiver<Message>, mut sink: Writer) -> Result<()> {
    while let Some(frame) = frames.recv().await {
        sink.feed(frame).await?;
        while let Ok(frame) = frames.try_recv() {
            sink.feed(frame).await?;
        }
        sink.flush().await?;
    }
    Ok(())
}

/// A link's two ends, each as its writer and its reader.
async fn link() -> Result<((Writer, Reader), (Writer, Reader))> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let accepting = async {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        anyhow::Ok(tokio_tungstenite::accept_async(stream).await?)
    };
    let dialling = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        anyhow::Ok(tokio_tungstenite::client_async(format!("ws://{address}/"), stream).await?.0)
    };
    let (broker, node) = tokio::try_join!(accepting, dialling)?;
    Ok((node.split(), broker.split()))
}

fn frame(number: u64, body: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(8 + body.len());
    bytes.extend(number.to_le_bytes());
    bytes.extend(body);
    Message::Binary(bytes.into())
}

fn row(bytes: &Bytes) -> Result<Row> {
    Ok(Row { number: number(bytes)?, body: bytes.slice(8..) })
}

fn number(bytes: &Bytes) -> Result<u64> {
    Ok(u64::from_le_bytes(*bytes.first_chunk().context("a frame is too short")?))
}

/// A key that protects nothing: it is the work that is measured.
fn key() -> Result<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).map_err(|_| anyhow!("a key was refused"))?;
    Ok(LessSafeKey::new(key))
}

fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn full() -> anyhow::Error {
    anyhow!("a store has ended, or is given more than a window")
}
