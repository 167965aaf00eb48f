//! A node that is reached over TCP. The environment names it and its token: a token has no place among arguments, which
//! everybody on the machine can read.

use std::env;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use waxwing_client::{AccessToken, Client};

use crate::failure::{Failure, Result};

/// The node's address.
const NODE: &str = "WAXWING_NODE";
/// The token.
const TOKEN: &str = "WAXWING_TOKEN";
/// A file with it.
const TOKEN_FILE: &str = "WAXWING_TOKEN_FILE";

/// The node that the environment names, if it does.
pub(super) fn named() -> Result<Option<Client>> {
    let Some(address) = variable(NODE)? else { return Ok(None) };
    let address = address.parse().map_err(|_| {
        Failure::usage(format!("{NODE} is `{}`: write 127.0.0.1:7980", address.escape_debug()))
    })?;
    let token = match (variable(TOKEN)?, variable(TOKEN_FILE)?) {
        (Some(token), None) => token,
        (None, Some(file)) => read(&PathBuf::from(file))?,
        (Some(_), Some(_)) => return Err(Failure::usage(format!("{TOKEN} and {TOKEN_FILE} are both set"))),
        (None, None) => {
            return Err(Failure::usage(format!("{NODE} is set, and neither {TOKEN_FILE} nor {TOKEN}")).hint(
                "on the node's own account: `waxwing node token create NAME --scope send --out FILE`",
            ));
        }
    };
    let token: AccessToken =
        token.parse().map_err(|_| Failure::usage("this is no token: it begins with wwt1_"))?;
    let client = Client::tcp(address, token).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Some(client))
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Result<Option<String>> {
    let Some(value) = env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    value.into_string().map(Some).map_err(|_| Failure::usage(format!("{name} is no text")))
}

/// The token in a file that is this user's alone.
fn read(path: &Path) -> Result<String> {
    let failed = |error: std::io::Error| Failure::usage(format!("cannot read {}: {error}", path.display()));
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Failure::usage(format!("others than its owner have access to {}", path.display()))
            .hint(format!("chmod 600 {}, or make another token: this one may be known", path.display())));
    }
    std::fs::read_to_string(path).map_err(failed)
}
