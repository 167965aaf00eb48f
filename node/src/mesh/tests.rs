//! Meshes of one, without a broker.

use waxwing_crypto::MeshId;
use waxwing_crypto::membership::{Genesis, NewMember, RecoverySecret};
use waxwing_crypto::state_key::StateKeys;

use super::*;
use crate::epochs::Sealed;
use crate::store::log;

/// A mesh of one, founded without a broker, on a folder of its own.
pub(crate) async fn alone() -> (tempfile::TempDir, Arc<Mesh>) {
    alone_at("ws://127.0.0.1:1").await
}

/// The same with a broker to dial.
pub(crate) async fn alone_at(broker: &str) -> (tempfile::TempDir, Arc<Mesh>) {
    let folder = tempfile::tempdir().unwrap();
    let mesh = opened(folder.path(), "home", broker).await;
    (folder, mesh)
}

/// A mesh of one, on a state folder.
pub(crate) async fn opened(state: &std::path::Path, name: &str, broker: &str) -> Arc<Mesh> {
    let config = Config::resolve(Some(state.to_path_buf())).unwrap();
    let name = name.parse().unwrap();
    folder_of_one(&config, &name, broker).await;
    let home = Home::new(config.state.clone());
    let admitted = Admitted::check(&home, &name, &host::evidence(Some(HOST))).unwrap();
    Mesh::open(admitted, &config, Arc::default(), CancellationToken::new()).await.unwrap()
}

/// What stands in for this host.
pub(crate) const HOST: &str = "a test";

/// The folder of a mesh of one, among those of a state folder.
pub(crate) async fn folder_of_one(config: &Config, name: &Name, broker: &str) {
    let path = Home::new(config.state.clone()).mesh(name);
    home::private_folder(&path).unwrap();
    let identity = Identity::mint(MeshId::from_bytes([0; 16]));
    let evidence = host::evidence(Some(HOST));
    let record = host::bind(&path, &identity.storage.keys().host_key(), &evidence).unwrap();
    let mut rng = crate::rng();
    let sealing = identity.sealing.public().unwrap();
    let keys = StateKeys::found(&mut rng);
    let state_keys = keys.seal_to(&sealing, &mut rng).unwrap();
    let founder = NewMember {
        name: "alpha".parse().unwrap(),
        signing: identity.signing.public(),
        sealing,
        host: record.commitment(),
    };
    let recovery = RecoverySecret::generate(&mut rng).signing_key().public();
    let genesis = Genesis { name: name.clone(), founder, recovery, state_keys };
    let (entry, roster) = Roster::found(clock::now(), genesis, &identity.signing).unwrap();
    let sealed = Sealed::new(&identity.storage.keys(), &keys, None);
    identity.in_mesh(roster.mesh()).save(&path).unwrap();
    let (mut db, readers) = store::open(&path.join("node.db")).await.unwrap();
    log::put(&mut db, 1, &[entry]).await.unwrap();
    meta::set_text(&mut db, meta::BROKER, broker).await.unwrap();
    sealed.write(&mut db).await.unwrap();
    store::close(db, readers).await.unwrap();
}
