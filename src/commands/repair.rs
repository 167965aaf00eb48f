//! `waxwing node repair`.

use waxwing_node::repair::{Repaired, repair};

use super::Context;
use crate::failure::Result;
use crate::logs;
use crate::output::inline;

pub(crate) async fn run(context: &Context) -> Result<()> {
    logs::passing(context.verbose);
    let repaired = repair(&context.config()?, context.mesh.as_ref()).await?;
    context.output.print(&repaired, || people(&repaired))?;
    let Some(damaged) = &repaired.damaged else { return Ok(()) };
    let mut notes = vec![format!("what was damaged is kept as {}", damaged.display())];
    if !repaired.is_complete() {
        notes.push(
            "the node goes on under new keys, and sends again what was not receipted: its recipients know what they have".into(),
        );
    }
    if repaired.broker_lost {
        let command = context.command(&format!("mesh broker URL --mesh {}", repaired.mesh));
        notes.push(format!("where the broker is, is lost: say it with `{command}`"));
    }
    notes.push(format!("next: {}", context.command("node up")));
    context.output.note(&notes.join("\n"));
    Ok(())
}

fn people(repaired: &Repaired) -> String {
    let mesh = &repaired.mesh;
    if repaired.damaged.is_none() {
        return format!("mesh {mesh}: the database is whole; nothing was done");
    }
    let rows: u64 = repaired.tables.iter().map(|table| table.rows).sum();
    let mut lines =
        vec![format!("mesh {mesh}: the database is made anew, of {rows} rows that could be read")];
    for table in repaired.tables.iter().filter(|table| table.is_incomplete()) {
        let lost = match (table.lost, table.more) {
            (0, _) => "some are lost, and it is not known how many".to_owned(),
            (lost, true) => format!("{lost} are lost, and there may be more"),
            (lost, false) => format!("{lost} are lost"),
        };
        lines.push(format!("{}: {} rows; {lost}", table.table, table.rows));
    }
    if repaired.is_complete() {
        lines.push("nothing is lost".to_owned());
    }
    lines.extend(
        repaired.lost_sends.iter().map(|id| format!("lost of what this node has sent: {}", inline(id))),
    );
    lines.join("\n")
}
