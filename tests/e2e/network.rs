//! Machines of their own on one network: what must cross it, and who else is on it.
#![cfg(target_os = "linux")]

use std::io::Write as _;
use std::path::PathBuf;

use tempfile::TempDir;
use waxwing_client::api::{LinkState, MeshHealth};
use waxwing_lab::{Machine, Network, Process};

use crate::sites::Site;

/// Set where these tests must run: there, not being allowed to make a network is a failure.
const REQUIRED: [&str; 2] = ["CI", "WAXWING_TEST_NETWORK"];
/// The port of every broker here.
const PORT: u16 = 7900;

/// A network, unless this machine allows none.
fn network() -> Option<Network> {
    match Network::new() {
        Ok(network) => Some(network),
        Err(error) => {
            let required = REQUIRED.iter().any(|name| std::env::var_os(name).is_some());
            assert!(!required, "no network can be made: {error}");
            // Past the test runner, which shows what a test prints only if it fails.
            let _ = writeln!(std::io::stderr(), "SKIPPED: no network can be made: {error}");
            None
        }
    }
}

/// Two machines: one with a broker and a node that has founded a mesh, one with a node about to join.
struct Pair {
    folder: TempDir,
    network: Network,
    server: Machine,
    client: Machine,
    broker: Process,
    /// How nodes dial it.
    url: String,
    /// The file of its creation token.
    token: String,
    alpha: Site,
    beta: Site,
}

impl Pair {
    async fn start(more: &[&str]) -> Option<Self> {
        let network = network()?;
        let folder = tempfile::tempdir().unwrap();
        let (server, client) = (network.machine().unwrap(), network.machine().unwrap());
        let alpha = Site::on(&server, folder.path(), "alpha");
        let beta = Site::on(&client, folder.path(), "beta");
        let mut broker =
            alpha.broker(&[&["--listen", &format!("{}:{PORT}", server.address())], more].concat());
        let ready = broker.start().await.unwrap_or_else(|error| panic!("{error}"));
        let url = ready["advertised"][0].as_str().unwrap().to_owned();
        let token = ready["creation_token"].as_str().unwrap().to_owned();
        Some(Self { folder, network, server, client, broker, url, token, alpha, beta })
    }

    /// Founds the mesh, starts its first node, and lets one more in.
    async fn found(&self, more: &[&str]) -> (Process, String) {
        let create = ["mesh", "create", "lab", "--broker", &self.url, "--creation-token", &self.token];
        self.alpha.json(&[&create[..], &["--node", "alpha"], more].concat()).await;
        let node = self.alpha.node().await;
        self.alpha.linked().await;
        let token = self.alpha.json(&["invite"]).await["token"].as_str().unwrap().to_owned();
        (node, token)
    }

    fn key(&self) -> PathBuf {
        self.alpha.folder().join("broker/tls-key.pem")
    }
}

/// Whether a node says that what it dials is not its broker.
fn believes_another(mesh: &MeshHealth) -> bool {
    mesh.link.state == LinkState::Down
        && mesh.link.reason.as_ref().is_some_and(|reason| reason.contains("has the pin"))
}

/// S-18.
#[tokio::test]
async fn a_second_machine_joins_with_nothing_but_the_token_and_mail_goes_both_ways() {
    let Some(pair) = Pair::start(&[]).await else { return };
    assert!(pair.url.starts_with("wss://10.77.0.1:7900#pin="), "{}", pair.url);
    let (_alpha, token) = pair.found(&[]).await;
    let joined = pair.beta.json(&["join", &token, "--name", "beta"]).await;
    assert_eq!(joined["broker"], "wss://10.77.0.1:7900");
    let _beta = pair.beta.node().await;
    assert_eq!(pair.beta.linked().await.broker, pair.url, "with its pin, also for those that beta lets in");
    pair.alpha.delivers("beta", "over the wire").await;
    pair.beta.delivers("alpha", "and back").await;
    for (site, text) in [(&pair.beta, "over the wire"), (&pair.alpha, "and back")] {
        assert_eq!(site.json(&["inbox"]).await["items"][0]["body"], text);
    }
}

