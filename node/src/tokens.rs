//! Tokens by which apps reach this node over TCP: kept as what they hash to, in one file of the state folder.
//!
//! A change is on disk before it counts, and counts for what is under way too: whoever came by a token that has ended is
//! told so, and his streams end.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use waxwing_crypto::{AccessDigest, Timestamp};
use waxwing_crypto::{AccessToken, Name};
use waxwing_protocol::api::{Token, TokenRequest, TokenScope};
use waxwing_protocol::limits;

use crate::clock;
use crate::error::{Error, Result};
use crate::home::{self, Home};

/// Version of the file.
const VERSION: u32 = 1;

/// Every token of this node.
#[derive(Debug)]
pub(crate) struct Tokens {
    path: PathBuf,
    held: RwLock<Vec<Held>>,
    /// Held by the change under way.
    changing: Mutex<()>,
}

/// A token, as long as it counts.
#[derive(Clone, Debug)]
struct Held {
    kept: Kept,
    ended: CancellationToken,
}

/// What is kept of one.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    name: Name,
    scope: TokenScope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app: Option<Name>,
    created_at: Timestamp,
    sha256: AccessDigest,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    tokens: Vec<Kept>,
}

/// What somebody may do who has shown a token.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    pub(crate) name: Name,
    pub(crate) scope: TokenScope,
    /// The only app that he may be.
    pub(crate) app: Option<Name>,
    /// Cancelled with the token.
    pub(crate) ended: CancellationToken,
}

impl Tokens {
    /// Those of a state folder.
    ///
    /// # Errors
    /// `TooOpen`; `Damaged` if the file is not as it was written: no token counts by mistake.
    pub(crate) fn load(home: &Home) -> Result<Self> {
        let path = home.tokens();
        let kept = match std::fs::read(&path) {
            Ok(text) => {
                home::must_be_private(&path)?;
                read(&text).ok_or_else(|| damaged(&path))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(Error::File { what: "cannot read", path, source }),
        };
        let held = kept.into_iter().map(|kept| Held { kept, ended: CancellationToken::new() }).collect();
        Ok(Self { path, held: RwLock::new(held), changing: Mutex::default() })
    }

    /// Who has shown this token, if it counts. It is compared with all, whichever it is.
    pub(crate) fn holder(&self, token: &AccessToken) -> Option<Holder> {
        let shown = token.digest();
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let found = held
            .iter()
            .fold(None, |found, held| if held.kept.sha256.is(&shown) { Some(held) } else { found });
        found.map(|Held { kept, ended }| Holder {
            name: kept.name.clone(),
            scope: kept.scope,
            app: kept.app.clone(),
            ended: ended.clone(),
        })
    }

    /// All, by name.
    pub(crate) fn list(&self) -> Vec<Token> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let mut tokens: Vec<Token> = held.iter().map(|held| held.kept.show()).collect();
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        tokens
    }

    /// Makes one. Writes to the disk.
    ///
    /// # Errors
    /// `Conflict` if the name is taken, or there are too many; `Usage` for an admin who could be one app alone; `File`.
    pub(crate) fn create(&self, request: TokenRequest) -> Result<(AccessToken, Token)> {
        let TokenRequest { name, scope, app } = request;
        if scope == TokenScope::Admin && app.is_some() {
            return Err(Error::Usage("whoever may do everything cannot be held to one app".into()));
        }
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.held.read().unwrap_or_else(PoisonError::into_inner).clone();
        if held.iter().any(|held| held.kept.name == name) {
            return Err(Error::Conflict(format!("there is a token called {name} already")));
        }
        if held.len() >= limits::TOKENS {
            return Err(Error::Conflict(format!("there are {} tokens: end one first", limits::TOKENS)));
        }
        let token = AccessToken::generate(&mut crate::rng());
        let kept = Kept { name, scope, app, created_at: clock::now(), sha256: token.digest() };
        let about = kept.show();
        held.push(Held { kept, ended: CancellationToken::new() });
        self.keep(held)?;
        Ok((token, about))
    }

    /// Ends one, and whatever goes on by it. Writes to the disk.
    ///
    /// # Errors
    /// `NotFound`; `File`, and then it counts as before.
    pub(crate) fn revoke(&self, name: &Name) -> Result<()> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = self.held.read().unwrap_or_else(PoisonError::into_inner).clone();
        let place = held.iter().position(|held| held.kept.name == *name);
        let gone = held.remove(place.ok_or_else(|| Error::NotFound(format!("no token is called {name}")))?);
        self.keep(held)?;
        gone.ended.cancel();
        Ok(())
    }

    /// Puts these in the place of all, on the disk first.
    fn keep(&self, held: Vec<Held>) -> Result<()> {
        let file = File { version: VERSION, tokens: held.iter().map(|held| held.kept.clone()).collect() };
        let text = serde_json::to_vec_pretty(&file).map_err(|error| Error::Damaged(error.to_string()))?;
        home::write_private(&self.path, &text)?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }
}

