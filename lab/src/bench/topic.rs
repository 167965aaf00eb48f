//! Messages of a topic, from apps of one node to subscribers on the others: how many deliveries a second, and how soon.

mod round;

use serde::Serialize;
use waxwing_client::api::{StartFrom, SubscribeRequest, TopicStreamQuery};
use waxwing_client::{Client, TopicStream};

use self::round::{Round, Said};
use super::stand::{Costs, Meter, Setup, Stand, Until};
use super::{Progress, Range, Spread, Spreads};
use crate::error::{Error, Result};

/// Messages published before anything is measured.
const WARM_UP: usize = 50;
/// What all topics of a run are called by.
const TOPICS: &str = "bench:";

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// On what: the first node publishes, and so many apps subscribe on the others.
    pub setup: Setup,
    /// Apps that publish, each one message after the other.
    pub publishers: usize,
    /// Bytes of each body.
    pub size: usize,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many nodes.
    pub nodes: usize,
    /// Apps that have subscribed, on all nodes but the first.
    pub subscribers: usize,
    /// Apps that publish.
    pub publishers: usize,
    /// Rounds.
    pub rounds: usize,
    /// Bytes of each body.
    pub size: usize,
    /// What every commit waited for.
    pub durability: String,
    /// Messages published, over all rounds.
    pub messages: usize,
    /// Messages published a second.
    pub published_per_second: Range,
    /// Deliveries a second, each of a message to a subscriber's stream.
    pub deliveries_per_second: Range,
    /// From the request to publish to the answer that it is stored.
    pub publish: Spreads,
    /// From the request to publish to a subscriber's stream.
    pub delivery: Spreads,
    /// How often a publisher was told to wait, as it had said too much for an app.
    pub rate_limited: usize,
    /// Deliveries that did not come.
    pub lost: usize,
    /// Deliveries that came twice.
    pub duplicates: usize,
    /// What a delivery cost.
    #[serde(flatten)]
    pub costs: Costs,
}

/// Measures.
///
/// # Errors
/// If a process does not start, or what is published is refused.
pub async fn run(plan: &Plan, progress: &impl Progress) -> Result<Report> {
    let setup = &plan.setup;
    let mut stand = Stand::start(setup, progress).await?;
    let publishers = (1..=plan.publishers).map(|n| client(&stand, 0, &format!("publisher-{n}")));
    let publishers = publishers.collect::<Result<Vec<_>>>()?;
    let mut subscribers = Vec::new();
    for n in 0..setup.apps {
        subscribers.push(Subscriber::open(&stand, n).await?);
    }
    let few = match setup.until {
        Until::Count(count) => count.min(WARM_UP),
        Until::Elapsed(_) => WARM_UP,
    };
    let warm = Round { name: "warming up", until: Until::Count(few), size: plan.size };
    warm.run(&publishers, &mut subscribers, progress).await?;
    let (mut meter, mut said) = (Meter::default(), Vec::new());
    for n in 1..=setup.rounds {
        let round = Round { name: &format!("round {n}"), until: setup.until, size: plan.size };
        meter.begin(&mut stand).await?;
        let one = round.run(&publishers, &mut subscribers, progress).await?;
        meter.end(&mut stand, one.deliveries.len()).await?;
        said.push(one);
    }
    Ok(report(plan, &stand, &meter, said))
}

fn report(plan: &Plan, stand: &Stand, meter: &Meter, said: Vec<Said>) -> Report {
    let setup = &plan.setup;
    let sum = |of: fn(&Said) -> usize| said.iter().map(of).sum();
    let rate = |of: fn(&Said) -> f64| Range::over(said.iter().map(of));
    let (messages, rate_limited) = (sum(|said| said.publishes.len()), sum(|said| said.rate_limited));
    let (lost, duplicates) = (sum(|said| said.lost), sum(|said| said.duplicates));
    let published_per_second = rate(|said| said.publishes.len() as f64 / said.published.as_secs_f64());
    let deliveries_per_second = rate(|said| said.deliveries.len() as f64 / said.delivered.as_secs_f64());
    let (publishes, deliveries): (Vec<_>, Vec<_>) =
        said.into_iter().map(|said| (Spread::of(said.publishes), Spread::of(said.deliveries))).unzip();
    Report {
        nodes: setup.nodes,
        subscribers: setup.apps,
        publishers: plan.publishers,
        rounds: setup.rounds,
        size: plan.size,
        durability: stand.durability(),
        messages,
        published_per_second,
        deliveries_per_second,
        publish: Spreads::over(&publishes),
        delivery: Spreads::over(&deliveries),
        rate_limited,
        lost,
        duplicates,
        costs: meter.costs(),
    }
}

/// An app that has subscribed, and its stream.
struct Subscriber {
    client: Client,
    stream: TopicStream,
}

impl Subscriber {
    async fn open(stand: &Stand, n: usize) -> Result<Self> {
        let client = client(stand, 1 + n % (stand.names.len() - 1), &format!("subscriber-{n}"))?;
        let pattern = format!("{TOPICS}*");
        let request = SubscribeRequest {
            pattern: pattern.parse().map_err(|_| Error::Unreadable(format!("{pattern} is no pattern")))?,
            from: Some(StartFrom::Now),
            after: None,
            no_echo: false,
            mesh: None,
        };
        client.subscribe(&request).await?;
        // What is acknowledged at the end of a round is not to come again before.
        let query = TopicStreamQuery { redeliver: Some("1h".to_owned()), ..TopicStreamQuery::default() };
        let stream = client.topic_stream(&query).await?;
        Ok(Self { client, stream })
    }
}

fn client(stand: &Stand, node: usize, app: &str) -> Result<Client> {
    let name = app.parse().map_err(|_| Error::Unreadable(format!("{app} is no name")))?;
    Ok(stand.lab.client(&stand.names[node]).app(name))
}
