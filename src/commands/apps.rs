//! `waxwing apps`.

use super::Context;
use crate::failure::Result;
use crate::output::{table, time};

pub(crate) async fn run(context: &Context) -> Result<()> {
    let apps = context.client()?.apps().await?;
    if apps.apps.is_empty() {
        context.output.note("no app is registered");
    }
    context.output.print(&apps, || {
        let mut rows: Vec<Vec<String>> = Vec::new();
        if !apps.apps.is_empty() {
            rows.push(["APP", "SINCE", "UNTIL"].map(String::from).to_vec());
        }
        rows.extend(apps.apps.iter().map(|app| {
            let until = app.until.map_or_else(|| "its stream ends".to_owned(), time);
            vec![app.name.to_string(), time(app.since), until]
        }));
        table(&rows)
    })
}
