//! Where each lane stands: the last counter given (outgoing), and what has been seen (incoming).

use tokio::time::Instant;
use waxwing_crypto::{NodeId, Priority, VerifyingKey};
use waxwing_sqlite::{Connection, Executor};

use super::columns::to_priority;
use super::{OutLane, damaged, number, unsigned};
use crate::lane::Lane;

/// A lane as its recipient sees it. Counters belong to the sender's signing key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct InLane {
    pub(crate) sender: NodeId,
    pub(crate) signer: [u8; VerifyingKey::SIZE],
    pub(crate) priority: Priority,
}

/// The last counter given in an outgoing lane; 0 if none was.
pub(crate) async fn last_given(db: impl Executor<'_>, lane: OutLane) -> waxwing_sqlite::Result<u64> {
    let counter: Option<i64> =
        waxwing_sqlite::query_scalar("SELECT counter FROM lane_out WHERE recipient = ? AND priority = ?")
            .bind(&lane.recipient.as_bytes()[..])
            .bind(i64::from(lane.priority.as_u8()))
            .fetch_optional(db)
            .await?;
    Ok(counter.map_or(0, unsigned))
}

/// Notes the last counters given.
pub(crate) async fn give(db: &mut Connection, lanes: &[(OutLane, u64)]) -> waxwing_sqlite::Result<()> {
    const UPSERT: &str = "INSERT INTO lane_out (recipient, priority, counter) VALUES (?, ?, ?) ON CONFLICT (recipient, priority) DO UPDATE SET counter = excluded.counter";
    let query = lanes.iter().fold(waxwing_sqlite::query(UPSERT), |query, (lane, counter)| {
        query
            .bind(&lane.recipient.as_bytes()[..])
            .bind(i64::from(lane.priority.as_u8()))
            .bind(number(*counter))
    });
    query.execute_each(&mut *db).await?;
    Ok(())
}

/// What has been seen of every incoming lane.
pub(crate) async fn seen(db: impl Executor<'_>, now: Instant) -> waxwing_sqlite::Result<Vec<(InLane, Lane)>> {
    type Row = (Vec<u8>, Vec<u8>, i64, Vec<u8>);
    let rows: Vec<Row> =
        waxwing_sqlite::query_as("SELECT sender, signer, priority, state FROM lane_in").fetch_all(db).await?;
    rows.into_iter()
        .map(|(sender, signer, priority, state)| {
            let lane = InLane {
                sender: NodeId::try_from(sender.as_slice()).map_err(|_| damaged("sender"))?,
                signer: signer.try_into().map_err(|_| damaged("signer"))?,
                priority: to_priority(priority)?,
            };
            Ok((lane, Lane::decode(&state, now).ok_or_else(|| damaged("lane"))?))
        })
        .collect()
}

/// Notes what has been seen of incoming lanes.
pub(crate) async fn see(db: &mut Connection, lanes: &[(InLane, &Lane)]) -> waxwing_sqlite::Result<()> {
    const UPSERT: &str = "INSERT INTO lane_in (sender, signer, priority, state) VALUES (?, ?, ?, ?) ON CONFLICT (sender, signer, priority) DO UPDATE SET state = excluded.state";
    let query = lanes.iter().fold(waxwing_sqlite::query(UPSERT), |query, (lane, state)| {
        query
            .bind(lane.sender.as_bytes().to_vec())
            .bind(lane.signer.to_vec())
            .bind(i64::from(lane.priority.as_u8()))
            .bind(state.encode())
    });
    query.execute_each(&mut *db).await?;
    Ok(())
}
