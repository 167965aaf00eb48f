//! `waxwing node backup`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use waxwing_node::backup::{Copied, backup};

use super::Context;
use crate::failure::Result;
use crate::logs;

#[derive(Serialize)]
struct Made {
    folder: PathBuf,
    meshes: Vec<Copied>,
}

pub(crate) async fn run(context: &Context, to: &Path) -> Result<()> {
    logs::passing(context.verbose);
    let meshes = backup(&context.config()?, context.mesh.as_ref(), to).await?;
    let made = Made { folder: to.to_owned(), meshes };
    context.output.print(&made, || {
        let meshes = made.meshes.iter().map(|copied| format!("{}: {} bytes", copied.mesh, copied.bytes));
        let lines: Vec<String> =
            std::iter::once(format!("{}, whole", made.folder.display())).chain(meshes).collect();
        lines.join("\n")
    })?;
    context.output.note(
        "It has this node's keys: whoever reads it can read its mail. A node that is put back to it is refused by its \
         brokers until you say `waxwing node accept-host`",
    );
    Ok(())
}
