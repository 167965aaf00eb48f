//! `waxwing ack`.

use serde::Serialize;
use waxwing_client::Client;
use waxwing_client::api::{AckRequest, ProblemCode};

use super::Context;
use crate::cli::Ack;
use crate::failure::Result;

/// What came of it.
#[derive(Serialize)]
struct Done {
    acknowledged: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<u64>,
}

pub(crate) async fn run(context: &Context, arguments: Ack) -> Result<()> {
    let request = AckRequest {
        ids: (!arguments.ids.is_empty()).then(|| arguments.ids.clone()),
        through: arguments.through,
        app: arguments.app,
        mesh: context.mesh.clone(),
    };
    let client = context.client()?;
    let answer = client.ack(&request).await?;
    let deleted = if arguments.delete { Some(delete(context, &client, &arguments.ids).await?) } else { None };
    let done = Done { acknowledged: answer.acknowledged, deleted };
    context.output.print(&done, || {
        let deleted = deleted.map(|count| format!(", {count} deleted")).unwrap_or_default();
        format!("{} marked read{deleted}", done.acknowledged)
    })
}

/// Deletes those that are there. Says how many.
async fn delete(context: &Context, client: &Client, ids: &[u64]) -> Result<u64> {
    let mut deleted = 0;
    for &id in ids {
        match client.delete(id, &context.mesh_query()).await {
            Ok(()) => deleted += 1,
            Err(error) if error.problem().is_some_and(|why| why.code == ProblemCode::UnknownMessage) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(deleted)
}
