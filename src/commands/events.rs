//! `waxwing events`.

use waxwing_client::api::EventQuery;

use super::Context;
use crate::cli::Events;
use crate::failure::Result;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: Events) -> Result<()> {
    let query = EventQuery {
        after: arguments.after,
        app: arguments.app,
        kind: (!arguments.kind.is_empty()).then(|| arguments.kind.join(",")),
        register: arguments.register.then_some(1),
        takeover: arguments.takeover.then_some(1),
        mesh: context.mesh.clone(),
        ..EventQuery::default()
    };
    let output = context.output;
    let events = context.client()?.events_resuming(&query).await?;
    let mut events =
        events.on_away(move |error| output.note(&format!("{error}: going on when the node is back")));
    loop {
        let event = events.next().await?;
        if !output.line(&event, || view::event(&event))? {
            return Ok(());
        }
    }
}
