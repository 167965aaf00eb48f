//! `waxwing profile`.

use waxwing_client::api::{Activity, OwnProfile, ProfileRequest};

use super::Context;
use crate::cli::Profile;
use crate::failure::Result;
use crate::output::{escape, table};

pub(crate) async fn run(context: &Context, said: Profile) -> Result<()> {
    let request = ProfileRequest {
        summary: said.summary,
        status: said.status,
        visible: said.visible,
        avatar: said.avatar,
        title: said.title,
        bio: said.bio,
        capabilities: (!said.capability.is_empty()).then_some(said.capability),
        mesh: None,
    };
    let client = context.client()?;
    let profile = if request == ProfileRequest::default() {
        client.profile(&context.mesh_query()).await?
    } else {
        client.set_profile(&ProfileRequest { mesh: context.mesh.clone(), ..request }).await?
    };
    context.output.print(&profile, || people(&profile))
}

fn people(own: &OwnProfile) -> String {
    let profile = &own.profile;
    let capabilities = (!profile.capabilities.is_empty()).then(|| profile.capabilities.join(", "));
    let visible =
        if own.visible { "yes" } else { "no: peers see that this node is online, and nothing else" };
    let rows = [
        ("visible", Some(visible)),
        ("title", profile.title.as_deref()),
        ("status", profile.status.map(Activity::as_str)),
        ("summary", profile.summary.as_deref()),
        ("capabilities", capabilities.as_deref()),
        ("avatar", profile.avatar.as_deref()),
        ("bio", profile.bio.as_deref()),
    ];
    let rows = rows.into_iter().filter_map(|(what, text)| Some(vec![what.to_owned(), escape(text?)]));
    table(&rows.collect::<Vec<_>>())
}
