//! Machines of their own on one network, as far as processes can tell: network namespaces with a bridge between them.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};

/// Networks of this process so far: each has names of its own.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A network that machines can be put on. It goes with the last of them.
#[derive(Debug)]
pub struct Network(Arc<Names>);

/// A machine on a network. Commands run on it see its interfaces and nothing else; files are this machine's.
#[derive(Clone, Debug)]
pub struct Machine {
    namespace: String,
    address: Ipv4Addr,
    _network: Arc<Names>,
}

/// The namespaces of one network: the first holds the bridge.
#[derive(Debug)]
struct Names {
    prefix: String,
    machines: AtomicU32,
}

impl Network {
    /// A network with nobody on it.
    ///
    /// # Errors
    /// `Unreadable` with the system's word, if this process may not make namespaces: that takes root, and `ip`.
    pub fn new() -> Result<Self> {
        let prefix = format!("ww{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let network = Self(Arc::new(Names { prefix, machines: AtomicU32::new(0) }));
        let switch = network.0.name(0);
        ip(&format!("netns add {switch}"))?;
        ip(&format!("-n {switch} link add bridge type bridge"))?;
        ip(&format!("-n {switch} link set bridge up"))?;
        Ok(network)
    }

    /// One more machine, with the next address of 10.77.0.0/24.
    ///
    /// # Errors
    /// `Unreadable` with the system's word.
    pub fn machine(&self) -> Result<Machine> {
        let number = self.0.machines.fetch_add(1, Ordering::Relaxed) + 1;
        let (switch, namespace) = (self.0.name(0), self.0.name(number));
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 77, 0, 0)) + number);
        ip(&format!("netns add {namespace}"))?;
        ip(&format!("-n {switch} link add port{number} type veth peer name eth0 netns {namespace}"))?;
        ip(&format!("-n {switch} link set port{number} master bridge up"))?;
        ip(&format!("-n {namespace} link set lo up"))?;
        ip(&format!("-n {namespace} link set eth0 up"))?;
        let machine = Machine { namespace, address, _network: Arc::clone(&self.0) };
        machine.take(address)?;
        Ok(machine)
    }
}

impl Machine {
    /// The address it was given.
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Lets it answer to an address, whoever else did before.
    ///
    /// # Errors
    /// `Unreadable` with the system's word.
    pub fn take(&self, address: Ipv4Addr) -> Result<()> {
        ip(&format!("-n {} addr add {address}/24 dev eth0", self.namespace))
    }

    /// Takes an address from it.
    ///
    /// # Errors
    /// `Unreadable` with the system's word.
    pub fn give_up(&self, address: Ipv4Addr) -> Result<()> {
        ip(&format!("-n {} addr del {address}/24 dev eth0", self.namespace))
    }

    /// Forgets who had which address.
    ///
    /// # Errors
    /// `Unreadable` with the system's word.
    pub fn forget_neighbours(&self) -> Result<()> {
        ip(&format!("-n {} neigh flush all", self.namespace))
    }

    /// The words that run `command` on it.
    pub fn wrap(&self, command: Vec<OsString>) -> Vec<OsString> {
        let mut words = ["ip", "netns", "exec", &self.namespace].map(OsString::from).to_vec();
        words.extend(command);
        words
    }
}

impl Names {
    fn name(&self, number: u32) -> String {
        format!("{}-{number}", self.prefix)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for number in 0..=*self.machines.get_mut() {
            // One that was not made, or is gone, is no loss.
            let _ = ip(&format!("netns del {}", self.name(number)));
        }
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|err| Error::Unreadable(format!("ip: {err}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::Unreadable(format!("ip {arguments}: {}", said.trim())))
}
