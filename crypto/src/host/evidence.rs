//! What can be seen of a host, cleaned of all that says nothing about it.

use std::collections::BTreeSet;
use std::fmt;

use crate::host::HostKey;
use crate::id::Digest;

/// Most MAC addresses considered: the lowest, so that the choice does not depend on the order of discovery.
pub(super) const MAX_MACS: usize = 64;

/// How the names of interfaces begin whose address is made up by software or stands for no machine.
const VIRTUAL: [&str; 4] = [
    // Containers and bridges.
    "docker veth br- virbr vnet cni flannel cali lxc lxd podman kube dummy ifb vxlan",
    // Tunnels and VPNs.
    "tun tap utun wg tailscale zt ipsec gre sit ip6tnl gif stf",
    // Virtual machines, as their host sees them.
    "vmnet vboxnet vethernet vmware virtualbox hyper-v",
    // Point-to-point links, and Apple's own.
    "ppp p2p awdl llw",
];

/// What was found of a host. Raw: neither printed nor serialized.
pub struct Evidence {
    configured: Option<String>,
    machine_id: Option<String>,
    macs: BTreeSet<[u8; 6]>,
}

impl Evidence {
    /// Takes what the configuration, the system and its network interfaces (name and address) say, and drops what is
    /// no evidence: empty or blank ids, a machine id that is all zeros or `uninitialized`, and the addresses that
    /// [`is_hardware`] refuses. Case and surrounding space do not count in a machine id, only space in a configured.
    pub fn new<N: AsRef<str>>(
        configured: Option<&str>,
        machine_id: Option<&str>,
        interfaces: impl IntoIterator<Item = (N, [u8; 6])>,
    ) -> Self {
        let hardware = interfaces.into_iter().filter(|(name, mac)| is_hardware(name.as_ref(), *mac));
        let macs: BTreeSet<_> = hardware.map(|(_, mac)| mac).collect();
        Self {
            configured: configured.map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned),
            machine_id: machine_id.map(|id| id.trim().to_ascii_lowercase()).filter(|id| is_machine_id(id)),
            macs: macs.into_iter().take(MAX_MACS).collect(),
        }
    }

    pub(super) fn digests(&self, key: &HostKey) -> Digests {
        let configured = self.configured.as_ref();
        let machine_id = self.machine_id.as_ref();
        let mut macs: Vec<_> =
            self.macs.iter().map(|mac| key.digest(b"waxwing host mac v1\0", mac)).collect();
        macs.sort_unstable();
        Digests {
            configured: configured.map(|id| key.digest(b"waxwing host configured v1\0", id.as_bytes())),
            machine_id: machine_id.map(|id| key.digest(b"waxwing host machine id v1\0", id.as_bytes())),
            macs,
        }
    }
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (configured, machine_id) = (self.configured.is_some(), self.machine_id.is_some());
        write!(f, "Evidence(configured: {configured}, machine id: {machine_id}, MACs: {})", self.macs.len())
    }
}

/// Evidence as it may be kept. MACs sorted, so that their order tells nothing.
pub(super) struct Digests {
    pub(super) configured: Option<Digest>,
    pub(super) machine_id: Option<Digest>,
    pub(super) macs: Vec<Digest>,
}

/// Whether an interface's address is evidence of the machine: assigned by a maker (neither zero, nor a group's, nor
/// locally administered), on an interface that is neither loopback, virtual nor point-to-point, as far as its name
/// tells.
pub fn is_hardware(interface_name: &str, mac: [u8; 6]) -> bool {
    const GROUP: u8 = 0b01;
    const LOCALLY_ADMINISTERED: u8 = 0b10;
    let name = interface_name.trim().to_ascii_lowercase();
    let loopback = name.strip_prefix("lo").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
        || name.starts_with("loopback");
    let assigned = mac != [0; 6] && mac[0] & (GROUP | LOCALLY_ADMINISTERED) == 0;
    let mut prefixes = VIRTUAL.iter().flat_map(|kind| kind.split(' '));
    assigned && !loopback && !prefixes.any(|prefix| name.starts_with(prefix))
}

/// Whether a trimmed, lower-case machine id names a machine. `uninitialized` is what systemd writes before first boot.
fn is_machine_id(id: &str) -> bool {
    let zero = id.bytes().all(|b| b == b'0' || b == b'-');
    !zero && id != "uninitialized"
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x00, 0x1b, 0x21, 0xaa, 0xbb, 0xcc];

    #[test]
    fn only_interfaces_with_an_assigned_address_are_hardware() {
        for name in ["eth0", "enp3s0", "wlan0", "en0", "Ethernet 2", "lan0", "local", "bond0"] {
            assert!(is_hardware(name, MAC), "{name}");
        }
        for name in [
            "lo",
            "lo0",
            "Loopback Pseudo-Interface 1",
            "docker0",
            "veth12ab",
            "br-1f2e",
            "tun0",
            "tap0",
            "wg0",
            "tailscale0",
            "vmnet8",
            "vboxnet0",
            "utun3",
            "awdl0",
            "llw0",
            "ppp0",
            "vEthernet (WSL)",
            "virbr0",
        ] {
            assert!(!is_hardware(name, MAC), "{name}");
        }
    }

    #[test]
    fn zero_group_and_locally_administered_addresses_are_no_evidence() {
        for mac in [
            [0; 6],
            [0xff; 6],
            [0x02, 0x42, 0xac, 0x11, 0, 2],
            [0x01, 0, 0x5e, 0, 0, 1],
            [0x0a, 0, 0x27, 0, 0, 0],
        ] {
            assert!(!is_hardware("eth0", mac), "{mac:x?}");
        }
    }

    #[test]
    fn ids_that_name_nothing_are_unreadable() {
        for id in [
            "",
            " ",
            "\n",
            "0000",
            "00000000-0000-0000-0000-000000000000",
            "uninitialized\n",
            "UNINITIALIZED",
            "-",
        ] {
            let evidence = Evidence::new(Some(" \t"), Some(id), [("lo", MAC)]);
            assert!(evidence.machine_id.is_none(), "{id:?}");
            assert!(evidence.configured.is_none() && evidence.macs.is_empty());
        }
    }

    #[test]
    fn space_and_case_of_a_machine_id_do_not_count() {
        let key = HostKey::from_bytes([1; 32]);
        let of = |id| Evidence::new(None, Some(id), std::iter::empty::<(&str, _)>()).digests(&key).machine_id;
        assert_eq!(of("4c4c4544-0044"), of(" 4C4C4544-0044\n"));
        assert_ne!(of("4c4c4544-0044"), of("4c4c4544-0045"));
    }

    #[test]
    fn the_same_text_as_another_kind_of_evidence_has_another_digest() {
        let key = HostKey::from_bytes([1; 32]);
        let digests = Evidence::new(Some("abc"), Some("abc"), [("eth0", MAC)]).digests(&key);
        assert_ne!(digests.configured, digests.machine_id);
    }

    #[test]
    fn evidence_prints_no_raw_value() {
        let evidence = Evidence::new(Some("rack-7"), Some("feedbeef"), [("eth0", MAC)]);
        assert_eq!(format!("{evidence:?}"), "Evidence(configured: true, machine id: true, MACs: 1)");
    }

    #[test]
    fn no_more_than_the_lowest_64_addresses_count() {
        let macs = (0..100u8).rev().map(|n| ("eth", [0, 1, 2, 3, 4, n]));
        let evidence = Evidence::new(None, None, macs);
        assert_eq!((evidence.macs.len(), evidence.macs.last()), (MAX_MACS, Some(&[0, 1, 2, 3, 4, 63])));
    }
}
