//! One message at a time, and as many as a window has room for: the same for everybody.
//!
//! ```text
//! publisher: takes a place in the window, publishes, waits for what its peer answers to that
//! consumer:  receives, acknowledges, and gives the place back
//! ```
//!
//! A message's time is from before it is published to when its body has come; what its acknowledgement takes is not in it. Processor time
//! is this process's, which has both clients, and the server's.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::processor;

/// Bytes of each body.
pub(crate) const SIZE: usize = 1_024;
/// Most messages under way, where there is more than one.
pub(crate) const WINDOW: usize = 1_024;
/// Nothing has come for so long: nothing will.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// What nobody is judged by: connections are new, files have not grown.
const WARM_UP: Duration = Duration::from_millis(300);

/// How long whoever receives waits before it looks whether all is over.
pub(crate) const AWHILE: Duration = Duration::from_millis(100);

/// Who publishes.
pub(crate) trait Publish: Send + Sync + 'static {
    /// Publishes, and waits for the answer that its kind gives.
    fn publish(&self, body: Bytes) -> impl Future<Output = Result<()>> + Send;
}

/// Who receives.
pub(crate) trait Receive: Send {
    /// What has come, with its acknowledgement on its way; nothing if nothing has for [`AWHILE`]. Whoever drops it while it waits does
    /// not ask again.
    fn receive(&mut self) -> impl Future<Output = Result<Received>> + Send;
}

/// What has come.
pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) bodies: Vec<Bytes>,
}

impl Received {
    /// This, now.
    pub(crate) fn now(bodies: Vec<Bytes>) -> Self {
        Self { at: Instant::now(), bodies }
    }
}

/// What one round came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Microseconds of processor time for each message, of all processes that it passes through.
    pub(crate) processor: f64,
}

/// With a full window, and one at a time.
pub(crate) async fn both(
    publisher: impl Publish,
    mut consumer: impl Receive,
    server: Option<u32>,
    time: Duration,
) -> Result<[Figures; 2]> {
    let publisher = Arc::new(publisher);
    run(Arc::clone(&publisher), &mut consumer, WINDOW, WARM_UP, server).await?;
    let full = run(Arc::clone(&publisher), &mut consumer, WINDOW, time, server).await?;
    let alone = run(publisher, &mut consumer, 1, time, server).await?;
    Ok([full, alone])
}

/// Messages for so long, with so many under way. Every one that was published must come, and none twice.
async fn run(
    publisher: Arc<impl Publish>,
    consumer: &mut impl Receive,
    window: usize,
    time: Duration,
    server: Option<u32>,
) -> Result<Figures> {
    let shared = Arc::new(Shared {
        places: Semaphore::new(window),
        asked: Mutex::default(),
        over: AtomicBool::new(false),
        publishing: AtomicUsize::new(window),
    });
    let (began, used) = (Instant::now(), processor::used(server)?);
    let mut publishing = JoinSet::new();
    for _ in 0..window {
        publishing.spawn(publishes(Arc::clone(&publisher), Arc::clone(&shared), began + time));
    }
    let (mut took, mut last) = (Vec::new(), began);
    let mut seen = Vec::new();
    while !(shared.publishing.load(Ordering::Acquire) == 0 && took.len() == shared.asked().len()) {
        while let Some(ended) = publishing.try_join_next() {
            ended??;
        }
        let received = timeout(PATIENCE, consumer.receive()).await.context("no answer to a consumer")??;
        if received.bodies.is_empty() && last.elapsed() > PATIENCE {
            bail!("{} messages were lost", shared.asked().len() - took.len());
        }
        for body in received.bodies {
            let n = number(&body)?;
            let asked = shared.asked().get(n).copied().context("what came was not published")?;
            seen.resize(seen.len().max(n + 1), false);
            if std::mem::replace(&mut seen[n], true) {
                bail!("message {n} came twice");
            }
            took.push(received.at.saturating_duration_since(asked));
            last = Instant::now();
            shared.places.add_permits(1);
        }
    }
    while let Some(ended) = publishing.join_next().await {
        ended??;
    }
    Ok(figures(took, last - began, processor::used(server)?.saturating_sub(used)))
}

struct Shared {
    places: Semaphore,
    asked: Mutex<Vec<Instant>>,
    over: AtomicBool,
    publishing: AtomicUsize,
}

impl Shared {
    fn asked(&self) -> std::sync::MutexGuard<'_, Vec<Instant>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn publishes(publisher: Arc<impl Publish>, shared: Arc<Shared>, ends: Instant) -> Result<()> {
    let _ended = Ended(Arc::clone(&shared));
    while !shared.over.load(Ordering::Relaxed) {
        let place = timeout(PATIENCE, shared.places.acquire()).await.context("the window stays full")??;
        if Instant::now() >= ends {
            shared.over.store(true, Ordering::Relaxed);
            return Ok(());
        }
        place.forget();
        let n = {
            let mut asked = shared.asked();
            asked.push(Instant::now());
            asked.len() - 1
        };
        timeout(PATIENCE, publisher.publish(body(n))).await.context("no answer to a publisher")??;
    }
    Ok(())
}

struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.publishing.fetch_sub(1, Ordering::AcqRel);
    }
}

fn body(n: usize) -> Bytes {
    let mut body = vec![b'x'; SIZE];
    body[..8].copy_from_slice(&(n as u64).to_le_bytes());
    body.into()
}

fn number(body: &[u8]) -> Result<usize> {
    let bytes = body.first_chunk::<8>().context("a body is too short")?;
    Ok(usize::try_from(u64::from_le_bytes(*bytes))?)
}

fn figures(mut took: Vec<Duration>, time: Duration, used: Duration) -> Figures {
    took.sort_unstable();
    let at = |share: f64| {
        let rank = (share * took.len() as f64).ceil() as usize;
        took.get(rank.saturating_sub(1)).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    Figures {
        per_second: took.len() as f64 / time.as_secs_f64().max(1e-9),
        p50: at(0.5),
        p99: at(0.99),
        processor: used.as_secs_f64() * 1e6 / (took.len() as f64).max(1.0),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

    use super::*;
    use tokio::sync::mpsc;

    struct Pipe(mpsc::Sender<Bytes>, bool);
    struct End(mpsc::Receiver<Bytes>);

    impl Publish for Pipe {
        async fn publish(&self, body: Bytes) -> Result<()> {
            if self.1 {
                self.0.send(body.clone()).await?;
            }
            Ok(self.0.send(body).await?)
        }
    }

    impl Receive for End {
        async fn receive(&mut self) -> Result<Received> {
            let body = timeout(AWHILE, self.0.recv()).await.ok().flatten();
            Ok(Received::now(body.into_iter().collect()))
        }
    }

    fn pipe(twice: bool) -> (Arc<Pipe>, End) {
        let (to, from) = mpsc::channel(1_000);
        (Arc::new(Pipe(to, twice)), End(from))
    }

    #[tokio::test]
    async fn what_is_published_is_counted_and_what_comes_twice_is_an_error() {
        for window in [1, 16] {
            let (publisher, mut consumer) = pipe(false);
            let figures =
                run(publisher, &mut consumer, window, Duration::from_millis(50), None).await.unwrap();
            assert!(figures.per_second > 0.0 && figures.p50 <= figures.p99, "{figures:?}");
        }
        let (publisher, mut consumer) = pipe(true);
        let error = run(publisher, &mut consumer, 1, Duration::from_millis(50), None).await.unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
    }
}
