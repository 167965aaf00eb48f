//! Whether this is the host that a mesh's state belongs to.

use std::path::Path;

use mac_address::{MacAddressIterator, name_by_mac_address};
use tracing::debug;
use waxwing_crypto::Name;
use waxwing_crypto::host::{Evidence, HostKey, HostRecord, HostRecordError, Shown, Verdict};

use crate::error::{Error, Result};
use crate::home;

/// The record, in the mesh's folder.
const FILE: &str = "host.json";
/// Nothing longer is read.
const MAX: u64 = 64 * 1024;

/// What this host can be recognised by. `configured` stands in for everything else.
pub(crate) fn evidence(configured: Option<&str>) -> Evidence {
    let machine_id = machine_uid::get().map_err(|error| debug!(%error, "the machine id cannot be read")).ok();
    Evidence::new(configured, machine_id.as_deref(), interfaces())
}

/// Every network interface with an address.
fn interfaces() -> Vec<(String, [u8; 6])> {
    let Ok(addresses) = MacAddressIterator::new() else {
        return Vec::new();
    };
    addresses
        .filter_map(|mac| name_by_mac_address(&mac).ok().flatten().map(|name| (name, mac.bytes())))
        .collect()
}

/// This host's name as a node's.
pub(crate) fn name() -> Result<Name> {
    let host = rustix::system::uname();
    node_name(&host.nodename().to_string_lossy()).ok_or_else(|| {
        Error::Usage("this host's name gives no name for a node: give one on the command line".into())
    })
}

/// Lower case, up to the first dot, everything else a hyphen.
fn node_name(host: &str) -> Option<Name> {
    let label = host.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let plain = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    plain.take(Name::MAX).collect::<String>().trim_matches('-').parse().ok()
}

/// Binds a new identity to this host.
pub(crate) fn bind(folder: &Path, key: &HostKey, evidence: &Evidence) -> Result<HostRecord> {
    let record = HostRecord::observe(evidence, key, &mut crate::rng());
    home::write_private(&folder.join(FILE), record.to_json().as_bytes())?;
    Ok(record)
}

/// The record beside an identity, if there is one.
pub(crate) fn record(folder: &Path) -> Result<Option<Result<HostRecord, HostRecordError>>> {
    Ok(read(&folder.join(FILE))?.map(|text| HostRecord::from_json(&text)))
}

/// Checks that this is the host an identity belongs to. Touches nothing if it is not. The answer is what should be known
/// about how well it is protected.
pub(crate) fn check(mesh: &str, folder: &Path, key: &HostKey, evidence: &Evidence) -> Result<Option<String>> {
    let (warning, updated) = judge(mesh, folder, key, evidence)?;
    if let Some(updated) = updated {
        home::write_private(&folder.join(FILE), updated.to_json().as_bytes())?;
    }
    Ok(warning)
}

/// The same, and touches nothing whatever it is: the record as it should be from now on is the second answer.
pub(crate) fn judge(
    mesh: &str,
    folder: &Path,
    key: &HostKey,
    evidence: &Evidence,
) -> Result<(Option<String>, Option<HostRecord>)> {
    let refuse = |cause: String, stored: &[Shown], found: &[Shown]| Error::WrongHost {
        mesh: mesh.to_owned(),
        cause,
        stored: list(stored),
        found: list(found),
    };
    let record = match record(folder)? {
        Some(record) => record.map_err(|error| refuse(error.to_string(), &[], &[]))?,
        None => return Err(refuse("its host record is missing".into(), &[], &[])),
    };
    match record.judge(evidence, key) {
        Verdict::Refuse { cause, stored, found } => Err(refuse(cause.to_string(), &stored, &found)),
        Verdict::Run { warning, updated } => Ok((warning.map(|warning| warning.to_string()), updated)),
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::metadata(path) {
        Ok(file) if file.len() > MAX => Ok(Some(String::new())),
        Ok(_) => match std::fs::read(path) {
            Ok(bytes) => Ok(Some(String::from_utf8(bytes).unwrap_or_default())),
            Err(source) => Err(Error::File { what: "cannot read", path: path.to_path_buf(), source }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { what: "cannot read", path: path.to_path_buf(), source }),
    }
}

fn list(shown: &[Shown]) -> String {
    if shown.is_empty() {
        return "nothing".into();
    }
    shown.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(id: &str) -> Evidence {
        Evidence::new(Some(id), None, Vec::<(String, [u8; 6])>::new())
    }

    #[test]
    fn a_hosts_name_becomes_a_nodes() {
        for (host, name) in [("Build-1.example.org", "build-1"), ("Anna's Mac", "anna-s-mac"), ("_x_", "x")] {
            assert_eq!(node_name(host).unwrap().as_str(), name);
        }
        assert_eq!(node_name(&"x".repeat(80)).unwrap().as_str().len(), 63);
        for host in ["", "...", "__", "漢字"] {
            assert_eq!(node_name(host), None, "{host}");
        }
    }

    #[test]
    fn a_missing_malformed_or_unknown_record_beside_an_identity_refuses_and_touches_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let key = HostKey::from_bytes([1; 32]);
        for text in [None, Some(""), Some("{}"), Some("{\"schema\": 9}")] {
            if let Some(text) = text {
                std::fs::write(folder.path().join(FILE), text).unwrap();
            }
            let refused = check("home", folder.path(), &key, &configured("a")).unwrap_err();
            assert_eq!(refused.exit_code(), 4, "{refused}");
            assert_eq!(std::fs::read_to_string(folder.path().join(FILE)).ok().as_deref(), text);
        }
    }

    #[test]
    fn the_own_host_runs_and_another_is_refused_with_both_digests() {
        let folder = tempfile::tempdir().unwrap();
        let key = HostKey::from_bytes([1; 32]);
        bind(folder.path(), &key, &configured("a")).unwrap();
        assert_eq!(check("home", folder.path(), &key, &configured("a")).unwrap(), None);
        let Err(Error::WrongHost { stored, found, .. }) =
            check("home", folder.path(), &key, &configured("b"))
        else {
            panic!("another host was accepted");
        };
        assert_ne!(stored, found);
    }
}
