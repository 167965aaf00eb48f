//! What an app says about itself.

use waxwing_protocol::api::{AppDetails, Registration};
use waxwing_protocol::limits;

/// What a record has beside them: names of fields, a time.
const BESIDE: usize = 128;

/// Takes over what a request says; what it leaves out stays as it was.
pub(super) fn merge(details: &mut AppDetails, change: &Registration) {
    text(&mut details.kind, change.kind.as_ref());
    text(&mut details.version, change.version.as_ref());
    text(&mut details.repository, change.repository.as_ref());
    text(&mut details.cwd, change.cwd.as_ref());
    text(&mut details.summary, change.summary.as_ref());
    if let Some(capabilities) = &change.capabilities {
        details.capabilities.clone_from(capabilities);
    }
    details.pid = change.pid.or(details.pid);
    details.status = change.status.or(details.status);
    if let Some(meta) = &change.meta {
        details.meta = (!meta.is_empty()).then(|| meta.clone());
    }
}

/// An empty text takes away what was there.
pub(crate) fn text(held: &mut Option<String>, change: Option<&String>) {
    if let Some(change) = change {
        *held = (!change.is_empty()).then(|| change.clone());
    }
}

/// Whether they fit into a record.
pub(super) fn fit(details: &AppDetails) -> bool {
    let encoded = rmp_serde::to_vec_named(details);
    encoded.is_ok_and(|encoded| encoded.len() + BESIDE <= limits::PRESENCE)
}
