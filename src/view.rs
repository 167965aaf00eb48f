//! How messages and events look to people. Everything a peer wrote is escaped.

use std::fmt::Write as _;

use waxwing_client::Name;
use waxwing_client::api::{
    Author, Category, Event, EventBody, InboxItem, KvChange, LeaseEnd, LeaseHolder, LeaseNews, LeaveReason,
    MessageState, SendStatus, Voucher,
};

use crate::output::{escape, inline, time};

/// Most characters of a text shown on one line.
const LINE: usize = 100;

/// One message: a line about it, and its body indented, so that no body can look like the next message.
pub(crate) fn message(item: &InboxItem) -> String {
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

/// One event, on one line.
pub(crate) fn event(event: &Event) -> String {
    let what = match &event.body {
        EventBody::Message { message } => {
            let to = message.app.as_ref().map(|app| format!(" to {app}")).unwrap_or_default();
            format!("{}{to}: {}", from(message), first_line(&body(message)))
        }
        EventBody::Receipt { client_message_id, state } => {
            format!("{client_message_id} is {}", state.as_str())
        }
        EventBody::BrokerStatus { state, reason } => {
            format!("the link is {}{}", state.as_str(), why(reason.as_deref()))
        }
        EventBody::Outbox { client_message_id, state, reason } => {
            format!("{client_message_id} is {}{}", state.as_str(), why(reason.as_deref()))
        }
        EventBody::Lease { what, name, token, app, reason, .. } => {
            let what = match what {
                LeaseNews::Granted => "has",
                LeaseNews::Expiring => "is soon without",
                LeaseNews::Lost => "has lost",
            };
            format!("{app} {what} {} (token {token}){}", inline(name), why(reason.map(LeaseEnd::as_str)))
        }
        EventBody::Claim { what, key, token, app, reason, .. } => {
            let what = match what {
                LeaseNews::Granted => "has claimed",
                LeaseNews::Expiring => "has soon no claim on",
                LeaseNews::Lost => "has lost its claim on",
            };
            format!("{app} {what} {} (token {token}){}", inline(key), why(reason.map(LeaseEnd::as_str)))
        }
        EventBody::Security { what, node, detail } => {
            let node = node.map(|node| format!(" by {node}")).unwrap_or_default();
            format!("{}{node}: {}", inline(what), inline(detail))
        }
        EventBody::Request { request } => {
            let from = request.from_app.as_ref().map_or_else(String::new, |app| format!("{app}@"));
            let body = request.body.as_deref().unwrap_or("(not text)");
            format!("{} from {from}{}: {}", request.id, request.from, inline(body))
        }
        EventBody::Cancel { request, reason } => format!("{request}: {}", reason.as_str()),
        EventBody::PeerJoin { node, .. } => format!("{node} is online"),
        EventBody::PeerLeave { node, reason, .. } => {
            format!("{node} is offline{}", why(reason.map(LeaveReason::as_str)))
        }
        EventBody::AppJoin { app, instance, node, .. } => {
            format!("{} is registered", at(app, instance.as_ref(), node))
        }
        EventBody::AppLeave { app, instance, node, reason, .. } => {
            let gone = at(app, instance.as_ref(), node);
            format!("{gone} is not registered any more{}", why(reason.map(LeaveReason::as_str)))
        }
        EventBody::State { change, key, category, version, by, .. } => {
            kv_change(*change, key, *category, *version, by.as_ref())
        }
        EventBody::Lagged => "older events are no longer kept; messages are in the inbox".to_owned(),
        EventBody::System { what } => format!("the node: {}", inline(what)),
    };
    format!("{}  #{}  {:<13}  {what}", time(event.at), event.cursor, event.body.kind().as_str())
}

/// One message's life: a line per state.
pub(crate) fn life(status: &SendStatus) -> String {
    let mut lines =
        vec![format!("{} to {}, {}", status.client_message_id, status.to, status.priority.as_str())];
    let begin = status.history.first().map(|change| change.at);
    for change in &status.history {
        let later = begin.map(|begin| change.at.since(begin)).filter(|later| !later.is_zero());
        let later = later.map(|later| format!("+{}", humantime::format_duration(later))).unwrap_or_default();
        let meaning = meaning(change.state, change.by);
        lines.push(format!("  {:<9}  {}  {later:<12}  {meaning}", change.state.as_str(), time(change.at)));
    }
    lines.push(format!("now {}{}", status.state.as_str(), why(status.reason.as_deref())));
    if let Some(successor) = &status.superseded_by {
        lines.push(format!("sent again as {successor}"));
    }
    if !status.state.is_end() && status.state.rung() < MessageState::Delivered.rung() {
        lines.push(format!("expires {}", time(status.expires_at)));
    }
    lines.join("\n")
}

/// What a state means, and whose word it is: the same words on every surface.
fn meaning(state: MessageState, by: Voucher) -> String {
    let what = match state {
        MessageState::Queued => "on this disk",
        MessageState::Inflight => "handed to the broker, which has not answered yet",
        MessageState::Accepted => "in the broker's store",
        MessageState::Delivered => "in the inbox of the recipient's node",
        MessageState::Read => "acknowledged by an app there",
        MessageState::Dead => "refused for good",
        MessageState::Expired => "its lifetime ended first",
        MessageState::Aborted => "given up by an operator",
    };
    let word = match by {
        Voucher::Node => "this node knows it",
        Voucher::Broker => "so the broker says",
        Voucher::Recipient => "the recipient has proved it",
    };
    format!("{what} ({word})")
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

/// As much of a text, escaped before, as stands on a line.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().replace('\t', "\\u{9}");
    let short: String = line.chars().take(LINE).collect();
    if short.len() < text.trim_end().len() { format!("{short} ...") } else { short }
}

/// An app, with which of several of its name is meant.
pub(crate) fn at(app: &Name, instance: Option<&Name>, node: &Name) -> String {
    let instance = instance.map(|instance| format!("/{instance}")).unwrap_or_default();
    format!("{app}{instance}@{node}")
}

/// Who has a lease, or waits for it.
pub(crate) fn holder(holder: &LeaseHolder) -> String {
    match &holder.app {
        Some(app) => at(app, holder.instance.as_ref(), &holder.node),
        None => holder.node.to_string(),
    }
}

/// What has become of a key of shared state.
pub(crate) fn kv_change(
    change: KvChange,
    key: &str,
    category: Option<Category>,
    version: Option<u64>,
    by: Option<&Author>,
) -> String {
    let category = category.map(|category| format!(" {}", category.as_str())).unwrap_or_default();
    let version = version.map(|version| format!(" version {version}")).unwrap_or_default();
    let by = by.map(|by| format!(" by {}", author(by))).unwrap_or_default();
    format!("{}{category} is {}{version}{by}", inline(key), change.as_str())
}

/// Who has said something.
pub(crate) fn author(author: &Author) -> String {
    let node = author.node.as_ref().map_or_else(|| author.node_id.to_string(), ToString::to_string);
    match (&author.app, &author.instance) {
        (Some(app), Some(instance)) => format!("{app}/{instance}@{node}"),
        (Some(app), None) => format!("{app}@{node}"),
        (None, _) => node,
    }
}

/// A reason, if there is one.
fn why(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {}", inline(reason))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use waxwing_client::api::LinkState;

    use super::*;

    fn item(body: &str) -> InboxItem {
        serde_json::from_value(serde_json::json!({
            "id": 7, "from": "alpha", "from_node": "a".repeat(26), "from_app": "ci", "app": "deploy",
            "client_message_id": "m-1", "content_type": "text/plain", "body": body,
            "thread": "a\nb", "priority": "now", "sent_at": 0, "received_at": 1,
        }))
        .unwrap()
    }

    #[test]
    fn a_body_cannot_pose_as_another_message() {
        assert_eq!(
            message(&item("green\n#8 beta\x1b[1A\n\rred")),
            "#7 ci@alpha  to deploy  1970-01-01T00:00:00Z  now  thread a\\u{a}b  unread  id m-1\n    \
             green\n    #8 beta\\u{1b}[1A\n    \\u{d}red"
        );
    }

    #[test]
    fn an_event_stays_on_its_line_whatever_a_peer_wrote() {
        let shown = |body| event(&Event { cursor: 7, at: waxwing_client::Timestamp::from_millis(0), body });
        let message = shown(EventBody::Message { message: Box::new(item("green\x1b[2J\tor\n#8 beta")) });
        assert_eq!(
            message,
            "1970-01-01T00:00:00Z  #7  message        ci@alpha to deploy: green\\u{1b}[2J\\u{9}or ..."
        );
        let security = EventBody::Security { what: "bad_seal\n".into(), node: None, detail: "a\rb".into() };
        assert!(shown(security).ends_with("security       bad_seal\\u{a}: a\\u{d}b"));
        let down = EventBody::BrokerStatus { state: LinkState::Down, reason: Some("gone\n".into()) };
        assert!(shown(down).ends_with("the link is down: gone\\u{a}"));
    }
}
