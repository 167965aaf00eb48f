//! What a doctor finds, of a node or a broker.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Something that was looked at.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen.
    pub detail: String,
    /// The command that mends it, or shows more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// How something is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and should be looked after.
    Warning,
    /// It does not work, or will not for long.
    Wrong,
}

impl Verdict {
    /// The word that people see.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Wrong => "WRONG",
        }
    }
}

impl Finding {
    /// All is well.
    pub fn ok(check: &str, detail: impl Into<String>) -> Self {
        Self { check: check.to_owned(), verdict: Verdict::Ok, detail: detail.into(), mend: None }
    }

    /// It should be looked after.
    pub fn warning(check: &str, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, mend: Some(mend.into()), ..Self::ok(check, detail) }
    }

    /// It must be mended.
    pub fn wrong(check: &str, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Wrong, mend: Some(mend.into()), ..Self::ok(check, detail) }
    }
}

/// A span as people say it.
pub fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// A size as people say it.
pub fn size(bytes: u64) -> String {
    const MIB: u64 = 1024 * 1024;
    match bytes {
        0..MIB => format!("{} KiB", bytes.div_ceil(1024)),
        bytes if bytes < 10 * 1024 * MIB => format!("{} MiB", bytes / MIB),
        bytes => format!("{} GiB", bytes / (1024 * MIB)),
    }
}
