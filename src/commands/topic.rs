//! `waxwing topic`.

use waxwing_client::api::{
    HistoryQuery, PublishRequest, RetentionRequest, SubscribeAnswer, SubscribeRequest, Subscribers,
    Subscriptions, TopicAckRequest, TopicEvent, TopicMessage, TopicStreamQuery, Topics, TopicsQuery,
    UnsubscribeRequest,
};
use waxwing_client::{Client, Error as ClientError, TopicPattern, TopicStream};

use super::Context;
use super::send::body;
use crate::cli::{
    Topic, TopicAck, TopicHistory, TopicOf, TopicPublish, TopicRetention, TopicSubscribe, TopicUnsubscribe,
};
use crate::failure::Result;
use crate::output::{escape, inline, table, time};

/// Between attempts to reach a node that is away.
const AWAY: std::time::Duration = std::time::Duration::from_millis(200);

pub(crate) async fn run(context: &Context, command: Topic) -> Result<()> {
    match command {
        Topic::Publish(arguments) => publish(context, arguments).await,
        Topic::Subscribe(arguments) => subscribe(context, arguments).await,
        Topic::Unsubscribe(arguments) => unsubscribe(context, arguments).await,
        Topic::Subscriptions(of) => subscriptions(context, of).await,
        Topic::Ack(arguments) => ack(context, arguments).await,
        Topic::List { pattern } => list(context, pattern).await,
        Topic::History(arguments) => history(context, arguments).await,
        Topic::Retention(arguments) => retention(context, arguments).await,
    }
}

/// The node, spoken to as this app.
fn client(context: &Context, of: TopicOf) -> Result<Client> {
    context.acting(Some(of.app))
}

async fn publish(context: &Context, arguments: TopicPublish) -> Result<()> {
    let (body, body_base64) = body(arguments.text, arguments.file.as_deref())?;
    let request = PublishRequest {
        topic: arguments.topic,
        body,
        body_base64,
        content_type: None,
        meta: None,
        ephemeral: arguments.ephemeral,
        client_message_id: arguments.id,
        mesh: context.mesh.clone(),
    };
    let answer = client(context, arguments.of)?.publish(&request).await?;
    context.output.print(&answer, || {
        let seq = answer.seq.map_or_else(|| "not kept any more".to_owned(), |seq| format!("#{seq}"));
        let again = if answer.duplicate { ", published before" } else { "" };
        format!("{} {seq}{again}; subscribed: {}", answer.client_message_id, subscribed(answer.subscribers))
    })
}

fn subscribed(subscribers: Subscribers) -> String {
    let elsewhere = subscribers.elsewhere.map_or_else(|| "?".to_owned(), |count| count.to_string());
    format!("{} here ({} connected), {elsewhere} elsewhere", subscribers.here, subscribers.connected)
}

async fn subscribe(context: &Context, arguments: TopicSubscribe) -> Result<()> {
    let client = client(context, arguments.of)?;
    let request = SubscribeRequest {
        pattern: arguments.pattern.clone(),
        from: Some(arguments.from.start()),
        after: None,
        no_echo: arguments.no_echo,
        mesh: context.mesh.clone(),
    };
    let answer = client.subscribe(&request).await?;
    if arguments.only {
        return context.output.print(&answer, || people(&answer));
    }
    context.output.note(&people(&answer));
    let query =
        TopicStreamQuery { pattern: Some(arguments.pattern), redeliver: None, mesh: context.mesh.clone() };
    follow(context, &client, &query, arguments.count).await
}

fn people(answer: &SubscribeAnswer) -> String {
    let how = if answer.new { "has subscribed to" } else { "goes on with" };
    let pattern = inline(answer.subscription.pattern.as_str());
    format!("{} {how} {pattern}: {} topics at the moment", answer.app, answer.topics.len())
}