#[tokio::test]
async fn a_broker_with_another_key_is_refused_until_it_has_its_own_back() {
    let Some(mut pair) = Pair::start(&[]).await else { return };
    let (_alpha, token) = pair.found(&[]).await;
    pair.beta.json(&["join", &token, "--name", "beta"]).await;
    let _beta = pair.beta.node().await;
    pair.beta.linked().await;
    let late = pair.alpha.json(&["invite"]).await["token"].as_str().unwrap().to_owned();

    pair.broker.stop().await.unwrap();
    std::fs::rename(pair.key(), pair.folder.path().join("kept.pem")).unwrap();
    pair.broker.start().await.unwrap();
    pair.beta.health("beta refuses it", believes_another).await;
    let third = Site::on(&pair.network.machine().unwrap(), pair.folder.path(), "third");
    let (code, message) = third.fails(&["join", &late, "--name", "third"], 5).await;
    assert!(code == "wrong_pin" && message.contains("is not the broker meant"), "{code}: {message}");
    pair.beta.json(&["send", "alpha", "kept until then", "--id", "late-1"]).await;

    pair.broker.stop().await.unwrap();
    std::fs::rename(pair.folder.path().join("kept.pem"), pair.key()).unwrap();
    pair.broker.start().await.unwrap();
    pair.beta.linked().await;
    pair.beta.delivers("alpha", "and after").await;
    assert_eq!(pair.beta.json(&["trace", "late-1"]).await["state"], "delivered");
    third.json(&["join", &late, "--name", "third"]).await;
}

#[tokio::test]
async fn a_broker_whose_key_is_lost_for_good_is_believed_again_where_a_person_says_so() {
    let Some(mut pair) = Pair::start(&[]).await else { return };
    let (_alpha, token) = pair.found(&[]).await;
    pair.beta.json(&["join", &token, "--name", "beta"]).await;
    pair.broker.stop().await.unwrap();
    std::fs::remove_file(pair.key()).unwrap();
    let ready = pair.broker.start().await.unwrap();
    let url = ready["advertised"][0].as_str().unwrap();
    // Alpha's node runs, beta's does not.
    for site in [&pair.alpha, &pair.beta] {
        assert_eq!(site.fails(&["mesh", "broker", "ws://10.77.0.1:7900"], 2).await.0, "usage");
        assert_eq!(site.fails(&["mesh", "broker", url, "--mesh", "other"], 7).await.0, "unknown_mesh");
        let moved = site.json(&["mesh", "broker", url]).await;
        assert_eq!((&moved["before"], &moved["broker"]), (&pair.url.as_str().into(), &url.into()));
    }
    let _beta = pair.beta.node().await;
    pair.beta.delivers("alpha", "to the key that counts now").await;
    assert_eq!(pair.alpha.linked().await.broker, url);
}

#[tokio::test]
async fn somebody_who_takes_the_brokers_address_is_not_believed_and_learns_no_hello() {
    let Some(pair) = Pair::start(&[]).await else { return };
    let (_alpha, token) = pair.found(&[]).await;
    pair.beta.json(&["join", &token, "--name", "beta"]).await;
    let mut beta = pair.beta.node().await;
    pair.beta.linked().await;

    // Mallory answers in the broker's place, with a certificate for its very address.
    let machine = pair.network.machine().unwrap();
    pair.server.give_up(pair.server.address()).unwrap();
    machine.take(pair.server.address()).unwrap();
    pair.client.forget_neighbours().unwrap();
    let mallory = Site::on(&machine, pair.folder.path(), "mallory");
    let mut theirs = mallory.broker(&["--listen", &format!("{}:{PORT}", pair.server.address())]);
    theirs.start().await.unwrap();
    beta.stop().await.unwrap();
    let _beta = pair.beta.node().await;
    pair.beta.health("beta refuses mallory", believes_another).await;
    let metrics = metrics(&machine, &mallory).await;
    let value =
        |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    assert_ne!(value("waxwing_broker_connections_refused_total{reason=\"bad_tls\"}"), "0", "{metrics}");
    let logins = metrics.lines().filter(|line| line.starts_with("waxwing_broker_logins"));
    assert!(logins.clone().count() > 1 && logins.clone().all(|line| line.ends_with(" 0")), "{metrics}");

    theirs.stop().await.unwrap();
    machine.give_up(pair.server.address()).unwrap();
    pair.server.take(pair.server.address()).unwrap();
    pair.client.forget_neighbours().unwrap();
    pair.beta.linked().await;
    pair.beta.delivers("beta", "home again").await;
}

