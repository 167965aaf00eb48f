//! Messages received, and the records by which a redelivery is recognised.

use std::collections::HashMap;

use waxwing_crypto::storage::StorageKeys;
use waxwing_crypto::{ClientMessageId, Name, NodeId, Priority, Receipt, Timestamp};
use waxwing_sqlite::Row;
use waxwing_sqlite::{Connection, Executor, FromRow};

use super::columns::{app, client_id, moment, node, priority, receipt};
use super::lanes::InLane;
use super::{millis, number, time, unsigned};
use crate::content::Content;

/// A message about to be stored.
#[derive(Clone, Debug)]
pub(crate) struct NewItem {
    /// Its place, or none while earlier ones of its lane are missing.
    pub(crate) cursor: Option<u64>,
    pub(crate) lane: InLane,
    pub(crate) counter: u64,
    pub(crate) client_id: ClientMessageId,
    pub(crate) from_app: Option<Name>,
    pub(crate) to_app: Option<Name>,
    pub(crate) thread: Option<String>,
    pub(crate) sent_at: Timestamp,
    pub(crate) received_at: Timestamp,
    pub(crate) late: bool,
    pub(crate) wants_read: bool,
    pub(crate) receipt: Receipt,
    /// Encrypted under the storage key.
    pub(crate) content: Vec<u8>,
}

/// Notes that messages were received, so that a redelivery is recognised.
pub(crate) async fn remember(db: &mut Connection, items: &[&NewItem]) -> waxwing_sqlite::Result<()> {
    const DEDUPE: &str = "INSERT INTO dedupe (sender, client_id, receipt, received_at) VALUES (?, ?, ?, ?)";
    let query = items.iter().fold(waxwing_sqlite::query(DEDUPE), |query, item| {
        query
            .bind(&item.lane.sender.as_bytes()[..])
            .bind(item.client_id.as_str())
            .bind(&item.receipt.as_bytes()[..])
            .bind(millis(item.received_at))
    });
    query.execute_each(&mut *db).await?;
    Ok(())
}

/// Stores messages for apps.
pub(crate) async fn insert(db: &mut Connection, items: &[NewItem]) -> waxwing_sqlite::Result<()> {
    const INSERT: &str = "INSERT INTO inbox (cursor, sender, signer, priority, counter, client_id, from_app, to_app, thread, \
             sent_at, received_at, late, content, wants_read) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let query = items.iter().fold(waxwing_sqlite::query(INSERT), |query, item| {
        query
            .bind(item.cursor.map(number))
            .bind(&item.lane.sender.as_bytes()[..])
            .bind(&item.lane.signer[..])
            .bind(i64::from(item.lane.priority.as_u8()))
            .bind(number(item.counter))
            .bind(item.client_id.as_str())
            .bind(item.from_app.as_ref().map_or("", Name::as_str))
            .bind(item.to_app.as_ref().map_or("", Name::as_str))
            .bind(item.thread.as_deref())
            .bind(millis(item.sent_at))
            .bind(millis(item.received_at))
            .bind(item.late)
            .bind(&item.content[..])
            .bind(item.wants_read)
    });
    query.execute_each(&mut *db).await?;
    Ok(())
}

/// The receipts given for messages received before.
pub(crate) async fn receipts(
    db: &mut Connection,
    messages: &[(NodeId, ClientMessageId)],
) -> waxwing_sqlite::Result<HashMap<(NodeId, ClientMessageId), Receipt>> {
    const FIND: &str = "SELECT sender, client_id, receipt FROM dedupe WHERE (sender, client_id) = (?, ?)";
    let mut receipts = HashMap::new();
    let query = messages.iter().fold(waxwing_sqlite::query(FIND), |query, (sender, id)| {
        query.bind(&sender.as_bytes()[..]).bind(id.as_str())
    });
    for row in query.fetch_each(&mut *db).await? {
        receipts.insert((node(&row, "sender")?, client_id(&row)?), receipt(&row)?);
    }
    Ok(receipts)
}

