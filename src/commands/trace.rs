//! `waxwing trace`.

use waxwing_client::api::BrokerView;

use super::Context;
use crate::cli::Trace;
use crate::failure::Result;
use crate::output::time;
use crate::view;

pub(crate) async fn run(context: &Context, arguments: &Trace) -> Result<()> {
    let client = context.client()?;
    if arguments.as_broker {
        let held = client.broker_view(&arguments.id, &context.mesh_query()).await?;
        return context.output.print(&held, || as_broker(&held));
    }
    let status = client.status(&arguments.id, &context.mesh_query()).await?;
    context.output.print(&status, || view::life(&status))
}

/// All that the broker can say of a message.
fn as_broker(held: &BrokerView) -> String {
    let mut rows = vec![("wire id", held.wire_id.to_string())];
    let mut add = |label, value: Option<String>| rows.extend(value.map(|value| (label, value)));
    add("message id", held.message_id.map(|id| id.to_string()));
    add("recipient node", held.to.map(|node| node.to_string()));
    add("priority", held.priority.map(|priority| priority.as_str().to_owned()));
    add("seal", held.seal.map(|seal| seal.to_string()));
    add("first seen", held.first_seen.map(time));
    add("in the queue", held.queued_bytes.map(|bytes| format!("{bytes} sealed bytes")));
    let rows: Vec<String> =
        rows.into_iter().map(|(label, value)| format!("  {label:<14}  {value}")).collect();
    let known = match (held.message_id, held.queued_bytes) {
        (None, _) => "The broker knows nothing of it. This is what it would know it by:",
        (Some(_), None) => "The broker no longer has it. All that it remembers:",
        (Some(_), Some(_)) => "All that the broker has of it:",
    };
    format!("{known}\n{}", rows.join("\n"))
}
