//! `waxwing apps`.

use waxwing_client::api::{Activity, App, AppsQuery};

use super::Context;
use crate::cli::Apps;
use crate::failure::Result;
use crate::output::{inline, table, time};

pub(crate) async fn run(context: &Context, asked: Apps) -> Result<()> {
    let query = AppsQuery {
        app: asked.app,
        kind: asked.kind,
        version: asked.version,
        capability: asked.capability,
        repository: asked.repository,
        status: asked.status,
        mesh: context.mesh.clone(),
        ..AppsQuery::default()
    };
    let found = context.client()?.apps(&query).await?;
    if found.apps.is_empty() {
        context.output.note(if query == (AppsQuery { mesh: query.mesh.clone(), ..AppsQuery::default() }) {
            "no app is registered"
        } else {
            "no such app is registered"
        });
    }
    context.output.print(&found, || {
        let mut rows: Vec<Vec<String>> = Vec::new();
        if !found.apps.is_empty() {
            rows.push(["APP", "KIND", "VERSION", "STATUS", "SINCE", "UNTIL", ""].map(String::from).to_vec());
        }
        rows.extend(found.apps.iter().map(row));
        table(&rows)
    })
}

fn row(app: &App) -> Vec<String> {
    let instance = app.instance.as_ref().map(|instance| format!("/{instance}")).unwrap_or_default();
    let details = &app.details;
    let text = |text: Option<&String>| inline(text.map_or("", String::as_str));
    vec![
        format!("{}{instance}@{}", app.name, app.node),
        text(details.kind.as_ref()),
        text(details.version.as_ref()),
        details.status.map_or("", Activity::as_str).to_owned(),
        time(app.since),
        app.until.map_or_else(|| "its stream ends".to_owned(), time),
        text(details.summary.as_ref()),
    ]
}
