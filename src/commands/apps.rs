//! `waxwing apps`.

use waxwing_client::api::{Activity, App, AppsQuery, Scope};

use super::Context;
use crate::cli::Apps;
use crate::failure::Result;
use crate::output::{inline, table, time};
use crate::view;

pub(crate) async fn run(context: &Context, asked: Apps) -> Result<()> {
    let query = AppsQuery {
        scope: asked.mesh_wide.then_some(Scope::Mesh),
        node: asked.node,
        app: asked.app,
        kind: asked.kind,
        version: asked.version,
        capability: asked.capability,
        repository: asked.repository,
        status: asked.status,
        mesh: context.mesh.clone(),
    };
    let found = context.client()?.apps(&query).await?;
    if found.apps.is_empty() {
        context.output.note("no such app is registered");
    }
    context.output.print(&found, || {
        let mut rows: Vec<Vec<String>> = Vec::new();
        if !found.apps.is_empty() {
            rows.push(["APP", "KIND", "VERSION", "STATUS", "SINCE", "UNTIL", ""].map(String::from).to_vec());
        }
        rows.extend(found.apps.iter().map(row));
        table(&rows)
    })?;
    context.note_age(found.current, found.as_of);
    if found.more {
        context.output.note("there are more: say which are wanted");
    }
    Ok(())
}

fn row(app: &App) -> Vec<String> {
    let details = &app.details;
    let text = |text: Option<&String>| inline(text.map_or("", String::as_str));
    vec![
        view::at(&app.name, app.instance.as_ref(), &app.node),
        text(details.kind.as_ref()),
        text(details.version.as_ref()),
        details.status.map_or("", Activity::as_str).to_owned(),
        time(app.since),
        until(app),
        text(details.summary.as_ref()),
    ]
}

/// When its registration ends: of another node's app only that node knows.
fn until(app: &App) -> String {
    match app.until {
        Some(until) => time(until),
        None if app.this => "its stream ends".to_owned(),
        None => String::new(),
    }
}
