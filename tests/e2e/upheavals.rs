//! Presence while everything around it dies: nodes and broker killed, links cut, apps that come and go, in an order that a seed
//! repeats. In the end every node shows what the apps hold, and nobody was told of a node that had gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use waxwing_client::api::{
    AppsQuery, EventBody, EventQuery, MeshQuery, ProfileRequest, Registered, Registration, RemoveQuery,
    Scope, SendRequest,
};
use waxwing_client::{Client, Error, Name};
use waxwing_lab::{Lab, eventually};

use crate::storm::{chance, strike};
use crate::support::{WITHIN, mesh};

const NODES: [&str; 3] = ["alpha", "beta", "gamma"];
/// Upheavals, unless more are asked for by `WAXWING_UPHEAVALS`, or one by `WAXWING_SEED`.
const SEEDS: u64 = 2;
/// Faults in each.
const FAULTS: usize = 12;
/// The longest time between two.
const CALM: u64 = 600;
/// Names that the apps of a node have.
const APPS: u64 = 4;

/// What is at a node, as whoever is there means it to be.
#[derive(Clone, Debug, Default)]
struct Held {
    /// What it says of itself.
    summary: String,
    /// Apps, with what they say and by what they prove that they hold their name.
    apps: BTreeMap<Name, (String, Option<Registered>)>,
}

/// A node's summary, and the apps in the mesh with theirs, as one node shows them.
type Shown = (BTreeMap<String, String>, BTreeMap<String, String>);

/// Asks until there is an answer, however often the node dies before it has given one. A refusal is an answer.
async fn patiently<T>(what: &str, ask: impl AsyncFn() -> Result<T, Error>) -> Result<T, Error> {
    let answer = async || match ask().await {
        Ok(answer) => Some(Ok(answer)),
        Err(Error::Unreachable { .. } | Error::Lost(_)) => None,
        Err(refused @ (Error::Problem(_) | Error::Incompatible(_))) => Some(Err(refused)),
    };
    eventually(WITHIN, what, answer).await.unwrap()
}

/// Registers an app, renews it, or brings it back after its node has died.
async fn register(client: &Client, app: &Name, held: &mut (String, Option<Registered>)) {
    let (summary, registered) = held;
    let registration = Registration {
        ttl: Some("10m".to_owned()),
        summary: Some(summary.clone()),
        registration: registered.as_ref().map(|held| held.registration.clone()),
        // An answer that was lost has left a registration that nobody can prove.
        takeover: registered.is_none(),
        ..Registration::default()
    };
    let answer = patiently("an app is registered", async || client.register(app, &registration).await).await;
    *registered = Some(answer.unwrap());
}

/// Ends an app. Its node may have died since, and know of none.
async fn ends(client: &Client, app: &Name) {
    let query = RemoveQuery::default();
    let ended = patiently("an app ends", async || client.unregister(app, &query).await).await;
    assert!(matches!(ended, Ok(()) | Err(Error::Problem(_))), "{ended:?}");
}

/// Whoever is at a node, until it is over: says something, registers an app, or ends one.
async fn lives(client: Client, mut seed: u64, over: CancellationToken) -> Held {
    let mut held = Held::default();
    while !over.is_cancelled() {
        let choice = chance(&mut seed);
        let app: Name = format!("app-{}", choice / 16 % APPS).parse().unwrap();
        match choice % 5 {
            0 => {
                held.summary = format!("at {}", choice >> 32);
                let request =
                    ProfileRequest { summary: Some(held.summary.clone()), ..ProfileRequest::default() };
                patiently("a profile is set", async || client.set_profile(&request).await).await.unwrap();
            }
            1 | 2 => {
                if held.apps.remove(&app).is_some() {
                    ends(&client, &app).await;
                }
            }
            _ => held.apps.entry(app).or_default().0 = format!("at {}", choice >> 32),
        }
        for (app, held) in &mut held.apps {
            register(&client, app, held).await;
        }
        let calm = Duration::from_millis(chance(&mut seed) % 150);
        let _ = timeout(calm, over.cancelled()).await;
    }
    held
}

/// Kills, restarts and cuts, one after the other, or two at once.
async fn faults(lab: &mut Lab, mut seed: u64) {
    for _ in 0..FAULTS {
        tokio::time::sleep(Duration::from_millis(chance(&mut seed) % CALM)).await;
        let node = NODES[(chance(&mut seed) % 3) as usize];
        match chance(&mut seed) % 8 {
            0..=2 => strike(lab, node).await,
            3 => strike(lab, Lab::BROKER).await,
            4 => {
                lab.stop(Lab::BROKER).await.unwrap();
                lab.restart(Lab::BROKER).await.unwrap();
            }
            5 => {
                lab.kill(node).await.unwrap();
                strike(lab, Lab::BROKER).await;
                lab.restart(node).await.unwrap();
            }
            _ => lab.proxy().cut_links(),
        }
    }
}

