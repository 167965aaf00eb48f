//! `waxwing broker doctor`.

use waxwing_broker::doctor::examine;

use super::at::At;
use crate::cli::BrokerAt;
use crate::commands::{Context, doctor};
use crate::failure::Result;

pub(crate) async fn run(context: &Context, at: BrokerAt) -> Result<()> {
    crate::logs::passing(context.verbose);
    let mut at = At::resolve(context, at)?;
    if !at.from_file
        && let Ok(Some(last)) = waxwing_broker::holder(at.data())
    {
        at.config.listen = last.addr;
    }
    doctor::show(context, examine(&at.config, &at.arguments).await)
}
