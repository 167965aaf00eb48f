//! Tokens for apps that reach their node over TCP. Whoever comes by the socket needs none.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use waxwing_crypto::{Name, Timestamp};
use zeroize::Zeroizing;

/// What the holder of a token may do. Each includes those before it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TokenScope {
    /// Read what there is: inbox, events, peers, health.
    Read,
    /// Also send, acknowledge, register apps, say what peers see.
    Send,
    /// Everything, the making of tokens included.
    Admin,
}

impl TokenScope {
    /// Every scope, least first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Send, Self::Admin];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Send => "send",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for TokenScope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or("it is read, send or admin")
    }
}

/// `POST /v1/tokens`: makes a token.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// What it is called, to end it by.
    pub name: Name,
    /// What its holder may do.
    pub scope: TokenScope,
    /// The only app that its holder may be: no other mailbox, name or message. Not with `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Name>,
}

/// A token, without what makes it one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Token {
    /// What it is called.
    pub name: Name,
    /// What its holder may do.
    pub scope: TokenScope,
    /// The only app that its holder may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<Name>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A token that was made.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenAnswer {
    /// The token itself. Said once, here: the node keeps only what it hashes to.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub token: Zeroizing<String>,
    /// What it is for.
    #[serde(flatten)]
    pub about: Token,
}

impl fmt::Debug for TokenAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAnswer").field("about", &self.about).finish_non_exhaustive()
    }
}

/// `GET /v1/tokens`: those that let somebody in, by name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Tokens {
    /// They.
    pub tokens: Vec<Token>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown_by_debug() {
        let about = Token {
            name: "ci".parse().unwrap(),
            scope: TokenScope::Send,
            app: None,
            created_at: Timestamp::default(),
        };
        let shown = format!("{:?}", TokenAnswer { token: "wwt1_secret".to_owned().into(), about });
        assert!(shown.contains("ci") && !shown.contains("secret"), "{shown}");
    }
}