/// What a broker counts.
async fn metrics(machine: &Machine, site: &Site) -> String {
    let holder = waxwing_broker::holder(&site.folder().join("broker")).unwrap().unwrap();
    let script = format!(
        "exec 3<>/dev/tcp/127.0.0.1/{}; printf 'GET /metrics HTTP/1.1\\r\\nhost: localhost\\r\\n\\r\\n' >&3; cat <&3",
        holder.admin.unwrap().port()
    );
    let words = machine.wrap(["bash", "-c", &script].map(Into::into).to_vec());
    let output = tokio::process::Command::new(&words[0]).args(&words[1..]).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_broker_that_others_can_reach_founds_meshes_only_for_its_token_and_joining_takes_none() {
    let Some(mut pair) = Pair::start(&[]).await else { return };
    let create = ["mesh", "create", "lab", "--broker", &pair.url, "--node", "alpha"];
    let (code, message) = pair.alpha.fails(&create, 3).await;
    assert!(code == "not_authorised" && message.contains("--creation-token"), "{code}: {message}");
    let wrong = pair.folder.path().join("wrong");
    std::fs::write(&wrong, format!("wwc1_{}\n", "A".repeat(43))).unwrap();
    let (_, message) =
        pair.alpha.fails(&[&create[..], &["--creation-token", wrong.to_str().unwrap()]].concat(), 3).await;
    assert!(message.contains("is not this broker's"), "{message}");
    std::fs::write(&wrong, "wwc1_AAAA").unwrap();
    let (_, message) =
        pair.alpha.fails(&[&create[..], &["--creation-token", wrong.to_str().unwrap()]].concat(), 2).await;
    assert!(message.contains("no creation token") && !message.contains("AAAA"), "{message}");

    let secret = std::fs::read_to_string(&pair.token).unwrap();
    let made = pair.alpha.run(&[&create[..], &["--creation-token", "-"]].concat(), &secret).await;
    made.json().unwrap();
    let _alpha = pair.alpha.node().await;
    pair.alpha.linked().await;
    let token = pair.alpha.json(&["invite"]).await["token"].as_str().unwrap().to_owned();
    pair.beta.json(&["join", &token, "--name", "beta"]).await;

    // The token is in its file alone, and a second start has the same.
    pair.broker.stop().await.unwrap();
    assert!(!pair.broker.log().contains(secret.trim()), "in the broker's log");
    pair.broker.start().await.unwrap();
    assert_eq!(std::fs::read_to_string(&pair.token).unwrap(), secret);
    let other = Site::on(&pair.client, pair.folder.path(), "other");
    let create = ["mesh", "create", "more", "--broker", &pair.url, "--creation-token", &pair.token];
    other.json(&[&create[..], &["--node", "other"]].concat()).await;
}

#[tokio::test]
async fn a_closed_broker_that_lost_its_store_is_given_its_mesh_back_without_the_token() {
    let Some(mut pair) = Pair::start(&[]).await else { return };
    let (_alpha, token) = pair.found(&[]).await;
    pair.beta.json(&["join", &token, "--name", "beta"]).await;
    let _beta = pair.beta.node().await;
    pair.beta.delivers("alpha", "before").await;
    pair.broker.stop().await.unwrap();
    for name in ["broker.db", "creation.token"] {
        std::fs::remove_file(pair.alpha.folder().join("broker").join(name)).unwrap();
    }
    pair.broker.start().await.unwrap();
    pair.beta.delivers("alpha", "after").await;
    pair.alpha.delivers("beta", "after").await;
}

#[tokio::test]
async fn without_tls_a_link_leaves_its_machine_only_where_both_ends_say_so() {
    let Some(pair) = Pair::start(&["--plaintext"]).await else { return };
    assert_eq!(pair.url, "ws://10.77.0.1:7900");
    let create = ["mesh", "create", "lab", "--broker", &pair.url];
    let (code, message) = pair.alpha.fails(&create, 2).await;
    assert!(code == "usage" && message.contains("wss://") && message.contains("--plaintext"), "{message}");
    let (_alpha, token) = pair.found(&["--plaintext"]).await;
    let (_, message) = pair.beta.fails(&["join", &token, "--name", "beta"], 2).await;
    assert!(message.contains("--plaintext"), "{message}");
    pair.beta.json(&["join", &token, "--name", "beta", "--plaintext"]).await;
    let _beta = pair.beta.node().await;
    pair.beta.linked().await;
    pair.beta.delivers("alpha", "in the open").await;
}

#[tokio::test]
async fn a_broker_on_every_address_says_which_one_is_dialled() {
    let Some(network) = network() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (server, client) = (network.machine().unwrap(), network.machine().unwrap());
    let site = Site::on(&server, folder.path(), "site");
    let listen = ["--listen", "0.0.0.0:7900"];
    let (_, message) = site.fails(&[&["broker", "run"], &listen[..]].concat(), 2).await;
    assert!(message.contains("--advertise wss://"), "{message}");
    let mut broker = site.broker(&[&listen[..], &["--advertise", "wss://10.77.0.1:7900"]].concat());
    let ready = broker.start().await.unwrap();
    let url = ready["advertised"][0].as_str().unwrap();
    let other = Site::on(&client, folder.path(), "other");
    let create = ["mesh", "create", "lab", "--broker", url, "--node", "other", "--creation-token"];
    let token = ready["creation_token"].as_str().unwrap();
    other.json(&[&create[..], &[token]].concat()).await;
    let _node = other.node().await;
    other.linked().await;
    other.delivers("other", "by the address advertised").await;
}
