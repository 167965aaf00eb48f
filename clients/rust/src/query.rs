//! Query strings from the same types that describe request bodies.

use std::fmt::Write as _;
use std::slice;

use serde::Serialize;

use crate::error::{Error, Result};

/// The path with every field of `query` that is set.
pub(crate) fn with_query(path: &str, query: &impl Serialize) -> Result<String> {
    let value = serde_json::to_value(query).map_err(|err| Error::Incompatible(err.to_string()))?;
    let mut target = path.to_owned();
    let mut mark = '?';
    for (name, value) in value.as_object().into_iter().flatten() {
        // A list is a parameter given several times.
        for value in value.as_array().map_or_else(|| slice::from_ref(value), Vec::as_slice) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            target.push(mark);
            target.push_str(name);
            target.push('=');
            escape(&mut target, &text);
            mark = '&';
        }
    }
    Ok(target)
}

/// A text as one part of a path.
pub(crate) fn escaped(text: &str) -> String {
    let mut target = String::new();
    escape(&mut target, text);
    target
}

/// Percent-encodes everything that RFC 3986 does not call unreserved.
fn escape(target: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            target.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(target, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use waxwing_protocol::api::{AppsQuery, InboxQuery, MeshQuery};

    use super::*;

    #[test]
    fn only_what_is_set_is_asked_and_nothing_breaks_out() {
        assert_eq!(with_query("/v1/peers", &MeshQuery::default()).unwrap(), "/v1/peers");
        assert_eq!(with_query("/v1/health", &()).unwrap(), "/v1/health");
        let query = InboxQuery {
            after: Some(7),
            app: Some("*".to_owned()),
            thread: Some("a b&limit=9ä".to_owned()),
            unread: true,
            ..InboxQuery::default()
        };
        assert_eq!(
            with_query("/v1/inbox", &query).unwrap(),
            "/v1/inbox?after=7&app=%2A&thread=a%20b%26limit%3D9%C3%A4&unread=true"
        );
        let several =
            AppsQuery { capability: vec!["a,b".to_owned(), "c".to_owned()], ..AppsQuery::default() };
        assert_eq!(with_query("/v1/apps", &several).unwrap(), "/v1/apps?capability=a%2Cb&capability=c");
    }
}
