//! Instructions, by callgrind: what so many operations take beyond none, so that what a process does to begin is in no figure.

use std::path::Path as File;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::paths::Path;

/// Operations that are counted, so that what happens once in a while has its share: a buffer that grows, a page that is full.
const OPERATIONS: u64 = 100;

/// Of one operation of a path.
pub(crate) fn of_path(path: Path) -> Result<u64> {
    let own = std::env::current_exe().context("where is this program")?;
    each(OPERATIONS, |operations| {
        let mut command = callgrind(&own);
        command.args(["run", path.name(), &operations.to_string()]);
        command
    })
}

/// Of one operation of a program that does as many as it is told.
pub(crate) fn each(operations: u64, command: impl Fn(u64) -> Command) -> Result<u64> {
    let none = total(command(0))?;
    let all = total(command(operations))?;
    Ok(all.saturating_sub(none) / operations)
}

/// A program under callgrind, in an environment that is always the same: what is in it takes instructions to read.
pub(crate) fn callgrind(program: &File) -> Command {
    let mut command = Command::new("valgrind");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(["--tool=callgrind", "--callgrind-out-file=%q{CALLGRIND_OUT}"]).arg(program);
    command
}

/// Instructions of one run, of all its threads.
fn total(mut command: Command) -> Result<u64> {
    let folder = tempfile::tempdir().context("making a temporary folder")?;
    let out = folder.path().join("callgrind.out");
    // What the program keeps in files goes with them.
    command.env("CALLGRIND_OUT", &out).env("TMPDIR", folder.path());
    let run = command.output().context("valgrind does not start: apt-get install valgrind")?;
    if !run.status.success() {
        bail!(
            "{command:?}: {}\n{}",
            String::from_utf8_lossy(&run.stdout),
            String::from_utf8_lossy(&run.stderr)
        );
    }
    let written = std::fs::read_to_string(&out).context("what callgrind wrote")?;
    read(&written).context("callgrind wrote no total")
}

fn read(written: &str) -> Option<u64> {
    let total = |line: &str| line.strip_prefix("totals:")?.trim().parse().ok();
    written.lines().rev().find_map(total)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_total_is_what_callgrind_says_last() {
        let written = "version: 1\nevents: Ir\nsummary: 5\n\nfn=(1) totals:\n1 7\ntotals: 1234\n";
        assert_eq!(super::read(written), Some(1_234));
        assert_eq!(super::read("events: Ir\n"), None);
    }
}
