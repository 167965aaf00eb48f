//! The broker.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use waxwing_broker::{Clock, Config, Database};
use waxwing_crypto::Timestamp;
use waxwing_lab_postgres::Server;

use super::PATIENCE;

/// A broker under test.
pub struct Broker {
    pub url: String,
    pub addr: SocketAddr,
    pub dir: Arc<TempDir>,
    pub clock: TestClock,
    config: Config,
    ready: watch::Receiver<bool>,
    stop: oneshot::Sender<()>,
    running: JoinHandle<waxwing_broker::Result<()>>,
}

/// The system's clock, and what a test adds to it.
#[derive(Clone, Default)]
pub struct TestClock(Arc<Added>);

/// Milliseconds that have passed, and that the wall's clock was set by alone.
#[derive(Default)]
struct Added {
    passed: AtomicU64,
    set: AtomicU64,
}

impl TestClock {
    pub fn now(&self) -> Timestamp {
        let added = self.0.passed.load(Ordering::SeqCst) + self.0.set.load(Ordering::SeqCst);
        Clock::system().now().plus(Duration::from_millis(added))
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.0.passed.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    /// Sets the wall's clock, and lets no time pass.
    pub fn set(&self, by: Duration) {
        self.0.set.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let (wall, steady) = (self.clone(), self.clone());
        let passed =
            move || Clock::system().steady() + Duration::from_millis(steady.0.passed.load(Ordering::SeqCst));
        Clock::with_steady(move || wall.now(), passed)
    }
}

impl Broker {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// For what is about the file itself.
    pub async fn in_a_file() -> Self {
        Self::with(|config| config.database = None).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let clock = TestClock::default();
        let mut config = Config::new(dir.path());
        config.clock = clock.clock();
        config.database = on_a_server();
        change(&mut config);
        Self::run(config, dir, clock).await
    }

    /// One on a folder that another has left.
    pub async fn run(config: Config, dir: Arc<TempDir>, clock: TestClock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move { drop(stopped.await) };
        let (told, ready) = watch::channel(false);
        let tell = move |_: &waxwing_broker::Ready| {
            told.send_replace(true);
        };
        let broker = waxwing_broker::run(config.clone(), listener, tell, shutdown);
        let running = tokio::spawn(async move {
            let ended = broker.await;
            if let Err(err) = &ended {
                eprintln!("the broker stopped: {err}");
            }
            ended
        });
        Self { url: format!("ws://{addr}"), addr, dir, clock, config, ready, stop, running }
    }

    /// Waits until it serves.
    pub async fn ready(&self) {
        let mut ready = self.ready.clone();
        timeout(PATIENCE, ready.wait_for(|ready| *ready)).await.unwrap().unwrap();
    }

    /// Where it answers operators.
    pub async fn admin(&self) -> SocketAddr {
        self.ready().await;
        let holder = waxwing_broker::holder(self.path()).unwrap().unwrap();
        holder.admin.unwrap()
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Its store in a file, opened beside it.
    pub fn file(&self) -> waxwing_sqlite::Connection {
        waxwing_sqlite::Options::new(&self.path().join("broker.db")).open().unwrap()
    }

    /// Stops it, and waits until it has stopped.
    pub async fn stop(self) -> (Config, Arc<TempDir>, TestClock) {
        drop(self.stop);
        timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
        (self.config, self.dir, self.clock)
    }

    /// How it ended by itself.
    pub async fn ended(self) -> waxwing_broker::Result<()> {
        self.running.await.unwrap()
    }

    /// Stops it, and starts another on the same folder.
    pub async fn restart(self) -> Self {
        let (config, dir, clock) = self.stop().await;
        Self::run(config, dir, clock).await
    }

    /// Loses the whole store.
    pub async fn lose_store(self) -> Self {
        self.replace_store(None).await
    }

    /// Stops and starts, with a copy of the store made in between.
    pub async fn copied(self) -> (Self, StoreCopy) {
        let (config, dir, clock) = self.stop().await;
        let copy = match Server::asked_for().zip(config.database.as_ref()) {
            Some((server, database)) => StoreCopy::Database(server.copy(&name(database)).unwrap()),
            None => {
                let copy = dir.path().join("copy");
                assert_ne!(std::fs::copy(dir.path().join("broker.db"), &copy).unwrap(), 0);
                StoreCopy::File(copy)
            }
        };
        (Self::run(config, dir, clock).await, copy)
    }

    /// Puts a copy in the place of the store.
    pub async fn set_back(self, copy: &StoreCopy) -> Self {
        self.replace_store(Some(copy)).await
    }

    async fn replace_store(self, with: Option<&StoreCopy>) -> Self {
        let (config, dir, clock) = self.stop().await;
        let file = dir.path().join("broker.db");
        match (Server::asked_for().zip(config.database.as_ref()), with) {
            (Some((server, database)), Some(StoreCopy::Database(copy))) => {
                server.replace(&name(database), Some(copy)).unwrap();
            }
            (Some((server, database)), _) => server.replace(&name(database), None).unwrap(),
            (None, Some(StoreCopy::File(copy))) => assert_ne!(std::fs::copy(copy, file).unwrap(), 0),
            (None, _) => std::fs::remove_file(file).unwrap(),
        }
        Self::run(config, dir, clock).await
    }
}

/// A copy of a store.
pub enum StoreCopy {
    File(PathBuf),
    Database(String),
}

/// A database on a server, if that is where tests are to keep their stores.
fn on_a_server() -> Option<Database> {
    let server = Server::asked_for()?;
    Some(server.url(&server.database().unwrap()).parse().unwrap())
}

/// The name of a database, at the end of its URL.
fn name(database: &Database) -> String {
    database.to_string().rsplit('/').next().unwrap().to_owned()
}
