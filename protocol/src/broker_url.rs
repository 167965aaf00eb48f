//! A broker as nodes know it: where to dial, and what its key is recognised by.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};
use waxwing_crypto::Pin;
use waxwing_crypto::membership::InviteToken;

use crate::link::PATH;

/// Longest text that is looked at: a URL as long as a token can carry, and a pin.
const MAX: usize = InviteToken::MAX_URL + PIN.len() + 44;
/// What a pin follows.
const PIN: &str = "pin=";

/// A broker's URL, `ws://host:port` or `wss://host:port`, and `#pin=...` if its certificate is known by its key rather
/// than by a public CA. What a person types; what a login signs is [`BrokerUrl::dialled`], without the pin.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct BrokerUrl {
    tls: bool,
    host: Host,
    port: u16,
    pin: Option<Pin>,
}

/// Why a text is no broker's URL: says what it should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{}` is no broker's URL: {why}", .text.escape_debug())]
pub struct BadBrokerUrl {
    text: String,
    why: String,
}

impl BrokerUrl {
    /// The URL of a host and port.
    pub const fn new(tls: bool, host: Host, port: u16) -> Self {
        Self { tls, host, port, pin: None }
    }

    /// The same broker, recognised by this pin, or by public CAs.
    ///
    /// # Errors
    /// `BadBrokerUrl` for a pin where there is no TLS, and so no key to compare it with.
    pub fn with_pin(self, pin: Option<Pin>) -> Result<Self, BadBrokerUrl> {
        if pin.is_some() && !self.tls {
            return Err(bad(&self.dialled(), "a pin is of a TLS key: write wss://"));
        }
        Ok(Self { pin, ..self })
    }

    /// Whether the link is encrypted by TLS.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Who is dialled.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port, whether it was written or not.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What the broker's key is recognised by.
    pub const fn pin(&self) -> Option<Pin> {
        self.pin
    }

    /// Whether it is on this machine, as far as its name says.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Domain(name) => name == "localhost",
            Host::Ipv4(ip) => ip.is_loopback(),
            Host::Ipv6(ip) => ip.to_canonical().is_loopback(),
        }
    }

    /// The URL in the one form that is dialled, signed by logins and compared: scheme, host and port.
    pub fn dialled(&self) -> String {
        format!("{}://{}:{}", if self.tls { "wss" } else { "ws" }, self.host, self.port)
    }
}

impl FromStr for BrokerUrl {
    type Err = BadBrokerUrl;

    fn from_str(text: &str) -> Result<Self, BadBrokerUrl> {
        if text.len() > MAX {
            return Err(bad(&text.chars().take(60).collect::<String>(), "it is too long"));
        }
        let url = Url::parse(text).map_err(|err| bad(text, format!("{err}; write wss://HOST:7900")))?;
        let tls = match url.scheme() {
            "wss" => true,
            "ws" => false,
            _ => return Err(bad(text, "it begins with wss://, or ws:// without TLS")),
        };
        let named = !url.username().is_empty() || url.password().is_some();
        if !matches!(url.path(), "" | "/" | PATH) || url.query().is_some() || named {
            return Err(bad(text, "it has more than a host and a port"));
        }
        let pin = url.fragment().map(|fragment| {
            let pin = fragment.strip_prefix(PIN).and_then(|pin| pin.parse().ok());
            pin.ok_or_else(|| bad(text, "what follows # is not pin= and 43 characters: copy all of it"))
        });
        let host = url.host().ok_or_else(|| bad(text, "it names no host"))?.to_owned();
        let port = url.port_or_known_default().filter(|&port| port != 0);
        let port = port.ok_or_else(|| bad(text, "port 0 is none to dial"))?;
        let broker = Self::new(tls, host, port);
        if broker.dialled().len() > InviteToken::MAX_URL {
            return Err(bad(&text.chars().take(60).collect::<String>(), "it is too long"));
        }
        broker.with_pin(pin.transpose()?)
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dialled())?;
        match &self.pin {
            Some(pin) => write!(f, "#{PIN}{pin}"),
            None => Ok(()),
        }
    }
}

fn bad(text: &str, why: impl Into<String>) -> BadBrokerUrl {
    BadBrokerUrl { text: text.to_owned(), why: why.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PINNED: &str = "wss://10.0.0.1:7900#pin=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

    #[test]
    fn urls_have_one_form() {
        for (text, url) in [
            ("ws://Host:7900", "ws://host:7900"),
            ("ws://host:7900/", "ws://host:7900"),
            ("WS://host:7900/v1/link", "ws://host:7900"),
            ("wss://mesh.example", "wss://mesh.example:443"),
            ("ws://127.1", "ws://127.0.0.1:80"),
            ("wss://[0:0::1]:7900", "wss://[::1]:7900"),
        ] {
            assert_eq!(text.parse::<BrokerUrl>().unwrap().dialled(), url, "{text}");
        }
    }

    #[test]
    fn what_is_no_brokers_url_is_told_why() {
        for (text, why) in [
            ("", "relative"),
            ("7900", "relative"),
            ("http://127.0.0.1", "begins with"),
            ("ws://", "empty host"),
            ("ws://host/path", "more than a host"),
            ("ws://user@host", "more than a host"),
            ("ws://host?x", "more than a host"),
            ("ws://host:0", "port 0"),
            ("wss://host#x", "pin="),
            ("wss://host#pin=BwcH", "43 characters"),
            (&PINNED.replace("wss", "ws"), "write wss://"),
            (&"w".repeat(601), "too long"),
            (&format!("ws://{}", "w.".repeat(253)), "too long"),
        ] {
            let error = text.parse::<BrokerUrl>().unwrap_err().to_string();
            assert!(error.contains(why) && error.len() < 250, "{text}: {error}");
        }
    }

    #[test]
    fn a_pin_survives_its_text_and_is_no_part_of_what_is_dialled() {
        let broker: BrokerUrl = PINNED.parse().unwrap();
        assert_eq!(broker.pin(), Some(Pin::from_bytes([7; 32])));
        assert_eq!((broker.to_string().as_str(), broker.dialled().as_str()), (PINNED, "wss://10.0.0.1:7900"));
    }

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for (text, loopback) in [
            ("ws://localhost:1", true),
            ("ws://127.9.9.9", true),
            ("ws://[::1]:1", true),
            ("ws://[::ffff:127.0.0.1]:1", true),
            ("ws://10.0.0.1", false),
            ("ws://localhost.example", false),
            ("ws://0.0.0.0:1", false),
        ] {
            assert_eq!(text.parse::<BrokerUrl>().unwrap().is_loopback(), loopback, "{text}");
        }
    }
}
