//! Login: who is this, and may they?
//!
//! The signature is checked before anything is said about a node, so that a stranger learns nothing about who is or
//! was a member. What is handed on cannot be made elsewhere: a [`Member`] has a login number, and that came from the
//! writer, after the checks.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use waxwing_crypto::membership::{LogHead, Member as Known, Roster, Rule, Standing};
use waxwing_crypto::{MeshId, Signed, VerifyingKey};
use waxwing_protocol::BrokerUrl;
use waxwing_protocol::link::{
    Challenge, EnteringHello, Features, Hello, MemberHello, Progress, Reason, ToBrokerLogin, ToNodeLogin,
    VERSIONS, Welcome, decode,
};

use super::{End, WebSocket, socket};
use crate::accept::{Change, Login, Peer, Renew, Stale};
use crate::error::Error;
use crate::hub::Registration;
use crate::meshes::Mesh;
use crate::state::State;
use crate::store::NodeKey;

/// Former keys of a node that a login is compared with, newest first.
const FORMER_KEYS: usize = 32;

/// Somebody who may use the link.
pub(super) enum Admitted {
    /// For everything.
    Member(Box<Member>),
    /// To enter the mesh.
    Entering(Box<Guest>),
}

/// A member that has logged in.
pub(super) struct Member {
    /// The link, for the writer.
    pub(super) peer: Arc<Peer>,
    /// Its place in the hub.
    pub(super) registration: Registration,
    /// The key it logged in with.
    pub(super) key: VerifyingKey,
    /// Its mesh, from the head in its welcome on.
    pub(super) mesh: watch::Receiver<Mesh>,
    /// That head.
    pub(super) head: LogHead,
    /// Cancelled when the store's life ends in which it logged in.
    pub(super) life: CancellationToken,
}

/// Somebody who may enter a mesh.
pub(super) struct Guest {
    /// The mesh named.
    pub(super) mesh: MeshId,
    /// The founder's key, or the invite's.
    pub(super) key: VerifyingKey,
    /// The mesh is there, and this key may enter it. Otherwise it is anybody's, for a mesh to be founded.
    pub(super) known: bool,
}

/// A hello that answers our challenge, its signature not checked yet.
pub(super) struct Asked {
    hello: Hello,
    signed: Signed,
    /// Cancelled when the store's life ends that the challenge named.
    life: CancellationToken,
}

impl Asked {
    /// What a member says of itself.
    pub(super) const fn member(&self) -> Option<&MemberHello> {
        match &self.hello {
            Hello::Member(hello) => Some(hello),
            Hello::Entering(_) => None,
        }
    }
}

/// Sends the challenge, and waits for its answer.
///
/// # Errors
/// The end of the link, with what the node is told.
pub(super) async fn ask(socket: &mut WebSocket, state: &State) -> Result<Asked, End> {
    let life = state.life.ended();
    let nonce = challenge(socket, state).await?;
    let signed = match decode(&socket::next(socket).await?) {
        Ok(ToBrokerLogin::Hello(signed)) => signed,
        Ok(ToBrokerLogin::LogUpload(_)) => return Err(End::violation("a log comes when it is wanted")),
        Err(err) => return Err(End::violation(err.to_string())),
    };
    let hello = Hello::peek(&signed).map_err(|err| End::violation(err.to_string()))?;
    if *hello.nonce() == nonce {
        Ok(Asked { hello, signed, life })
    } else {
        Err(unauthenticated("this answers another challenge"))
    }
}

/// Looks whether the node's mark proves that the store was set back: if so, a new life of it begins.
///
/// # Errors
/// Then the link ends like all others.
pub(super) async fn check_mark(hello: &MemberHello, state: &State) -> Result<(), End> {
    let Some(mark) = hello.mark.filter(|mark| state.life.is_set_back(mark)) else {
        return Ok(());
    };
    let (answer, renewed) = oneshot::channel();
    state.writer.submit(Change::Renew(Renew { mark, answer })).await?;
    renewed.await.map_err(|_| End::Failed(Error::Internal("the writer has stopped".into())))?;
    Err(set_back())
}

/// Decides the login.
///
/// # Errors
/// The end of the link, with what the node is told.
pub(super) async fn admit(
    socket: &mut WebSocket,
    asked: &Asked,
    state: &Arc<State>,
) -> Result<Admitted, End> {
    let (admitted, welcome) = match &asked.hello {
        Hello::Member(hello) => member(hello, asked, state).await?,
        Hello::Entering(hello) => guest(hello, &asked.signed, state)?,
    };
    socket::send(socket, &ToNodeLogin::Welcome(welcome)).await?;
    Ok(admitted)
}

