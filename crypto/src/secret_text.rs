//! Secrets of 32 random bytes as text: what it is, and Base64 (RFC 4648, section 5, without padding).

use data_encoding::BASE64URL_NOPAD;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::mac::Secret;

/// Characters of 32 bytes.
const ENCODED: usize = 43;

/// A new one.
pub(crate) fn generate(rng: &mut impl CryptoRng) -> Secret {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *bytes);
    bytes
}

/// As text, made in one place of memory that is wiped.
pub(crate) fn reveal(prefix: &str, secret: &Secret) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + ENCODED));
    text.push_str(prefix);
    BASE64URL_NOPAD.encode_append(&**secret, &mut text);
    text
}

/// Reads exactly what [`reveal`] gives, and white space around it. `what` it is goes into the error, and nothing of the text.
pub(crate) fn read(prefix: &str, text: &str, what: &'static str) -> Result<Secret> {
    let malformed = Error::Malformed(what);
    let encoded = text.trim().strip_prefix(prefix).filter(|encoded| encoded.len() == ENCODED);
    let bytes = encoded.and_then(|encoded| BASE64URL_NOPAD.decode(encoded.as_bytes()).ok());
    let bytes = Zeroizing::new(bytes.ok_or(malformed)?);
    <&[u8; 32]>::try_from(bytes.as_slice()).map(|bytes| Zeroizing::new(*bytes)).map_err(|_| malformed)
}

#[cfg(test)]
mod tests {
    use getrandom::{SysRng, rand_core::UnwrapErr};

    use super::*;

    #[test]
    fn a_new_secret_is_another_each_time_and_comes_back_from_its_text() {
        let [one, other] = [(); 2].map(|()| generate(&mut UnwrapErr(SysRng)));
        assert_ne!(one, other);
        let text = reveal("wwt_", &one);
        assert_eq!(read("wwt_", &format!(" {}\n", *text), "token"), Ok(one));
        for wrong in [&text[4..], &text[..46], &format!("{}A", *text), ""] {
            assert_eq!(read("wwt_", wrong, "token"), Err(Error::Malformed("token")), "{wrong}");
        }
    }
}
