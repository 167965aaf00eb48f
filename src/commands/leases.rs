//! `waxwing lock --list` and `waxwing lock --revoke`.

use std::time::Duration;

use waxwing_client::api::{Lease, LeaseHolder, LeaseMode, LeasesQuery, RevokeLeaseRequest};

use super::Context;
use crate::failure::{Failure, Result};
use crate::output::{inline, table};
use crate::view;

/// Who has what, and who waits.
pub(super) async fn list(context: &Context, name: Option<String>) -> Result<()> {
    let query = LeasesQuery { name, mesh: context.mesh.clone(), ..LeasesQuery::default() };
    let found = context.client()?.leases(&query).await?;
    if found.leases.is_empty() {
        context.output.note("nobody has a lease");
    }
    context.output.print(&found, || {
        let head = ["NAME", "STATE", "BY", "TOKEN", "LEFT", "PURPOSE"].map(String::from).to_vec();
        let head = (!found.leases.is_empty()).then_some(head);
        table(&head.into_iter().chain(found.leases.iter().flat_map(rows)).collect::<Vec<_>>())
    })?;
    context.note_age(found.current, found.as_of);
    if found.more {
        context.output.note("there are more: say which is wanted");
    }
    Ok(())
}

fn rows(lease: &Lease) -> impl Iterator<Item = Vec<String>> {
    let held = |holder: &LeaseHolder| if holder.mode == LeaseMode::Shared { "shared" } else { "held" };
    let holders = lease.holders.iter().map(move |holder| (holder, held(holder)));
    let waiting = lease.waiting.iter().map(|holder| (holder, "waits"));
    holders.chain(waiting).map(|(holder, state)| {
        vec![
            inline(&lease.name),
            state.to_owned(),
            view::holder(holder),
            holder.token.to_string(),
            humantime::format_duration(Duration::from_secs(holder.remaining / 1_000)).to_string(),
            holder.purpose.as_deref().map(inline).unwrap_or_default(),
        ]
    })
}

/// Takes one away.
pub(super) async fn revoke(context: &Context, name: String, token: Option<u64>) -> Result<()> {
    let request = RevokeLeaseRequest { name, token, mesh: context.mesh.clone() };
    let revoked = context.client()?.revoke_lease(&request).await?;
    context.output.print(&revoked, || {
        let tokens: Vec<_> = revoked.revoked.iter().map(u64::to_string).collect();
        if tokens.is_empty() {
            return String::new();
        }
        format!("{}: what is done under {} counts no more", inline(&revoked.name), tokens.join(", "))
    })?;
    if revoked.revoked.is_empty() {
        return Err(Failure::not_found(format!("nobody has the lease of {}", inline(&revoked.name)))
            .hint("`waxwing lock --list` shows who has what"));
    }
    Ok(())
}
