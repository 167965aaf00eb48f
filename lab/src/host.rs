//! Another host, as far as a node can tell: the same machine with another machine id in a private mount namespace.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};

/// Puts the file `$1` in place of the machine id, in whichever of its places this system has, and runs the rest.
const SCRIPT: &str = r#"
set -e
id=$1
shift
mounted=no
for place in /var/lib/dbus/machine-id /etc/machine-id; do
    if [ -e "$place" ]; then mount --bind "$id" "$place"; mounted=yes; fi
done
if [ $mounted = no ]; then
    mount -t tmpfs tmpfs /var/lib
    mkdir /var/lib/dbus
    cat "$id" > /var/lib/dbus/machine-id
fi
exec "$@"
"#;

/// A host that commands can be run on.
#[derive(Clone, Debug)]
pub struct Host {
    unshare: Vec<&'static str>,
    machine_id: PathBuf,
}

impl Host {
    /// A host with this machine id, which is kept in a file of this folder.
    ///
    /// # Errors
    /// `Unreadable` with the system's word if this machine allows no private mounts, not even in a user namespace.
    pub fn new(folder: &Path, machine_id: &str) -> Result<Self> {
        let path = folder.join(format!("machine-id-{machine_id}"));
        std::fs::write(&path, format!("{machine_id}\n")).map_err(Error::io("writing a machine id"))?;
        let mut said = String::new();
        for unshare in [vec!["unshare", "-m"], vec!["unshare", "-r", "-m"]] {
            let host = Self { unshare, machine_id: path.clone() };
            match host.works(machine_id) {
                Ok(()) => return Ok(host),
                Err(error) => said.push_str(&error),
            }
        }
        Err(Error::Unreadable(format!(
            "this machine allows no private mounts, even as root of a namespace: {said}"
        )))
    }

    /// The words that run `command` on this host.
    pub(crate) fn wrap(&self, command: Vec<OsString>) -> Vec<OsString> {
        let mut words: Vec<OsString> = self.unshare.iter().map(OsString::from).collect();
        words.extend(["sh", "-c", SCRIPT, "sh"].map(OsString::from));
        words.push(self.machine_id.clone().into());
        words.extend(command);
        words
    }

    fn works(&self, machine_id: &str) -> Result<(), String> {
        let look = "cat /var/lib/dbus/machine-id 2>/dev/null || cat /etc/machine-id";
        let words = self.wrap(["sh", "-c", look].map(OsString::from).to_vec());
        let output = Command::new(&words[0]).args(&words[1..]).output().map_err(|err| err.to_string())?;
        if output.status.success() && String::from_utf8_lossy(&output.stdout).trim() == machine_id {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}
