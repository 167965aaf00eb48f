//! One request, one answer.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use waxwing_crypto::AccessToken;
use waxwing_protocol::api;

use crate::error::{Error, Result};
use crate::place::Place;
use crate::{Client, query};

impl Client {
    pub(crate) async fn get<A: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<A> {
        let (status, body) = self.call(&Method::GET, &query::with_query(path, query)?, Bytes::new()).await?;
        read(status, &body)
    }

    pub(crate) async fn post<A: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<A> {
        self.write(Method::POST, path, body).await
    }

    pub(crate) async fn write<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<A> {
        let body = serde_json::to_vec(body).map_err(|err| Error::Incompatible(err.to_string()))?;
        let (status, body) = self.call(&method, path, body.into()).await?;
        read(status, &body)
    }

    /// A write that is answered with nothing.
    pub(crate) async fn tell(&self, method: Method, path: &str, body: &impl Serialize) -> Result<()> {
        let body = serde_json::to_vec(body).map_err(|err| Error::Incompatible(err.to_string()))?;
        let (status, body) = self.call(&method, path, body.into()).await?;
        if status.is_success() { Ok(()) } else { Err(refused(status, &body)) }
    }

    pub(crate) async fn remove(&self, path: &str, query: &impl Serialize) -> Result<()> {
        let path = query::with_query(path, query)?;
        let (status, body) = self.call(&Method::DELETE, &path, Bytes::new()).await?;
        if status.is_success() { Ok(()) } else { Err(refused(status, &body)) }
    }

    pub(crate) async fn call(&self, method: &Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes)> {
        self.exchange(self.request(method, path, body)?).await
    }

    pub(crate) async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes)> {
        let answered = tokio::time::timeout(self.timeout, self.pool.request(request)).await;
        answered.unwrap_or_else(|_| Err(no_answer()))
    }

    pub(crate) fn request(&self, method: &Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>> {
        let mut request = Request::builder().method(method).uri(path);
        request = match self.place() {
            Place::Socket(_) => request.header(HOST, "localhost"),
            Place::Tcp { address, token } => {
                request.header(HOST, address.to_string()).header(AUTHORIZATION, bearer(token)?)
            }
        };
        if *method != Method::GET {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(app) = &self.app {
            request = request.header(api::APP_HEADER, app.as_str());
        }
        if let Some(instance) = &self.instance {
            request = request.header(api::INSTANCE_HEADER, instance.as_str());
        }
        if let Some(registration) = self.proof() {
            request = request.header(api::REGISTRATION_HEADER, secret(registration.as_str())?);
        }
        request.body(body.into()).map_err(|err| Error::Incompatible(err.to_string()))
    }
}

/// What shows a token.
fn bearer(token: &AccessToken) -> Result<HeaderValue> {
    secret(&format!("Bearer {}", *token.reveal()))
}

/// Not printed by whatever prints headers.
fn secret(text: &str) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text).map_err(|err| Error::Incompatible(err.to_string()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// The answer, or the problem that came in its place.
pub(crate) fn read<A: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<A> {
    if status.is_success() {
        serde_json::from_slice(body).map_err(|err| strange(status, &err))
    } else {
        Err(refused(status, body))
    }
}

/// The problem that came in place of an answer.
pub(crate) fn refused(status: StatusCode, body: &[u8]) -> Error {
    match serde_json::from_slice(body) {
        Ok(problem) => Error::Problem(problem),
        Err(err) => strange(status, &err),
    }
}

fn strange(status: StatusCode, err: &serde_json::Error) -> Error {
    Error::Incompatible(format!("answer {status} cannot be read: {err}"))
}

pub(crate) fn no_answer() -> Error {
    Error::Lost("no answer in time".to_owned())
}
