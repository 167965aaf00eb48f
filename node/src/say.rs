//! A message left in the outbox of a mesh that no node serves: it goes with the next start.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use waxwing_crypto::Name;
use waxwing_protocol::api::{Problem, ProblemCode, SendAnswer, SendRequest};

use crate::config::Config;
use crate::error::Result;
use crate::home::Home;
use crate::host;
use crate::mesh::{Admitted, Mesh};
use crate::outbox::{self, Caller};

/// Accepts a message as a running node would. The inner error is why it is not accepted.
///
/// # Errors
/// `AlreadyRunning`, `WrongHost`, `Database`, or whatever else keeps the mesh from being opened.
pub async fn leave(
    config: &Config,
    mesh: &Name,
    request: SendRequest,
) -> Result<Result<SendAnswer, Box<Problem>>> {
    let home = Home::new(config.state.clone());
    let _lock = home.lock()?;
    let admitted = Admitted::check(&home, mesh, &host::evidence(config.host_id.as_deref()))?;
    let mesh = Mesh::open(admitted, config, Arc::default(), CancellationToken::new()).await?;
    let accepted = outbox::accept(&mesh, vec![(request, Caller::default())]).await.pop();
    let tasks = mesh.tasks.clone();
    drop(mesh);
    tasks.close();
    tasks.wait().await;
    Ok(accepted.unwrap_or_else(|| Err(Problem::new(ProblemCode::Internal))).map_err(Box::new))
}
