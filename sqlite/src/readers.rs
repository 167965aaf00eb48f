//! Connections that read.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use crate::connection::Statement;
use crate::{Connection, Error, Options, Result};

/// A few connections that read, made as they are needed. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct Readers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: Options,
    most: u32,
    free: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

/// [`Readers`] for a statement that finds what it gives by an index, and gives little: it holds up the thread that asks, for less than it takes to
/// hand a statement to another and its rows back.
#[derive(Clone, Copy, Debug)]
pub struct Brief<'r>(&'r Readers);

/// A connection of [`Readers`], given back when it is dropped. Its statements run on a thread that may block.
#[derive(Debug)]
pub struct Lent {
    /// None while it works on another thread, or before it is made.
    connection: Option<Connection>,
    owner: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    pub(crate) fn new(options: Options, most: u32) -> Self {
        let free = Arc::new(Semaphore::new(most as usize));
        Self(Arc::new(Shared { options, most, free, idle: Mutex::default() }))
    }

    /// Waits for a connection, in the order of asking.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn acquire(&self) -> Result<Lent> {
        let permit = Arc::clone(&self.0.free).acquire_owned().await.map_err(|_| Error::Closed)?;
        let connection = lock(&self.0.idle).pop();
        Ok(Lent { connection, owner: Arc::clone(&self.0), _permit: permit })
    }

    /// The same connections, for statements that take no time worth a change of threads.
    #[must_use]
    pub const fn brief(&self) -> Brief<'_> {
        Brief(self)
    }

    /// Waits until every connection is back, and closes them all. Nobody gets one any more.
    pub async fn close(&self) {
        let all = self.0.free.acquire_many(self.0.most).await;
        self.0.free.close();
        let idle = std::mem::take(&mut *lock(&self.0.idle));
        // The last connection to a file folds its log in, which takes its time.
        let _ = spawn_blocking(move || drop(idle)).await;
        drop(all);
    }
}

impl Brief<'_> {
    /// Runs a statement on this thread.
    pub(crate) async fn run<R>(
        self,
        statement: Statement<'_>,
        work: impl FnOnce(&Connection, Statement<'_>) -> Result<R>,
    ) -> Result<R> {
        let mut lent = self.0.acquire().await?;
        let connection = match lent.connection.take() {
            Some(connection) => connection,
            None => lent.owner.options.open()?,
        };
        let result = work(&connection, statement);
        lent.connection = Some(connection);
        result
    }
}

impl Lent {
    /// Runs a statement on a thread that may block. Whoever stops waiting leaves it to end by itself.
    pub(crate) async fn run<R: Send + 'static>(
        &mut self,
        statement: Statement<'_>,
        work: impl FnOnce(&Connection, Statement<'_>) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let (connection, statement) = (self.connection.take(), statement.into_owned());
        let options = self.owner.options.clone();
        let done = spawn_blocking(move || {
            let connection = connection.map_or_else(|| options.open(), Ok)?;
            let result = work(&connection, statement);
            Ok::<_, Error>((connection, result))
        });
        let (connection, result) = done.await.map_err(|_| Error::Closed)??;
        self.connection = Some(connection);
        result
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            lock(&self.owner.idle).push(connection);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
