//! Why a request is not answered, as the body of a [`Kind::Refusal`](super::Kind).

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::error::{Error, Result};

/// Why there will be no answer.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Nobody serves this app there.
    NoResponder,
    /// All who serve it have as many requests as they may.
    Busy,
    /// Whoever was given it says so: with what he says.
    Refused,
    /// Whoever was given it has gone.
    PeerGone,
}

/// That there will be no answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refusal {
    /// Why.
    pub why: Why,
    /// With `refused`: a word of the app's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Refusal {
    /// Longest word of an app, in bytes.
    pub const CODE: usize = 64;
    /// Longest detail, in bytes.
    pub const DETAIL: usize = 4_096;

    /// The bytes that travel.
    ///
    /// # Errors
    /// `Malformed` only if encoding fails.
    pub fn encode(&self) -> Result<Vec<u8>> {
        rmp_serde::to_vec_named(self).map_err(|_| Error::Malformed("refusal"))
    }

    /// Reads the body of a refusal.
    ///
    /// # Errors
    /// `Malformed` for what a node of this version would not have sent.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let read: Self = codec::exactly(bytes, "refusal")?;
        let fits = |text: &Option<String>, most| text.as_ref().is_none_or(|text| text.len() <= most);
        if fits(&read.code, Self::CODE) && fits(&read.detail, Self::DETAIL) {
            Ok(read)
        } else {
            Err(Error::Malformed("refusal"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        data_encoding::HEXLOWER.encode(bytes)
    }

    #[test]
    fn a_refusal_is_as_it_is_documented_and_reads_what_it_writes() {
        let code = Some("not_found".to_owned());
        let refusal = Refusal { why: Why::Refused, code, detail: Some("no such revision".to_owned()) };
        let bytes = refusal.encode().unwrap();
        assert_eq!(Refusal::decode(&bytes), Ok(refusal));
        let plain = Refusal { why: Why::NoResponder, code: None, detail: None }.encode().unwrap();
        let docs = include_str!("../../../docs/protocol.md");
        let blocks: String = docs.split_whitespace().collect();
        for bytes in [bytes, plain] {
            assert!(blocks.contains(&hex(&bytes)), "{} is not documented", hex(&bytes));
        }
    }

    #[test]
    fn what_no_node_sends_is_no_refusal() {
        let of = |code: usize, detail: usize| Refusal {
            why: Why::Refused,
            code: Some("x".repeat(code)),
            detail: Some("x".repeat(detail)),
        };
        assert!(Refusal::decode(&of(Refusal::CODE, Refusal::DETAIL).encode().unwrap()).is_ok());
        for refusal in [of(Refusal::CODE + 1, 0), of(0, Refusal::DETAIL + 1)] {
            assert_eq!(Refusal::decode(&refusal.encode().unwrap()), Err(Error::Malformed("refusal")));
        }
        for bad in [&b""[..], b"\x80", b"\x81\xa3why\xa5other", b"\x81\xa3why\xa4busy\xc0"] {
            assert_eq!(Refusal::decode(bad), Err(Error::Malformed("refusal")), "{bad:x?}");
        }
    }
}
