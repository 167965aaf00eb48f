//! Reading: from the copy, at once, with its age.

use waxwing_crypto::space::{KeyName, Stands};
use waxwing_protocol::api::Category;
use waxwing_protocol::limits;

use super::record::{Key, Version};
use super::{Refusal, known};
use crate::mesh::Mesh;
use crate::spaces::{Entry, Freshness, Space};

/// Which keys somebody asks for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) prefix: String,
    pub(crate) category: Option<Category>,
    pub(crate) after: Option<Key>,
    pub(crate) limit: usize,
}

/// Keys, in their order.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) entries: Vec<(Key, Version)>,
    /// There are more behind this one.
    pub(crate) next: Option<Key>,
    pub(crate) freshness: Freshness,
}

/// What stands under a key.
pub(crate) async fn find(mesh: &Mesh, key: &Key) -> Result<(Version, Freshness), Refusal> {
    let space = known(mesh).await?;
    let freshness = space.known(mesh).await?;
    let version = standing(mesh, &space, key, &freshness).await?.ok_or(Refusal::NotFound)?;
    Ok((version, freshness))
}

/// What stands under a key, and stood there before: the newest first.
pub(crate) async fn history(mesh: &Mesh, key: &Key) -> Result<(Vec<Version>, Freshness), Refusal> {
    let (now, freshness) = find(mesh, key).await?;
    let kept = known(mesh).await?.shared(mesh, &key.places()).await?;
    let is_before = |version: &Version| {
        let behind = now.version.checked_sub(version.version);
        version.is_of_one_life_with(&now)
            && behind.is_some_and(|behind| (1..limits::STATE_VERSIONS as u64).contains(&behind))
    };
    let mut versions: Vec<_> = kept.iter().filter_map(Version::kept).filter(is_before).collect();
    versions.push(now);
    versions.sort_by_key(|version| std::cmp::Reverse(version.version));
    Ok((versions, freshness))
}

async fn standing(
    mesh: &Mesh,
    space: &Space,
    key: &Key,
    freshness: &Freshness,
) -> Result<Option<Version>, Refusal> {
    let entries = space.under(mesh, &key.now()).await?;
    let shared = entries.into_iter().find(|entry| entry.stands == Stands::Shared);
    Ok(shared.and_then(|entry| shown(mesh, &entry, freshness)).map(|(_, version)| version))
}

/// A record, if it stands. Without a link nobody says what has ended but the clock.
fn shown(mesh: &Mesh, entry: &Entry, freshness: &Freshness) -> Option<(Key, Version)> {
    let is_over = || entry.expires.is_some_and(|expires| expires <= mesh.clock.broker_now());
    if !freshness.complete && is_over() {
        return None;
    }
    Some((Key::of(entry)?, Version::of(entry)?))
}

/// Keys and what stands under them.
pub(crate) async fn list(mesh: &Mesh, asked: &Asked) -> Result<Page, Refusal> {
    let space = known(mesh).await?;
    mesh.state.shows(|view| view.has_come_to(0)).await;
    let freshness = space.known(mesh).await?;
    let (names, more) = names(mesh, asked);
    let mut found: Vec<_> =
        space.shared(mesh, &names).await?.iter().filter_map(|entry| shown(mesh, entry, &freshness)).collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let (mut entries, mut bytes, mut next) = (Vec::new(), 0, more);
    for (key, version) in found {
        bytes += version.says.value.len();
        if bytes > limits::STATE_PAGE_BYTES && !entries.is_empty() {
            next = entries.last().map(|(last, _): &(Key, Version)| last.clone());
            break;
        }
        entries.push((key, version));
    }
    Ok(Page { entries, next, freshness })
}

/// Where the keys asked for stand, and the last of them, if there are more.
fn names(mesh: &Mesh, asked: &Asked) -> (Vec<KeyName>, Option<Key>) {
    let view = mesh.state.view();
    let wanted = view.behind(&asked.prefix, asked.after.as_ref());
    let mut wanted =
        wanted.filter(|(_, shown)| asked.category.is_none_or(|category| category == shown.category));
    let keys: Vec<_> = wanted.by_ref().take(asked.limit).map(|(key, _)| key).collect();
    let more = wanted.next().and(keys.last().map(|key| (*key).clone()));
    (keys.into_iter().map(Key::now).collect(), more)
}
