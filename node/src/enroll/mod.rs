//! Founding a mesh, and joining one.
//!
//! Both work on a state folder that is the caller's: no node is running on it, or the caller is that node. Everything is prepared in `entering/`, made durable, then
//! announced to the broker, and renamed to `meshes/NAME` when it holds. A refusal leaves nothing behind. If the answer
//! to the last step is lost, the folder stays, and the same command takes up where it was: the key that may already be
//! in the log is the one it goes on with.

mod folder;
mod joining;

use std::sync::Arc;

use waxwing_crypto::membership::{Body, Genesis, InviteToken, RecoverySecret, Roster, SignedEntry, Standing};
use waxwing_crypto::state_key::StateKeys;
use waxwing_crypto::{CreationToken, MeshId, Name, NodeId, SigningKey, Timestamp};
use waxwing_protocol::BrokerUrl;
use zeroize::Zeroizing;

use self::folder::Folder;
use self::joining::Joining;
use crate::config::Config;
use crate::epochs::Sealed;
use crate::error::{Error, Result, Uninvited};
use crate::home::Home;
use crate::host;
use crate::identity::Identity;
use crate::link::dial::check_url;
use crate::link::entering::{Entering, Refused};

/// Attempts to append a genesis, each of which ended with a lost link.
const FOUNDING_ATTEMPTS: usize = 3;

/// A mesh to be founded.
#[derive(Clone, Debug)]
pub struct Create {
    /// Its name.
    pub mesh: Name,
    /// The broker's URL: `ws://127.0.0.1:7900`, or `wss://host:7900#pin=...`.
    pub broker: String,
    /// Whether a link without TLS may leave this machine.
    pub plaintext: bool,
    /// What a broker that is closed wants of a founder.
    pub creation: Option<CreationToken>,
    /// This node's name in it; by default this host's.
    pub node: Option<Name>,
}

/// A mesh that was founded.
#[derive(Debug)]
pub struct Created {
    /// The mesh.
    pub mesh: Name,
    /// This node's name in it.
    pub node: Name,
    /// This node's id in it.
    pub node_id: NodeId,
    /// What appoints an admin when every admin's host is lost. Kept nowhere.
    pub recovery_words: RecoveryWords,
}

/// Twenty-four words that act as an admin. Shown once.
pub struct RecoveryWords(Zeroizing<String>);

impl RecoveryWords {
    /// Reveals the words, to show them to the person who founded the mesh.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for RecoveryWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryWords(secret)")
    }
}

/// A mesh that was joined.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The mesh.
    pub mesh: Name,
    /// This node's name in it.
    pub node: Name,
    /// This node's id in it.
    pub node_id: NodeId,
    /// The broker.
    pub broker: String,
}

/// Founds a mesh with this node as its first admin.
///
/// # Errors
/// `AlreadyRunning`, `Conflict` if the node is in a mesh of this name already, `Unreachable`, or the broker's refusal.
pub async fn create(config: &Config, create: Create) -> Result<Created> {
    let home = Home::new(config.state.clone());
    let _lock = home.lock()?;
    create_on(&home, config, create).await
}

/// The same for whoever holds the folder.
pub(crate) async fn create_on(home: &Home, config: &Config, create: Create) -> Result<Created> {
    let broker = check_url(&create.broker, create.plaintext)?;
    let node = create.node.map_or_else(host::name, Ok)?;
    check_free(home, &create.mesh)?;
    let identity = Identity::mint(MeshId::from_bytes([0; MeshId::SIZE]));
    // A founding that was interrupted cannot be taken up: its mesh has one member, whose words nobody has seen.
    let folder = Folder::fresh(home.entering(&format!("new-{}", create.mesh)))?;
    let evidence = host::evidence(config.host_id.as_deref());
    let member = folder.bind(&identity, node.clone(), &evidence)?;
    let recovery = RecoverySecret::generate(&mut crate::rng());
    let state_keys = StateKeys::found(&mut crate::rng());
    let sealing = member.sealing.clone();
    let genesis = Genesis {
        name: create.mesh.clone(),
        founder: member,
        recovery: recovery.signing_key().public(),
        state_keys: state_keys.seal_to(&sealing, &mut crate::rng())?,
    };
    let (mut link, entry, mesh) =
        Entering::found(&broker, genesis, &identity.signing, create.creation.as_ref()).await?;
    let identity = identity.in_mesh(mesh);
    identity.save(&folder.path)?;
    append_genesis(&mut link, &broker, &entry, &identity, create.creation.as_ref()).await?;
    let secrets = Sealed::new(&identity.storage.keys(), &state_keys, None);
    folder.finish(home, &create.mesh, &broker, &[entry], &secrets).await?;
    let recovery_words = RecoveryWords(recovery.reveal_words());
    Ok(Created { mesh: create.mesh, node, node_id: identity.node, recovery_words })
}

