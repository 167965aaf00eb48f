//! The token that callers from other machines must show.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq as _;

use crate::error::{Error, Result};

/// How many random bytes it stands for.
const BYTES: usize = 32;
/// Fewer characters than those bytes take are no secret.
const CHARACTERS: usize = 43;

/// Where the token of a data folder is.
pub fn token_file(data: &Path) -> PathBuf {
    data.join("admin.token")
}

/// A secret that callers must show. It has no `Debug` and is nowhere printed.
pub(super) struct Token(String);

impl Token {
    /// Reads the token, or makes one if there is none.
    ///
    /// # Errors
    /// `Config` if it cannot be read, others can read it, or it is too short to be a secret.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let wrong = |what: String| Error::Config(format!("{}: {what}", path.display()));
        match fs::metadata(path) {
            Ok(file) => {
                let mode = file.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(wrong(format!("others can read it: chmod 600 {}", path.display())));
                }
            }
            Err(err) if err.kind() == ErrorKind::NotFound => {
                make(path).map_err(|err| wrong(err.to_string()))?;
            }
            Err(err) => return Err(wrong(err.to_string())),
        }
        let text = fs::read_to_string(path).map_err(|err| wrong(err.to_string()))?;
        let token = text.trim();
        if token.len() < CHARACTERS {
            return Err(wrong(format!(
                "it has fewer than {CHARACTERS} characters: remove it, and a new one is made"
            )));
        }
        Ok(Self(token.to_owned()))
    }

    /// Whether this is it. Takes the same time wherever they differ.
    pub(super) fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

fn make(path: &Path) -> std::io::Result<()> {
    let mut secret = [0; BYTES];
    getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
    let mut file = File::options().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(format!("{}\n", BASE64URL_NOPAD.encode(&secret)).as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_private_and_random() {
        let dir = tempfile::tempdir().unwrap();
        let path = token_file(dir.path());
        let token = Token::load(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Token::load(&path).unwrap().is(&token.0), "the second start has the same");
        assert!(!token.is("") && !token.is(&token.0[1..]) && !token.is(&format!("{}x", token.0)));
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