impl Kept {
    fn show(&self) -> Token {
        let Self { name, scope, app, created_at, .. } = self.clone();
        Token { name, scope, app, created_at }
    }
}

fn read(text: &[u8]) -> Option<Vec<Kept>> {
    let file: File = serde_json::from_slice(text).ok()?;
    (file.version == VERSION).then_some(file.tokens)
}

fn damaged(path: &std::path::Path) -> Error {
    Error::Damaged(format!("{} is not as it was written: delete it, and make new tokens", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn request(name: &str, scope: TokenScope, app: Option<&str>) -> TokenRequest {
        TokenRequest { name: name.parse().unwrap(), scope, app: app.map(|app| app.parse().unwrap()) }
    }

    fn folder() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().to_path_buf());
        (folder, home)
    }

    #[test]
    fn a_token_counts_until_it_is_revoked_also_after_a_restart() {
        let (_folder, home) = folder();
        let tokens = Tokens::load(&home).unwrap();
        let (token, about) = tokens.create(request("ci", TokenScope::Send, Some("build"))).unwrap();
        let (other, _) = tokens.create(request("desk", TokenScope::Read, None)).unwrap();
        assert_eq!(tokens.list(), [about, tokens.list()[1].clone()]);
        let tokens = Tokens::load(&home).unwrap();
        let holder = tokens.holder(&token).unwrap();
        assert_eq!((holder.name.as_str(), holder.scope), ("ci", TokenScope::Send));
        assert_eq!(holder.app.unwrap().as_str(), "build");
        tokens.revoke(&"ci".parse().unwrap()).unwrap();
        assert!(holder.ended.is_cancelled() && tokens.holder(&token).is_none());
        let tokens = Tokens::load(&home).unwrap();
        assert!(tokens.holder(&token).is_none() && tokens.holder(&other).is_some());
        assert!(tokens.holder(&AccessToken::generate(&mut crate::rng())).is_none());
    }

    #[test]
    fn what_is_kept_does_not_let_anybody_in_and_is_this_users_alone() {
        let (_folder, home) = folder();
        let tokens = Tokens::load(&home).unwrap();
        let (token, _) = tokens.create(request("ci", TokenScope::Admin, None)).unwrap();
        let text = std::fs::read_to_string(home.tokens()).unwrap();
        assert!(!text.contains(&token.reveal()[5..]) && text.contains(&token.digest().to_string()), "{text}");
        let shown = format!("{tokens:?} {:?} {:?}", tokens.holder(&token), tokens.list());
        assert!(!shown.contains(&token.reveal()[5..]), "{shown}");
        let mode = std::fs::metadata(home.tokens()).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        std::fs::set_permissions(home.tokens(), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Tokens::load(&home), Err(Error::TooOpen { .. })));
    }

    #[test]
    fn names_are_given_once_and_a_file_that_was_changed_lets_nobody_in() {
        let (_folder, home) = folder();
        let tokens = Tokens::load(&home).unwrap();
        tokens.create(request("ci", TokenScope::Read, None)).unwrap();
        let again = tokens.create(request("ci", TokenScope::Admin, None));
        assert!(matches!(again, Err(Error::Conflict(_))));
        let both = tokens.create(request("boss", TokenScope::Admin, Some("ci")));
        assert!(matches!(both, Err(Error::Usage(_))));
        assert!(matches!(tokens.revoke(&"desk".parse().unwrap()), Err(Error::NotFound(_))));
        for _ in tokens.list().len()..limits::TOKENS {
            let name = format!("t-{}", tokens.list().len());
            tokens.create(request(&name, TokenScope::Read, None)).unwrap();
        }
        assert!(matches!(tokens.create(request("more", TokenScope::Read, None)), Err(Error::Conflict(_))));
        let text = std::fs::read_to_string(home.tokens()).unwrap();
        for damaged in ["", "{}", &text[..text.len() / 2], &text.replace("\"version\": 1", "\"version\": 2")]
        {
            home::write_private(&home.tokens(), damaged.as_bytes()).unwrap();
            assert!(matches!(Tokens::load(&home), Err(Error::Damaged(_))), "{damaged:.40}");
        }
    }
}
