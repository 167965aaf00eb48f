//! `log_wanted` and `log.upload`: a node brings the log of its mesh to a broker that has lost it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;
use tokio::time::timeout;
use waxwing_crypto::MeshId;
use waxwing_crypto::Signature;
use waxwing_crypto::mark::MeshPass;
use waxwing_crypto::membership::{LogHead, Roster, SignedEntry};
use waxwing_protocol::limits;
use waxwing_protocol::link::{LogUpload, LogWanted, MemberHello, Reason, ToBrokerLogin, ToNodeLogin, decode};

use super::{End, WebSocket, socket};
use crate::accept::{Change, Upload};
use crate::error::Error;
use crate::meshes::Mesh;
use crate::meter::Meter;
use crate::state::State;

/// What a node is told that cannot show that its mesh was here.
const NO_PASS: &str = "this broker is closed and does not have this mesh, and the node cannot show that it was here: the \
                       broker's operator puts back its `pass.key`, or opens it for a while";

/// The meshes whose logs are being brought: one node at a time for each, and few in all, since a log has to be held in
/// memory until it is verified.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uploads(Arc<Mutex<HashSet<MeshId>>>);

/// A node's turn to bring a log.
#[derive(Debug)]
struct Turn {
    uploads: Uploads,
    mesh: MeshId,
}

impl Uploads {
    fn begin(&self, mesh: MeshId) -> Option<Turn> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = under_way.len() < limits::UPLOADS && under_way.insert(mesh);
        drop(under_way);
        free.then(|| Turn { uploads: self.clone(), mesh })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.uploads.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.mesh);
    }
}

/// Asks for the log, if the login cannot be decided without it.
///
/// # Errors
/// The end of the link: `busy` while others are at it, `protocol_violation` if what comes is no log of the mesh.
pub(super) async fn obtain(
    socket: &mut WebSocket,
    meter: &Meter,
    hello: &MemberHello,
    state: &State,
) -> Result<(), End> {
    let known = state.meshes.get(hello.mesh);
    let is_wanted = known.as_ref().is_none_or(|mesh| mesh.waiting.is_some() && !mesh.holds(hello.head));
    if !is_wanted {
        return Ok(());
    }
    super::handshake::check_url(&hello.url, state)?;
    let Some(_turn) = state.uploads.begin(hello.mesh) else {
        return Err(End::told(Reason::Busy, "another node is bringing this log back"));
    };
    // Names, numbers and frames come on top of the entries.
    meter.allow(2 * limits::LOG);
    let received = timeout(limits::UPLOAD_WITHIN, receive(socket, hello.mesh, known, state)).await;
    let (roster, after, entries) = received.unwrap_or(Err(End::Silent))?;
    let (answer, kept) = oneshot::channel();
    state.writer.submit(Change::Upload(Box::new(Upload { roster, after, entries, answer }))).await?;
    kept.await.map_err(|_| End::Failed(Error::Internal("the writer has stopped".into())))
}

/// The whole log, and the part of it that was sent, with the place before that.
type Received = (Roster, u64, Vec<SignedEntry>);

async fn receive(
    socket: &mut WebSocket,
    mesh: MeshId,
    known: Option<Mesh>,
    state: &State,
) -> Result<Received, End> {
    let have = known.as_ref().map(|mesh| mesh.roster.head());
    let wanted = LogWanted { have, most: limits::LOG as u64 };
    socket::send(socket, &ToNodeLogin::LogWanted(wanted)).await?;
    // What is unknown to a broker that is closed may be somebody's new mesh: only one that was here has its pass.
    let is_ours = |pass: Option<&MeshPass>| {
        known.is_some()
            || state.creation.is_none()
            || pass.is_some_and(|pass| state.passes.admits(&mesh, pass))
    };
    let (after, entries) = gather(socket, have, is_ours).await?;
    // 100 µs per entry, and there may be many.
    let verified = tokio::task::spawn_blocking(move || {
        let roster = match known {
            Some(known) if after > 0 => {
                let mut roster = Roster::clone(&known.roster);
                entries.iter().try_for_each(|entry| roster.apply(entry)).map(|()| roster)
            }
            Some(_) | None => Roster::replay(&entries),
        };
        roster.map(|roster| (roster, after, entries))
    });
    let verified = verified.await.map_err(|err| End::Failed(Error::Internal(err.into())))?;
    let received = verified.map_err(|err| End::violation(format!("this is no log: {err}")))?;
    if received.0.mesh() == mesh {
        Ok(received)
    } else {
        Err(End::violation("this is the log of another mesh"))
    }
}

/// Reads frames until the last.
async fn gather(
    socket: &mut WebSocket,
    have: Option<LogHead>,
    is_ours: impl Fn(Option<&MeshPass>) -> bool,
) -> Result<(u64, Vec<SignedEntry>), End> {
    let mut entries: Vec<SignedEntry> = Vec::new();
    let mut first = None;
    let mut bytes = 0;
    loop {
        // Whoever has been asked has it at hand, and others wait for the turn.
        let part = timeout(limits::LOGIN_WITHIN, socket::next(socket)).await.unwrap_or(Err(End::Silent))?;
        let upload: LogUpload = match decode(&part) {
            Ok(ToBrokerLogin::LogUpload(upload)) => upload,
            Ok(ToBrokerLogin::Hello(_)) => {
                return Err(End::violation("the log is wanted, not another hello"));
            }
            Err(err) => return Err(End::violation(err.to_string())),
        };
        if first.is_none() && !is_ours(upload.pass.as_ref()) {
            return Err(End::NotYet(NO_PASS.to_owned()));
        }
        let begins = *first.get_or_insert(upload.after);
        let in_place = (begins == 0 || have.is_some_and(|have| have.seq == begins))
            && upload.after == begins + entries.len() as u64;
        if !in_place {
            return Err(End::violation("the parts of a log follow each other"));
        }
        bytes += upload.entries.iter().map(size).sum::<usize>();
        if bytes > limits::LOG {
            return Err(End::violation(format!("a log has at most {} bytes", limits::LOG)));
        }
        if upload.entries.len() > limits::LOG_PAGE || (upload.entries.is_empty() && !upload.last) {
            return Err(End::violation(format!("a part has 1 to {} entries", limits::LOG_PAGE)));
        }
        entries.extend(upload.entries);
        if upload.last {
            return Ok((begins, entries));
        }
    }
}

fn size(entry: &SignedEntry) -> usize {
    entry.bytes.len() + entry.signatures.len() * Signature::SIZE
}