/// Prints what comes, and acknowledges what is printed: a node that restarts is waited for.
async fn follow(
    context: &Context,
    client: &Client,
    query: &TopicStreamQuery,
    count: Option<u64>,
) -> Result<()> {
    let mut stream = Some(client.topic_stream(query).await?);
    let mut printed = 0;
    while count.is_none_or(|count| printed < count) {
        let Some(event) = next(context, client, query, &mut stream).await? else { continue };
        if !context.output.line(&event, || shown(&event))? {
            return Ok(());
        }
        if let TopicEvent::Message(message) = &event {
            printed += 1;
            if !message.ephemeral {
                ack_printed(context, client, message).await?;
            }
        }
    }
    Ok(())
}

/// The next event; none while the node is away.
async fn next(
    context: &Context,
    client: &Client,
    query: &TopicStreamQuery,
    stream: &mut Option<TopicStream>,
) -> Result<Option<TopicEvent>> {
    let gone = match stream {
        Some(open) => match open.next().await {
            Ok(event) => return Ok(Some(event)),
            Err(error @ ClientError::Lost(_)) => {
                context.output.note(&format!("{error}: going on when the node is back"));
                None
            }
            Err(error) => return Err(error.into()),
        },
        None => match client.topic_stream(query).await {
            Ok(open) => Some(open),
            Err(ClientError::Lost(_) | ClientError::Unreachable { .. }) => {
                tokio::time::sleep(AWAY).await;
                None
            }
            Err(error) => return Err(error.into()),
        },
    };
    *stream = gone;
    Ok(None)
}

