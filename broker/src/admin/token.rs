//! The token that callers from other machines must show.

use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::secret;

/// How many random bytes it stands for.
const BYTES: usize = 32;
/// Fewer characters than those bytes take are no secret.
const CHARACTERS: usize = 43;

/// Where the token of a data folder is.
pub fn token_file(data: &Path) -> PathBuf {
    data.join("admin.token")
}

/// A secret that callers must show. It has no `Debug` and is nowhere printed.
pub(super) struct Token(Zeroizing<String>);

impl Token {
    /// Reads the token, or makes one if there is none.
    ///
    /// # Errors
    /// `Config` if it cannot be read, others can read it, or it is too short to be a secret.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let text = secret::keep(path, make)?;
        let token = Zeroizing::new(text.trim().to_owned());
        if token.len() < CHARACTERS {
            let path = path.display();
            return Err(Error::Config(format!(
                "{path}: it has fewer than {CHARACTERS} characters: remove it, and a new one is made"
            )));
        }
        Ok(Self(token))
    }

    /// Whether this is it. Takes the same time wherever they differ.
    pub(super) fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

fn make() -> Result<Zeroizing<String>> {
    let mut secret = Zeroizing::new([0; BYTES]);
    getrandom::fill(&mut secret[..]).map_err(|err| Error::Internal(err.into()))?;
    Ok(Zeroizing::new(format!("{}\n", BASE64URL_NOPAD.encode(&secret[..]))))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_private_and_random() {
        let dir = tempfile::tempdir().unwrap();
        let path = token_file(dir.path());
        let token = Token::load(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Token::load(&path).unwrap().is(&token.0), "the second start has the same");
        assert!(!token.is("") && !token.is(&token.0[1..]) && !token.is(&format!("{}x", *token.0)));
        let other = tempfile::tempdir().unwrap();
        assert!(!Token::load(&token_file(other.path())).unwrap().is(&token.0));
    }

    #[test]
    fn a_token_that_others_can_read_or_guess_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = token_file(dir.path());
        drop(Token::load(&path).unwrap());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Token::load(&path).err().unwrap().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "secret\n").unwrap();
        let error = Token::load(&path).err().unwrap().to_string();
        assert!(error.contains("fewer than 43") && !error.contains("secret"), "{error}");
    }
}
