//! Founding a mesh, and joining one.
//!
//! Both work on a state folder that no node is running on. Everything is prepared in `entering/`, made durable, then
//! announced to the broker, and renamed to `meshes/NAME` when it holds. A refusal leaves nothing behind. If the answer
//! to the last step is lost, the folder stays, and the same command takes up where it was: the key that may already be
//! in the log is the one it goes on with.

use std::path::{Path, PathBuf};

use waxwing_crypto::host::Evidence;
use waxwing_crypto::membership::{
    Body, Genesis, InviteToken, Join, NewMember, RecoverySecret, Roster, Rule, SignedEntry, Standing,
};
use waxwing_crypto::state_key::{SealedStateKeys, StateKeys};
use waxwing_crypto::{Error as CryptoError, MeshId, Name, NodeId, SigningKey};
use waxwing_protocol::link::{
    Challenge, Code, EnteringHello, ErrorFrame, Hello, Log, LogAppend, LogGet, ToBroker, ToNode,
};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::home::{self, Home};
use crate::identity::Identity;
use crate::link::dial::{self, Connection, DialError, check_url};
use crate::link::refused;
use crate::store::{self, log, meta};
use crate::{clock, host};

/// Attempts to append a join while others append theirs.
const ATTEMPTS: usize = 8;

/// A mesh to be founded.
#[derive(Clone, Debug)]
pub struct Create {
    /// Its name.
    pub mesh: Name,
    /// The broker's URL, `ws://127.0.0.1:7900`.
    pub broker: String,
    /// This node's name in it.
    pub node: Name,
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
    let broker = check_url(&create.broker)?;
    let home = Home::new(config.state.clone());
    let _lock = home.lock()?;
    check_free(&home, &create.mesh)?;
    let identity = Identity::mint(MeshId::from_bytes([0; MeshId::SIZE]));
    // A founding that was interrupted cannot be taken up: its mesh has one member, whose words nobody has seen.
    let folder = Folder::fresh(home.entering(&format!("new-{}", create.mesh)))?;
    let evidence = host::evidence(config.host_id.as_deref());
    let member = folder.bind(&identity, create.node.clone(), &evidence)?;
    let recovery = RecoverySecret::generate(&mut crate::rng());
    let state_keys = StateKeys::found(&mut crate::rng()).seal_to(&member.sealing, &mut crate::rng())?;
    let genesis = Genesis {
        name: create.mesh.clone(),
        founder: member,
        recovery: recovery.signing_key().public(),
        state_keys: state_keys.clone(),
    };
    let (mut link, entry, mesh) = Entering::found(&broker, genesis, &identity.signing).await?;
    let identity = identity.in_mesh(mesh);
    identity.save(&folder.path)?;
    link.append(&entry).await.map_err(|refused| refused.into_error(&broker))?;
    folder.finish(&home, &create.mesh, &broker, &[entry], &state_keys).await?;
    let recovery_words = RecoveryWords(recovery.reveal_words());
    Ok(Created { mesh: create.mesh, node: create.node, node_id: identity.node, recovery_words })
}

/// Joins a mesh by an invite. `node` is the name to take; by default the invite's, or this host's.
///
/// # Errors
/// `AlreadyRunning`; `Conflict` if the name is taken or the node is in this mesh already; `NotAuthorised` for an invite
/// that is expired, used up or revoked; `Incompatible` if the broker or its log is not the one meant; `Unreachable`.
pub async fn join(config: &Config, token: &InviteToken, node: Option<Name>) -> Result<Joined> {
    let broker = check_url(token.broker_url())?;
    let home = Home::new(config.state.clone());
    let _lock = home.lock()?;
    for name in home.meshes()? {
        if Identity::load(&home.mesh(&name))?.mesh == token.mesh() {
            return Err(Error::Conflict(format!("this node is in that mesh already, as {name}")));
        }
    }
    let key = token.seed().signing_key();
    let mut link = Entering::dial(&broker, token.mesh(), &key).await?;
    let mut entries = link.log(0).await.map_err(|refused| refused.into_error(&broker))?;
    let mut roster = verify(&entries, token.mesh())?;
    check_free(&home, roster.name())?;
    let folder = Folder::resume(home.entering(&token.mesh().to_string()))?;
    let evidence = host::evidence(config.host_id.as_deref());
    let identity = folder.identity(token.mesh())?;
    let joined_before = roster.standing(&identity.node) == Standing::Live;
    if !joined_before {
        let name = choose_name(&roster, &key, node)?;
        let member = folder.bind(&identity, name, &evidence)?;
        let mut link = Joining { link: &mut link, key: &key, identity: &identity, member };
        link.append(&broker, &mut roster, &mut entries, &folder).await?;
    }
    let state_keys = own_state_keys(&entries, token, &identity)?;
    let name = roster.member(&identity.node).map(|member| member.name.clone());
    let node =
        name.ok_or_else(|| Error::Incompatible("the log does not show this node as a member".into()))?;
    let mesh = roster.name().clone();
    folder.finish(&home, &mesh, &broker, &entries, &state_keys).await?;
    Ok(Joined { mesh, node, node_id: identity.node, broker })
}

