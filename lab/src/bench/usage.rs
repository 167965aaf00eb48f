//! What a process uses, as Linux tells it in /proc.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use serde::Serialize;

use crate::error::{Error, Result};

/// What a process uses at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Usage {
    /// Processor time since it began.
    #[serde(skip)]
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident: u64,
    /// The most resident memory it has had, in bytes.
    pub peak: u64,
    /// Open descriptors.
    pub descriptors: usize,
    /// Sockets among them.
    pub sockets: usize,
    /// Bytes that it has had written to disks, if this process may see that.
    #[serde(skip)]
    pub written: Option<u64>,
}

impl Usage {
    /// Looks at a process.
    ///
    /// # Errors
    /// If it is gone, or this system has no /proc.
    pub fn of(pid: u32) -> Result<Self> {
        let file = |name: &str| {
            fs::read_to_string(format!("/proc/{pid}/{name}")).map_err(Error::io("reading /proc"))
        };
        let status = file("status")?;
        let open = fs::read_dir(format!("/proc/{pid}/fd")).map_err(Error::io("reading /proc"))?;
        // One that was closed since it was listed is none.
        let open: Vec<_> = open.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).collect();
        Ok(Self {
            cpu: cpu(&file("stat")?).ok_or_else(unreadable)?,
            resident: kib(&status, "VmRSS:").ok_or_else(unreadable)?,
            peak: kib(&status, "VmHWM:").ok_or_else(unreadable)?,
            descriptors: open.len(),
            sockets: open.iter().filter(|file| file.to_string_lossy().starts_with("socket:")).count(),
            written: file("io").ok().and_then(|io| written(&io)),
        })
    }
}

fn unreadable() -> Error {
    Error::Unreadable("/proc is not as on Linux".to_owned())
}

/// User and system time: fields 14 and 15, counted behind the name in brackets.
fn cpu(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1_000 / clock_ticks_per_second()))
}

/// What was handed to disks, whether or not a file that it was for is gone since.
fn written(io: &str) -> Option<u64> {
    io.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_seen_as_linux_tells_it() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 4 0 100 1 1";
        assert_eq!(cpu(stat), Some(Duration::from_millis(4_000 * 100 / clock_ticks_per_second())));
        assert_eq!(kib("VmPeak:\t  9 kB\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert_eq!(written("wchar: 9\nwrite_bytes: 4096\ncancelled_write_bytes: 1\n"), Some(4096));
        let own = Usage::of(std::process::id()).unwrap();
        assert!(own.peak >= own.resident && own.resident > 0 && own.descriptors > 2);
    }
}
