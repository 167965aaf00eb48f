//! Whether the state folder and what is in it are this user's alone.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use waxwing_protocol::finding::Finding;

use crate::config::Config;

/// What is looked at.
const CHECK: &str = "access";
/// Findings of one kind that are shown.
const SHOWN: usize = 10;
/// Folders in folders that are looked into: the deepest of ours is `meshes/NAME`.
const DEEP: usize = 3;

pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let mut places = Vec::new();
    gather(&config.state, DEEP, &mut places);
    let mut findings: Vec<_> = places.iter().filter_map(|(path, found)| judge(path, found)).collect();
    // Others may read what is configured, and not change it.
    if let Ok(found) = fs::metadata(config.file()) {
        let writable = found.permissions().mode() & 0o022 != 0;
        let name = config.file().display();
        let detail = format!("others can change {name}, and so what hooks are run");
        findings.extend(writable.then(|| Finding::wrong(CHECK, detail, format!("chmod go-w {name}"))));
    }
    findings.truncate(SHOWN);
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, format!("{}, this user's alone", config.state.display())));
    }
    findings
}

/// A folder and what is in it, in order.
fn gather(path: &Path, deep: usize, places: &mut Vec<(PathBuf, Metadata)>) {
    let Ok(found) = fs::symlink_metadata(path) else { return };
    let is_folder = found.is_dir();
    places.push((path.to_owned(), found));
    if !is_folder || deep == 0 {
        return;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut inner: Vec<_> = entries.map(|entry| entry.path()).collect();
    inner.sort();
    inner.iter().for_each(|path| gather(path, deep - 1, places));
}

fn judge(path: &Path, found: &Metadata) -> Option<Finding> {
    let (name, mode) = (path.display(), found.permissions().mode() & 0o777);
    let us = rustix::process::geteuid().as_raw();
    if found.uid() != us {
        let detail = format!("{name} belongs to user {}, and the node is user {us}", found.uid());
        return Some(Finding::wrong(CHECK, detail, format!("chown {us} {name}")));
    }
    // What the folder's own mode keeps from others is safe, but its mode is changed more easily than all of theirs.
    let ours = found.is_dir() || found.is_file() || found.file_type().is_socket();
    if !ours || mode & 0o077 == 0 || is_program(path, mode) {
        return None;
    }
    let detail = format!("others than its owner have access to {name} (mode {mode:03o})");
    let mend = format!("chmod {} {name}", if found.is_dir() { "700" } else { "600" });
    Some(Finding::wrong(CHECK, detail, mend))
}

/// A program has no secret in it, and whether others can change it is asked of hooks.
fn is_program(path: &Path, mode: u32) -> bool {
    path.is_file() && mode & 0o111 != 0
}
