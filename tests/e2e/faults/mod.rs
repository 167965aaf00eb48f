//! What a system may do to a process that is none of its doing: syncs that fail, a clock that is set, a long sleep.
#![cfg(target_os = "linux")]

mod clock;
mod sleep;
mod sync;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use waxwing_lab::Lab;

/// What stands between a process and the C library, and the files by which it is told what to do.
struct Faults(PathBuf);

impl Faults {
    /// Has a node or the broker, which is stopped for it, run with them. There are none yet.
    async fn at(lab: &mut Lab, name: &str) -> Self {
        let folder = lab.folder().join("faults");
        fs::create_dir_all(&folder).unwrap();
        let (source, shim) = (folder.join("shim.c"), folder.join("shim.so"));
        fs::write(&source, include_str!("shim.c")).unwrap();
        let compiled = compile(&source, &shim);
        assert!(compiled.status.success(), "{compiled:?}");
        let faults = Self(folder);
        fs::write(faults.clock(), "0").unwrap();
        lab.stop(name).await.unwrap();
        let (sync, clock) = (faults.sync(), faults.clock());
        let variables: [(&str, &Path); 3] =
            [("LD_PRELOAD", &shim), ("FAULT_SYNC", &sync), ("FAULT_CLOCK", &clock)];
        lab.set_environment(name, &variables);
        lab.restart(name).await.unwrap();
        for node in ["alpha", "beta"] {
            lab.linked(node).await.unwrap();
        }
        faults
    }

    fn sync(&self) -> PathBuf {
        self.0.join("no-sync")
    }

    fn clock(&self) -> PathBuf {
        self.0.join("clock")
    }

    /// From now on no sync of the database succeeds; or all do.
    fn fail_syncs(&self, fail: bool) {
        if fail {
            fs::write(self.sync(), "").unwrap();
        } else {
            fs::remove_file(self.sync()).unwrap();
        }
    }

    /// Sets the wall clock ahead by so much.
    fn set_clock(&self, seconds: i64) {
        let new = self.0.join("clock.new");
        fs::write(&new, seconds.to_string()).unwrap();
        fs::rename(new, self.clock()).unwrap();
    }
}

fn compile(source: &Path, shim: &Path) -> std::process::Output {
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).args([shim, source]).arg("-ldl");
    cc.output().unwrap_or_else(|error| panic!("these tests need a C compiler called cc: {error}"))
}
