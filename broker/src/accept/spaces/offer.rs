//! `space.offer`: what nodes hand back of a store that was lost. The broker cannot tell whether it is genuine; whoever reads
//! it can.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use waxwing_crypto::space::Condition;
use waxwing_crypto::{ChangeId, Digest, MeshId, NodeId, SpaceId};
use waxwing_protocol::limits;
use waxwing_protocol::link::{ChangeOutcome, Code, Offered, SpaceOffered, Stands, ToNode};

use super::super::batch::Batch;
use super::super::change::{Answer, SpaceOffers};
use super::decide::{By, Decided, holds, is_sealed, new_row};
use super::write::by;
use super::{Spaces, Wanted, end, load_rows, slot_of};
use crate::error::Result;
use crate::refusal::Refusal;
use crate::store::change_id::{ChangeKey, Made};
use crate::store::record::{Body, Row, Slot};
use crate::store::space::SpaceKey;
use crate::store::{self, NodeKey};

/// Whose ids the digests of what is offered are: nobody's.
const NOBODY: NodeId = NodeId::from_bytes([0; 16]);

/// Applies what current links offer.
pub(in crate::accept) async fn apply(batch: &mut Batch<'_>, offers: Vec<SpaceOffers>) -> Result<()> {
    let offers: Vec<_> = offers.into_iter().filter(|offer| batch.is_current(&offer.peer)).collect();
    let age = batch.now.since(batch.state.life.began());
    if age >= limits::TOMBSTONES {
        for SpaceOffers { req, reply, .. } in offers {
            let refusal = Refusal::new(Code::NotAllowed, "this store was lost too long ago, if ever");
            batch.effects.replies.push((reply, Box::new(Answer::Frame(refusal.frame(Some(req))))));
        }
        return Ok(());
    }
    if offers.is_empty() {
        return Ok(());
    }
    end::leases(batch).await?;
    batch.load_spaces(offers.iter().map(SpaceOffers::key)).await?;
    let keys: Vec<_> = offers.iter().flat_map(SpaceOffers::digests).map(|(key, _)| key).collect();
    let mut made = store::change_id::find(batch.db, &keys, batch.even).await?;
    load_rows(batch.db, &mut batch.spaces, &wanted(&offers)).await?;
    let mut fresh = Vec::new();
    for offer in offers {
        let by = by(batch, offer.key(), offer.peer.key.node);
        let mut outcomes = Vec::with_capacity(offer.records.len());
        for (record, (key, digest)) in offer.records.iter().zip(offer.digests()) {
            let outcome = match batch.spaces.offered(&by, record, made.get(&key).copied(), &digest) {
                Ok(seq) => {
                    remember(
                        &mut made,
                        &mut fresh,
                        key,
                        Made { digest, seq, expires: by.now.plus(limits::TOMBSTONES) },
                    );
                    ChangeOutcome::Applied { seq }
                }
                Err(refused) => refused,
            };
            batch.effects.tally.offered(&outcome);
            outcomes.push(outcome);
        }
        let offered = ToNode::SpaceOffered(SpaceOffered { req: offer.req, outcomes, mark: batch.mark });
        batch.effects.replies.push((offer.reply, Box::new(Answer::Frame(offered))));
        batch.effects.budgets.push(offer.budget);
    }
    batch.flush_spaces().await?;
    store::change_id::put(batch.db, &fresh).await
}

fn remember(
    made: &mut HashMap<ChangeKey, Made>,
    fresh: &mut Vec<(ChangeKey, Made)>,
    key: ChangeKey,
    new: Made,
) {
    if made.insert(key, new).is_none() {
        fresh.push((key, new));
    }
}

fn wanted(offers: &[SpaceOffers]) -> Wanted {
    let slots = offers.iter().flat_map(|offer| {
        let space = offer.key();
        offer.records.iter().filter_map(move |one| slot_of(space, one.key, one.writer, one.stands))
    });
    Wanted { slots: slots.collect(), ..Wanted::default() }
}

impl SpaceOffers {
    fn key(&self) -> SpaceKey {
        SpaceKey { mesh: self.peer.key.mesh, space: self.space }
    }

    fn digests(&self) -> impl Iterator<Item = (ChangeKey, Digest)> {
        self.records.iter().map(|record| digest(self.peer.key.mesh, self.space, record))
    }
}

impl Spaces {
    /// Takes one record or tombstone, unless something newer stands there.
    pub(super) fn offered(
        &mut self,
        by: &By,
        offered: &Offered,
        made: Option<Made>,
        digest: &Digest,
    ) -> Decided {
        is_sealed(&offered.sealed)?;
        if let Some(made) = made {
            // The same bytes, whoever has offered them; of others under the same half of a digest nothing is known.
            return if made.digest == *digest { Ok(made.seq) } else { Err(ChangeOutcome::IdReused) };
        }
        let slot = slot_of(by.space, offered.key, offered.writer, offered.stands);
        if slot.is_none() && offered.tombstone {
            return Err(ChangeOutcome::BadChange);
        }
        let before = slot.map(|slot| self.before(&slot, offered.when)).transpose()?.flatten();
        if offered.expires.is_some_and(|expires| expires <= by.now) && !offered.tombstone {
            return Err(ChangeOutcome::Conflict { seq: before.map(|before| before.seq) });
        }
        self.has_room(by, before.as_ref(), offered.sealed.len())?;
        let by = By { writer: offered.writer, ..*by };
        let row = Row { offered: true, ..new_row(&by, offered.key, offered.stands, &offered.sealed) };
        Ok(if offered.tombstone {
            let ends = Some(by.now.plus(limits::TOMBSTONES));
            let body = Body::Tombstone { of: 0, sealed: offered.sealed.clone() };
            self.put(Row { is_record: false, ends, ..row }, by.now, body)
        } else {
            let ends = offered.expires.map(|expires| expires.min(by.now.plus(limits::LIFETIME_MAX)));
            self.put(Row { ends, ..row }, by.now, Body::Record { sealed: offered.sealed.clone() })
        })
    }

    /// What something that is handed back takes the place of, if it may: nothing that was written in this life of the store,
    /// also if it was deleted or has ended. A tombstone that was handed back stands there as a record does.
    fn before(&self, slot: &Slot, when: Condition) -> Result<Option<Row>, ChangeOutcome> {
        let last = self.last_in(slot);
        if let Some(Row { seq, .. }) = last.filter(|last| !last.offered) {
            return Err(ChangeOutcome::Conflict { seq: Some(seq) });
        }
        let before = last.filter(|last| last.is_record || last.is_tombstone());
        holds(when, before.as_ref())?;
        Ok(before)
    }
}

/// By what the same offer is known, whoever makes it.
fn digest(mesh: MeshId, space: SpaceId, offered: &Offered) -> (ChangeKey, Digest) {
    let stands = match offered.stands {
        Stands::Shared => 0,
        Stands::Own => 1,
        Stands::Appended => 2,
    };
    let mut hash = Sha256::new();
    hash.update(b"waxwing broker offer v1\0");
    hash.update(space.as_bytes());
    hash.update(offered.key.as_bytes());
    hash.update(offered.writer.as_bytes());
    hash.update([stands, offered.tombstone.into()]);
    hash.update(&offered.sealed);
    let digest: [u8; 32] = hash.finalize().into();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    let writer = NodeKey { mesh, node: NOBODY };
    (ChangeKey { writer, id: ChangeId::from_bytes(id) }, Digest::from_bytes(digest))
}