async fn challenge(socket: &mut WebSocket, state: &State) -> Result<[u8; 32], End> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|err| End::Failed(Error::Internal(err.into())))?;
    let (store, versions) = (state.life.store(), VERSIONS.to_vec());
    let challenge = Challenge { nonce, store, clock: state.clock.now(), versions };
    socket::send(socket, &ToNodeLogin::Challenge(challenge)).await?;
    Ok(nonce)
}

async fn member(hello: &MemberHello, asked: &Asked, state: &Arc<State>) -> Result<(Admitted, Welcome), End> {
    let watched =
        state.meshes.watch(hello.mesh).ok_or_else(|| unauthenticated("this broker has no such mesh"))?;
    let mesh = watched.borrow().clone();
    let roster = &mesh.roster;
    let known = roster.member(&hello.node).or_else(|| roster.former(&hello.node));
    let known = known.ok_or_else(|| unauthenticated("this mesh has no such node"))?;
    let key = known.signing;
    if Hello::verify(&asked.signed, &key).is_err() {
        return Err(not_signed_by(known, hello, asked, state));
    }
    check_url(&hello.url, state)?;
    check_progress(&hello.progress)?;
    match mesh.standing(&hello.node) {
        Standing::Live => {}
        Standing::Left => return Err(End::told(Reason::Revoked, "this node has left the mesh")),
        Standing::Revoked | Standing::Unknown if mesh.waiting.is_some() => return Err(undecided()),
        Standing::Revoked => return Err(End::told(Reason::Revoked, "this node was revoked")),
        Standing::Unknown => return Err(unauthenticated("this mesh has no such node")),
    }
    check_support(hello.version, &hello.features, state)?;
    let (peer, registration) = register(hello, asked.life.clone(), state).await?;
    let head = roster.head();
    let welcome = Welcome {
        login: Some(peer.login.0),
        head: Some(head),
        waits: mesh.waiting.is_some(),
        pass: Some(state.passes.pass(&hello.mesh)),
        limits: state.limits.told(),
        features: features(state),
        clock: state.clock.now(),
    };
    let (peer, life) = (Arc::new(peer), asked.life.clone());
    let member = Member { peer, registration, key, mesh: watched, head, life };
    Ok((Admitted::Member(Box::new(member)), welcome))
}

/// Why a hello that the node's key has not signed is refused. Whoever holds a former key of it was the node once: that
/// much may be told.
fn not_signed_by(known: &Known, hello: &MemberHello, asked: &Asked, state: &State) -> End {
    let mut former = known.former_keys().take(FORMER_KEYS);
    if !former.any(|key| Hello::verify(&asked.signed, key).is_ok()) {
        return unauthenticated("the signature does not hold");
    }
    state.alarms.duplicated(NodeKey { mesh: hello.mesh, node: hello.node });
    superseded()
}

/// Numbers that no honest node has come to: the next login could not be counted.
fn check_progress(progress: &Progress) -> Result<(), End> {
    let most = progress.login.max(progress.through).max(progress.rows);
    if most <= Progress::MAX { Ok(()) } else { Err(End::violation("the progress is beyond all measure")) }
}

/// Gets a login number, and makes this the node's link. A copy that is behind gets none, and the members hear of it.
async fn register(
    hello: &MemberHello,
    life: CancellationToken,
    state: &State,
) -> Result<(Peer, Registration), End> {
    let key = NodeKey { mesh: hello.mesh, node: hello.node };
    if !state.hub.has_room(key, state.limits.links as usize) {
        return Err(End::told(Reason::Busy, "this broker has as many links as it takes"));
    }
    let (answer, answered) = oneshot::channel();
    let progress = hello.progress;
    state.writer.submit(Change::Login(Login { node: key, progress, answer })).await?;
    // No number comes only if the node has stopped being a member this moment, or the broker is stopping.
    let login = answered.await.map_err(|_| End::told(Reason::Busy, "try again"))?;
    let login = login.map_err(|Stale { shown }| {
        state.alarms.duplicated(key);
        stale(&progress, &shown)
    })?;
    // No welcome to a link that ends at once.
    if life.is_cancelled() {
        return Err(set_back());
    }
    let registration = state.hub.register(key, login).ok_or_else(replaced)?;
    Ok((Peer::new(key, login, life), registration))
}

