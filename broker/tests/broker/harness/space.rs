//! Changes of spaces, and what follows from them.

use bytes::Bytes;
use waxwing_crypto::space::Condition;
use waxwing_crypto::{ChangeId, KeyId, SpaceId};
use waxwing_protocol::link::{
    Append, Bye, Change, ChangeOutcome, Changed, Delete, ErrorFrame, Offered, Put, SpaceChanges, SpaceFollow,
    SpaceOffer, SpaceWrite, ToBroker, ToNode, Touch, What,
};

use super::Link;

pub const SPACE: SpaceId = SpaceId::from_bytes([0x5a; 32]);

pub fn key(n: u8) -> KeyId {
    KeyId::from_bytes([n; 32])
}

pub fn id(n: u32) -> ChangeId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    ChangeId::from_bytes(bytes)
}

fn sealed(n: u32) -> Bytes {
    Bytes::from(format!("sealed {n}"))
}

/// The shared record of a key, put whatever stands there.
pub fn put(n: u32, at: u8) -> Put {
    Put {
        id: id(n),
        key: key(at),
        own: false,
        when: Condition::Any,
        ttl: None,
        bound: None,
        sealed: sealed(n),
    }
}

/// A writer's own record.
pub fn own(n: u32, at: u8) -> Put {
    Put { own: true, ..put(n, at) }
}

pub fn append(n: u32, at: u8) -> Append {
    Append { id: id(n), key: key(at), if_empty: false, ttl: None, bound: None, sealed: sealed(n) }
}

/// A delete of a key's shared record.
pub fn delete(n: u32, at: u8) -> Delete {
    Delete { id: id(n), key: key(at), own: false, seq: None, when: Condition::Any, sealed: sealed(n) }
}

pub fn touch(seqs: &[u64], ttl: u64) -> Change {
    Change::Touch(Touch { seqs: seqs.to_vec(), ttl })
}

/// A question for what comes after a place, in a copy begun with it or before.
pub fn after(after: u64, begun: u64) -> SpaceFollow {
    SpaceFollow { req: 0, space: SPACE, after, begun, wait: false }
}

/// The place that a change was given.
#[track_caller]
pub fn seq(outcome: &ChangeOutcome) -> u64 {
    match outcome {
        ChangeOutcome::Applied { seq } => *seq,
        other => panic!("{other:?}"),
    }
}

/// What became of changes, in a word each.
pub fn words(changes: &[Changed]) -> Vec<String> {
    changes
        .iter()
        .map(|changed| match &changed.what {
            What::Record(record) => String::from_utf8_lossy(&record.sealed).into_owned(),
            What::Deleted(deleted) => format!("deleted by {}", String::from_utf8_lossy(&deleted.sealed)),
            What::Ended(ended) => format!("ended {:?}", ended.why),
            What::Touched { .. } => "touched".to_owned(),
        })
        .collect()
}

impl Link {
    pub async fn write(&mut self, changes: Vec<Change>) -> Vec<ChangeOutcome> {
        self.try_write(changes).await.unwrap()
    }

    pub async fn try_write(&mut self, changes: Vec<Change>) -> Result<Vec<ChangeOutcome>, ErrorFrame> {
        self.try_write_in(SPACE, changes).await
    }

    pub async fn try_write_in(
        &mut self,
        space: SpaceId,
        changes: Vec<Change>,
    ) -> Result<Vec<ChangeOutcome>, ErrorFrame> {
        let req = self.next_req();
        self.transmit(&ToBroker::SpaceWrite(SpaceWrite { req, space, changes })).await;
        self.outcomes(req).await
    }

    async fn outcomes(&mut self, req: u64) -> Result<Vec<ChangeOutcome>, ErrorFrame> {
        self.wait_for(|frame| match frame {
            ToNode::SpaceWritten(written) if written.req == req => Some(Ok(written.outcomes.clone())),
            ToNode::SpaceOffered(offered) if offered.req == req => Some(Ok(offered.outcomes.clone())),
            ToNode::Error(error) if error.req == Some(req) => Some(Err(error.clone())),
            _ => None,
        })
        .await
    }

    /// Writes one change.
    pub async fn change(&mut self, change: Change) -> ChangeOutcome {
        self.write(vec![change]).await.remove(0)
    }

    /// Puts, and says at which place.
    pub async fn put_one(&mut self, put: Put) -> u64 {
        seq(&self.change(Change::Put(put)).await)
    }

    pub async fn offer(&mut self, records: Vec<Offered>) -> Result<Vec<ChangeOutcome>, ErrorFrame> {
        let req = self.next_req();
        self.transmit(&ToBroker::SpaceOffer(SpaceOffer { req, space: SPACE, records })).await;
        self.outcomes(req).await
    }

    /// Asks, without waiting for the answer.
    pub async fn ask(&mut self, asked: SpaceFollow) -> u64 {
        let req = self.next_req();
        self.transmit(&ToBroker::SpaceFollow(SpaceFollow { req, ..asked })).await;
        req
    }

    pub async fn changes(&mut self, req: u64) -> SpaceChanges {
        self.wait_for(|frame| match frame {
            ToNode::SpaceChanges(changes) if changes.req == req => Some(changes.clone()),
            ToNode::Error(error) if error.req == Some(req) => panic!("{error:?}"),
            _ => None,
        })
        .await
    }

    pub async fn follow(&mut self, asked: SpaceFollow) -> SpaceChanges {
        let req = self.ask(asked).await;
        self.changes(req).await
    }

    /// Everything that there is, in one page.
    pub async fn all(&mut self) -> Vec<Changed> {
        let page = self.follow(after(0, 0)).await;
        assert_eq!(page.upto, page.head);
        page.changes
    }

    /// Whether an answer to a follow has come that nobody has waited for.
    pub fn has_changes(&self) -> bool {
        self.has(|frame| matches!(frame, ToNode::SpaceChanges(_)))
    }

    pub async fn bye(&mut self) {
        let req = self.next_req();
        self.transmit(&ToBroker::Bye(Bye { req })).await;
        self.wait_for(|frame| match frame {
            ToNode::Done(done) if done.req == req => Some(()),
            _ => None,
        })
        .await;
    }
}