/// What cannot be acknowledged now comes again.
async fn ack_printed(context: &Context, client: &Client, message: &TopicMessage) -> Result<()> {
    let (topic, through, mesh) = (message.topic.clone(), message.seq, context.mesh.clone());
    match client.topic_ack(&TopicAckRequest { topic, through, mesh }).await {
        Ok(_) | Err(ClientError::Lost(_) | ClientError::Unreachable { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn shown(event: &TopicEvent) -> String {
    match event {
        TopicEvent::Message(message) => line(message),
        TopicEvent::Lagged { topic, missed } => {
            format!("{}: {missed} messages ended before they were acknowledged", inline(topic.as_str()))
        }
        TopicEvent::Dead(dead) => {
            let topic = inline(dead.topic.as_str());
            format!(
                "{topic} #{}: passed over, handed over {} times and never acknowledged",
                dead.seq, dead.tries
            )
        }
    }
}

/// One message: a line about it, and its body indented, so that no body can look like the next message.
fn line(message: &TopicMessage) -> String {
    let from = match &message.from_app {
        Some(app) => format!("{app}@{}", message.from),
        None => message.from.to_string(),
    };
    let topic = inline(message.topic.as_str());
    let mut text = format!("{topic} #{}  {from}  {}", message.seq, time(message.at));
    let body = match (&message.body, &message.body_base64) {
        (Some(body), _) => escape(body),
        (None, Some(base64)) => format!("({} as base64) {base64}", inline(&message.content_type)),
        (None, None) => String::new(),
    };
    for line in body.lines() {
        text.push_str("\n    ");
        text.push_str(line);
    }
    text
}

async fn unsubscribe(context: &Context, arguments: TopicUnsubscribe) -> Result<()> {
    let request = UnsubscribeRequest { pattern: arguments.pattern, mesh: context.mesh.clone() };
    client(context, arguments.of)?.unsubscribe(&request).await?;
    let done = serde_json::json!({ "unsubscribed": request.pattern });
    context.output.print(&done, || format!("{} is unsubscribed", inline(request.pattern.as_str())))
}

async fn subscriptions(context: &Context, of: TopicOf) -> Result<()> {
    let all = client(context, of)?.subscriptions(&context.mesh_query()).await?;
    if all.subscriptions.is_empty() {
        context.output.note(&format!("{} has subscribed to nothing", all.app));
    }
    context.output.print(&all, || subscription_table(&all))
}

fn subscription_table(all: &Subscriptions) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    if !all.subscriptions.is_empty() {
        rows.push(["WHAT", "SINCE", "DONE", "PENDING", "MISSED", ""].map(String::from).to_vec());
    }
    for subscription in &all.subscriptions {
        let echo = if subscription.no_echo { "without its own" } else { "" };
        let (pattern, since) = (inline(subscription.pattern.as_str()), time(subscription.since));
        rows.push(vec![pattern, since, String::new(), String::new(), String::new(), echo.to_owned()]);
        for cursor in all.cursors.iter().filter(|cursor| subscription.pattern.matches(&cursor.topic)) {
            let numbers =
                [cursor.acknowledged, cursor.pending, cursor.missed].map(|number| number.to_string());
            let topic = format!("  {}", inline(cursor.topic.as_str()));
            rows.push([topic, String::new()].into_iter().chain(numbers).collect());
        }
    }
    let dead = all.dead.iter().map(|dead| {
        let topic = inline(dead.topic.as_str());
        format!("\npassed over: {topic} #{}, handed over {} times, {}", dead.seq, dead.tries, time(dead.at))
    });
    table(&rows) + &dead.collect::<String>()
}

async fn ack(context: &Context, arguments: TopicAck) -> Result<()> {
    let TopicAck { topic, through, of } = arguments;
    let request = TopicAckRequest { topic, through, mesh: context.mesh.clone() };
    let answer = client(context, of)?.topic_ack(&request).await?;
    context.output.print(&answer, || {
        let news = if answer.advanced { "" } else { " as before" };
        format!("{}: acknowledged up to #{}{news}", inline(answer.topic.as_str()), answer.acknowledged)
    })
}

async fn list(context: &Context, pattern: Option<TopicPattern>) -> Result<()> {
    let query = TopicsQuery { pattern, mesh: context.mesh.clone() };
    let found = context.client()?.topics(&query).await?;
    if found.topics.is_empty() {
        context.output.note("no such topic");
    }
    context.output.print(&found, || topic_table(&found))?;
    context.note_age(found.current, found.as_of);
    Ok(())
}

fn topic_table(found: &Topics) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    if !found.topics.is_empty() {
        rows.push(["TOPIC", "KEEPS", "MESSAGES", "SUBSCRIBED"].map(String::from).to_vec());
    }
    rows.extend(found.topics.iter().map(|topic| {
        let keeps = std::time::Duration::from_millis(topic.retention_ms);
        let messages = topic.messages.map_or_else(|| "not here".to_owned(), |count| count.to_string());
        vec![
            inline(topic.topic.as_str()),
            humantime::format_duration(keeps).to_string(),
            messages,
            subscribed(topic.subscribers),
        ]
    }));
    table(&rows)
}

async fn history(context: &Context, arguments: TopicHistory) -> Result<()> {
    let TopicHistory { topic, after, limit } = arguments;
    let mesh = context.mesh.clone();
    let query = match after {
        Some(_) => HistoryQuery { topic, after, last: None, limit: Some(limit), mesh },
        None => HistoryQuery { topic, after: None, last: Some(limit), limit: None, mesh },
    };
    let page = context.client()?.topic_history(&query).await?;
    if page.items.is_empty() {
        context.output.note("nothing here");
    }
    context.output.print(&page, || page.items.iter().map(line).collect::<Vec<_>>().join("\n"))?;
    context.note_age(page.current, page.as_of);
    if after.is_some() && page.items.len() >= limit {
        context.output.note(&format!("There may be more: --after {}", page.next));
    }
    Ok(())
}

async fn retention(context: &Context, arguments: TopicRetention) -> Result<()> {
    let request =
        RetentionRequest { topic: arguments.topic, retention: arguments.time, mesh: context.mesh.clone() };
    let topic = client(context, arguments.of)?.topic_retention(&request).await?;
    context.output.print(&topic, || {
        let keeps = std::time::Duration::from_millis(topic.retention_ms);
        let keeps = humantime::format_duration(keeps);
        format!("{} keeps what is published from now on for {keeps}", inline(topic.topic.as_str()))
    })
}
