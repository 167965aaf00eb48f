//! Apps that have told this node that they are there: in one mesh, by name, each as long as something holds it.
//!
//! ```text
//! held by      a stream of its app   until it is closed, and GRACE for it to come back
//!              a time                until it is over, unless it is renewed
//! proven by    its id: whoever has it renews, says more, comes back
//! ends         with what holds it; when it is removed; when another takes its place: then its holder is told
//! ```
//!
//! In memory: what holds a registration does not outlive the process, and comes back to the next one by itself. Whether a
//! process of some number runs is never asked.

mod acting;
mod details;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use waxwing_crypto::{Name, Timestamp};
use waxwing_protocol::api::{AppDetails, Registration};
use waxwing_protocol::{RegistrationId, limits};

use crate::clock;

pub(crate) use self::acting::Holder;
pub(crate) use self::details::text;

/// A stream that comes back within this time was never away, as far as others see.
const GRACE: Duration = Duration::from_secs(5);
/// Registrations remembered as superseded, and as ended. One that was forgotten is told that the name is taken, or that there is
/// no such registration, which is true as well.
const REMEMBERED: usize = 1_024;

/// Which app: its name, and which of several of that name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Which {
    pub(crate) name: Name,
    pub(crate) instance: Option<Name>,
}

/// What is asked for: a name, by whom.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) which: Which,
    pub(crate) registration: Option<RegistrationId>,
    pub(crate) takeover: bool,
}

/// Why it is not given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Denied {
    /// Somebody else has the name.
    Taken,
    /// Somebody else has taken the name from this registration.
    Superseded,
    /// There are as many as may be.
    Full,
    /// Nothing would hold the registration.
    Unheld,
    /// Together, the details are larger than they may be.
    TooLarge,
    /// There is no such registration.
    Unknown,
    /// The name is registered, and whoever acts under it does not prove to be that app.
    Unproven,
}

/// How a registration stands, for the stream that holds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    Held,
    /// Another has taken its place.
    Superseded,
    /// Somebody has ended it.
    Removed,
}

/// A registered app.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shown {
    pub(crate) which: Which,
    pub(crate) since: Timestamp,
    /// None while a stream holds it.
    pub(crate) until: Option<Timestamp>,
    pub(crate) details: AppDetails,
}

/// Who is registered in one mesh.
#[derive(Debug)]
pub(crate) struct Apps {
    registry: Mutex<Registry>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Registry {
    apps: BTreeMap<Which, Registered>,
    superseded: VecDeque<RegistrationId>,
    /// Ended by somebody.
    removed: VecDeque<RegistrationId>,
}

#[derive(Debug)]
struct Registered {
    id: RegistrationId,
    since: Timestamp,
    details: AppDetails,
    /// Until when it holds without a stream.
    ends: Option<(Instant, Timestamp)>,
    /// Those that hold it.
    streams: usize,
    /// It is held by nothing but the grace of a stream.
    lingers: bool,
    standing: watch::Sender<Standing>,
}

/// Holds an app's registration until it is dropped: its stream.
#[derive(Debug)]
pub(crate) struct Kept {
    apps: Arc<Apps>,
    which: Which,
    id: RegistrationId,
    standing: watch::Receiver<Standing>,
}

impl Kept {
    /// What its holder proves himself by.
    pub(crate) const fn id(&self) -> &RegistrationId {
        &self.id
    }

    /// Which app it is.
    pub(crate) const fn which(&self) -> &Which {
        &self.which
    }

    /// What becomes of it.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut registry = self.apps.lock();
        let Some(app) = registry.apps.get_mut(&self.which).filter(|app| app.id == self.id) else { return };
        app.streams -= 1;
        let grace = (Instant::now() + GRACE, clock::now().plus(GRACE));
        if app.streams == 0 && app.ends.is_none_or(|ends| ends.0 < grace.0) {
            app.ends = Some(grace);
            app.lingers = true;
        }
        drop(registry);
        self.apps.changed.send_replace(());
    }
}

impl Default for Apps {
    fn default() -> Self {
        Self { registry: Mutex::default(), changed: watch::Sender::new(()) }
    }
}

impl Apps {
    /// Registers an app for as long as the guard lives, or holds a registration that there is.
    pub(crate) fn keep(self: &Arc<Self>, claim: &Claim) -> Result<Kept, Denied> {
        let mut registry = self.lock();
        let app = registry.admit(claim)?;
        app.streams += 1;
        if app.lingers {
            (app.lingers, app.ends) = (false, None);
        }
        let (id, standing) = (app.id.clone(), app.standing.subscribe());
        drop(registry);
        self.changed.send_replace(());
        Ok(Kept { apps: Arc::clone(self), which: claim.which.clone(), id, standing })
    }