fn check_free(home: &Home, mesh: &Name) -> Result<()> {
    if home.mesh(mesh).exists() {
        return Err(Error::Conflict(format!("this node is in a mesh called {mesh} already")));
    }
    Ok(())
}

/// The roster of a log that begins with the genesis named in the token.
fn verify(entries: &[SignedEntry], mesh: MeshId) -> Result<Roster> {
    let roster =
        Roster::replay(entries).map_err(|error| Error::Incompatible(format!("the broker's log: {error}")))?;
    if roster.mesh() == mesh {
        Ok(roster)
    } else {
        Err(Error::Incompatible("the broker shows the log of another mesh than the invite is for".into()))
    }
}

/// The newcomer's name, if the invite and the roster admit it.
fn choose_name(roster: &Roster, key: &SigningKey, wanted: Option<Name>) -> Result<Name> {
    let invite = roster.invite(&key.public());
    let invite =
        invite.ok_or_else(|| Error::NotAuthorised("the mesh's log does not know this invite".into()))?;
    let name = wanted.or_else(|| invite.name.clone());
    let name = name.ok_or_else(|| Error::Usage("say under which name with --name".into()))?;
    invite
        .admits(clock::now())
        .and_then(|()| invite.admits_name(&name))
        .and_then(|()| roster.admits_name(&name))
        .map_err(|rule| rule_error(rule, &name))?;
    Ok(name)
}

fn rule_error(rule: Rule, name: &Name) -> Error {
    if rule == Rule::NameTaken {
        return Error::Conflict(format!("{name}: {rule}; choose another with --name"));
    }
    Error::NotAuthorised(if rule == Rule::NotInvitedName {
        format!("{name}: {rule}")
    } else {
        rule.to_string()
    })
}

/// The state keys that the invite's entry carries, sealed to this node.
fn own_state_keys(
    entries: &[SignedEntry],
    token: &InviteToken,
    identity: &Identity,
) -> Result<SealedStateKeys> {
    let key = token.seed().signing_key().public();
    for entry in entries {
        if let Body::Invite(invite) = entry.parse()?.body
            && invite.key == key
        {
            let opened = invite.state_keys.open(&token.seed().sealing_key());
            let keys =
                opened.map_err(|_| Error::Incompatible("the invite's state keys do not open".into()))?;
            return Ok(keys.seal_to(&identity.sealing.public()?, &mut crate::rng())?);
        }
    }
    Err(Error::NotAuthorised("the mesh's log does not know this invite".into()))
}

/// A folder in which a mesh's state is prepared. Removed when dropped, unless it is finished or must be taken up again.
struct Folder {
    path: PathBuf,
    keep: std::cell::Cell<bool>,
}

