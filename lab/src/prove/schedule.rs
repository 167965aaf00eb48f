//! What a seed makes happen: faults, one after the other, each with its moment.

use std::fmt;
use std::time::Duration;

use crate::chance::Chance;
use crate::proxy::Direction;

/// Frames at which a fault may strike: each step of a message's way, and those of a login.
const FRAMES: [&str; 10] = [
    "send",
    "sent",
    "deliver",
    "settle",
    "prekey.get",
    "prekey",
    "prekey.put",
    "challenge",
    "hello",
    "welcome",
];

/// A fault, and when it strikes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Strike {
    /// When.
    pub moment: Moment,
    /// What.
    pub fault: Fault,
}

/// When a fault strikes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Moment {
    /// So long after apps have begun to send.
    After(Duration),
    /// While the next such frame is held on the link of a node, if there is one soon.
    Holding {
        /// Which node, from 0.
        node: usize,
        /// The frame's name.
        frame: &'static str,
    },
}

/// A process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Victim {
    /// The broker.
    Broker,
    /// A node, from 0.
    Node(usize),
}

/// What goes wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Processes are killed (`kill -9`), and started again after a while.
    Kill {
        /// Which, in this order.
        victims: Vec<Victim>,
        /// How long they are gone.
        gone: Duration,
    },
    /// A process is asked to stop, and started again.
    Restart(Victim),
    /// The broker is killed, and its whole store is gone when it starts again.
    LoseStore,
    /// The link of a node is cut.
    Cut(usize),
    /// All links are cut.
    CutAll,
    /// One end of a link does not notice that it is cut.
    HalfOpen {
        /// The node.
        node: usize,
        /// Towards whom nothing comes any more: that end keeps its connection.
        end: Direction,
        /// For how long.
        lasts: Duration,
    },
    /// Frames of a node wait, though its link is there.
    Stall {
        /// The node.
        node: usize,
        /// For how long.
        lasts: Duration,
    },
    /// The link of a node is silent both ways: no frame, no ping, no end.
    Silence {
        /// The node.
        node: usize,
        /// For how long.
        lasts: Duration,
    },
    /// Frames of a node come late.
    Delay {
        /// The node.
        node: usize,
        /// How late.
        by: Duration,
    },
    /// What goes over the link of a node goes byte by byte.
    Split(usize),
    /// All links are cut, and whoever dials is not answered.
    Swallow {
        /// For how long.
        lasts: Duration,
    },
}

impl Fault {
    /// The same name for all of a kind, as a report counts them.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kill { victims, .. } => match victims[..] {
                [Victim::Broker] => "kill -9 of the broker",
                [Victim::Node(_)] => "kill -9 of a node",
                _ => "kill -9 of two at once",
            },
            Self::Restart(_) => "a restart",
            Self::LoseStore => "the broker's store deleted",
            Self::Cut(_) => "a link cut",
            Self::CutAll => "all links cut",
            Self::HalfOpen { .. } => "a link half open",
            Self::Stall { .. } => "a link stalled",
            Self::Silence { .. } => "a link silent",
            Self::Delay { .. } => "a link slow",
            Self::Split(_) => "a link byte by byte",
            Self::Swallow { .. } => "nobody answered",
        }
    }

    /// How many processes it kills.
    pub fn kills(&self) -> usize {
        match self {
            Self::Kill { victims, .. } => victims.len(),
            Self::LoseStore => 1,
            Self::Restart(_)
            | Self::Cut(_)
            | Self::CutAll
            | Self::HalfOpen { .. }
            | Self::Stall { .. }
            | Self::Silence { .. }
            | Self::Delay { .. }
            | Self::Split(_)
            | Self::Swallow { .. } => 0,
        }
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.moment {
            Moment::After(after) => write!(f, "after {after:?}: {:?}", self.fault),
            Moment::Holding { node, frame } => write!(f, "holding {frame} of node {node}: {:?}", self.fault),
        }
    }
}

/// All strikes of a seed. The same seed and number of nodes give the same.
#[derive(Clone, Debug)]
pub struct Schedule {
    chance: Chance,
    nodes: usize,
}

impl Schedule {
    /// Begins.
    pub const fn new(seed: u64, nodes: usize) -> Self {
        Self { chance: Chance::new(seed), nodes }
    }

    /// The faults of one round: one to three.
    pub fn round(&mut self) -> Vec<Strike> {
        let strikes = 1 + self.chance.below(3);
        (0..strikes).map(|_| Strike { moment: self.moment(), fault: self.fault() }).collect()
    }

    fn moment(&mut self) -> Moment {
        if self.chance.below(2) == 0 {
            return Moment::After(self.millis(0, 60));
        }
        let node = self.node();
        let frame = FRAMES[usize::try_from(self.chance.below(FRAMES.len() as u64)).unwrap_or_default()];
        Moment::Holding { node, frame }
    }

    fn fault(&mut self) -> Fault {
        match self.chance.below(24) {
            0..=5 => self.kill(&[Victim::Node(0)]),
            6..=8 => self.kill(&[Victim::Broker]),
            9 => self.kill(&[Victim::Node(0), Victim::Broker]),
            10 => self.kill(&[Victim::Node(0), Victim::Node(1)]),
            11 => Fault::Restart(Victim::Broker),
            12 => Fault::Restart(Victim::Node(self.node())),
            13 => Fault::LoseStore,
            14 | 15 => Fault::Cut(self.node()),
            16 => Fault::CutAll,
            17 => Fault::HalfOpen { node: self.node(), end: Direction::ToNode, lasts: self.millis(50, 400) },
            18 => {
                Fault::HalfOpen { node: self.node(), end: Direction::ToBroker, lasts: self.millis(50, 400) }
            }
            19 => Fault::Stall { node: self.node(), lasts: self.millis(50, 400) },
            20 => Fault::Silence { node: self.node(), lasts: self.millis(50, 400) },
            21 => Fault::Delay { node: self.node(), by: self.millis(5, 50) },
            22 => Fault::Split(self.node()),
            _ => Fault::Swallow { lasts: self.millis(50, 400) },
        }
    }

    /// Kills such processes; which nodes these are is chance.
    fn kill(&mut self, who: &[Victim]) -> Fault {
        let first = self.node();
        let there = self.nodes;
        let turned = |victim: &Victim| match victim {
            Victim::Broker => Victim::Broker,
            Victim::Node(node) => Victim::Node((first + node) % there.max(1)),
        };
        Fault::Kill { victims: who.iter().map(turned).collect(), gone: self.millis(0, 200) }
    }

    fn node(&mut self) -> usize {
        usize::try_from(self.chance.below(self.nodes as u64)).unwrap_or_default()
    }

    fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.chance.below(most - least + 1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn strikes(seed: u64, rounds: usize) -> Vec<Strike> {
        let mut schedule = Schedule::new(seed, 3);
        (0..rounds).flat_map(|_| schedule.round()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_faults_and_another_gives_others() {
        assert_eq!(strikes(7, 50), strikes(7, 50));
        assert_ne!(strikes(7, 50), strikes(8, 50));
    }

    #[test]
    fn every_kind_of_fault_comes_soon() {
        let kinds: BTreeSet<_> = strikes(1, 100).iter().map(|strike| strike.fault.kind()).collect();
        assert_eq!(kinds.len(), 13, "{kinds:?}");
    }
}