    /// Registers an app for a time, renews that, or says more about it.
    pub(crate) fn register(
        &self,
        claim: &Claim,
        ttl: Option<Duration>,
        change: &Registration,
    ) -> Result<(RegistrationId, Shown), Denied> {
        let mut registry = self.lock();
        registry.forget_ended();
        let held = registry.apps.get(&claim.which).filter(|app| claim.registration.as_ref() == Some(&app.id));
        if ttl.is_none() && held.is_none_or(|app| app.lingers) {
            return Err(if registry.is_superseded(claim) { Denied::Superseded } else { Denied::Unheld });
        }
        let mut changed = held.map(|app| app.details.clone()).unwrap_or_default();
        details::merge(&mut changed, change);
        if !details::fit(&changed) {
            return Err(Denied::TooLarge);
        }
        let app = registry.admit(claim)?;
        app.details = changed;
        if let Some(ttl) = ttl {
            app.ends = Some((Instant::now() + ttl, clock::now().plus(ttl)));
            app.lingers = false;
        }
        let answer = (app.id.clone(), app.show(&claim.which));
        drop(registry);
        self.changed.send_replace(());
        Ok(answer)
    }

    /// Ends a registration: this one, or whichever there is.
    pub(crate) fn remove(&self, which: &Which, id: Option<&RegistrationId>) -> Result<(), Denied> {
        let mut registry = self.lock();
        registry.forget_ended();
        let found = registry.apps.get(which);
        if found.is_none_or(|app| id.is_some_and(|id| *id != app.id)) {
            let superseded = id.is_some_and(|id| registry.superseded.contains(id));
            return Err(if superseded { Denied::Superseded } else { Denied::Unknown });
        }
        if let Some(app) = registry.apps.remove(which) {
            app.standing.send_replace(Standing::Removed);
            remember(&mut registry.removed, app.id);
        }
        drop(registry);
        self.changed.send_replace(());
        Ok(())
    }

    /// Everybody who is registered, by name.
    pub(crate) fn list(&self) -> Vec<Shown> {
        let mut registry = self.lock();
        registry.forget_ended();
        registry.apps.iter().map(|(which, app)| app.show(which)).collect()
    }

    /// Whether an app of this name is registered, whichever instance.
    pub(crate) fn is_there(&self, name: &Name) -> bool {
        let mut registry = self.lock();
        registry.forget_ended();
        registry.apps.keys().any(|which| which.name == *name)
    }

    /// Told of every change but those that time brings.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// When time next brings one, if nothing else comes before.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        let mut registry = self.lock();
        registry.forget_ended();
        let ends = registry.apps.values().filter(|app| app.streams == 0);
        ends.filter_map(|app| app.ends.map(|(at, _)| at)).min()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn forget_ended(&mut self) {
        let now = Instant::now();
        self.apps.retain(|_, app| app.streams > 0 || app.ends.is_some_and(|(at, _)| at > now));
    }

    fn is_superseded(&self, claim: &Claim) -> bool {
        claim.registration.as_ref().is_some_and(|id| self.superseded.contains(id))
    }

    /// The registration asked for, made if it must be.
    fn admit(&mut self, claim: &Claim) -> Result<&mut Registered, Denied> {
        self.forget_ended();
        if self.is_superseded(claim) && !claim.takeover {
            return Err(Denied::Superseded);
        }
        let there = self.apps.get(&claim.which);
        let own = there.is_some_and(|app| claim.registration.as_ref() == Some(&app.id));
        if !own {
            match there {
                Some(app) if !claim.takeover && !app.lingers => return Err(Denied::Taken),
                None if self.apps.len() >= limits::APPS => return Err(Denied::Full),
                Some(_) | None => {}
            }
            self.replace(claim);
        }
        self.apps.get_mut(&claim.which).ok_or(Denied::Unknown)
    }

    /// Puts a new registration in the place of the one there.
    fn replace(&mut self, claim: &Claim) {
        let id = claim.registration.clone().unwrap_or_else(new_id);
        self.superseded.retain(|superseded| *superseded != id);
        self.removed.retain(|removed| *removed != id);
        let before = self.apps.remove(&claim.which);
        // A stream that comes back without its id has not been away either.
        let since = before.as_ref().filter(|app| app.lingers).map_or_else(clock::now, |app| app.since);
        if let Some(before) = before {
            before.standing.send_replace(Standing::Superseded);
            remember(&mut self.superseded, before.id);
        }
        let app = Registered {
            id,
            since,
            details: AppDetails::default(),
            ends: None,
            streams: 0,
            lingers: false,
            standing: watch::Sender::new(Standing::Held),
        };
        self.apps.insert(claim.which.clone(), app);
    }
}

impl Registered {
    fn show(&self, which: &Which) -> Shown {
        let until = self.ends.filter(|_| self.streams == 0).map(|(_, until)| until);
        Shown { which: which.clone(), since: self.since, until, details: self.details.clone() }
    }
}

fn remember(ended: &mut VecDeque<RegistrationId>, id: RegistrationId) {
    if ended.len() >= REMEMBERED {
        ended.pop_front();
    }
    ended.push_back(id);
}

fn new_id() -> RegistrationId {
    use rand_core::Rng as _;
    let mut random = [0; 16];
    crate::rng().fill_bytes(&mut random);
    RegistrationId::new(random)
}