impl Folder {
    /// An empty folder, whatever was there.
    fn fresh(path: PathBuf) -> Result<Self> {
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(Error::file("cannot remove", &path))?;
        }
        Self::resume(path)
    }

    /// The folder of an earlier attempt, or an empty one.
    fn resume(path: PathBuf) -> Result<Self> {
        home::private_folder(&path)?;
        Ok(Self { path, keep: std::cell::Cell::new(false) })
    }

    /// The identity of an earlier attempt, or a new one.
    fn identity(&self, mesh: MeshId) -> Result<Identity> {
        match Identity::load(&self.path) {
            Ok(identity) if identity.mesh == mesh => Ok(identity),
            _ => {
                let identity = Identity::mint(mesh);
                identity.save(&self.path)?;
                Ok(identity)
            }
        }
    }

    /// Binds an identity to this host, and says who it will be in the log.
    fn bind(&self, identity: &Identity, name: Name, evidence: &Evidence) -> Result<NewMember> {
        let record = host::bind(&self.path, &identity.storage.keys().host_key(), evidence)?;
        Ok(NewMember {
            name,
            signing: identity.signing.public(),
            sealing: identity.sealing.public()?,
            host: record.commitment(),
        })
    }

    /// Makes the database, and puts everything in its place.
    async fn finish(
        self,
        home: &Home,
        mesh: &Name,
        broker: &str,
        entries: &[SignedEntry],
        state_keys: &SealedStateKeys,
    ) -> Result<()> {
        self.keep.set(true);
        let database = self.path.join("node.db");
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", database.display()));
        }
        let (mut db, readers) = store::open(&database).await?;
        log::append(&mut db, 1, entries).await?;
        meta::set_text(&mut db, meta::BROKER, broker).await?;
        meta::set_bytes(&mut db, meta::STATE_KEYS, state_keys.as_bytes()).await?;
        store::close(db, readers).await?;
        let path = home.mesh(mesh);
        let meshes = path.parent().unwrap_or(Path::new("/"));
        home::private_folder(meshes)?;
        std::fs::rename(&self.path, &path).map_err(Error::file("cannot make", &path))?;
        home::sync_folder(meshes)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep.get() {
            // Nothing in it is of use to anybody: it was refused.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A link that may only read the log and append one entry.
struct Entering {
    connection: Connection,
    next: u64,
}

/// Why an entering link did not get what it asked for.
enum Refused {
    /// The log has moved on.
    Conflict,
    /// For good.
    Denied(ErrorFrame),
    /// Nothing is known: the link broke.
    Lost(DialError),
}

impl Refused {
    fn into_error(self, broker: &str) -> Error {
        match self {
            Self::Conflict => {
                Error::Unreachable { url: broker.into(), cause: "the log keeps changing".into() }
            }
            Self::Denied(ErrorFrame { code: Code::NotAllowed, detail, .. }) => Error::NotAuthorised(detail),
            Self::Denied(ErrorFrame { code: Code::Unavailable, detail, .. }) => {
                Error::Unreachable { url: broker.into(), cause: detail }
            }
            Self::Denied(error) => Error::Incompatible(error.detail),
            Self::Lost(error) => dial_error(broker, error),
        }
    }
}

fn dial_error(broker: &str, error: DialError) -> Error {
    match error {
        DialError::GoAway(goaway) if goaway.again.is_none() => refused(&goaway),
        DialError::Incompatible(why) => Error::Incompatible(why),
        error @ (DialError::GoAway(_) | DialError::Unreachable(_)) => {
            Error::Unreachable { url: broker.into(), cause: error.to_string() }
        }
    }
}

impl Entering {
    /// Founds a mesh and logs in to it. The log's time is the broker's, so the genesis is made when the challenge has
    /// told it.
    async fn found(broker: &str, genesis: Genesis, key: &SigningKey) -> Result<(Self, SignedEntry, MeshId)> {
        let mut founded = Err(CryptoError::Malformed("genesis"));
        let hello = |challenge: &Challenge| {
            founded = Roster::found(challenge.clock, genesis, key);
            let mesh = founded.as_ref().map_or(MeshId::from_bytes([0; 16]), |(_, roster)| roster.mesh());
            Hello::Entering(EnteringHello {
                nonce: challenge.nonce,
                url: broker.to_owned(),
                mesh,
                key: key.public(),
            })
        };
        let connection = dial::dial(broker, hello, key).await.map_err(|error| dial_error(broker, error))?;
        let (entry, roster) = founded?;
        Ok((Self { connection, next: 1 }, entry, roster.mesh()))
    }

    async fn dial(broker: &str, mesh: MeshId, key: &SigningKey) -> Result<Self> {
        let hello = |challenge: &Challenge| {
            Hello::Entering(EnteringHello {
                nonce: challenge.nonce,
                url: broker.to_owned(),
                mesh,
                key: key.public(),
            })
        };
        let connection = dial::dial(broker, hello, key).await.map_err(|error| dial_error(broker, error))?;
        Ok(Self { connection, next: 1 })
    }

    /// Every entry after one.
    async fn log(&mut self, after: u64) -> Result<Vec<SignedEntry>, Refused> {
        let mut entries: Vec<SignedEntry> = Vec::new();
        loop {
            let after = after + entries.len() as u64;
            let page = self.call(|req| ToBroker::LogGet(LogGet { req, after })).await?;
            let head = page.head.map_or(0, |head| head.seq);
            let got = page.entries.len() as u64;
            entries.extend(page.entries);
            if got == 0 || after + got >= head {
                return Ok(entries);
            }
        }
    }

    async fn append(&mut self, entry: &SignedEntry) -> Result<(), Refused> {
        let entry = entry.clone();
        self.call(|req| ToBroker::LogAppend(LogAppend { req, entry })).await.map(|_| ())
    }

    async fn call(&mut self, request: impl FnOnce(u64) -> ToBroker) -> Result<Log, Refused> {
        let req = self.next;
        self.next += 1;
        let socket = &mut self.connection.socket;
        dial::send(socket, &request(req)).await.map_err(Refused::Lost)?;
        loop {
            match dial::receive::<ToNode>(socket).await.map_err(Refused::Lost)? {
                ToNode::Log(log) if log.req == Some(req) => return Ok(log),
                ToNode::Error(error) if error.code == Code::LogConflict => return Err(Refused::Conflict),
                ToNode::Error(error) => return Err(Refused::Denied(error)),
                ToNode::GoAway(goaway) => return Err(Refused::Lost(DialError::GoAway(goaway))),
                // Pushed to everybody: the pages asked for have it too.
                ToNode::Log(_)
                | ToNode::Sent(_)
                | ToNode::Deliver(_)
                | ToNode::Done(_)
                | ToNode::Prekeys(_) => {}
            }
        }
    }
}

/// A join about to be appended.
struct Joining<'a> {
    link: &'a mut Entering,
    key: &'a SigningKey,
    identity: &'a Identity,
    member: NewMember,
}