/// Appends a genesis. If its answer is lost, the broker is asked whether it has the mesh, which nothing else can have made:
/// a mesh's id is the genesis's hash.
async fn append_genesis(
    link: &mut Entering,
    broker: &BrokerUrl,
    genesis: &SignedEntry,
    identity: &Identity,
    creation: Option<&CreationToken>,
) -> Result<()> {
    for _ in 0..FOUNDING_ATTEMPTS {
        match link.append(genesis).await {
            Ok(()) | Err(Refused::Conflict) => return Ok(()),
            Err(Refused::Lost(_)) => {}
            Err(refused @ Refused::Denied(_)) => return Err(refused.into_error(broker)),
        }
        *link = Entering::dial_again(broker, identity.mesh, &identity.signing, creation).await?;
        if link.head().is_some() {
            return Ok(());
        }
    }
    let cause = "the link is lost again and again".into();
    Err(Error::Unreachable { url: broker.dialled(), cause })
}

/// How to join a mesh.
#[derive(Clone, Debug, Default)]
pub struct Join {
    /// The name to take; by default the invite's, or this host's.
    pub node: Option<Name>,
    /// Whether a link without TLS may leave this machine.
    pub plaintext: bool,
}

/// Joins a mesh by an invite.
///
/// # Errors
/// `AlreadyRunning`; `Conflict` if the node is in this mesh already; `NameTaken`; `Invite`; `WrongBroker`, `NoSuchMesh`,
/// `Untrusted` or `Incompatible` if the broker or its log is not the one meant; `Unreachable`. None leaves anything behind, but
/// for one: if the link is lost before the join is answered, and does not come back, what may be in the log is kept, and the
/// same command goes on with it.
pub async fn join(config: &Config, token: &InviteToken, join: Join) -> Result<Joined> {
    let home = Home::new(config.state.clone());
    let _lock = home.lock()?;
    join_on(&home, config, token, join).await
}

/// The same for whoever holds the folder.
pub(crate) async fn join_on(home: &Home, config: &Config, token: &InviteToken, join: Join) -> Result<Joined> {
    let broker = check_url(token.broker_url(), join.plaintext)?;
    let broker = broker.with_pin(token.pin()).map_err(|error| Error::Usage(error.to_string()))?;
    for name in home.meshes()? {
        if Identity::load(&home.mesh(&name))?.mesh == token.mesh() {
            return Err(Error::Conflict(format!("this node is in that mesh already, as {name}")));
        }
    }
    let key = token.seed().signing_key();
    let mut link = dial(home, &broker, token, &key).await?;
    if link.head().is_none() {
        return Err(Error::NoSuchMesh(format!("the broker at {} does not have this mesh", broker.dialled())));
    }
    let entries = link.log(0).await.map_err(|refused| refused.into_error(&broker))?;
    let (mut roster, mut entries) = verify(entries, token.mesh()).await?;
    check_free(home, roster.name())?;
    let folder = Folder::resume(home.entering(&token.mesh().to_string()))?;
    let evidence = host::evidence(config.host_id.as_deref());
    let identity = folder.identity(token.mesh())?;
    let joined_before = roster.standing(&identity.node) == Standing::Live;
    if !joined_before {
        let name = choose_name(&roster, link.clock(), &key, join.node)?;
        let member = folder.bind(&identity, name, &evidence)?;
        let mut joining =
            Joining { broker: &broker, link: &mut link, key: &key, identity: &identity, member };
        joining.append(&mut roster, &mut entries, &folder).await?;
    }
    let state_keys = invited_state_keys(&entries, token)?;
    // An epoch that has begun since the invite was made has a slot for whoever joins by it.
    let invite = state_keys.get(roster.epoch()).is_none().then(|| Arc::new(token.seed().sealing_key()));
    let secrets = Sealed::new(&identity.storage.keys(), &state_keys, invite.as_ref());
    let name = roster.member(&identity.node).map(|member| member.name.clone());
    let node =
        name.ok_or_else(|| Error::Incompatible("the log does not show this node as a member".into()))?;
    let mesh = roster.name().clone();
    folder.finish(home, &mesh, &broker, &entries, &secrets).await?;
    Ok(Joined { mesh, node, node_id: identity.node, broker: broker.dialled() })
}

