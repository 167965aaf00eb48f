//! `waxwing inbox`.

use std::fmt::Write as _;

use waxwing_client::api::{InboxItem, InboxQuery};

use super::Context;
use crate::cli::Inbox;
use crate::failure::Result;
use crate::output::{escape, inline, time};

pub(crate) async fn run(context: &Context, arguments: Inbox) -> Result<()> {
    let query = InboxQuery {
        after: arguments.after,
        app: arguments.app,
        from: arguments.from,
        thread: arguments.thread,
        unread: arguments.unread,
        limit: Some(arguments.limit),
        wait: None,
        mesh: context.mesh.clone(),
    };
    let page = context.client()?.inbox(&query).await?;
    if page.items.is_empty() {
        context.output.note("nothing here");
    }
    context.output.print(&page, || page.items.iter().map(message).collect::<Vec<_>>().join("\n"))?;
    if page.items.len() >= arguments.limit {
        context.output.note(&format!("There may be more: --after {}", page.next));
    }
    Ok(())
}

/// One message: a line about it, and its body indented, so that no body can look like the next message.
fn message(item: &InboxItem) -> String {
    let mut text = format!("#{} {}", item.id, from(item));
    let mut add = |label: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = write!(text, "  {label}{value}");
    };
    if let Some(app) = &item.app {
        add("to ", app.as_str());
    }
    add("", &time(item.sent_at));
    if item.priority != waxwing_client::Priority::default() {
        add("", item.priority.as_str());
    }
    if let Some(thread) = &item.thread {
        add("thread ", &inline(thread));
    }
    if let Some(reply_to) = &item.reply_to {
        add("answers ", reply_to.as_str());
    }
    if item.late {
        add("", "late");
    }
    add("", if item.read_at.is_some() { "read" } else { "unread" });
    add("id ", item.client_message_id.as_str());
    for line in body(item).lines() {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

fn from(item: &InboxItem) -> String {
    match &item.from_app {
        Some(app) => format!("{app}@{}", item.from),
        None => item.from.to_string(),
    }
}

fn body(item: &InboxItem) -> String {
    match (&item.body, &item.body_base64) {
        (Some(body), _) => escape(body),
        (None, Some(base64)) => {
            // Four characters of base64 stand for three bytes.
            let bytes = base64.len() / 4 * 3 - base64.bytes().rev().take_while(|&b| b == b'=').count();
            format!("({bytes} bytes of {}: use --json)", inline(&item.content_type))
        }
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_cannot_pose_as_another_message() {
        let item: InboxItem = serde_json::from_value(serde_json::json!({
            "id": 7, "from": "alpha", "from_node": "a".repeat(26), "from_app": "ci", "app": "deploy",
            "client_message_id": "m-1", "content_type": "text/plain", "body": "green\n#8 beta\x1b[1A\n\rred",
            "thread": "a\nb", "priority": "now", "sent_at": 0, "received_at": 1,
        }))
        .unwrap();
        assert_eq!(
            message(&item),
            "#7 ci@alpha  to deploy  1970-01-01T00:00:00Z  now  thread a\\u{a}b  unread  id m-1\n    \
             green\n    #8 beta\\u{1b}[1A\n    \\u{d}red"
        );
    }
}