impl Joining<'_> {
    /// Signs and appends, again and again while others get in between.
    async fn append(
        &mut self,
        broker: &str,
        roster: &mut Roster,
        entries: &mut Vec<SignedEntry>,
        folder: &Folder,
    ) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let join = Body::Join(Join { member: self.member.clone(), invite: self.key.public() });
            let at = self.link.connection.welcome.clock;
            let entry = roster.entry(at, join).sign(&[self.key, &self.identity.signing]);
            let mut next = roster.clone();
            match next.apply(&entry) {
                Ok(()) => {}
                Err(CryptoError::NotAllowed(rule)) => return Err(rule_error(rule, &self.member.name)),
                Err(error) => return Err(Error::Damaged(error.to_string())),
            }
            // From here on the entry may be in the log, whatever happens to the answer.
            folder.keep.set(true);
            match self.link.append(&entry).await {
                Ok(()) => {
                    *roster = next;
                    entries.push(entry);
                    return Ok(());
                }
                Err(Refused::Conflict) => {
                    folder.keep.set(false);
                    let new = self
                        .link
                        .log(roster.head().seq)
                        .await
                        .map_err(|refused| refused.into_error(broker))?;
                    for entry in &new {
                        roster.apply(entry).map_err(|error| Error::Incompatible(error.to_string()))?;
                    }
                    entries.extend(new);
                }
                Err(refused @ Refused::Lost(_)) => {
                    let Error::Unreachable { url, cause } = refused.into_error(broker) else {
                        return Err(Error::Incompatible(
                            "the broker closed the link while the join was under way".into(),
                        ));
                    };
                    let cause = format!("{cause}; the join may have worked: run the same command again");
                    return Err(Error::Unreachable { url, cause });
                }
                Err(refused) => {
                    folder.keep.set(false);
                    return Err(refused.into_error(broker));
                }
            }
        }
        folder.keep.set(false);
        Err(Refused::Conflict.into_error(broker))
    }
}
