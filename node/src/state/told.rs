//! What apps were told of keys: held against the keys that stand, and the difference told, once. So nothing is told twice or
//! missed, whatever has happened to this node or its link meanwhile; of several changes that came together, the last is.

use std::collections::BTreeMap;

use tracing::{error, info};
use waxwing_crypto::storage::Place;
use waxwing_protocol::api::{EventBody, KvChange};

use super::author;
use super::record::Key;
use super::view::{Shown, Tag};
use crate::error::{Error, Result};
use crate::mesh::Mesh;
use crate::spaces::Space;
use crate::store::events::NewEvent;
use crate::store::state::{self as table, Row};
use crate::writer::WriteError;

/// What apps were told.
#[derive(Debug)]
pub(super) struct Told {
    /// Each key that was there, and which version of it; none if apps were never told of any.
    keys: Option<BTreeMap<Key, Tag>>,
}

/// What has changed of a key: which version stands now, if one does.
type Change = (Key, Option<Shown>);

impl Told {
    /// As it is kept.
    pub(super) async fn load(mesh: &Mesh) -> Result<Self> {
        let Some(rows) = table::all(&mesh.db).await? else { return Ok(Self { keys: None }) };
        let mut keys = BTreeMap::new();
        for (row, sealed) in rows {
            let place = Place { row: row.as_bytes(), ..PLACE };
            let opened = mesh.keys.open(place, &sealed).ok();
            let told: Option<(String, Tag)> = opened.and_then(|told| rmp_serde::from_slice(&told).ok());
            match told.map(|(key, tag)| (key.parse::<Key>(), tag)) {
                Some((Ok(key), tag)) => drop(keys.insert(key, tag)),
                Some((Err(_), _)) | None => error!("what was told of a key cannot be read: it is told again"),
            }
        }
        // What went while this node was down is in none of the news.
        let mut view = mesh.state.view();
        view.note(keys.keys());
        view.is_told = true;
        drop(view);
        Ok(Self { keys: Some(keys) })
    }

    /// Tells what has changed, and keeps that. False if there is no room for it now.
    pub(super) async fn tell(&mut self, mesh: &Mesh, space: &Space) -> Result<bool> {
        let changes = self.changes(mesh);
        if changes.is_empty() && self.keys.is_some() {
            return Ok(true);
        }
        // What was there before this node looked is no news.
        let events = if self.keys.is_some() { events(mesh, &changes) } else { Vec::new() };
        let rows = changes.iter().map(|change| row(mesh, space, change)).collect();
        match mesh.writer.state(rows, events).await {
            Ok(()) => {}
            Err(error @ WriteError::DiskFull) => {
                info!(%error, "apps are not told of shared state yet");
                return Ok(false);
            }
            Err(error @ WriteError::Failed(_)) => {
                return Err(Error::Database(waxwing_sqlite::Error::Writer(error.to_string())));
            }
        }
        let keys = self.keys.get_or_insert_default();
        for (key, now) in changes {
            match now {
                Some(shown) => drop(keys.insert(key, shown.tag)),
                None => drop(keys.remove(&key)),
            }
        }
        mesh.state.view().told();
        mesh.state.moved.send_replace(());
        Ok(true)
    }

    fn changes(&self, mesh: &Mesh) -> Vec<Change> {
        let view = mesh.state.view();
        let tag = |key: &Key| self.keys.as_ref().and_then(|keys| keys.get(key));
        let news = |key: &&Key| view.get(key).map(|shown| &shown.tag) != tag(key);
        view.changed().iter().filter(news).map(|key| (key.clone(), view.get(key).cloned())).collect()
    }
}

/// What apps are told of changes.
fn events(mesh: &Mesh, changes: &[Change]) -> Vec<NewEvent> {
    let ends: Vec<_> = changes.iter().map(|(key, _)| mesh.state.view().end(key)).collect();
    let event = |((key, now), end): (&Change, KvChange)| {
        let (scope, key) = ("mesh".to_owned(), key.as_str().to_owned());
        let body = match now {
            Some(shown) => EventBody::State {
                change: KvChange::Set,
                scope,
                key,
                category: Some(shown.category),
                version: Some(shown.version),
                by: Some(author(mesh, &shown.by)),
            },
            None => EventBody::State { change: end, scope, key, category: None, version: None, by: None },
        };
        NewEvent { app: None, body }
    };
    changes.iter().zip(ends).map(event).collect()
}

/// Where what was told of a key is kept.
const PLACE: Place<'static> = Place { table: "state_told", column: "told", row: b"" };

/// Names of keys are not readable on the disk here either.
#[expect(clippy::expect_used, reason = "a text and 16 bytes into memory; nothing in them can fail to encode")]
fn row(mesh: &Mesh, space: &Space, (key, now): &Change) -> Row {
    let id = space.key(&key.now());
    let seal = |shown: &Shown| {
        let told = rmp_serde::to_vec(&(key.as_str(), shown.tag)).expect("encodes");
        mesh.keys.seal(&mut crate::rng(), Place { row: id.as_bytes(), ..PLACE }, &told)
    };
    Row { key: id, told: now.as_ref().map(seal) }
}
