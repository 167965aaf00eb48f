//! Who may call, and what: every request passes here before it comes to its handler.
//!
//! Whoever comes by the Unix socket is this user, or root, and may do everything. Over TCP anybody on this machine can knock,
//! and every web page that is open on it: there a token says what may be done.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;
use waxwing_crypto::{AccessToken, Name};
use waxwing_protocol::api::{Problem, ProblemCode, ROUTES, Route, TokenScope};
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
    /// This port of the machine itself.
    Tcp {
        /// Which.
        port: u16,
    },
}

/// What the caller of a request may do.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) scope: TokenScope,
    /// The only app that he may be.
    pub(super) app: Option<Name>,
    caller: Caller,
    /// Cancelled when he may do nothing any more.
    ended: Option<CancellationToken>,
}

/// Whose requests are counted together.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Caller {
    Process(Option<i32>),
    Token(Name),
}

/// Largest head of a request, in bytes.
const HEAD: usize = 8 * 1024;

/// Lets a request in or refuses it, and sees to what holds for every answer.
pub(super) async fn admit(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let mut response = match check(&api, &request) {
        // As the connection answers one that does not fit into its buffer.
        _ if head(&request) > HEAD => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response(),
        Ok((who, _place)) => {
            let ended = who.ended.clone();
            request.extensions_mut().insert(who);
            while_it_counts(ended, next.run(request)).await
        }
        Err(refused) => refused.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Bytes of a request's head, as it came.
fn head(request: &Request) -> usize {
    /// The rest of the first line: two spaces, a version, an end.
    const LINE: usize = 12;
    /// What stands between a name and its value, and behind it.
    const FIELD: usize = 4;
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD);
    request.method().as_str().len() + target + LINE + fields.sum::<usize>()
}

fn check(api: &Api, request: &Request) -> Result<(Who, Place), Refused> {
    let door = request.extensions().get::<Door>().ok_or_else(|| Problem::new(ProblemCode::Internal))?;
    no_web_page(request.headers())?;
    no_token_in_query(request)?;
    let who = match *door {
        Door::Socket { process } => {
            Who { scope: TokenScope::Admin, app: None, caller: Caller::Process(process), ended: None }
        }
        Door::Tcp { port } => {
            is_meant(request, port)?;
            holder(api, request.headers())?
        }
    };
    may(&who, request)?;
    let place = api.callers.enter(who.caller.clone())?;
    query_is_text(request)?;
    content_type(request)?;
    Ok((who, place))
}

/// A browser says on whose behalf it asks, and that is never ours: there are no pages here.
fn no_web_page(headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let foreign = headers.contains_key(header::ORIGIN)
        || headers.contains_key(header::REFERER)
        || !matches!(site, None | Some(b"none" | b"same-origin"));
    if foreign { Err(Problem::new(ProblemCode::ForeignOrigin)) } else { Ok(()) }
}

/// URLs are kept in histories and logs: what stands in one is no secret any more.
fn no_token_in_query(request: &Request) -> Result<(), Problem> {
    const NAMES: [&str; 4] = ["token", "access_token", "bearer", "authorization"];
    let query = request.uri().query().unwrap_or_default();
    let shown = url::form_urlencoded::parse(query.as_bytes()).any(|(name, value)| {
        NAMES.iter().any(|token| name.eq_ignore_ascii_case(token)) || value.parse::<AccessToken>().is_ok()
    });
    if shown { Err(Problem::new(ProblemCode::TokenInQuery)) } else { Ok(()) }
}

/// Whoever decodes a query puts U+FFFD for what is not UTF-8, and that would then be looked for.
fn query_is_text(request: &Request) -> Result<(), Problem> {
    let query = request.uri().query().unwrap_or_default();
    match percent_encoding::percent_decode_str(query).decode_utf8() {
        Ok(_) => Ok(()),
        Err(_) => Err(Problem::new(ProblemCode::Malformed).detail("the query is not UTF-8")),
    }
}

/// A name that somebody else has made to mean this machine is none of ours.
fn is_meant(request: &Request, port: u16) -> Result<(), Problem> {
    let misdirected = || Problem::new(ProblemCode::Misdirected).detail(format!("it is localhost:{port}"));
    let host = only(request.headers(), &header::HOST).ok_or_else(misdirected)?;
    let named = [Some(host), request.uri().authority().map(Authority::as_str)];
    let ours = |host: &str| {
        let name = host.strip_suffix(&format!(":{port}"));
        name.is_some_and(|name| matches!(name, "localhost" | "127.0.0.1" | "[::1]"))
    };
    if named.into_iter().flatten().all(ours) { Ok(()) } else { Err(misdirected()) }
}

/// Who has shown a token that counts.
fn holder(api: &Api, headers: &HeaderMap) -> Result<Who, Problem> {
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(Problem::new(ProblemCode::TokenMissing));
    }
    let refused = || Problem::new(ProblemCode::TokenRefused);
    let shown = only(headers, &header::AUTHORIZATION).and_then(|value| value.split_once(' '));
    let (_, token) = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).ok_or_else(refused)?;
    let token: AccessToken = token.parse().map_err(|_| refused())?;
    let holder = api.tokens.holder(&token).ok_or_else(refused)?;
    let caller = Caller::Token(holder.name);
    Ok(Who { scope: holder.scope, app: holder.app, caller, ended: Some(holder.ended) })
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok();
    value.filter(|_| values.next().is_none())
}

