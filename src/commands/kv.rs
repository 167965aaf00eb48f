//! `waxwing kv`.

use serde::Serialize;
use waxwing_client::api::{
    Event, EventBody, EventQuery, KvAnswer, KvChange, KvEntry, KvPut as Put, KvPutAnswer, KvQuery,
    ProblemCode,
};
use waxwing_client::{Client, KvTerms};

use super::{Context, send};
use crate::cli::{Kv, KvDelete, KvGet, KvList, KvPut, KvWatch};
use crate::failure::Result;
use crate::output::{escape, inline, table, time};
use crate::view;

/// A key that was deleted.
#[derive(Serialize)]
struct Deleted {
    key: String,
    deleted: bool,
}

/// A change of a key, and what stands there since.
#[derive(Serialize)]
struct Watched {
    #[serde(flatten)]
    event: Event,
    /// Of what was set, or set again since.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<KvEntry>,
}

pub(crate) async fn run(context: &Context, command: Kv) -> Result<()> {
    match command {
        Kv::Put(arguments) => put(context, arguments).await,
        Kv::Get(KvGet { key, history: true }) => history(context, &key).await,
        Kv::Get(KvGet { key, history: false }) => get(context, &key).await,
        Kv::List(arguments) => list(context, arguments).await,
        Kv::Delete(arguments) => delete(context, arguments).await,
        Kv::Watch(arguments) => watch(context, arguments).await,
    }
}

async fn put(context: &Context, arguments: KvPut) -> Result<()> {
    let (value, value_base64) = send::body(arguments.value, arguments.file.as_deref())?;
    let KvPut { key, app, category, ttl, if_match, if_absent, id, .. } = arguments;
    let put = Put { value, value_base64, category, ttl, mesh: context.mesh.clone() };
    let done = context.acting(app)?.kv_put(&key, &put, &KvTerms { if_match, if_absent, id }).await?;
    context.output.print(&done, || people(&done))
}

fn people(done: &KvPutAnswer) -> String {
    let duplicate = if done.duplicate { " before, by the same request" } else { "" };
    let key = &done.key;
    format!(
        "{} {}{duplicate}: version {}, etag {}",
        inline(&key.key),
        done.state.as_str(),
        key.version,
        key.etag
    )
}

async fn get(context: &Context, key: &str) -> Result<()> {
    let found = context.client()?.kv_get(key, &context.mesh_query()).await?;
    context.output.print(&found, || value(&found.entry))?;
    note(context, &found);
    Ok(())
}

/// What is beside the value: it alone is what other programs read.
fn note(context: &Context, found: &KvAnswer) {
    let key = &found.entry.key;
    let (by, at) = (view::author(&key.updated_by), time(key.updated_at));
    let until = key.expires_at.map(|until| format!(", until {}", time(until))).unwrap_or_default();
    let what = format!("version {}, etag {}, by {by} at {at}{until}", key.version, key.etag);
    context.output.note(&format!("{}: {what}", key.category.as_str()));
    context.note_age(found.current, found.as_of);
}

fn value(entry: &KvEntry) -> String {
    match (&entry.value, &entry.value_base64) {
        (Some(text), _) => escape(text),
        (None, Some(base64)) => base64.clone(),
        (None, None) => String::new(),
    }
}

async fn history(context: &Context, key: &str) -> Result<()> {
    let found = context.client()?.kv_history(key, &context.mesh_query()).await?;
    context.output.print(&found, || {
        let row = |entry: &KvEntry| {
            let key = &entry.key;
            let version = key.version.to_string();
            vec![version, time(key.updated_at), view::author(&key.updated_by), inline(&value(entry))]
        };
        let head = ["VERSION", "AT", "BY", "VALUE"].map(String::from).to_vec();
        table(&std::iter::once(head).chain(found.versions.iter().map(row)).collect::<Vec<_>>())
    })?;
    context.note_age(found.current, found.as_of);
    Ok(())
}

async fn list(context: &Context, asked: KvList) -> Result<()> {
    let KvList { prefix, category, after, limit } = asked;
    let query = KvQuery { prefix, category, after, limit, mesh: context.mesh.clone() };
    let found = context.client()?.kv_list(&query).await?;
    if found.entries.is_empty() {
        context.output.note("no such key");
    }
    context.output.print(&found, || {
        let row = |entry: &KvEntry| {
            let key = &entry.key;
            let (version, by) = (key.version.to_string(), view::author(&key.updated_by));
            vec![inline(&key.key), version, key.category.as_str().to_owned(), by, inline(&value(entry))]
        };
        let head = ["KEY", "VERSION", "CATEGORY", "BY", "VALUE"].map(String::from).to_vec();
        let head = (!found.entries.is_empty()).then_some(head);
        table(&head.into_iter().chain(found.entries.iter().map(row)).collect::<Vec<_>>())
    })?;
    context.note_age(found.current, found.as_of);
    if let Some(next) = &found.next {
        context.output.note(&format!("there are more: --after '{}'", inline(next)));
    }
    Ok(())
}

async fn delete(context: &Context, arguments: KvDelete) -> Result<()> {
    let KvDelete { key, app, if_match } = arguments;
    let terms = KvTerms { if_match, ..KvTerms::default() };
    context.acting(app)?.kv_delete(&key, &terms, &context.mesh_query()).await?;
    let done = Deleted { key, deleted: true };
    context.output.print(&done, || format!("{} deleted", inline(&done.key)))
}

async fn watch(context: &Context, arguments: KvWatch) -> Result<()> {
    let (output, client) = (context.output, context.client()?);
    // A node tells of state from its first use on.
    client.kv_list(&KvQuery { limit: Some(1), mesh: context.mesh.clone(), ..KvQuery::default() }).await?;
    let kind = Some("state".to_owned());
    let query =
        EventQuery { after: arguments.after, kind, mesh: context.mesh.clone(), ..EventQuery::default() };
    let events = client.events_resuming(&query).await?;
    let mut events =
        events.on_away(move |error| output.note(&format!("{error}: going on when the node is back")));
    let prefix = arguments.prefix.unwrap_or_default();
    loop {
        let event = events.next().await?;
        let EventBody::State { change, key, .. } = &event.body else { continue };
        if !key.starts_with(&prefix) {
            continue;
        }
        let entry = if *change == KvChange::Set { standing(context, &client, key).await? } else { None };
        let watched = Watched { event, entry };
        if !output.line(&watched, || shown(&watched))? {
            return Ok(());
        }
    }
}

/// What stands under a key, if anything does by now.
async fn standing(context: &Context, client: &Client, key: &str) -> Result<Option<KvEntry>> {
    match client.kv_get(key, &context.mesh_query()).await {
        Ok(found) => Ok(Some(found.entry)),
        Err(error) if error.problem().is_some_and(|problem| problem.code == ProblemCode::NotFound) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn shown(watched: &Watched) -> String {
    let text = watched.entry.as_ref().map(|entry| format!(": {}", inline(&value(entry)))).unwrap_or_default();
    format!("{}{text}", view::event(&watched.event))
}
