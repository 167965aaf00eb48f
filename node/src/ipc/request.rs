//! Requests, parsed at the edge: what a handler gets is valid, and what is not has been answered.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use waxwing_crypto::{ClientMessageId, Name};
use waxwing_protocol::api::{APP_HEADER, AppsQuery, IDEMPOTENCY_HEADER, Problem, ProblemCode};

use super::Api;
use super::guard::Who;
use super::problem::Refused;
use crate::outbox::Caller;

/// A body must be here whole within this time.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Refused> {
        let read = timeout(BODY_WITHIN, Bytes::from_request(request, api)).await;
        let read =
            read.map_err(|_| Problem::new(ProblemCode::TooSlow).detail("its body took more than 30s"))?;
        let bytes = read.map_err(|rejection| {
            let response = rejection.into_response();
            if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
                Problem::new(ProblemCode::TooLarge)
            } else {
                Problem::new(ProblemCode::Malformed).detail("the body did not arrive whole")
            }
        })?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::new(ProblemCode::Malformed).detail(error.to_string()).into())
    }
}

/// Query parameters.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Query<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Refused> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|query| Self(query.0))
            .map_err(|error| Problem::new(ProblemCode::Malformed).detail(error.body_text()).into())
    }
}

/// Query parameters of which some may be given several times: then they are a list in `T`.
pub(super) struct Repeated<T>(pub(super) T);

impl<T: DeserializeOwned + Lists> FromRequestParts<Api> for Repeated<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Refused> {
        let malformed = |detail: String| Refused::from(Problem::new(ProblemCode::Malformed).detail(detail));
        let mut fields = serde_json::Map::new();
        for (name, value) in url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            let value = serde_json::Value::String(value.into_owned());
            if T::LISTS.contains(&&*name) {
                let list = fields.entry(name).or_insert_with(|| serde_json::Value::Array(Vec::new()));
                list.as_array_mut().into_iter().for_each(|list| list.push(value.clone()));
            } else if fields.insert(name.to_string(), value).is_some() {
                return Err(malformed(format!("{name} is given twice")));
            }
        }
        let read = serde_json::from_value(fields.into());
        read.map(Self).map_err(|error| malformed(error.to_string()))
    }
}

/// Which parameters may be given several times.
pub(super) trait Lists {
    const LISTS: &'static [&'static str];
}

impl Lists for AppsQuery {
    const LISTS: &'static [&'static str] = &["capability"];
}

/// Who calls, by the request's headers.
pub(super) struct From(pub(super) Caller);

impl FromRequestParts<Api> for From {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Refused> {
        let named = parse::<Name>(&parts.headers, APP_HEADER)?;
        let id = parse::<ClientMessageId>(&parts.headers, IDEMPOTENCY_HEADER)?;
        let only = parts.extensions.get::<Who>().and_then(|who| who.app.clone());
        let bound = only.is_some();
        let caller = Caller { app: only, bound, id };
        let app = caller.speaks_as(named)?;
        Ok(Self(Caller { app, ..caller }))
    }
}

fn parse<T: std::str::FromStr>(headers: &HeaderMap, name: &'static str) -> Result<Option<T>, Refused> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    let malformed = || Problem::new(ProblemCode::Malformed).detail(format!("the {name} header is not valid"));
    parsed.map(Some).ok_or_else(|| malformed().into())
}
