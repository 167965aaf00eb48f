//! Fifty apps on five nodes race for one lease while nodes, links and the broker die, by a seed: never two have it, tokens rise,
//! and whoever waits is served in turn or told why not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep_until, timeout};
use waxwing_client::api::{AcquireRequest, CheckQuery, LinkState, ReleaseRequest, RenewRequest, TokenState};
use waxwing_client::{Client, Error};
use waxwing_lab::{Lab, eventually};

use crate::leases::app;
use crate::storm::{chance, seed};
use crate::support::{WITHIN, mesh};

const NODES: [&str; 5] = ["alpha", "beta", "gamma", "delta", "epsilon"];
const NAME: &str = "race";
/// As long as a lease lasts that nobody renews, and so as long as a node that is cut off holds up all others.
const TTL: &str = "10s";
/// Rounds, unless `WAXWING_RACE` says how many.
const ROUNDS: usize = 60;
/// Rounds between two disasters, at most.
const CALM: usize = 10;
/// More than a node takes to say why it has no answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(90);
/// The others are granted it so often while one node is cut off.
const MEANWHILE: usize = 5;

/// The race, and what is raced for: it sees every token that somebody works under.
struct Race {
    over: AtomicBool,
    /// By token: who, and until when at the latest.
    worked: Mutex<BTreeMap<u64, (String, Instant)>>,
    granted: AtomicUsize,
    /// Why somebody was not served.
    told: Mutex<BTreeMap<String, usize>>,
    /// How often each node has died and come back: odd while it is dead.
    deaths: [AtomicUsize; 5],
    /// A node is to be cut off while an app of it has the lease.
    wish: Mutex<Option<Wish>>,
}

struct Wish {
    node: usize,
    holds: oneshot::Sender<()>,
    parted: oneshot::Receiver<()>,
}

impl Race {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            over: AtomicBool::new(false),
            worked: Mutex::default(),
            granted: AtomicUsize::new(0),
            told: Mutex::default(),
            deaths: Default::default(),
            wish: Mutex::default(),
        })
    }

    fn granted(&self) -> usize {
        self.granted.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Somebody works under a token, which certainly counts until then.
    fn works(&self, who: &str, token: u64, until: Instant) {
        let mut worked = self.worked.lock().unwrap();
        if let Some((before, ends)) = worked.get_mut(&token) {
            assert_eq!(before, who, "two holders of token {token}");
            *ends = until;
            return;
        }
        if let Some((last, (other, ended))) = worked.last_key_value() {
            assert!(token > *last, "{who} has {token} after {other} had {last}");
            assert!(*ended <= Instant::now(), "{who} has {token} while {other} may work under {last}");
        }
        worked.insert(token, (who.to_owned(), until));
        self.granted.fetch_add(1, Ordering::Relaxed);
    }

    /// He stops, before he gives it back.
    fn stops(&self, token: u64) {
        let mut worked = self.worked.lock().unwrap();
        if let Some((_, until)) = worked.get_mut(&token) {
            *until = (*until).min(Instant::now());
        }
    }

    fn deaths(&self, node: usize) -> usize {
        self.deaths[node].load(Ordering::Relaxed)
    }

    /// Somebody was not served, and why. A node that lives says why; `deaths` is how often it had died when it was asked.
    fn told(&self, who: &str, node: usize, deaths: usize, why: &Error) {
        let why = match why {
            Error::Problem(problem) => problem.code.as_str(),
            Error::Lost(_) | Error::Unreachable { .. } => {
                let died = deaths % 2 == 1 || self.deaths(node) != deaths;
                assert!(died, "{who} was told nothing, and {} lives: {why}", NODES[node]);
                "the node died"
            }
            Error::Incompatible(_) => panic!("{who}: {why}"),
        };
        self.count(why);
    }

    fn count(&self, why: &str) {
        *self.told.lock().unwrap().entry(why.to_owned()).or_default() += 1;
    }

    fn wish_of(&self, node: usize) -> Option<Wish> {
        self.wish.lock().unwrap().take_if(|wish| wish.node == node)
    }
}

/// One app: asks, works, gives it back, until the race is over.
async fn races(client: Client, node: usize, who: String, race: Arc<Race>) {
    let request = AcquireRequest {
        name: Some(NAME.to_owned()),
        wait: Some("20s".to_owned()),
        ttl: Some(TTL.to_owned()),
        ..AcquireRequest::default()
    };
    while !race.is_over() {
        let deaths = race.deaths(node);
        let answer = match client.acquire_lease(&request).await {
            Ok(answer) => answer,
            Err(why) => {
                race.told(&who, node, deaths, &why);
                answers_again(&client).await;
                continue;
            }
        };
        let (Some(token), Some(remaining)) = (answer.token, answer.remaining) else {
            race.count(answer.state.as_str());
            continue;
        };
        if remaining == 0 {
            race.count("over already");
            continue;
        }
        race.works(&who, token, Instant::now() + Duration::from_millis(remaining));
        let query = CheckQuery { name: NAME.to_owned(), fence: token, mesh: None };
        if let Ok(checked) = client.check_lease(&query).await {
            assert_ne!(checked.state, TokenState::Queued, "{who} was granted {token}");
        }
        if let Some(wish) = race.wish_of(node) {
            works_cut_off(&client, &who, token, &race, wish).await;
        }
        race.stops(token);
        give_back(&client, token).await;
    }
}