fn guest(hello: &EnteringHello, signed: &Signed, state: &State) -> Result<(Admitted, Welcome), End> {
    Hello::verify(signed, &hello.key).map_err(|_| unauthenticated("the signature does not hold"))?;
    check_url(&hello.url, state)?;
    let mesh = state.meshes.get(hello.mesh);
    match &mesh {
        Some(mesh) => may_enter(&mesh.roster, &hello.key, state)?,
        None => may_found(hello, state)?,
    }
    check_support(hello.version, &hello.features, state)?;
    let known = mesh.is_some();
    let welcome = Welcome {
        login: None,
        head: mesh.as_ref().map(|mesh| mesh.roster.head()),
        waits: mesh.is_some_and(|mesh| mesh.waiting.is_some()),
        pass: None,
        limits: state.limits.told(),
        features: features(state),
        clock: state.clock.now(),
    };
    Ok((Admitted::Entering(Box::new(Guest { mesh: hello.mesh, key: hello.key, known })), welcome))
}

/// Whether a mesh that does not exist here may be founded.
fn may_found(hello: &EnteringHello, state: &State) -> Result<(), End> {
    let Some(token) = &state.creation else {
        return Ok(());
    };
    match &hello.creation {
        Some(proof) if token.is_proven(proof, &hello.nonce, hello.mesh) => Ok(()),
        Some(_) => Err(unauthenticated("the creation token is not this broker's")),
        None => Err(End::told(
            Reason::UnknownMesh,
            "this broker does not have this mesh, and founding one here takes its creation token (--creation-token)",
        )),
    }
}

/// Whether a key may enter a mesh that exists. One that has just been used may come back to see that its entry was
/// appended: the answer may have been lost.
fn may_enter(roster: &Roster, key: &VerifyingKey, state: &State) -> Result<(), End> {
    if let Some(invite) = roster.invite(key) {
        return match invite.admits(state.clock.now()) {
            Ok(()) | Err(Rule::InviteUsedUp) => Ok(()),
            Err(rule @ Rule::InviteExpired) => Err(End::told(Reason::InviteExpired, rule.to_string())),
            Err(rule) => Err(End::told(Reason::InviteRevoked, rule.to_string())),
        };
    }
    match roster.by_key(key).map(|member| member.standing) {
        // With its own key, or one that it had: to give it up, or to see that it was given up.
        Some(Standing::Live) => Ok(()),
        Some(Standing::Left) => Err(End::told(Reason::Revoked, "this node has left the mesh")),
        Some(Standing::Revoked) => Err(End::told(Reason::Revoked, "this node was revoked")),
        Some(Standing::Unknown) | None => Err(End::told(
            Reason::UnknownInvite,
            "the mesh's log has neither an invite nor a node of this key",
        )),
    }
}

pub(super) fn check_url(url: &str, state: &State) -> Result<(), End> {
    let ours = url.parse::<BrokerUrl>().is_ok_and(|url| state.urls.contains(&url.dialled()));
    if ours {
        Ok(())
    } else {
        // Whoever asks has shown who it is by now, and the text is bounded.
        let detail = format!(
            "this broker does not go by {}: its operator names its URLs with --advertise",
            url.escape_debug()
        );
        Err(End::told(Reason::WrongBroker, detail))
    }
}

/// Whether this broker serves the version that the node speaks, and has what it needs.
fn check_support(version: u32, needed: &Features, state: &State) -> Result<(), End> {
    if !VERSIONS.contains(&version) {
        let detail = format!(
            "this broker serves versions {VERSIONS:?} of the protocol, and the node speaks {version}"
        );
        return Err(End::told(Reason::Unsupported, detail));
    }
    features(state).cover(needed).map_err(|lacking| End::told(Reason::Unsupported, lacking.to_string()))
}

/// What this broker has.
fn features(state: &State) -> Features {
    Features::of(state.limits.dedupe_days)
}

fn unauthenticated(detail: &str) -> End {
    End::told(Reason::Unauthenticated, detail)
}

/// What a copy is told that is behind.
fn stale(progress: &Progress, shown: &Progress) -> End {
    let Progress { login, through, rows } = progress;
    let detail = format!(
        "this state is at login {login}, delivery {through}, row {rows}, and this node has been at login {}, delivery {}, \
         row {}: it is a copy, or was set back",
        shown.login, shown.through, shown.rows
    );
    End::told(Reason::StaleState, detail)
}

/// What whoever holds a former key of a node is told.
pub(super) fn superseded() -> End {
    End::told(Reason::Superseded, "this node has another signing key by now: this is a copy from before")
}

/// What an older link is told.
pub(super) fn replaced() -> End {
    End::told(Reason::Replaced, "a newer login of this node took over")
}

/// What links are told whose store was found to be an older copy, or was away.
pub(super) fn set_back() -> End {
    End::told(Reason::Restarting, "the broker's store was away or was set back: log in anew")
}

/// What a node is told that is a member in one branch and not in another.
pub(super) fn undecided() -> End {
    End::told(
        Reason::Busy,
        "not every log of this mesh has this node as a member: an admin has to resume one",
    )
}
