//! The host record: which host this identity belongs to. Kept as `host.json`.

use std::fmt;

use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::host::evidence::{Digests, MAX_MACS};
use crate::host::{Evidence, HostKey};
use crate::id::Digest;

/// The one schema there is.
const SCHEMA: u64 = 1;

/// Largest file that is looked at, in bytes. A record with 64 addresses has about 5 KiB.
const MAX_JSON: usize = 16 * 1024;

/// What a node's identity is bound to: digests of the evidence seen when it was bound.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostRecord(pub(super) Binding);

/// The evidence that counts, and what stands in for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Binding {
    Configured(Digest),
    /// The addresses stand in when the machine id cannot be read. Sorted.
    MachineId(Digest, Vec<Digest>),
    /// At least one. Sorted.
    Macs(Vec<Digest>),
    /// There was no evidence; this is a random number.
    Random(Digest),
}

impl HostRecord {
    /// Binds to the host with this evidence, by the best there is: a configured id, else the machine id, else
    /// hardware addresses. Without any, the record holds a random id, which is only there to have one.
    pub fn observe(evidence: &Evidence, key: &HostKey, rng: &mut impl CryptoRng) -> Self {
        Self::of(evidence.digests(key)).unwrap_or_else(|| {
            let mut id = [0; Digest::SIZE];
            rng.fill_bytes(&mut id);
            Self(Binding::Random(Digest::from_bytes(id)))
        })
    }

    pub(super) fn of(Digests { configured, machine_id, macs }: Digests) -> Option<Self> {
        match (configured, machine_id) {
            (Some(id), _) => Some(Binding::Configured(id)),
            (None, Some(id)) => Some(Binding::MachineId(id, macs)),
            (None, None) => (!macs.is_empty()).then_some(Binding::Macs(macs)),
        }
        .map(Self)
    }

    /// What the identity is bound by.
    pub fn source(&self) -> Source {
        match &self.0 {
            Binding::Configured(_) => Source::Configured,
            Binding::MachineId(..) => Source::MachineId,
            Binding::Macs(_) => Source::Macs,
            Binding::Random(_) => Source::Random,
        }
    }

    /// Whether the record recognises nothing, so that progress alone protects this node. For `status` and the log.
    pub fn progress_only(&self) -> bool {
        self.source() == Source::Random
    }

    /// What stands in the membership log, for people to see when a node moved: SHA-256 over a domain string, the
    /// source and its digests. Other evidence that the record holds beside it does not count.
    pub fn commitment(&self) -> Digest {
        let hash =
            Sha256::new().chain_update(b"waxwing host commitment v1\0").chain_update(self.source().as_str());
        let hash = hash.chain_update(b"\0");
        let digests = match &self.0 {
            Binding::Configured(id) | Binding::MachineId(id, _) | Binding::Random(id) => {
                std::slice::from_ref(id)
            }
            Binding::Macs(macs) => macs,
        };
        let hash = digests.iter().fold(hash, |hash, digest| hash.chain_update(digest.as_bytes()));
        Digest::from_bytes(hash.finalize().into())
    }

    /// The record as JSON, to be written to the state folder.
    #[expect(clippy::expect_used, reason = "a plain struct of text and numbers into memory")]
    pub fn to_json(&self) -> String {
        let mut json = Json {
            schema: SCHEMA,
            source: self.source(),
            configured: None,
            machine_id: None,
            macs: vec![],
            random: None,
        };
        match &self.0 {
            Binding::Configured(id) => json.configured = Some(*id),
            Binding::MachineId(id, macs) => (json.machine_id, json.macs) = (Some(*id), macs.clone()),
            Binding::Macs(macs) => json.macs.clone_from(macs),
            Binding::Random(id) => json.random = Some(*id),
        }
        serde_json::to_string_pretty(&json).expect("encodes") + "\n"
    }

    /// Reads what [`HostRecord::to_json`] wrote.
    ///
    /// # Errors
    /// `UnknownSchema` if a later version wrote it; `Malformed` for anything else that is not exactly a record,
    /// fields too many or too few for its source included.
    pub fn from_json(json: &str) -> Result<Self, HostRecordError> {
        if json.len() > MAX_JSON {
            return Err(HostRecordError::Malformed);
        }
        let Schema { schema } = serde_json::from_str(json).map_err(|_| HostRecordError::Malformed)?;
        if schema != SCHEMA {
            return Err(HostRecordError::UnknownSchema(schema));
        }
        let json: Json = serde_json::from_str(json).map_err(|_| HostRecordError::Malformed)?;
        json.binding().map(Self).ok_or(HostRecordError::Malformed)
    }
}

/// What an identity is bound by.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// `host_id` in the configuration, or `WAXWING_HOST_ID`.
    Configured,
    /// The operating system's machine id.
    MachineId,
    /// Hardware MAC addresses.
    Macs,
    /// Nothing.
    Random,
}

impl Source {
    /// The name in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configured => "configured",
            Self::MachineId => "machine_id",
            Self::Macs => "macs",
            Self::Random => "random",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a text is no host record. The node does not start with either.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HostRecordError {
    /// Not exactly a record.
    #[error("the host record is malformed")]
    Malformed,
    /// Of a schema that this version does not know.
    #[error("the host record has schema {0}, which this Waxwing does not know")]
    UnknownSchema(u64),
}

/// Read first, so that a later schema is told from a broken file.
#[derive(Deserialize)]
struct Schema {
    schema: u64,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Json {
    schema: u64,
    source: Source,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    configured: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine_id: Option<Digest>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    macs: Vec<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    random: Option<Digest>,
}

impl Json {
    fn binding(self) -> Option<Binding> {
        let Self { schema: _, source, configured, machine_id, mut macs, random } = self;
        macs.sort_unstable();
        macs.dedup();
        if macs.len() > MAX_MACS {
            return None;
        }
        match (source, configured, machine_id, macs.is_empty(), random) {
            (Source::Configured, Some(id), None, true, None) => Some(Binding::Configured(id)),
            (Source::MachineId, None, Some(id), _, None) => Some(Binding::MachineId(id, macs)),
            (Source::Macs, None, None, false, None) => Some(Binding::Macs(macs)),
            (Source::Random, None, None, true, Some(id)) => Some(Binding::Random(id)),
            _ => None,
        }
    }
}
