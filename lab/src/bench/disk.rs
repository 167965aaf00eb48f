//! The disk that a folder is on, as Linux tells it: whether it is one, and how often it was told to put what it has onto its medium.

use std::fs;
use std::path::{Path, PathBuf};

/// Which number of a device's statistics is flushes that have ended.
const FLUSHES: usize = 15;

/// What a folder is on.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Disk {
    /// Its device, as `254:0`.
    device: String,
    /// Its file system, as `ext4`.
    system: String,
}

impl Disk {
    /// Of a folder. None if this system does not tell.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let folder = fs::canonicalize(folder).ok()?;
        Self::among(&fs::read_to_string("/proc/self/mountinfo").ok()?, &folder)
    }

    /// The innermost of all mounts that a folder is in; of two in one place, the later, which covers the other.
    fn among(mounts: &str, folder: &Path) -> Option<Self> {
        let mount = |line: &str| {
            let (mount, system) = line.split_once(" - ")?;
            let mut fields = mount.split(' ').skip(2);
            let (device, place) = (fields.next()?.to_owned(), PathBuf::from(fields.nth(1)?));
            let disk = Self { device, system: system.split(' ').next()?.to_owned() };
            folder.starts_with(&place).then(|| (place.components().count(), disk))
        };
        mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth).map(|(_, disk)| disk)
    }

    /// Whether what is written there is gone with the power.
    pub(super) fn is_in_memory(&self) -> bool {
        ["tmpfs", "ramfs"].contains(&self.system.as_str())
    }

    /// Flushes since the machine started, whoever asked for them. None where nobody counts them.
    pub(super) fn flushes(&self) -> Option<u64> {
        let device = Path::new("/sys/dev/block").join(&self.device);
        // They are counted for a disk, and not for its parts.
        let is_part = device.join("partition").exists();
        let file = if is_part { device.join("../stat") } else { device.join("stat") };
        fs::read_to_string(file).ok()?.split_whitespace().nth(FLUSHES)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_on_the_innermost_mount() {
        let mounts = "21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
                      22 21 0:20 / /tmp rw shared:2 - tmpfs tmpfs rw\n\
                      23 22 254:2 / /tmp/disk rw - xfs /dev/vda2 rw\n";
        let on = |folder: &str| Disk::among(mounts, Path::new(folder)).unwrap();
        let disk = |device: &str, system: &str| Disk { device: device.to_owned(), system: system.to_owned() };
        assert_eq!(on("/home/x"), disk("254:1", "ext4"));
        assert_eq!(on("/tmp/x"), disk("0:20", "tmpfs"));
        assert_eq!(on("/tmp/disk/x"), disk("254:2", "xfs"));
        assert_eq!(on("/tmpx"), disk("254:1", "ext4"));
        assert!(on("/tmp/x").is_in_memory() && !on("/tmp/disk").is_in_memory());
    }
}
