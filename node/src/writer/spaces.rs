//! Copies of spaces.

use waxwing_crypto::SpaceId;
use waxwing_sqlite::Connection;

use super::{Copy, Following, life};
use crate::store::spaces::{self, Progress, SpaceRow};
use crate::store::{damaged, records};

/// Makes a space known. Says how far its copy has come.
pub(super) async fn known(db: &mut Connection, space: &SpaceId) -> waxwing_sqlite::Result<Progress> {
    spaces::insert(&mut *db, space).await?;
    spaces::find(db, space).await?.ok_or_else(|| damaged("space"))
}

/// Begins a copy anew.
pub(super) async fn begin(
    db: &mut Connection,
    progress: &Progress,
    lost: bool,
    keep: bool,
) -> waxwing_sqlite::Result<()> {
    records::age(&mut *db, progress.row, lost).await?;
    if !keep {
        records::forget_old(&mut *db, progress.row).await?;
    }
    if lost {
        spaces::lose_writers(&mut *db, progress.row).await?;
    }
    spaces::set(db, progress).await
}

/// Takes a page into a copy. The mark that it came under vouches for it.
pub(super) async fn follow(
    db: &mut Connection,
    copy: &mut Copy,
    following: &Following,
) -> waxwing_sqlite::Result<()> {
    let Following { progress, put, remove, touch, writers, mark } = following;
    life::note_mark(&mut *db, copy, Some(*mark)).await?;
    records::put(&mut *db, progress.row, put).await?;
    // What came and went within the page has also taken the place of something.
    records::remove(&mut *db, progress.row, remove).await?;
    for (seq, expires) in touch {
        records::touch(&mut *db, progress.row, *seq, *expires).await?;
    }
    spaces::set_writers(&mut *db, progress.row, writers).await?;
    spaces::set(db, progress).await
}

/// Takes numbers for changes of this node. Returns the one before the first.
pub(super) async fn numbers(db: &mut Connection, space: SpaceRow, count: u64) -> waxwing_sqlite::Result<u64> {
    spaces::take_numbers(db, space, count).await
}
