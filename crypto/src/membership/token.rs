//! The invite token: all that a newcomer needs, as one line of text to paste.
//!
//! `ww1_` and then, in base64url without padding (RFC 4648, 5):
//!
//! ```text
//! version 1   1 byte
//! broker URL  2 bytes of length, big-endian, and 1 to 512 bytes
//! mesh id    16 bytes
//! seed       32 bytes
//! pinned      1 byte, 0 or 1
//! pin        32 bytes, if pinned: SHA-256 of the broker's SubjectPublicKeyInfo
//! checksum    4 bytes: SHA-256 over a domain string and all of the above, first 4
//! ```
//!
//! The checksum tells a damaged paste from a refused one; it protects nothing.

use std::str::FromStr;

use data_encoding::{BASE64URL_NOPAD, DecodeKind};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::id::{MeshId, Pin};
use crate::membership::InviteSeed;

const PREFIX: &str = "ww1_";
const VERSION: u8 = 1;
const CHECKSUM: usize = 4;

/// An invite on its way to whoever is to join. Secret, for the seed in it.
#[derive(Clone, Debug)]
pub struct InviteToken {
    broker_url: String,
    mesh: MeshId,
    seed: InviteSeed,
    pin: Option<Pin>,
}

impl InviteToken {
    /// Longest broker URL, in bytes.
    pub const MAX_URL: usize = 512;
    /// Longest token, in bytes of text. One with the longest URL and a pin has 804.
    pub const MAX_TEXT: usize = 1_024;

    /// Puts a token together.
    ///
    /// # Errors
    /// `Malformed` if the URL is empty, longer than [`InviteToken::MAX_URL`] or not printable ASCII without spaces.
    pub fn new(broker_url: &str, mesh: MeshId, seed: InviteSeed, pin: Option<Pin>) -> Result<Self> {
        if !is_plain_url(broker_url.as_bytes()) {
            return Err(Error::Malformed("broker URL"));
        }
        Ok(Self { broker_url: broker_url.to_owned(), mesh, seed, pin })
    }

    /// Where to dial. Not checked further than that it can be shown.
    pub fn broker_url(&self) -> &str {
        &self.broker_url
    }

    /// Which mesh to join: the genesis entry must hash to it.
    pub fn mesh(&self) -> MeshId {
        self.mesh
    }

    /// The secret that the invite's keys are derived from.
    pub fn seed(&self) -> &InviteSeed {
        &self.seed
    }

    /// What the broker's key is recognised by. None for a broker whose certificate public CAs vouch for.
    pub const fn pin(&self) -> Option<Pin> {
        self.pin
    }

    /// Reveals the token as text, to hand it over.
    pub fn reveal(&self) -> Zeroizing<String> {
        let bytes = self.encode();
        let mut text = Zeroizing::new(String::with_capacity(Self::MAX_TEXT));
        text.push_str(PREFIX);
        BASE64URL_NOPAD.encode_append(&bytes, &mut text);
        text
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(Self::MAX_TEXT));
        bytes.push(VERSION);
        // At most MAX_URL, so two bytes hold it.
        bytes.extend_from_slice(&(self.broker_url.len() as u16).to_be_bytes());
        bytes.extend_from_slice(self.broker_url.as_bytes());
        bytes.extend_from_slice(self.mesh.as_bytes());
        bytes.extend_from_slice(self.seed.reveal());
        bytes.push(u8::from(self.pin.is_some()));
        bytes.extend_from_slice(self.pin.as_ref().map_or(&[], |pin| pin.as_bytes()));
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        bytes
    }
}

impl FromStr for InviteToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let bytes = decode_text(text.trim())?;
        // The checksum is looked at before the layout, which only this version's tokens have.
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(TokenError::Truncated)?;
        let whole = checksum(body) == *sum;
        if whole && body.first().is_some_and(|&version| version != VERSION) {
            return Err(TokenError::UnsupportedVersion);
        }
        let mut reader = Reader(if whole { body } else { &bytes });
        let token = reader.token()?;
        if whole && reader.0.is_empty() {
            return Ok(token);
        }
        // Nothing is missing up to the checksum, but part of that may be.
        Err(if !whole && reader.0.len() < CHECKSUM { TokenError::Truncated } else { TokenError::Damaged })
    }
}