fn check_free(home: &Home, mesh: &Name) -> Result<()> {
    if home.mesh(mesh).exists() {
        return Err(Error::Conflict(format!("this node is in a mesh called {mesh} already")));
    }
    Ok(())
}

/// The roster of a log that begins with the genesis named in the token, and the log.
async fn verify(entries: Vec<SignedEntry>, mesh: MeshId) -> Result<(Roster, Vec<SignedEntry>)> {
    let wrong = |error: &dyn std::fmt::Display| Error::Incompatible(format!("the broker's log: {error}"));
    // There may be many, and a node that serves other meshes meanwhile must not wait for them.
    let replayed =
        tokio::task::spawn_blocking(move || Roster::replay(&entries).map(|roster| (roster, entries)));
    let replayed = replayed.await.map_err(|error| wrong(&error))?;
    let (roster, entries) = replayed.map_err(|error| wrong(&error))?;
    if roster.mesh() == mesh {
        Ok((roster, entries))
    } else {
        Err(Error::Incompatible("the broker shows the log of another mesh than the invite is for".into()))
    }
}

/// Logs in by the invite. If that lets nobody in any more, an earlier attempt may have come in by it, and its answer was
/// lost: then its own key does.
async fn dial(home: &Home, broker: &BrokerUrl, token: &InviteToken, key: &SigningKey) -> Result<Entering> {
    let refused = match Entering::dial(broker, token.mesh(), key).await {
        Err(error @ Error::Invite(_)) => error,
        dialled => return dialled,
    };
    match Identity::load(&home.entering(&token.mesh().to_string())) {
        Ok(earlier) if earlier.mesh == token.mesh() => {
            Entering::dial(broker, token.mesh(), &earlier.signing).await.map_err(|_| refused)
        }
        _ => Err(refused),
    }
}

/// The newcomer's name, if the invite and the roster admit it at this moment.
fn choose_name(roster: &Roster, at: Timestamp, key: &SigningKey, wanted: Option<Name>) -> Result<Name> {
    let invite = roster.invite(&key.public()).ok_or(Uninvited::Unknown)?;
    let name = wanted.or_else(|| invite.name.clone());
    let name = name.map_or_else(host::name, Ok)?;
    invite
        .admits(at)
        .and_then(|()| invite.admits_name(&name))
        .and_then(|()| roster.admits_name(&name))
        .map_err(|rule| Error::join(rule, &name))?;
    Ok(name)
}

/// The state keys that the invite's entry carries.
fn invited_state_keys(entries: &[SignedEntry], token: &InviteToken) -> Result<StateKeys> {
    let key = token.seed().signing_key().public();
    for entry in entries {
        if let Body::Invite(invite) = entry.parse()?.body
            && invite.key == key
        {
            let opened = invite.state_keys.open(&token.seed().sealing_key());
            return opened.map_err(|_| Error::Incompatible("the invite's state keys do not open".into()));
        }
    }
    Err(Uninvited::Unknown.into())
}
