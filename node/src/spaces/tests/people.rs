//! Several members of one mesh, each a node with keys and a disk of its own.

use waxwing_crypto::membership::{Body, InviteSeed, Join, NewInvite, NewMember, Role, Roster, SignedEntry};

use super::*;
use crate::clock;
use crate::epochs::Sealed;
use crate::identity::Identity;
use crate::store::{self, log, meta};

impl Node {
    /// So many members.
    pub(super) async fn members(count: usize) -> Vec<Self> {
        Self::members_in_space("things", count).await
    }

    /// So many that use the space of this name.
    pub(crate) async fn members_in_space(space: &str, count: usize) -> Vec<Self> {
        let mut nodes = vec![Self::in_space(space).await];
        let founder = Arc::clone(&nodes[0].mesh);
        let (mut entries, mut identities) = (log::after(&founder.db, 0).await.unwrap(), Vec::new());
        let mut roster = founder.roster(Clone::clone);
        for n in 1..count {
            let identity = Identity::mint(founder.identity.mesh);
            for entry in joins(&founder, &mut roster, &identity, n) {
                founder.grow(std::slice::from_ref(&entry), None).await.unwrap();
                entries.push(entry);
            }
            identities.push(identity);
        }
        for identity in identities {
            let folder = tempfile::tempdir().unwrap();
            write_folder(&founder, folder.path(), identity, &entries).await;
            nodes.push(Self::reopened(folder, space).await);
        }
        nodes
    }

    /// A node on a folder that is there.
    async fn reopened(folder: tempfile::TempDir, space: &str) -> Self {
        let config = config(folder.path());
        let (home, name) = (Home::new(config.state.clone()), "home".parse().unwrap());
        let admitted = Admitted::check(&home, &name, &host::evidence(Some(HOST))).unwrap();
        let mesh = Mesh::open(admitted, &config, Arc::default(), CancellationToken::new()).await.unwrap();
        let space = mesh.space(&space.parse().unwrap());
        Self { folder, mesh, space, link: None }
    }

    /// The same after a restart. Nobody else may hold the mesh.
    pub(crate) async fn restarted(mut self) -> Self {
        if self.link.is_some() {
            self.unlink().await;
        }
        let Self { folder, mesh, space, .. } = self;
        let tasks = mesh.tasks.clone();
        tasks.close();
        assert_eq!(Arc::strong_count(&mesh), 1, "nobody else holds the mesh");
        let name = space.name().to_string();
        drop((mesh, space));
        timeout(PATIENCE, tasks.wait()).await.expect("its writer ends");
        Self::reopened(folder, &name).await
    }
}

fn config(folder: &std::path::Path) -> Config {
    Config::resolve(Some(folder.to_path_buf())).unwrap()
}

/// What the founder and a new member sign.
fn joins(founder: &Mesh, roster: &mut Roster, identity: &Identity, n: usize) -> [SignedEntry; 2] {
    let mut rng = crate::rng();
    let seed = InviteSeed::generate(&mut rng);
    let sealing = seed.sealing_key().public().unwrap();
    let invite = NewInvite {
        key: seed.signing_key().public(),
        state_keys: founder.epochs.held().seal_to(&sealing, &mut rng).unwrap(),
        sealing,
        role: Role::Member,
        uses: 1,
        expires: clock::now().plus(Duration::from_secs(3_600)),
        name: None,
    };
    let invite = founder.sign_entry_on(roster, &founder.identity.signing, Body::Invite(invite));
    roster.apply(&invite).unwrap();
    let member = NewMember {
        name: format!("member-{n}").parse().unwrap(),
        signing: identity.signing.public(),
        sealing: identity.sealing.public().unwrap(),
        host: waxwing_crypto::Digest::from_bytes([0; 32]),
    };
    let join = Join { member, invite: seed.signing_key().public() };
    let join = roster.entry(clock::now(), Body::Join(join)).sign(&[&seed.signing_key(), &identity.signing]);
    roster.apply(&join).unwrap();
    [invite, join]
}

async fn write_folder(founder: &Mesh, folder: &std::path::Path, identity: Identity, entries: &[SignedEntry]) {
    let name = "home".parse().unwrap();
    let path = Home::new(config(folder).state).mesh(&name);
    home::private_folder(&path).unwrap();
    let keys = identity.storage.keys();
    host::bind(&path, &keys.host_key(), &host::evidence(Some(HOST))).unwrap();
    let sealed = Sealed::new(&keys, &founder.epochs.held(), None);
    identity.save(&path).unwrap();
    let (mut db, readers) = store::open(&path.join("node.db")).await.unwrap();
    log::put(&mut db, 1, entries).await.unwrap();
    meta::set_text(&mut db, meta::BROKER, "ws://127.0.0.1:1").await.unwrap();
    sealed.write(&mut db).await.unwrap();
    store::close(db, readers).await.unwrap();
}
