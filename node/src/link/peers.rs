//! Sessions to the peers this link sends to. In memory only: a new link opens new ones.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::{debug, warn};
use waxwing_crypto::membership::{LogHead, Roster};
use waxwing_crypto::sealing::{Header, Parties, Plaintext, Prekey, SendingSession};
use waxwing_crypto::{NodeId, Signed, VerifyingKey, WireId};

use super::calls::{CallError, Calls};
use crate::clock;
use crate::mesh::Mesh;
use crate::store::prekeys;

/// Messages remembered per session until one of them is receipted. Enough for a full window.
const UNCONFIRMED: usize = 2 * waxwing_protocol::limits::WINDOW_ITEMS;

/// A session lasts at least so long when the log has grown since it was opened.
const LOG_PAUSE: Duration = Duration::from_secs(5);

/// Every session of one link.
#[derive(Debug, Default)]
pub(crate) struct Peers(Mutex<HashMap<NodeId, Peer>>);

#[derive(Debug)]
struct Peer {
    session: SendingSession,
    /// The recipient is known to have the session.
    confirmed: bool,
    /// Messages sealed so far, while it is not.
    sealed: HashSet<WireId>,
    opened: Instant,
}

impl Peer {
    /// Whether it may seal more. An opening names the end of the log, so a log that has grown since is worth a new one: only
    /// then does the peer learn that it is shown another. But many entries in a row are not worth one each.
    fn serves(&self, head: LogHead) -> bool {
        self.session.is_live(clock::now())
            && (self.session.log() == head || self.opened.elapsed() < LOG_PAUSE)
    }
}

/// Why nothing can be sealed for a peer now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoSession {
    /// It has not published a prekey, or none that can be believed.
    #[error("the recipient has published no prekey yet")]
    NoPrekey,
    /// It is not a member.
    #[error("the recipient is no member")]
    NoMember,
    /// The request did not work.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The keys do not work.
    #[error(transparent)]
    Crypto(#[from] waxwing_crypto::Error),
}

impl Peers {
    /// Makes sure that there is a session to a peer, asking the broker for its newest prekey if there is none.
    pub(crate) async fn ready(&self, mesh: &Mesh, calls: &Calls, node: NodeId) -> Result<(), NoSession> {
        let log = mesh.roster(Roster::head);
        if self.lock().get(&node).is_some_and(|peer| peer.serves(log)) {
            return Ok(());
        }
        let signer = mesh.roster(|roster| roster.member(&node).map(|member| member.signing));
        let signer = signer.ok_or(NoSession::NoMember)?;
        let prekey = newest_prekey(mesh, calls, node, &signer).await?;
        let parties = Parties { mesh: mesh.identity.mesh, from: mesh.identity.node, to: node };
        let session = SendingSession::open(
            &mut crate::rng(),
            &mesh.keys,
            &mesh.identity.signing,
            &parties,
            &prekey,
            log,
            clock::now(),
        )?;
        debug!(peer = %node, session = %session.id(), "opened a session");
        self.lock()
            .insert(node, Peer { session, confirmed: false, sealed: HashSet::new(), opened: Instant::now() });
        Ok(())
    }

    /// Seals a message for a peer that is [`Peers::ready`]. None if it is not any more.
    pub(crate) fn seal(
        &self,
        header: &Header,
        plaintext: &Plaintext,
    ) -> Result<Option<Bytes>, waxwing_crypto::Error> {
        let now = clock::now();
        let mut peers = self.lock();
        let Some(peer) = peers.get_mut(&header.to).filter(|peer| peer.session.is_live(now)) else {
            return Ok(None);
        };
        let envelope = peer.session.seal(&mut crate::rng(), header, plaintext, now, !peer.confirmed)?;
        if !peer.confirmed && peer.sealed.len() < UNCONFIRMED {
            peer.sealed.insert(header.id);
        }
        drop(peers);
        envelope.encode().map(Some)
    }

    /// Notes a verified receipt: if it is of this session, the recipient has it, and needs its opening no more.
    pub(crate) fn receipted(&self, node: NodeId, id: &WireId) {
        if let Some(peer) = self.lock().get_mut(&node)
            && peer.sealed.contains(id)
        {
            peer.confirmed = true;
            peer.sealed = HashSet::new();
        }
    }

    /// Ends the session to a peer: the next message opens a new one.
    pub(crate) fn end(&self, node: NodeId) {
        self.lock().remove(&node);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest prekey of a peer that can be believed: what the broker shows, unless a newer one has been seen before.
async fn newest_prekey(
    mesh: &Mesh,
    calls: &Calls,
    node: NodeId,
    signer: &VerifyingKey,
) -> Result<Prekey, NoSession> {
    let believe = |signed: &Signed| Prekey::verify(signed, node, signer);
    let held = prekeys::of_peer(mesh.db.brief(), node).await.map_err(CallError::from)?;
    let held = held.and_then(|signed| believe(&signed).ok());
    let shown = calls.prekey(node).await?.and_then(|shown| shown.prekey);
    let shown = shown.and_then(|signed| match believe(&signed) {
        Ok(prekey) => Some((signed, prekey)),
        Err(error) => {
            warn!(peer = %node, %error, "the broker shows a prekey that is not this peer's");
            None
        }
    });
    match (shown, held) {
        (Some((_, shown)), Some(held)) if shown.id < held.id => {
            warn!(peer = %node, "the broker shows an older prekey than it did before");
            Ok(held)
        }
        (Some((signed, shown)), held) => {
            if held.is_none_or(|held| held.id < shown.id) {
                let kept = mesh.writer.peer_prekey(node, *signer, shown.id, signed).await;
                kept.map_err(|error| CallError::Grow(error.into()))?;
            }
            Ok(shown)
        }
        (None, Some(held)) => Ok(held),
        (None, None) => Err(NoSession::NoPrekey),
    }
}

#[cfg(test)]
mod tests {
    use waxwing_crypto::storage::StorageKey;
    use waxwing_crypto::{Digest, MeshId, SigningKey};

    use super::*;

    fn peer(log: LogHead) -> Peer {
        let (mut rng, key) = (crate::rng(), SigningKey::from_seed(&[1; 32]));
        let node = key.public().node_id();
        let (prekey, _) = Prekey::mint(&mut rng, &key, node, None, clock::now()).unwrap();
        let prekey = Prekey::verify(&prekey, node, &key.public()).unwrap();
        let parties = Parties { mesh: MeshId::from_bytes([0; 16]), from: node, to: node };
        let storage = StorageKey::generate(&mut rng).keys();
        let session = SendingSession::open(&mut rng, &storage, &key, &parties, &prekey, log, clock::now());
        Peer { session: session.unwrap(), confirmed: false, sealed: HashSet::new(), opened: Instant::now() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_has_grown_is_worth_a_new_session_but_not_each_entry() {
        let head = |seq| LogHead { seq, hash: Digest::from_bytes([7; 32]) };
        let peer = peer(head(4));
        assert!(peer.serves(head(5)), "the log may be growing fast");
        tokio::time::advance(LOG_PAUSE).await;
        assert!(!peer.serves(head(5)), "the peer is to see the end that this node sees");
        assert!(peer.serves(head(4)), "nothing has changed");
    }
}
