//! Reading a copy part by part, by places: for logs that are long.

use waxwing_crypto::NodeId;
use waxwing_protocol::StoreId;

use super::{Entry, Space, copy};
use crate::error::Result;
use crate::mesh::Mesh;
use crate::store::records;

/// Some records of a copy, in the order of places.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// The records.
    pub(crate) entries: Vec<Entry>,
    /// All that stands up to here, behind what was asked for, is in it.
    pub(crate) upto: u64,
    /// The life of the broker's store that places are of.
    pub(crate) store: Option<StoreId>,
}

impl Space {
    /// Live records behind a place, so many at most: of the copy of this life of the store, without what is left of the one before.
    pub(crate) async fn behind(&self, mesh: &Mesh, after: u64, limit: usize) -> Result<Part> {
        // Before the records: what is committed in between is in the next part.
        let Some(progress) = self.progress(&mesh.db).await? else { return Ok(Part::default()) };
        let rows = records::behind(&mesh.db, progress.row, after, limit).await?;
        let full = rows.last().map(|row| row.seq).filter(|_| rows.len() == limit);
        let upto = full.unwrap_or_else(|| progress.place.max(rows.last().map_or(after, |row| row.seq)));
        Ok(Part { entries: copy::opened(self, mesh, rows).await?, upto, store: progress.store })
    }

    /// The newest live records before a place, so many at most, in the order of places.
    pub(crate) async fn before(&self, mesh: &Mesh, before: u64, limit: usize) -> Result<Part> {
        let Some(progress) = self.progress(&mesh.db).await? else { return Ok(Part::default()) };
        let mut rows = records::before(&mesh.db, progress.row, before, limit).await?;
        rows.reverse();
        let upto = rows.last().map_or(progress.place, |row| row.seq);
        Ok(Part { entries: copy::opened(self, mesh, rows).await?, upto, store: progress.store })
    }

    /// How many live records are behind a place.
    pub(crate) async fn count(&self, mesh: &Mesh, after: u64) -> Result<u64> {
        let Some(progress) = self.progress(&mesh.db).await? else { return Ok(0) };
        Ok(records::count(&mesh.db, progress.row, after).await?)
    }

    /// The place and the life of the store to which the copy on the disk has come.
    pub(crate) async fn kept(&self, mesh: &Mesh) -> Result<(u64, Option<StoreId>)> {
        let progress = self.progress(&mesh.db).await?;
        Ok(progress.map_or((0, None), |progress| (progress.place, progress.store)))
    }

    /// How far each writer had come by his own numbers, up to a place in the life of the store before this one; as far as it is
    /// still held.
    pub(crate) async fn before_loss(&self, mesh: &Mesh, upto: u64) -> Result<Vec<(NodeId, u64)>> {
        let Some(progress) = self.progress(&mesh.db).await? else { return Ok(Vec::new()) };
        Ok(records::old_writers(&mesh.db, progress.row, upto).await?)
    }
}