/// Works for as long as the lease certainly lasts, on a node that is cut off: others have it afterwards, and not before.
async fn works_cut_off(client: &Client, who: &str, token: u64, race: &Race, wish: Wish) {
    let renew = RenewRequest { name: NAME.to_owned(), token, ttl: None, mesh: None };
    let asked = Instant::now();
    let Ok(renewed) = client.renew_lease(&renew).await else { return };
    let until = asked + Duration::from_millis(renewed.remaining);
    race.works(who, token, until);
    if wish.holds.send(()).is_err() || wish.parted.await.is_err() {
        return;
    }
    // This is the work: whoever waits for it is held up for as long.
    sleep_until(until).await;
    let late = client.renew_lease(&renew).await;
    assert!(late.is_err(), "{who} has {token} still, when others have it: {late:?}");
}

/// Gives it back, unless it is over.
async fn give_back(client: &Client, token: u64) {
    let given = async || {
        let request = ReleaseRequest { name: NAME.to_owned(), token, mesh: None };
        match client.release_lease(&request).await {
            Ok(_) => return Some(()),
            Err(Error::Problem(problem)) if problem.code.as_str() != "offline" => return Some(()),
            Err(_) => {}
        }
        answers_again(client).await;
        None
    };
    eventually(2 * WITHIN, "it is given back", given).await.unwrap();
}

/// Waits until a node answers, and has its link.
async fn answers_again(client: &Client) {
    let linked = async || {
        let health = client.health().await.ok()?;
        health.meshes.iter().all(|mesh| mesh.link.state == LinkState::Up).then_some(())
    };
    eventually(WITHIN, "the node answers again", linked).await.unwrap();
}

/// What befalls them.
#[derive(Clone, Copy, Debug)]
enum Disaster {
    NodeKilled,
    LinksCut,
    BrokerKilled,
    NodeParted,
}

impl Disaster {
    const ALL: [Self; 4] = [Self::NodeKilled, Self::LinksCut, Self::BrokerKilled, Self::NodeParted];

    async fn strikes(self, lab: &mut Lab, race: &Race, node: usize) {
        match self {
            Self::NodeKilled => {
                race.deaths[node].fetch_add(1, Ordering::Relaxed);
                lab.kill(NODES[node]).await.unwrap();
                lab.restart(NODES[node]).await.unwrap();
                race.deaths[node].fetch_add(1, Ordering::Relaxed);
            }
            Self::LinksCut => lab.proxy().cut_links(),
            Self::BrokerKilled => {
                lab.kill(Lab::BROKER).await.unwrap();
                lab.restart(Lab::BROKER).await.unwrap();
            }
            Self::NodeParted => part(lab, race, node).await,
        }
    }
}

/// Cuts one node off while an app of it has the lease, until the others have had it again and again.
async fn part(lab: &Lab, race: &Race, node: usize) {
    let parted = loop {
        let ((holds, held), (cut, parted)) = (oneshot::channel(), oneshot::channel());
        *race.wish.lock().unwrap() = Some(Wish { node, holds, parted });
        match timeout(WITHIN, held).await.expect("an app of the node has its turn") {
            Ok(()) => {
                let parted = lab.proxy().part(lab.id(NODES[node]));
                let _ = cut.send(());
                break parted;
            }
            // It was lost before it could be renewed.
            Err(_) => continue,
        }
    };
    let due = race.granted() + MEANWHILE;
    let others = async || (race.granted() >= due).then_some(());
    eventually(WITHIN, "the others go on", others).await.unwrap();
    drop(parted);
}

/// MT-69, SB-01, CB-05, ST-01.
#[tokio::test]
async fn fifty_apps_race_for_one_lease_and_never_two_have_it() {
    LocalSet::new().run_until(race()).await;
}

async fn race() {
    let rounds = std::env::var("WAXWING_RACE").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let (mut seed, mut lab, race) = (seed(), mesh(&NODES).await, Race::new());
    let mut racing = JoinSet::new();
    for n in 0..50 {
        let (who, node) = (format!("app-{n}"), n % NODES.len());
        let client = app(&lab, NODES[node], &who).timeout(ANSWERS_WITHIN);
        racing.spawn_local(races(client, node, who, Arc::clone(&race)));
    }
    let (began, mut disasters) = (Instant::now(), 0);
    while race.granted() < rounds || disasters < Disaster::ALL.len() {
        let due = race.granted() + 1 + chance(&mut seed) as usize % CALM;
        let (what, come) = (format!("{due} are granted"), async || (race.granted() >= due).then_some(()));
        tokio::select! {
            come = eventually(2 * WITHIN, &what, come) => come.unwrap(),
            Some(ended) = racing.join_next() => panic!("an app has ended: {ended:?}"),
        }
        let node = chance(&mut seed) as usize % NODES.len();
        Disaster::ALL[disasters % 4].strikes(&mut lab, &race, node).await;
        disasters += 1;
    }
    race.over.store(true, Ordering::Relaxed);
    while let Some(ended) = timeout(5 * WITHIN, racing.join_next()).await.expect("it comes to an end") {
        ended.unwrap();
    }
    let (granted, told) = (race.granted(), race.told.lock().unwrap().clone());
    println!("{granted} granted in {:.1?}, {disasters} disasters, not served: {told:?}", began.elapsed());
    assert!(granted >= rounds && disasters >= rounds / 50, "{disasters} disasters");
    let apps: BTreeSet<_> = race.worked.lock().unwrap().values().map(|(who, _)| who.clone()).collect();
    assert!(apps.len() >= 50.min(rounds / 2), "only {} apps were served", apps.len());
}
