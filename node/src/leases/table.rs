//! What this node's apps have and wait for, in memory. How long it is theirs is decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;
use waxwing_crypto::space::KeyName;
use waxwing_protocol::StoreId;
use waxwing_protocol::api::{LeaseEnd, LeaseNews, OnDisconnect};

use super::record::Says;
use crate::apps::Which;
use crate::clock::Boot;

/// All of it, by token.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) own: BTreeMap<u64, Own>,
    /// Who is being acted for.
    pub(super) acting: BTreeSet<(KeyName, Which)>,
    /// Whose record is on its way: it may show in the copy before it is known here.
    pub(super) appending: BTreeSet<(KeyName, Which)>,
}

/// One.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) key: KeyName,
    pub(super) says: Says,
    /// The life of the broker's store that it is of; none until the copy has come to it.
    pub(super) store: Option<StoreId>,
    /// It has its time until then, counted from before the broker was asked.
    pub(super) until: Boot,
    /// How it stands.
    pub(super) stage: watch::Sender<Stage>,
    /// It stands in line until then.
    pub(super) waits_until: Boot,
    /// Requests that wait for it.
    pub(super) awaited: usize,
    /// Its app is told of its end in time.
    pub(super) warned: bool,
    /// It was its turn after others: its time begins.
    pub(super) fresh: bool,
    /// Since when its app's registration has ended.
    pub(super) alone_since: Option<Boot>,
    /// How long its app may stay away without anything.
    pub(super) comes_back: Duration,
    /// Why its record is gone.
    pub(super) gone: Option<LeaseEnd>,
    /// Its time was over before the broker was heard again.
    pub(super) over: Option<LeaseEnd>,
    /// It was held by the process before this one, and has not been seen on a copy that is complete.
    pub(super) unseen: bool,
}

/// How one stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    /// So many have to end before.
    Waiting(usize),
    /// It is held.
    Held,
    /// It stood in line for as long as it was to.
    GivenUp,
    /// It is over.
    Ended(LeaseEnd),
}

/// What an app is told of what it has.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) what: LeaseNews,
    pub(crate) key: KeyName,
    pub(crate) token: u64,
    pub(crate) which: Which,
    pub(crate) remaining: Option<Duration>,
    pub(crate) reason: Option<LeaseEnd>,
}

/// How many.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) held: usize,
    pub(crate) waiting: usize,
}

/// How long this node's lease lasts at the broker, as far as it can know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// When the last frame was sent that the broker has answered; none if there was none.
    pub(super) at: Option<Boot>,
    pub(super) lease: Duration,
}

impl Own {
    pub(super) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    pub(super) fn is_held(&self) -> bool {
        self.stage() == Stage::Held
    }

    /// When it ends for this node if it hears nothing more, and why.
    pub(super) fn end(&self, heard: Heard) -> (Boot, LeaseEnd) {
        if let Some(why) = self.over {
            return (Boot::default(), why);
        }
        let time = (self.until, LeaseEnd::Expired);
        if self.says.on_disconnect == OnDisconnect::Hold {
            return time;
        }
        let Some(at) = heard.at else { return time };
        let link = (at.plus(heard.lease.saturating_add(self.says.grace())), LeaseEnd::Disconnected);
        if link.0 < time.0 { link } else { time }
    }

    /// For how long its app certainly has it.
    pub(super) fn remaining(&self, heard: Heard) -> Duration {
        if self.is_held() && !self.unseen { self.end(heard).0.left() } else { Duration::ZERO }
    }

    /// When it is to be renewed.
    pub(super) fn due(&self) -> Boot {
        let left = self.until.left();
        Boot::now().plus(left.saturating_sub(self.says.ttl() / 2))
    }

    /// When its app is warned.
    pub(super) fn warning(&self, heard: Heard) -> Boot {
        let before = (self.says.ttl() / 4).min(WARNING);
        Boot::now().plus(self.end(heard).0.left().saturating_sub(before))
    }

    pub(super) fn tell(&self, token: u64, what: LeaseNews, heard: Heard) -> Told {
        let reason = if let Stage::Ended(reason) = self.stage() { Some(reason) } else { None };
        Told {
            what,
            key: self.key.clone(),
            token,
            which: self.says.which(),
            remaining: reason.is_none().then(|| self.remaining(heard)),
            reason,
        }
    }
}

/// An app is warned so long before the end, or a quarter of its time.
const WARNING: Duration = Duration::from_secs(30);

impl Table {
    /// What an app has of this name, or waits for.
    pub(super) fn find(&self, key: &KeyName, which: &Which) -> Option<u64> {
        let its =
            |own: &Own| own.key == *key && own.says.app == which.name && own.says.instance == which.instance;
        self.own.iter().find(|(_, own)| its(own)).map(|(seq, _)| *seq)
    }

    /// How many an app has and waits for.
    pub(super) fn of_app(&self, which: &Which) -> usize {
        self.own.values().filter(|own| own.says.which() == *which).count()
    }

    /// What has had its time stays over, whatever is heard from now on. Says whether there is such.
    pub(super) fn note_over(&mut self, heard: Heard) -> bool {
        let mut any = false;
        for own in self.own.values_mut() {
            let (end, why) = own.end(heard);
            if end.left().is_zero() {
                own.over = Some(why);
                any = true;
            }
        }
        any
    }

    /// Takes one off, at its end. Whoever waits for it is told.
    pub(super) fn end(&mut self, seq: u64, stage: Stage) -> Option<Own> {
        let own = self.own.remove(&seq)?;
        own.stage.send_replace(stage);
        Some(own)
    }

    pub(super) fn counts(&self) -> Counts {
        let held = self.own.values().filter(|own| own.is_held()).count();
        Counts { held, waiting: self.own.len() - held }
    }
}
