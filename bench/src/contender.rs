//! Who is measured, and what each of them promises when it answers.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use rumqttc::QoS;

use crate::measure::Figures;
use crate::{model, mqtt, nats, redis, waxwing};

/// Who is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Contender {
    Model,
    Batches,
    Single,
    Nats,
    MqttOnce,
    MqttExactlyOnce,
    Redis,
}

/// What it came to in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// With as many under way as the window has room for.
    pub(crate) full: Figures,
    /// One at a time, if that is another measurement than somebody else's.
    pub(crate) alone: Option<Figures>,
}

impl Contender {
    /// All of them; the first is what others are compared with.
    pub(crate) const fn all() -> [Self; 7] {
        use Contender::{Batches, Model, MqttExactlyOnce, MqttOnce, Nats, Redis, Single};
        [Model, Batches, Single, Nats, MqttOnce, MqttExactlyOnce, Redis]
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Model => "the bare model",
            Self::Batches => "Waxwing, in batches",
            Self::Single => "Waxwing, 16 connections, one in each request",
            Self::Nats => "nats-server, JetStream in files, explicit acks",
            Self::MqttOnce => "mosquitto, QoS 1, persistence",
            Self::MqttExactlyOnce => "mosquitto, QoS 2, persistence",
            Self::Redis => "redis-server, XADD and a group, `appendfsync always`",
        }
    }

    /// What is on the disk when it has answered.
    pub(crate) const fn synced(self) -> &'static str {
        match self {
            Self::Model => "every commit, at all three stores",
            Self::Batches | Self::Single => {
                "every commit, at both nodes and the broker; sealed from node to node"
            }
            Self::Nats => "nothing: it is written to files, which are synced later, at an interval",
            Self::MqttOnce | Self::MqttExactlyOnce => {
                "nothing: its memory is written out every half hour, and as it ends"
            }
            Self::Redis => "every write of one server, what has been read and acknowledged among them",
        }
    }

    /// What a message goes through before the next takes its place.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::Model => "three commits, one after the other, each of whatever has come meanwhile",
            Self::Batches => {
                "the same three commits, as many messages in a request of HTTP as there is room for; then those that its receipt takes"
            }
            Self::Single => "the same, a request of HTTP for each message",
            Self::Nats => "one server: a write to a file",
            Self::MqttOnce => "one server's memory: PUBLISH and PUBACK on each side",
            Self::MqttExactlyOnce => "one server's memory: PUBLISH, PUBREC, PUBREL and PUBCOMP on each side",
            Self::Redis => {
                "one thread of one server: a write and an fsync for whatever commands it has just run"
            }
        }
    }

    /// One round.
    pub(crate) async fn round(self, program: &Path, time: Duration) -> Result<Round> {
        let [full, alone] = match self {
            Self::Batches => [waxwing::batches(program, time).await?, waxwing::alone(program, time).await?],
            Self::Single => {
                return Ok(Round { full: waxwing::single(program, time).await?, alone: None });
            }
            Self::Model => model::round(time).await?,
            Self::Nats => nats::round(time).await?,
            Self::MqttOnce => mqtt::round(QoS::AtLeastOnce, time).await?,
            Self::MqttExactlyOnce => mqtt::round(QoS::ExactlyOnce, time).await?,
            Self::Redis => redis::round(time).await?,
        };
        Ok(Round { full, alone: Some(alone) })
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}/s", self.full.per_second)?;
        match self.alone {
            Some(alone) => write!(f, ", one at a time {:.2} ms, p99 {:.2}", alone.p50, alone.p99),
            None => Ok(()),
        }
    }
}
