//! `waxwing config show` and `path`.

use std::path::Path;

use serde::Serialize;
use waxwing_node::Origin;

use super::Context;
use crate::failure::Result;
use crate::output::{inline, table};

#[derive(Serialize)]
struct Shown {
    settings: Vec<Setting>,
}

/// One setting as it is.
#[derive(Serialize)]
struct Setting {
    name: &'static str,
    value: Option<String>,
    origin: Origin,
    /// The flag, variable or file it was taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    set_by: Option<String>,
}

#[derive(Serialize)]
struct Place<'a> {
    path: &'a Path,
    exists: bool,
}

pub(crate) fn show(context: &Context) -> Result<()> {
    let config = context.config()?;
    let settings = config.values().into_iter().map(|value| Setting {
        name: value.setting.name,
        set_by: match value.origin {
            Origin::Flag => value.setting.flag.map(str::to_owned),
            Origin::Environment => value.setting.variable.map(str::to_owned),
            Origin::File => Some(config.file().display().to_string()),
            Origin::Default => None,
        },
        value: value.value,
        origin: value.origin,
    });
    let shown = Shown { settings: settings.collect() };
    context.output.print(&shown, || {
        let row = |setting: &Setting| {
            let value = setting.value.as_deref().map_or_else(|| "-".to_owned(), inline);
            let from = setting.set_by.as_deref().map_or_else(|| "default".to_owned(), inline);
            vec![setting.name.to_owned(), value, from]
        };
        table(&shown.settings.iter().map(row).collect::<Vec<_>>())
    })
}

pub(crate) fn path(context: &Context) -> Result<()> {
    let config = context.config()?;
    let place = Place { path: config.file(), exists: config.file().exists() };
    context.output.print(&place, || place.path.display().to_string())?;
    if !place.exists {
        context.output.note("It does not exist, which is no error: every setting has its default.");
    }
    Ok(())
}
