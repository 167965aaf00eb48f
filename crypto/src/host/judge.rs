//! The verdict: whether this is the host that the record was made on.
//!
//! | stored source | current | verdict |
//! |---|---|---|
//! | machine id | equal | run, recording changed MACs |
//! | machine id | different | refuse |
//! | machine id | unreadable | run with a warning if a MAC matches, else refuse |
//! | MACs | one matches | run, adopting the machine id if there is one now |
//! | MACs | none matches | refuse |
//! | configured | equal | run |
//! | configured | different or missing | refuse |
//! | random | | run with a warning: progress alone protects this node |
//!
//! A configured id that the record does not have yet is adopted by a verdict to run, and is the only evidence from
//! then on. It never turns a refusal into a run: a copied folder with a new id in its configuration stays a copy.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::host::evidence::Digests;
use crate::host::record::Binding;
use crate::host::{Evidence, HostKey, HostRecord};
use crate::id::Digest;
use crate::mac::same;

/// Whether a node may run here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The same host, as far as can be told.
    Run {
        /// Something to tell the operator at each start and in `status`.
        warning: Option<Warning>,
        /// What to write in place of the record, if it has learned something.
        updated: Option<HostRecord>,
    },
    /// Another host, or one that cannot be told. Nothing is to be touched until `accept-host`.
    Refuse {
        /// Why.
        cause: Cause,
        /// What the record holds.
        stored: Vec<Shown>,
        /// What was found here: empty if nothing could be read.
        found: Vec<Shown>,
    },
}

impl HostRecord {
    /// Compares this record with the evidence of this start, digest by digest, in constant time.
    pub fn judge(&self, evidence: &Evidence, key: &HostKey) -> Verdict {
        let found = evidence.digests(key);
        match self.compare(&found) {
            Err(cause) => Verdict::Refuse { cause, stored: self.shown(), found: found.shown() },
            Ok(_) if found.configured.is_some() && !matches!(self.0, Binding::Configured(_)) => {
                Verdict::Run { warning: None, updated: Self::of(found) }
            }
            Ok(warning) => Verdict::Run { warning, updated: self.learn(found) },
        }
    }

    fn compare(&self, found: &Digests) -> Result<Option<Warning>, Cause> {
        match &self.0 {
            Binding::Configured(id) => match &found.configured {
                Some(now) if equal(id, now) => Ok(None),
                Some(_) => Err(Cause::ConfiguredDiffers),
                None => Err(Cause::ConfiguredMissing),
            },
            Binding::MachineId(id, macs) => match &found.machine_id {
                Some(now) if equal(id, now) => Ok(None),
                Some(_) => Err(Cause::MachineIdDiffers),
                None if share_one(macs, &found.macs) => Ok(Some(Warning::MachineIdUnreadable)),
                None => Err(Cause::MachineIdUnreadable),
            },
            Binding::Macs(macs) if share_one(macs, &found.macs) => Ok(None),
            Binding::Macs(_) => Err(Cause::NoMacMatches),
            Binding::Random(_) => Ok(Some(Warning::ProgressOnly)),
        }
    }

    /// What a record that holds here is to become. Addresses are not forgotten because none can be seen now, and
    /// those of a host without a machine id stay as they were: a borrowed dock must not become its identity.
    fn learn(&self, found: Digests) -> Option<Self> {
        match (&self.0, found.machine_id) {
            (Binding::MachineId(id, macs), Some(_)) if !found.macs.is_empty() && *macs != found.macs => {
                Some(Self(Binding::MachineId(*id, found.macs)))
            }
            (Binding::Macs(_), Some(id)) => Some(Self(Binding::MachineId(id, found.macs))),
            _ => None,
        }
    }

    fn shown(&self) -> Vec<Shown> {
        match &self.0 {
            Binding::Configured(id) => vec![Shown::new("configured host id", id)],
            Binding::MachineId(id, macs) => show(None, Some(id), macs),
            Binding::Macs(macs) => show(None, None, macs),
            Binding::Random(id) => vec![Shown::new("random id", id)],
        }
    }
}

impl Digests {
    fn shown(&self) -> Vec<Shown> {
        show(self.configured.as_ref(), self.machine_id.as_ref(), &self.macs)
    }
}

fn show(configured: Option<&Digest>, machine_id: Option<&Digest>, macs: &[Digest]) -> Vec<Shown> {
    let configured = configured.map(|id| Shown::new("configured host id", id));
    let machine_id = machine_id.map(|id| Shown::new("machine id", id));
    configured.into_iter().chain(machine_id).chain(macs.iter().map(|mac| Shown::new("MAC", mac))).collect()
}

fn equal(a: &Digest, b: &Digest) -> bool {
    same(a.as_bytes(), b.as_bytes())
}

/// Compares all with all, so that the time does not tell which one matched.
fn share_one(a: &[Digest], b: &[Digest]) -> bool {
    a.iter().flat_map(|a| b.iter().map(move |b| equal(a, b))).fold(false, |any, equal| any | equal)
}

/// What an operator is to know though the node runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Warning {
    /// The host was recognised by an address alone.
    #[error("the machine id cannot be read; this host was recognised by a MAC address")]
    MachineIdUnreadable,
    /// The host offers nothing to recognise it by.
    #[error("nothing identifies this host, so progress alone protects this node from copies; set host_id")]
    ProgressOnly,
}

/// Why this is not the host of the record.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Cause {
    /// The machine id is another.
    #[error("the machine id has changed")]
    MachineIdDiffers,
    /// The machine id cannot be read, and no known address stands in for it.
    #[error("the machine id cannot be read, and no MAC address matches")]
    MachineIdUnreadable,
    /// The record knows only addresses, and none of them is here.
    #[error("no MAC address matches")]
    NoMacMatches,
    /// The configured id is another.
    #[error("the configured host id has changed")]
    ConfiguredDiffers,
    /// The record was made with a configured id, and none is configured.
    #[error("the host id is no longer configured")]
    ConfiguredMissing,
}

impl Cause {
    /// The name in JSON.
    pub const fn code(self) -> &'static str {
        match self {
            Self::MachineIdDiffers => "machine_id_differs",
            Self::MachineIdUnreadable => "machine_id_unreadable",
            Self::NoMacMatches => "no_mac_matches",
            Self::ConfiguredDiffers => "configured_differs",
            Self::ConfiguredMissing => "configured_missing",
        }
    }
}

/// A piece of evidence as people see it: its kind, and the first 8 hex digits of its digest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown {
    kind: &'static str,
    digits: String,
}

impl Shown {
    fn new(kind: &'static str, digest: &Digest) -> Self {
        let mut digits = digest.to_string();
        digits.truncate(8);
        Self { kind, digits }
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.digits)
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