/// Why a text is no invite token. Each asks the user for something else.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// Does not begin as one.
    #[error("this is not an invite token: it should begin with ww1_")]
    NotAToken,
    /// The end is missing.
    #[error("this invite token is cut off: copy all of it")]
    Truncated,
    /// Characters were changed, or added.
    #[error("this invite token is damaged: copy it again")]
    Damaged,
    /// Made by a later Waxwing.
    #[error("this invite token is of a version that this Waxwing does not know")]
    UnsupportedVersion,
}

fn decode_text(text: &str) -> Result<Zeroizing<Vec<u8>>, TokenError> {
    let Some(encoded) = text.strip_prefix(PREFIX) else {
        return Err(if is_later(text) { TokenError::UnsupportedVersion } else { TokenError::NotAToken });
    };
    if text.len() > InviteToken::MAX_TEXT {
        return Err(TokenError::Damaged);
    }
    let decoded = BASE64URL_NOPAD.decode(encoded.as_bytes());
    decoded.map(Zeroizing::new).map_err(|err| match err.kind {
        // A text cut in the middle of a byte has a length or last bits that no whole one has.
        DecodeKind::Length | DecodeKind::Trailing => TokenError::Truncated,
        DecodeKind::Symbol | DecodeKind::Padding => TokenError::Damaged,
    })
}

/// Whether this looks like a token of another version: `ww`, digits, `_`.
fn is_later(text: &str) -> bool {
    let version =
        text.strip_prefix("ww").and_then(|rest| rest.split_once('_')).map_or("", |(version, _)| version);
    (1..=4).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_digit())
}

