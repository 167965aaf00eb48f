//! Who is connected and has not logged in: at most so many.
//!
//! A newcomer beyond that takes the place of whoever has waited longest, of the network that has most waiting. So
//! connections that say nothing, or a byte a second, hold up no login: that takes milliseconds.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Those who have not logged in yet.
#[derive(Clone)]
pub(crate) struct Strangers {
    most: usize,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    /// In the order they came.
    strangers: BTreeMap<u64, Entry>,
    /// How many have come.
    came: u64,
}

struct Entry {
    network: IpAddr,
    ousted: CancellationToken,
}

impl Strangers {
    /// Room for so many.
    pub(crate) fn new(most: u32) -> Self {
        Self { most: most as usize, waiting: Arc::default() }
    }

    /// Takes in a newcomer, in place of another if there is no room.
    pub(crate) fn admit(&self, from: IpAddr) -> Stranger {
        let ousted = CancellationToken::new();
        let entry = Entry { network: network(from), ousted: ousted.clone() };
        let (number, last) = {
            let mut waiting = self.lock();
            let last = if waiting.strangers.len() < self.most { None } else { waiting.oust() };
            waiting.came += 1;
            let number = waiting.came;
            waiting.strangers.insert(number, entry);
            (number, last)
        };
        if let Some(last) = last {
            last.ousted.cancel();
        }
        Stranger { strangers: self.clone(), number, ousted }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Takes out the one that has waited longest, of the network that has most.
    fn oust(&mut self) -> Option<Entry> {
        let mut networks: HashMap<IpAddr, usize> = HashMap::new();
        for entry in self.strangers.values() {
            *networks.entry(entry.network).or_default() += 1;
        }
        let most = networks.values().max().copied()?;
        let number = self.strangers.iter().find(|(_, entry)| networks[&entry.network] == most);
        number.map(|(number, _)| *number).and_then(|number| self.strangers.remove(&number))
    }
}

/// What one household has: an address, or the half of an IPv6 address that names a network.
pub(crate) fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() >> 64 << 64).into(),
        addr @ IpAddr::V4(_) => addr,
    }
}

/// A place among the strangers, until it is dropped: at the login, or at the end.
pub(crate) struct Stranger {
    strangers: Strangers,
    number: u64,
    ousted: CancellationToken,
}

impl Stranger {
    /// Waits until another takes the place.
    pub(crate) async fn ousted(&self) {
        self.ousted.cancelled().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.strangers.lock().strangers.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(strangers: &Strangers, from: &str) -> Stranger {
        strangers.admit(from.parse().unwrap())
    }

    #[test]
    fn a_newcomer_takes_the_place_of_the_longest_waiting_of_the_busiest_network() {
        let strangers = Strangers::new(4);
        let bystander = admit(&strangers, "192.0.2.1");
        let first = admit(&strangers, "2001:db8::1");
        let second = admit(&strangers, "2001:db8::2");
        drop(admit(&strangers, "192.0.2.9")); // Its place is free again.
        let third = admit(&strangers, "2001:db8::ffff:1");
        let newcomer = admit(&strangers, "192.0.2.2");
        let ousted = [&bystander, &first, &second, &third, &newcomer].map(|one| one.ousted.is_cancelled());
        assert_eq!(ousted, [false, true, false, false, false]);
        assert_eq!(strangers.lock().strangers.len(), 4);
        drop((bystander, first, second, third, newcomer));
        assert!(strangers.lock().strangers.is_empty());
    }
}
