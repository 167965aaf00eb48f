//! `waxwing ack`.

use waxwing_client::api::AckRequest;

use super::Context;
use crate::cli::Ack;
use crate::failure::Result;

pub(crate) async fn run(context: &Context, arguments: Ack) -> Result<()> {
    let request = AckRequest {
        ids: (!arguments.ids.is_empty()).then_some(arguments.ids),
        through: arguments.through,
        app: arguments.app,
        mesh: context.mesh.clone(),
    };
    let answer = context.client()?.ack(&request).await?;
    context.output.print(&answer, || format!("{} marked read", answer.acknowledged))
}