/// Gives places, from `cursor` on, to the waiting messages of a lane whose counters are below `below`, in counter
/// order. Says how many.
pub(crate) async fn place(
    db: &mut Connection,
    lane: &InLane,
    below: u64,
    cursor: u64,
) -> waxwing_sqlite::Result<u64> {
    let placed = waxwing_sqlite::query(
        "UPDATE inbox SET cursor = ?1 - 1 + w.n FROM \
         (SELECT row, row_number() OVER (ORDER BY counter, row) AS n FROM inbox \
          WHERE sender = ?2 AND signer = ?3 AND priority = ?4 AND counter < ?5 AND cursor IS NULL) AS w \
         WHERE inbox.row = w.row",
    )
    .bind(number(cursor))
    .bind(&lane.sender.as_bytes()[..])
    .bind(&lane.signer[..])
    .bind(i64::from(lane.priority.as_u8()))
    .bind(number(below))
    .execute(db)
    .await?;
    Ok(placed)
}

/// Which messages to read.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub(crate) after: u64,
    /// None for every mailbox; an empty name is the default one.
    pub(crate) app: Option<String>,
    pub(crate) from: Option<NodeId>,
    pub(crate) thread: Option<String>,
    pub(crate) unread: bool,
    pub(crate) limit: usize,
}

/// A stored message: its content encrypted, or opened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item<C = Vec<u8>> {
    pub(crate) cursor: u64,
    pub(crate) sender: NodeId,
    pub(crate) priority: Priority,
    pub(crate) client_id: ClientMessageId,
    pub(crate) from_app: Option<Name>,
    pub(crate) to_app: Option<Name>,
    pub(crate) thread: Option<String>,
    pub(crate) sent_at: Timestamp,
    pub(crate) received_at: Timestamp,
    pub(crate) read_at: Option<Timestamp>,
    pub(crate) late: bool,
    pub(crate) content: C,
}

impl NewItem {
    /// As it is stored at a place, with what it says.
    pub(crate) fn opened(&self, cursor: u64, content: Content) -> Item<Content> {
        Item {
            cursor,
            sender: self.lane.sender,
            priority: self.lane.priority,
            client_id: self.client_id.clone(),
            from_app: self.from_app.clone(),
            to_app: self.to_app.clone(),
            thread: self.thread.clone(),
            sent_at: self.sent_at,
            received_at: self.received_at,
            read_at: None,
            late: self.late,
            content,
        }
    }
}

impl Item {
    /// Decrypts it.
    ///
    /// # Errors
    /// If it was not encrypted with these keys for its place.
    pub(crate) fn open(self, keys: &StorageKeys) -> waxwing_crypto::Result<Item<Content>> {
        let content = Content::open_incoming(keys, &self.sender, &self.client_id, &self.content)?;
        Ok(Item {
            cursor: self.cursor,
            sender: self.sender,
            priority: self.priority,
            client_id: self.client_id,
            from_app: self.from_app,
            to_app: self.to_app,
            thread: self.thread,
            sent_at: self.sent_at,
            received_at: self.received_at,
            read_at: self.read_at,
            late: self.late,
            content,
        })
    }
}

/// Messages that have their place, in order.
pub(crate) async fn list(db: impl Executor<'_>, filter: &Filter) -> waxwing_sqlite::Result<Vec<Item>> {
    // Two texts, so that each uses the index that is already in the order asked for.
    let sql = match &filter.app {
        Some(_) => {
            "SELECT * FROM inbox WHERE cursor > ?1 AND to_app = ?5 AND (?2 IS NULL OR sender = ?2) \
             AND (?3 IS NULL OR thread = ?3) AND (?4 = 0 OR read_at IS NULL) ORDER BY cursor LIMIT ?6"
        }
        None => {
            "SELECT * FROM inbox WHERE cursor > ?1 AND ?5 IS NULL AND (?2 IS NULL OR sender = ?2) \
             AND (?3 IS NULL OR thread = ?3) AND (?4 = 0 OR read_at IS NULL) ORDER BY cursor LIMIT ?6"
        }
    };
    waxwing_sqlite::query_as(sql)
        .bind(number(filter.after))
        .bind(filter.from.as_ref().map(|node| node.as_bytes().to_vec()))
        .bind(filter.thread.as_deref())
        .bind(filter.unread)
        .bind(filter.app.as_deref())
        .bind(number(filter.limit as u64))
        .fetch_all(db)
        .await
}