/// What a node shows of the others and of all apps, once it knows.
async fn shown(client: &Client) -> Option<Shown> {
    let peers = client.peers(&MeshQuery::default()).await.ok()?;
    let everybody = peers.current && peers.peers.iter().all(|peer| peer.online || peer.this);
    let others = peers.peers.into_iter().filter(|peer| !peer.this);
    let says = others
        .map(|peer| (peer.node.to_string(), peer.profile.and_then(|it| it.summary).unwrap_or_default()));
    let says = says.collect();
    let query = AppsQuery { scope: Some(Scope::Mesh), ..AppsQuery::default() };
    let apps = client.apps(&query).await.ok()?.apps.into_iter();
    let apps =
        apps.map(|app| (format!("{}@{}", app.name, app.node), app.details.summary.unwrap_or_default()));
    everybody.then(|| (says, apps.collect()))
}

/// What a node is to show.
fn wanted(all: &BTreeMap<&str, Held>, at: &str) -> Shown {
    let others = all.iter().filter(|(node, _)| **node != at);
    let apps = |(node, held): (&&str, &Held)| {
        let apps = held.apps.iter().map(|(app, (says, _))| (format!("{app}@{node}"), says.clone()));
        apps.collect::<Vec<_>>()
    };
    (
        others.map(|(node, held)| ((*node).to_owned(), held.summary.clone())).collect(),
        all.iter().flat_map(apps).collect(),
    )
}

/// All that a node has told of its peers and their apps until this message came: in turn, of no node that it had gone, and
/// nothing that only liars cause. Returns the apps that are there by it.
async fn told(lab: &Lab, at: &str, until: &str) -> BTreeSet<String> {
    let kind = Some("peer_join,peer_leave,app_join,app_leave,security,message".to_owned());
    let query = EventQuery { after: Some(0), app: Some("*".into()), kind, ..EventQuery::default() };
    let mut events = lab.client(at).events(&query).await.unwrap();
    let (mut joined, mut there) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let event = timeout(WITHIN, events.next()).await.expect("the message comes").unwrap().body;
        if let EventBody::Message { message } = &event
            && message.client_message_id.as_str() == until
        {
            return there;
        }
        let in_turn = if let EventBody::PeerJoin { node, .. } = &event {
            joined.insert(node.clone())
        } else if let EventBody::AppJoin { app, node, .. } = &event {
            there.insert(format!("{app}@{node}"))
        } else if let EventBody::AppLeave { app, node, .. } = &event {
            there.remove(&format!("{app}@{node}"))
        } else {
            false
        };
        assert!(in_turn, "{at} has told {event:?}");
    }
}

async fn upheaval(seed: u64) {
    println!("repeat with WAXWING_SEED={seed}");
    let mut lab = mesh(&NODES).await;
    let over = CancellationToken::new();
    let lives =
        |n: usize| lives(lab.client(NODES[n]), seed.wrapping_mul(31).wrapping_add(n as u64), over.clone());
    let lives = (lives(0), lives(1), lives(2));
    let storm = async {
        faults(&mut lab, seed).await;
        over.cancel();
    };
    let (alpha, beta, gamma, ()) = tokio::join!(lives.0, lives.1, lives.2, storm);
    let mut all = BTreeMap::from([("alpha", alpha), ("beta", beta), ("gamma", gamma)]);
    for (node, held) in &mut all {
        lab.linked(node).await.unwrap();
        for (app, held) in &mut held.apps {
            register(&lab.client(node), app, held).await;
        }
    }
    for node in NODES {
        let (client, wanted) = (lab.client(node), wanted(&all, node));
        let mut last = None;
        let same = async || {
            last = shown(&client).await;
            (last.as_ref() == Some(&wanted)).then_some(())
        };
        let same = eventually(WITHIN, "everybody shows what is held", same).await;
        assert!(same.is_ok(), "seed {seed}: {node} shows {last:?}, and not {wanted:?}");
    }
    for (n, node) in NODES.into_iter().enumerate() {
        let (to, body) = (NODES[(n + 1) % 3].to_owned(), Some("over".to_owned()));
        let id = Some("over".parse().unwrap());
        let over = SendRequest { to, body, client_message_id: id, ..SendRequest::default() };
        lab.client(node).send(&over).await.unwrap();
    }
    for node in NODES {
        let here = format!("@{node}");
        let elsewhere = wanted(&all, node).1.into_keys().filter(|app| !app.ends_with(&here));
        assert_eq!(
            told(&lab, node, "over").await,
            elsewhere.collect(),
            "seed {seed}, by what {node} has told"
        );
    }
}

#[tokio::test]
async fn whatever_dies_every_node_shows_what_the_apps_hold_and_no_node_has_left() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match number("WAXWING_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WAXWING_UPHEAVALS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        upheaval(seed).await;
    }
}
