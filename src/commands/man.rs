//! `waxwing man`.

use std::path::PathBuf;

use clap::CommandFactory as _;
use clap_mangen::Man;
use serde::Serialize;

use super::Context;
use crate::cli::Cli;
use crate::failure::{Failure, Result};

/// Where the pages are.
#[derive(Serialize)]
struct Written {
    folder: PathBuf,
    pages: usize,
}

/// Prints the page of the whole, or writes those of every command into a folder.
pub(crate) fn run(context: &Context, folder: Option<PathBuf>) -> Result<()> {
    let Some(folder) = folder else {
        let mut page = Vec::new();
        Man::new(Cli::command()).render(&mut page).map_err(|err| Failure::failed(err.to_string()))?;
        let page = String::from_utf8_lossy(&page).into_owned();
        return context.output.print(&serde_json::json!({ "page": page }), || page.clone());
    };
    let cannot =
        |err: std::io::Error| Failure::failed(format!("cannot write to {}: {err}", folder.display()));
    std::fs::create_dir_all(&folder).map_err(cannot)?;
    clap_mangen::generate_to(Cli::command(), &folder).map_err(cannot)?;
    let pages = std::fs::read_dir(&folder).map_err(cannot)?.count();
    let written = Written { folder, pages };
    context.output.print(&written, || format!("{} pages in {}", written.pages, written.folder.display()))
}