impl FromRow for Item {
    fn from_row(row: &Row) -> waxwing_sqlite::Result<Self> {
        Ok(Self {
            cursor: unsigned(row.try_get("cursor")?),
            sender: node(row, "sender")?,
            priority: priority(row)?,
            client_id: client_id(row)?,
            from_app: app(row, "from_app")?,
            to_app: app(row, "to_app")?,
            thread: row.try_get("thread")?,
            sent_at: time(row.try_get("sent_at")?),
            received_at: time(row.try_get("received_at")?),
            read_at: moment(row, "read_at")?,
            late: row.try_get("late")?,
            content: row.try_get("content")?,
        })
    }
}

/// A message that has just been read, whose sender asked to be told.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) sender: NodeId,
    pub(crate) client_id: ClientMessageId,
    pub(crate) wants_read: bool,
}

impl FromRow for Read {
    fn from_row(row: &Row) -> waxwing_sqlite::Result<Self> {
        let wants_read = row.try_get("wants_read")?;
        Ok(Self { sender: node(row, "sender")?, client_id: client_id(row)?, wants_read })
    }
}

/// Which messages an acknowledgement is about.
#[derive(Clone, Debug)]
pub(crate) enum Acknowledged {
    /// These.
    These(Vec<u64>),
    /// Every one up to this place.
    Through(u64),
}

/// Marks messages of a mailbox, or of all, read. Says which were not before.
pub(crate) async fn read(
    db: &mut Connection,
    which: &Acknowledged,
    app: Option<&str>,
    at: Timestamp,
) -> waxwing_sqlite::Result<Vec<Read>> {
    match which {
        Acknowledged::These(cursors) => read_these(db, cursors, app, at).await,
        Acknowledged::Through(cursor) => read_through(db, *cursor, app, at).await,
    }
}

async fn read_these(
    db: &mut Connection,
    cursors: &[u64],
    app: Option<&str>,
    at: Timestamp,
) -> waxwing_sqlite::Result<Vec<Read>> {
    const UPDATE: &str = "UPDATE inbox SET read_at = ?2 WHERE cursor = ?1 AND read_at IS NULL \
                          AND (?3 IS NULL OR to_app = ?3) RETURNING sender, client_id, wants_read";
    let query = cursors.iter().fold(waxwing_sqlite::query_as(UPDATE), |query, cursor| {
        query.bind(number(*cursor)).bind(millis(at)).bind(app)
    });
    query.fetch_each(db).await
}

async fn read_through(
    db: &mut Connection,
    cursor: u64,
    app: Option<&str>,
    at: Timestamp,
) -> waxwing_sqlite::Result<Vec<Read>> {
    waxwing_sqlite::query_as(
        "UPDATE inbox SET read_at = ?1 WHERE read_at IS NULL AND cursor <= ?2 AND (?3 IS NULL OR to_app = ?3) \
         RETURNING sender, client_id, wants_read",
    )
    .bind(millis(at))
    .bind(number(cursor))
    .bind(app)
    .fetch_all(db)
    .await
}

/// Deletes a message of a mailbox, or of any. Says whether it was there. That it was received is known as before.
pub(crate) async fn delete(
    db: impl Executor<'_>,
    cursor: u64,
    app: Option<&str>,
) -> waxwing_sqlite::Result<bool> {
    let deleted =
        waxwing_sqlite::query("DELETE FROM inbox WHERE cursor = ?1 AND (?2 IS NULL OR to_app = ?2)")
            .bind(number(cursor))
            .bind(app)
            .execute(db)
            .await?;
    Ok(deleted > 0)
}

/// Messages that have their place and are not read; messages that wait for a place.
pub(crate) async fn counts(db: impl Executor<'_>) -> waxwing_sqlite::Result<(u64, u64)> {
    let (unread, held): (i64, i64) = waxwing_sqlite::query_as(
        "SELECT (SELECT count(*) FROM inbox WHERE read_at IS NULL AND cursor IS NOT NULL), \
         (SELECT count(*) FROM inbox WHERE cursor IS NULL)",
    )
    .fetch_one(db)
    .await?;
    Ok((unsigned(unread), unsigned(held)))
}
