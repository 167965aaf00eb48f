//! Apps that have told this node that they are there. In memory: a registration is worth what keeps it up, a stream or a
//! time that runs out, and neither outlives the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use waxwing_crypto::{Name, Timestamp};
use waxwing_protocol::api::App;

use crate::clock;

/// Who is registered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Apps(Arc<Mutex<Registry>>);

#[derive(Debug, Default)]
struct Registry {
    apps: BTreeMap<Name, Registered>,
    next: u64,
}

#[derive(Debug)]
struct Registered {
    /// Tells this registration from an earlier one of the same name.
    number: u64,
    since: Timestamp,
    /// None while a stream keeps it.
    ends: Option<(Instant, Timestamp)>,
}

/// Somebody else is registered under this name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Taken;

/// Keeps an app registered until it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    apps: Apps,
    name: Name,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut registry = self.apps.lock();
        if registry.apps.get(&self.name).is_some_and(|app| app.number == self.number) {
            registry.apps.remove(&self.name);
        }
    }
}

impl Apps {
    /// Registers an app for as long as the guard lives.
    pub(crate) fn keep(&self, name: &Name) -> Result<Registration, Taken> {
        let mut registry = self.lock();
        registry.forget_ended();
        if registry.apps.contains_key(name) {
            return Err(Taken);
        }
        let (app, number) = registry.insert(name, None);
        drop(registry);
        debug_assert_eq!(app.name, *name);
        Ok(Registration { apps: self.clone(), name: name.clone(), number })
    }

    /// Registers an app for a time, or renews it. A stream's registration is not taken away.
    pub(crate) fn register(&self, name: &Name, ttl: Duration) -> Result<App, Taken> {
        let mut registry = self.lock();
        registry.forget_ended();
        if registry.apps.get(name).is_some_and(|app| app.ends.is_none()) {
            return Err(Taken);
        }
        Ok(registry.insert(name, Some((Instant::now() + ttl, clock::now().plus(ttl)))).0)
    }

    /// Ends a registration. False if there is none.
    pub(crate) fn remove(&self, name: &Name) -> bool {
        let mut registry = self.lock();
        registry.forget_ended();
        registry.apps.remove(name).is_some()
    }

    /// Everybody who is registered, by name.
    pub(crate) fn list(&self) -> Vec<App> {
        let mut registry = self.lock();
        registry.forget_ended();
        registry.apps.iter().map(|(name, app)| app.show(name)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    fn forget_ended(&mut self) {
        let now = Instant::now();
        self.apps.retain(|_, app| app.ends.is_none_or(|(at, _)| at > now));
    }

    fn insert(&mut self, name: &Name, ends: Option<(Instant, Timestamp)>) -> (App, u64) {
        self.next += 1;
        let since = self.apps.get(name).map_or_else(clock::now, |app| app.since);
        let app = Registered { number: self.next, since, ends };
        let shown = app.show(name);
        self.apps.insert(name.clone(), app);
        (shown, self.next)
    }
}

impl Registered {
    fn show(&self, name: &Name) -> App {
        App { name: name.clone(), since: self.since, until: self.ends.map(|(_, until)| until) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> Name {
        "ci".parse().unwrap()
    }

    #[tokio::test]
    async fn a_stream_keeps_its_app_registered_and_nobody_takes_its_name() {
        let apps = Apps::default();
        let stream = apps.keep(&name()).unwrap();
        assert_eq!(apps.keep(&name()).unwrap_err(), Taken);
        assert_eq!(apps.register(&name(), Duration::from_secs(9)).unwrap_err(), Taken);
        drop(stream);
        assert!(apps.list().is_empty());
    }

    #[tokio::test]
    async fn a_registration_ends_with_its_time_and_is_renewed_before() {
        let apps = Apps::default();
        apps.register(&name(), Duration::ZERO).unwrap();
        assert!(apps.list().is_empty() && !apps.remove(&name()), "its time is over");
        let first = apps.register(&name(), Duration::from_secs(10)).unwrap();
        let renewed = apps.register(&name(), Duration::from_secs(1_000)).unwrap();
        assert!(renewed.since == first.since && renewed.until > first.until);
        assert_eq!(apps.list(), [renewed]);
    }

    #[tokio::test]
    async fn the_guard_of_an_ended_registration_does_not_end_the_next_one() {
        let apps = Apps::default();
        let first = apps.keep(&name()).unwrap();
        assert!(apps.remove(&name()));
        let _second = apps.keep(&name()).unwrap();
        drop(first);
        assert_eq!(apps.list().len(), 1);
    }
}