/// Whether this is allowed him. What is in no table takes everything.
fn may(who: &Who, request: &Request) -> Result<(), Problem> {
    // Without one there is no such route, which anybody may know who has come this far.
    let Some(path) = request.extensions().get::<MatchedPath>() else { return Ok(()) };
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let route = Route::find(method.as_str(), path.as_str());
    let wanted = route.map_or(TokenScope::Admin, |route| route.scope);
    must_reach(who, wanted)?;
    if who.app.is_some() && !route.is_some_and(|route| route.for_one_app) {
        return Err(Problem::new(ProblemCode::OtherApp).detail("this is about more than one app"));
    }
    Ok(())
}

/// Whether he may do as much as that.
pub(super) fn must_reach(who: &Who, wanted: TokenScope) -> Result<(), Problem> {
    if who.scope >= wanted {
        return Ok(());
    }
    let (is, wanted) = (who.scope.as_str(), wanted.as_str());
    Err(Problem::new(ProblemCode::WrongScope).detail(format!("it is for `{is}`, and this takes `{wanted}`")))
}

/// A write must say that it is JSON: what a web page can send without asking is not.
fn content_type(request: &Request) -> Result<(), Problem> {
    if request.method().is_safe() || lacks_method(request) {
        return Ok(());
    }
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next()).map(str::trim);
    match media_type {
        Some(json) if json.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Problem::new(ProblemCode::UnsupportedMediaType)),
    }
}

/// Whether a path is asked for something that it has not: that is refused where paths are looked up, and with what it has.
fn lacks_method(request: &Request) -> bool {
    let Some(path) = request.extensions().get::<MatchedPath>() else { return false };
    let mut methods =
        ROUTES.iter().filter(|route| route.path == path.as_str()).map(|route| route.method).peekable();
    methods.peek().is_some() && methods.all(|method| method != request.method().as_str())
}

/// Serves as long as the caller's token counts: when it is ended, what is under way is refused, and a stream ends.
async fn while_it_counts(
    ended: Option<CancellationToken>,
    served: impl Future<Output = Response>,
) -> Response {
    let Some(ended) = ended else { return served.await };
    let response = tokio::select! {
        biased;
        () = ended.cancelled() => return Refused::from(Problem::new(ProblemCode::TokenRefused)).into_response(),
        response = served => response,
    };
    let is_stream = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    if !is_stream {
        return response;
    }
    let until = |body: Body| Body::from_stream(body.into_data_stream().take_until(ended.cancelled_owned()));
    response.map(until)
}

/// How many requests are under way, by who calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Callers(Arc<Mutex<HashMap<Caller, usize>>>);

impl Callers {
    /// A place for one more request of a caller, until it is dropped.
    fn enter(&self, caller: Caller) -> Result<Place, Problem> {
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = under_way.entry(caller.clone()).or_default();
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
    caller: Caller,
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
