//! What an app has written, checked: of a message, a request or an answer alike.

use data_encoding::BASE64;
use serde_json::{Map, Value};
use waxwing_crypto::storage::canonical_json;
use waxwing_protocol::api::{Problem, ProblemCode};
use waxwing_protocol::limits;

use super::malformed;
use crate::content::{Content, TOO_DEEP, is_content_type, is_shallow};

/// As it is in a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    pub(crate) body: Option<String>,
    pub(crate) body_base64: Option<String>,
    pub(crate) content_type: Option<String>,
    pub(crate) meta: Option<Map<String, Value>>,
}

/// The same as it is kept and sent.
pub(crate) fn written(written: Written) -> Result<Content, Box<Problem>> {
    let meta = meta(written.meta)?;
    let (body, default_type) = body(written.body, written.body_base64)?;
    let content_type = written.content_type.unwrap_or_else(|| default_type.to_owned());
    if !is_content_type(&content_type) {
        return Err(malformed("content_type must be 1 to 255 bytes of text"));
    }
    Ok(Content { content_type, body: body.into(), meta: meta.into(), reply_to: None, thread: None })
}

fn meta(meta: Option<Map<String, Value>>) -> Result<Vec<u8>, Box<Problem>> {
    let Some(meta) = meta else {
        return Ok(Vec::new());
    };
    if !is_shallow(&meta) {
        return Err(malformed(TOO_DEEP));
    }
    let meta = canonical_json(&Value::Object(meta)).map_err(|_| malformed("meta cannot be kept"))?;
    if meta.len() > limits::META {
        return Err(Box::new(Problem::new(ProblemCode::TooLarge).detail("meta may have 16 KiB")));
    }
    Ok(meta)
}

/// The body, and its content type if none is given.
fn body(text: Option<String>, base64: Option<String>) -> Result<(Vec<u8>, &'static str), Box<Problem>> {
    let (body, content_type) = match (text, base64) {
        (Some(_), Some(_)) => return Err(malformed("give body or body_base64, not both")),
        (Some(text), None) => (text.into_bytes(), "text/plain"),
        (None, Some(base64)) => {
            let body =
                BASE64.decode(base64.as_bytes()).map_err(|_| malformed("body_base64 is not base64"))?;
            (body, "application/octet-stream")
        }
        (None, None) => (Vec::new(), "text/plain"),
    };
    if body.len() > limits::BODY {
        return Err(Box::new(Problem::new(ProblemCode::TooLarge).detail("a body may have 256 KiB")));
    }
    Ok((body, content_type))
}
