//! Who may call: every request passes here before it comes to its handler.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use waxwing_protocol::api::{Problem, ProblemCode};
use waxwing_protocol::limits;

use super::Api;
use super::problem::Refused;

/// Where a request came in. Each connection says so of all that come on it; a request of which nobody has said so is not
/// served.
#[derive(Clone, Copy, Debug)]
pub(super) enum Door {
    /// The Unix socket, by a process of this user or root.
    Socket {
        /// The process, where the system says it.
        process: Option<i32>,
    },
}

/// Lets a request in or refuses it, and sees to what holds for every answer.
pub(super) async fn admit(State(api): State<Api>, request: Request, next: Next) -> Response {
    let mut response = match check(&api, &request) {
        Ok(_place) => next.run(request).await,
        Err(refused) => refused.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn check(api: &Api, request: &Request) -> Result<Place, Refused> {
    let door = request.extensions().get::<Door>().ok_or_else(|| Problem::new(ProblemCode::Internal))?;
    no_web_page(request)?;
    no_token_in_query(request)?;
    let Door::Socket { process } = *door;
    let place = api.callers.enter(process)?;
    content_type(request)?;
    Ok(place)
}

/// A browser says on whose behalf it asks, and that is never ours: there are no pages here.
fn no_web_page(request: &Request) -> Result<(), Refused> {
    let headers = request.headers();
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let foreign = headers.contains_key(header::ORIGIN)
        || headers.contains_key(header::REFERER)
        || !matches!(site, None | Some(b"none" | b"same-origin"));
    if foreign { Err(Problem::new(ProblemCode::ForeignOrigin).into()) } else { Ok(()) }
}

/// URLs are kept in histories and logs: what stands in one is no secret any more.
fn no_token_in_query(request: &Request) -> Result<(), Refused> {
    const NAMES: [&str; 4] = ["token", "access_token", "bearer", "authorization"];
    let query = request.uri().query().unwrap_or_default();
    let named = url::form_urlencoded::parse(query.as_bytes())
        .any(|(name, _)| NAMES.iter().any(|token| name.eq_ignore_ascii_case(token)));
    if named { Err(Problem::new(ProblemCode::TokenInQuery).into()) } else { Ok(()) }
}

/// A write must say that it is JSON: what a web page can send without asking is not.
fn content_type(request: &Request) -> Result<(), Refused> {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    match media_type {
        Some(json) if json.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Problem::new(ProblemCode::UnsupportedMediaType).into()),
    }
}

/// How many requests are under way, by who calls: a process.
#[derive(Clone, Debug, Default)]
pub(super) struct Callers(Arc<Mutex<HashMap<Option<i32>, usize>>>);

impl Callers {
    /// A place for one more request of a caller, until it is dropped.
    fn enter(&self, caller: Option<i32>) -> Result<Place, Problem> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = under_way.entry(caller).or_default();
        if *count >= limits::API_AT_ONCE {
            let detail = format!("{} are under way: wait for one of them", limits::API_AT_ONCE);
            return Err(Problem::new(ProblemCode::Busy).detail(detail));
        }
        *count += 1;
        Ok(Place { callers: self.clone(), caller })
    }
}

/// A caller's place for a request.
#[derive(Debug)]
struct Place {
    callers: Callers,
    caller: Option<i32>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.callers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = under_way.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                under_way.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests;
