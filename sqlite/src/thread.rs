//! A thread for what blocks.

use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Runs what blocks for as long as it lasts, such as a writer's statements, on a thread of its own. What is spawned or waited for in it is
/// the caller's runtime's. It goes on if nobody waits for it any more.
///
/// # Errors
/// If there can be no thread, or it has panicked.
pub async fn on_own_thread<T: Send + 'static>(
    name: &str,
    work: impl Future<Output = T> + Send + 'static,
) -> std::io::Result<T> {
    let (runtime, (done, ended)) = (Handle::current(), oneshot::channel());
    let body = move || {
        // Nobody may wait for it.
        let _ = done.send(runtime.block_on(work));
    };
    drop(std::thread::Builder::new().name(name.to_owned()).spawn(body)?);
    ended.await.map_err(|_| std::io::Error::other("its thread has panicked"))
}
