//! Login: who is this, and may they?
//!
//! The signature is checked before anything is said about a node, so that a stranger learns nothing about who is or
//! was a member. What is handed on cannot be made elsewhere: a [`Member`] has a login number, and that came from the
//! writer, after the checks.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};
use waxwing_crypto::membership::{LogHead, Roster, Rule, Standing};
use waxwing_crypto::{MeshId, Signed, VerifyingKey};
use waxwing_protocol::BrokerUrl;
use waxwing_protocol::link::{
    Challenge, EnteringHello, Features, Hello, MemberHello, Reason, ToBrokerLogin, ToNodeLogin, VERSIONS,
    Welcome, decode,
};

use super::{End, WebSocket, socket};
use crate::accept::{Change, Login, Peer};
use crate::error::Error;
use crate::hub::Registration;
use crate::state::State;
use crate::store::NodeKey;

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
    pub(super) roster: watch::Receiver<Arc<Roster>>,
    /// That head.
    pub(super) head: LogHead,
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

/// Runs the login.
///
/// # Errors
/// The end of the link, with what the node is told.
pub(super) async fn run(socket: &mut WebSocket, state: &Arc<State>) -> Result<Admitted, End> {
    let nonce = challenge(socket, state).await?;
    let signed = match decode(&socket::next(socket).await?) {
        Ok(ToBrokerLogin::Hello(signed)) => signed,
        Err(err) => return Err(End::violation(err.to_string())),
    };
    let hello = Hello::peek(&signed).map_err(|err| End::violation(err.to_string()))?;
    if *hello.nonce() != nonce {
        return Err(unauthenticated("this answers another challenge"));
    }
    let (admitted, welcome) = match hello {
        Hello::Member(hello) => member(&hello, &signed, state).await?,
        Hello::Entering(hello) => guest(&hello, &signed, state)?,
    };
    socket::send(socket, &ToNodeLogin::Welcome(welcome)).await?;
    Ok(admitted)
}

async fn challenge(socket: &mut WebSocket, state: &State) -> Result<[u8; 32], End> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|err| End::Failed(Error::Internal(err.into())))?;
    let versions = VERSIONS.to_vec();
    let challenge = Challenge { nonce, store: state.store, clock: state.clock.now(), versions };
    socket::send(socket, &ToNodeLogin::Challenge(challenge)).await?;
    Ok(nonce)
}

async fn member(
    hello: &MemberHello,
    signed: &Signed,
    state: &Arc<State>,
) -> Result<(Admitted, Welcome), End> {
    let roster =
        state.meshes.watch(hello.mesh).ok_or_else(|| unauthenticated("this broker has no such mesh"))?;
    let snapshot = Arc::clone(&roster.borrow());
    let known = snapshot.member(&hello.node).or_else(|| snapshot.former(&hello.node));
    let key = known.ok_or_else(|| unauthenticated("this mesh has no such node"))?.signing;
    Hello::verify(signed, &key).map_err(|_| unauthenticated("the signature does not hold"))?;
    check_url(&hello.url, state)?;
    match snapshot.standing(&hello.node) {
        Standing::Live => {}
        Standing::Revoked => return Err(End::told(Reason::Revoked, "this node was revoked")),
        Standing::Left => return Err(End::told(Reason::Revoked, "this node has left the mesh")),
        Standing::Unknown => return Err(unauthenticated("this mesh has no such node")),
    }
    check_support(hello.version, &hello.features, state)?;
    let (peer, registration) = register(NodeKey { mesh: hello.mesh, node: hello.node }, state).await?;
    let head = snapshot.head();
    let welcome = welcome(Some(peer.login.0), Some(head), state);
    let member = Member { peer: Arc::new(peer), registration, key, roster, head };
    Ok((Admitted::Member(Box::new(member)), welcome))
}

/// Gets a login number, and makes this the node's link.
async fn register(key: NodeKey, state: &State) -> Result<(Peer, Registration), End> {
    if !state.hub.has_room(key, state.limits.links as usize) {
        return Err(End::told(Reason::Busy, "this broker has as many links as it takes"));
    }
    let (answer, answered) = oneshot::channel();
    state.writer.submit(Change::Login(Login { node: key, answer })).await?;
    // No number comes only if the node has stopped being a member this moment, or the broker is stopping.
    let login = answered.await.map_err(|_| End::told(Reason::Busy, "try again"))?;
    let registration = state.hub.register(key, login).ok_or_else(replaced)?;
    Ok((Peer::new(key, login), registration))
}

fn guest(hello: &EnteringHello, signed: &Signed, state: &State) -> Result<(Admitted, Welcome), End> {
    Hello::verify(signed, &hello.key).map_err(|_| unauthenticated("the signature does not hold"))?;
    check_url(&hello.url, state)?;
    let roster = state.meshes.roster(hello.mesh);
    if let Some(roster) = &roster {
        may_enter(roster, &hello.key, state)?;
    }
    check_support(hello.version, &hello.features, state)?;
    let known = roster.is_some();
    let welcome = welcome(None, roster.map(|roster| roster.head()), state);
    Ok((Admitted::Entering(Box::new(Guest { mesh: hello.mesh, key: hello.key, known })), welcome))
}

/// Whether a key may enter a mesh that exists. One that has just been used may come back to see that its entry was
/// appended: the answer may have been lost.
fn may_enter(roster: &Roster, key: &VerifyingKey, state: &State) -> Result<(), End> {
    if let Some(invite) = roster.invite(key) {
        return match invite.admits(state.clock.now()) {
            Ok(()) | Err(Rule::InviteUsedUp) => Ok(()),
            Err(rule) => Err(unauthenticated(&rule.to_string())),
        };
    }
    match roster.by_key(key) {
        Some(_) => Ok(()),
        None => Err(unauthenticated("this key may not enter this mesh")),
    }
}

fn check_url(url: &str, state: &State) -> Result<(), End> {
    let ours = url.parse::<BrokerUrl>().is_ok_and(|url| state.urls.contains(&url.dialled()));
    if ours {
        Ok(())
    } else {
        Err(End::told(Reason::WrongBroker, "the URL dialled is not one of this broker's"))
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

fn welcome(login: Option<u64>, head: Option<LogHead>, state: &State) -> Welcome {
    Welcome { login, head, limits: state.limits.told(), features: features(state), clock: state.clock.now() }
}

fn unauthenticated(detail: &str) -> End {
    End::told(Reason::Unauthenticated, detail)
}

/// What an older link is told.
pub(super) fn replaced() -> End {
    End::told(Reason::Replaced, "a newer login of this node took over")
}
