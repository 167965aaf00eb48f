//! The opening handshake of a WebSocket (RFC 6455, 4.2), by hand: axum's own support pins an older tungstenite.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Body as _;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use waxwing_protocol::link::SUBPROTOCOL;

/// Answers an upgrade request. If it is a good one, `start` gets the connection-to-be and what the listener knows of it.
pub(super) fn respond<C: Clone + Send + Sync + 'static>(
    mut request: Request,
    start: impl FnOnce(OnUpgrade, C),
) -> Response {
    let accept = match check_request(&request).and_then(|()| check(request.headers())) {
        Ok(accept) => accept,
        Err(refusal) => return refusal.into_response(),
    };
    let Some(connection) = request.extensions().get::<C>().cloned() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    start(hyper::upgrade::on(&mut request), connection);
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// What a client has to do first.
const UPGRADE: [(header::HeaderName, &str); 1] = [(header::UPGRADE, "websocket")];

/// A request that is not upgraded, with a line for whoever made it by hand.
type Refusal = (StatusCode, [(header::HeaderName, &'static str); 1], &'static str);

/// Checks what is no header of WebSocket's own.
fn check_request(request: &Request) -> Result<(), Refusal> {
    let host = [(header::CONNECTION, "close")];
    if request.method() != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")], ""));
    }
    if request.version() != Version::HTTP_11 {
        return Err((StatusCode::UPGRADE_REQUIRED, UPGRADE, "this speaks HTTP/1.1\n"));
    }
    if request.headers().get_all(header::HOST).iter().count() != 1 {
        return Err((StatusCode::BAD_REQUEST, host, "a request names one host\n"));
    }
    // Its bytes would be taken for frames.
    if !request.body().is_end_stream() {
        return Err((StatusCode::BAD_REQUEST, host, "a request for a link has no body\n"));
    }
    Ok(())
}

/// Checks the headers. Returns what proves that they were read.
fn check(headers: &HeaderMap) -> Result<HeaderValue, Refusal> {
    if !lists(headers, &header::CONNECTION, "upgrade") || !lists(headers, &header::UPGRADE, "websocket") {
        return Err((StatusCode::UPGRADE_REQUIRED, UPGRADE, "this is a WebSocket\n"));
    }
    let version = [(header::SEC_WEBSOCKET_VERSION, "13")];
    if single(headers, &header::SEC_WEBSOCKET_VERSION).is_none_or(|value| value != "13") {
        return Err((StatusCode::UPGRADE_REQUIRED, version, "this speaks WebSocket version 13\n"));
    }
    let key = single(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
    let accept = key.and_then(|key| HeaderValue::try_from(derive_accept_key(key.as_bytes())).ok());
    let Some(accept) = accept else {
        return Err((StatusCode::BAD_REQUEST, version, "this is no Sec-WebSocket-Key\n"));
    };
    if !lists(headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Err((StatusCode::BAD_REQUEST, version, "this speaks the subprotocol waxwing.v1\n"));
    }
    Ok(accept)
}

/// The value of a header that comes once.
fn single<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a header that is a list has this element, in whatever case.
fn lists(headers: &HeaderMap, name: &header::HeaderName, element: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(element))
}

/// Whether these are 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let Some((digits, padding)) = key.split_at_checked(22) else {
        return false;
    };
    padding == b"==" && digits.iter().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 5] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "chat, waxwing.v1"),
    ];

    fn status(change: (&'static str, &'static str)) -> u16 {
        let mut headers = HeaderMap::new();
        for (name, value) in GOOD {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(change.0, HeaderValue::from_static(change.1));
        check(&headers).map_or_else(|(status, ..)| status.as_u16(), |_| 101)
    }

    #[test]
    fn each_header_is_needed() {
        assert_eq!(status(("x", "y")), 101);
        assert_eq!(status(("connection", "close")), 426);
        assert_eq!(status(("upgrade", "h2c")), 426);
        assert_eq!(status(("sec-websocket-version", "8")), 426);
        for key in
            ["", "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ===", "!!!!!!!!!!!!!!!!!!!!!!=="]
        {
            assert_eq!(status(("sec-websocket-key", key)), 400, "{key}");
        }
        assert_eq!(status(("sec-websocket-protocol", "waxwing.v2")), 400);
    }

    #[test]
    fn the_answer_proves_that_the_key_was_read() {
        let headers: HeaderMap =
            GOOD.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        assert_eq!(check(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "RFC 6455, 1.3");
    }
}
