//! What names a node and a row of its queue.

use waxwing_crypto::{MeshId, NodeId, Priority};

/// A node of a mesh.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct NodeKey {
    /// The mesh.
    pub(crate) mesh: MeshId,
    /// The node.
    pub(crate) node: NodeId,
}

/// Number of a login, one above the one before. A change that carries an older one is ignored.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct LoginNumber(pub(crate) u64);

/// Place of a row in its queue. Rises in the order of accepting, over all ranks.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Seq(pub(crate) u64);

/// What is delivered before what.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Rank {
    /// Notices: they free a sender's rows.
    Notice,
    /// Priority `now`.
    Now,
    /// Priority `next`.
    Next,
    /// Priority `low`.
    Low,
}

impl Rank {
    /// Every rank, first delivered first.
    pub(crate) const ALL: [Self; 4] = [Self::Notice, Self::Now, Self::Next, Self::Low];

    /// The number it is stored as, and its index in [`Rank::ALL`].
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Notice => 0,
            Self::Now => 1,
            Self::Next => 2,
            Self::Low => 3,
        }
    }

    /// The priority it stands for; none for notices.
    pub(crate) const fn priority(self) -> Option<Priority> {
        match self {
            Self::Notice => None,
            Self::Now => Some(Priority::Now),
            Self::Next => Some(Priority::Next),
            Self::Low => Some(Priority::Low),
        }
    }
}

impl From<Priority> for Rank {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Now => Self::Now,
            Priority::Next => Self::Next,
            Priority::Low => Self::Low,
        }
    }
}

/// A row within one node's queue.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    /// Its rank.
    pub(crate) rank: Rank,
    /// Its number.
    pub(crate) seq: Seq,
}

/// A row of any queue.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct QueueKey {
    /// Whose queue.
    pub(crate) owner: NodeKey,
    /// Where in it.
    pub(crate) place: Place,
}

/// A set of ranks, small enough for an atomic.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Ranks(u8);

impl Ranks {
    /// All of them.
    pub(crate) const ALL: Self = Self(0b1111);

    /// Takes what [`Ranks::bits`] gave.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// As one bit per rank.
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// Whether none is in it.
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one is in it.
    pub(crate) const fn contains(self, rank: Rank) -> bool {
        self.0 & (1 << rank.index()) != 0
    }

    /// Adds a rank.
    pub(crate) const fn insert(&mut self, rank: Rank) {
        self.0 |= 1 << rank.index();
    }

    /// Adds all of another set.
    pub(crate) const fn extend(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Takes a rank out.
    pub(crate) const fn remove(&mut self, rank: Rank) {
        self.0 &= !(1 << rank.index());
    }

    /// The first rank in it, as delivered.
    pub(crate) fn first(self) -> Option<Rank> {
        Rank::ALL.into_iter().find(|rank| self.contains(*rank))
    }
}
