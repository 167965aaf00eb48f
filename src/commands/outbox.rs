//! `waxwing node outbox`.

use std::path::Path;

use waxwing_client::api::{
    AbortRequest, OutboxAnswer, OutboxDetail, OutboxItem, OutboxQuery, RequeueRequest,
};
use waxwing_protocol::limits;

use super::Context;
use crate::cli::{Outbox, OutboxList, Requeue};
use crate::failure::{Failure, Result};
use crate::output::{escape, inline, table, time};
use crate::view;

pub(crate) async fn run(context: &Context, command: Outbox) -> Result<()> {
    match command {
        Outbox::List(arguments) => list(context, &arguments).await,
        Outbox::Show { row } => {
            let shown = context.client()?.outbox_row(row, &context.mesh_query()).await?;
            context.output.print(&shown, || detail(&shown))
        }
        Outbox::Requeue(arguments) => requeue(context, arguments).await,
        Outbox::Abort { id } => {
            let request = AbortRequest { id: id.to_string(), mesh: context.mesh.clone() };
            given_up(context, &context.client()?.abort(&request).await?)
        }
    }
}

async fn list(context: &Context, arguments: &OutboxList) -> Result<()> {
    let query = OutboxQuery {
        after: arguments.after,
        state: arguments.only,
        limit: Some(arguments.limit),
        mesh: context.mesh.clone(),
    };
    let page = context.client()?.outbox(&query).await?;
    if page.items.is_empty() {
        context.output.note("nothing here");
    }
    context.output.print(&page, || rows(&page.items))?;
    if page.items.len() >= arguments.limit {
        context.output.note(&format!("There may be more: --after {}", page.next));
    }
    Ok(())
}

fn rows(items: &[OutboxItem]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let mut rows = vec![["ROW", "ID", "TO", "STATE", "QUEUED", "BYTES", ""].map(String::from).to_vec()];
    rows.extend(items.iter().map(|item| {
        vec![
            item.row.to_string(),
            item.client_message_id.to_string(),
            item.to.to_string(),
            item.state.as_str().to_owned(),
            time(item.queued_at),
            item.size.to_string(),
            item.reason.as_deref().map(inline).unwrap_or_default(),
        ]
    }));
    table(&rows)
}

fn detail(shown: &OutboxDetail) -> String {
    let mut lines = vec![format!("row {}: {}", shown.row, view::life(&shown.status))];
    if let Some(thread) = &shown.thread {
        lines.push(format!("thread {}", inline(thread)));
    }
    if let Some(reply_to) = &shown.reply_to {
        lines.push(format!("answers {reply_to}"));
    }
    if shown.wiped {
        lines.push("its content is no longer kept".to_owned());
        return lines.join("\n");
    }
    lines.push(inline(&shown.content_type));
    match (&shown.body, &shown.body_base64) {
        (Some(body), _) => lines.extend(escape(body).lines().map(|line| format!("    {line}"))),
        (None, Some(_)) => lines.push("    (not text: use --json)".to_owned()),
        (None, None) => {}
    }
    lines.join("\n")
}

async fn requeue(context: &Context, arguments: Requeue) -> Result<()> {
    let request = RequeueRequest {
        id: arguments.id.to_string(),
        new_client_id: arguments.new_client_id,
        body: arguments.body.as_deref().map(text).transpose()?,
        mesh: context.mesh.clone(),
    };
    given_up(context, &context.client()?.requeue(&request).await?)
}

/// The text of a file.
fn text(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .map_err(|err| Failure::usage(format!("cannot read {} as text: {err}", path.display())))?;
    if text.len() > limits::BODY {
        return Err(Failure::usage(format!("a message has at most {} KiB", limits::BODY / 1024)));
    }
    Ok(text)
}

fn given_up(context: &Context, answer: &OutboxAnswer) -> Result<()> {
    context.output.print(answer, || match &answer.requeued_as {
        Some(successor) => format!("{} aborted; sent again as {successor}", answer.aborted),
        None => format!("{} aborted", answer.aborted),
    })?;
    if answer.may_arrive {
        context.output.note("It had left this node, and may arrive all the same.");
    }
    Ok(())
}