fn is_plain_url(url: &[u8]) -> bool {
    (1..=InviteToken::MAX_URL).contains(&url.len()) && url.iter().all(u8::is_ascii_graphic)
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let digest = Sha256::new().chain_update(b"waxwing token v1\0").chain_update(bytes).finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// Moves forward through a token's bytes; whatever is not there has been cut off.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn token(&mut self) -> Result<InviteToken, TokenError> {
        let [_version] = *self.array()?;
        let length = u16::from_be_bytes(*self.array()?);
        let url = self.slice(length.into())?;
        let broker_url = is_plain_url(url).then(|| String::from_utf8_lossy(url).into_owned());
        let mesh = MeshId::from_bytes(*self.array()?);
        let seed = InviteSeed::from_bytes(self.array()?);
        let pin = match *self.array()? {
            [0] => None,
            [1] => Some(Pin::from_bytes(*self.array()?)),
            [_] => return Err(TokenError::Damaged),
        };
        Ok(InviteToken { broker_url: broker_url.ok_or(TokenError::Damaged)?, mesh, seed, pin })
    }

    fn slice(&mut self, length: usize) -> Result<&[u8], TokenError> {
        let (slice, rest) = self.0.split_at_checked(length).ok_or(TokenError::Truncated)?;
        self.0 = rest;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Result<&[u8; N], TokenError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(TokenError::Truncated)?;
        self.0 = rest;
        Ok(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(url: &str, pin: Option<Pin>) -> InviteToken {
        let seed = InviteSeed::from_bytes(&[5; 32]);
        InviteToken::new(url, MeshId::from_bytes([7; 16]), seed, pin).unwrap()
    }

    fn error(text: &str) -> TokenError {
        text.parse::<InviteToken>().unwrap_err()
    }

    /// The text of these bytes with a checksum that holds.
    fn text_of(body: &[u8]) -> String {
        let bytes = [body, &checksum(body)].concat();
        PREFIX.to_owned() + &BASE64URL_NOPAD.encode(&bytes)
    }

    #[test]
    fn a_token_survives_its_text() {
        let longest = "w".repeat(InviteToken::MAX_URL);
        for (url, pin) in [
            ("wss://broker.example:8443", None),
            ("ws://[::1]:1/x", Some(Pin::from_bytes([9; 32]))),
            (&longest, Some(Pin::from_bytes([1; 32]))),
        ] {
            let text = token(url, pin).reveal();
            assert!(text.len() <= 804 && text.len() <= InviteToken::MAX_TEXT);
            let read: InviteToken = format!(" {}\n", *text).parse().unwrap();
            assert_eq!((read.broker_url(), read.mesh(), read.pin()), (url, MeshId::from_bytes([7; 16]), pin));
            assert_eq!(read.seed().reveal(), &[5; 32]);
        }
    }

    #[test]
    fn a_url_is_short_printable_and_there() {
        for bad in ["", "wss://a b", "wss://ä", "a\n", &"w".repeat(InviteToken::MAX_URL + 1)] {
            let made =
                InviteToken::new(bad, MeshId::from_bytes([7; 16]), InviteSeed::from_bytes(&[5; 32]), None);
            assert_eq!(made.map(|_| ()), Err(Error::Malformed("broker URL")));
        }
    }

    #[test]
    fn every_truncation_is_told() {
        for pin in [None, Some(Pin::from_bytes([9; 32]))] {
            let text = token("wss://broker.example", pin).reveal();
            for cut in 0..text.len() {
                let expected = if cut < PREFIX.len() { TokenError::NotAToken } else { TokenError::Truncated };
                assert_eq!(error(&text[..cut]), expected, "{cut}");
            }
        }
    }

    #[test]
    fn no_changed_character_passes() {
        let text = token("wss://broker.example", Some(Pin::from_bytes([9; 32]))).reveal();
        for at in 0..text.len() {
            for new in ["A", "z", "0", "-", "_", "=", "+", " ", "ä"] {
                let mut changed = text.to_string();
                changed.replace_range(at..=at, new);
                if *changed != **text {
                    error(&changed);
                }
            }
        }
    }

    #[test]
    fn added_characters_are_damage() {
        let text = token("wss://broker.example", None).reveal();
        for more in ["AAAA", "AAAAAAAA", "!", "=", &"A".repeat(2_000)] {
            assert_eq!(error(&format!("{}{more}", *text)), TokenError::Damaged, "{more}");
        }
    }

    #[test]
    fn what_does_not_begin_as_a_token_is_none() {
        for text in ["", "hello", "ww_", "wwx_AAAA", "WW1_AAAA", "https://broker", "ww12345_A"] {
            assert_eq!(error(text), TokenError::NotAToken, "{text}");
        }
    }

    #[test]
    fn a_later_version_is_told_from_damage() {
        assert_eq!(error("ww2_AAAA"), TokenError::UnsupportedVersion);
        assert_eq!(error(&text_of(&[2, 1, 2, 3])), TokenError::UnsupportedVersion);
        // As long as a token can be, and a byte more.
        assert_eq!(text_of(&[2; 761]).len(), InviteToken::MAX_TEXT);
        assert_eq!(error(&text_of(&[2; 761])), TokenError::UnsupportedVersion);
        assert_eq!(error(&text_of(&[2; 762])), TokenError::Damaged);
        let mut later = token("wss://broker.example", None).encode().to_vec();
        later[0] = 2;
        assert_eq!(error(&(PREFIX.to_owned() + &BASE64URL_NOPAD.encode(&later))), TokenError::Damaged);
    }

    #[test]
    fn a_checksum_does_not_save_a_wrong_layout() {
        let body = token("wss://broker.example", None).encode().to_vec();
        let body = &body[..body.len() - CHECKSUM];
        let with = |at: usize, byte: u8| {
            let mut changed = body.to_vec();
            changed[at] = byte;
            error(&text_of(&changed))
        };
        assert_eq!(with(body.len() - 1, 2), TokenError::Damaged, "neither pinned nor not");
        assert_eq!(with(body.len() - 1, 1), TokenError::Truncated, "no pin");
        assert_eq!(with(5, b' '), TokenError::Damaged, "a space in the URL");
        assert_eq!(error(&text_of(&[body, &[0]].concat())), TokenError::Damaged);
        assert_eq!(error(&text_of(&[])), TokenError::Truncated);
    }

    #[test]
    fn a_token_prints_without_its_seed() {
        let shown = format!("{:?}", token("wss://broker.example", None));
        assert!(shown.contains("InviteSeed(secret)") && !shown.contains('5'), "{shown}");
    }
}
