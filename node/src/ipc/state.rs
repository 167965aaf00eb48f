//! State that the mesh shares, by key.

use axum::Json as Answer;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::AppendHeaders;
use data_encoding::BASE64;
use waxwing_protocol::api::{
    KvAnswer, KvEntry, KvHistory, KvKey, KvPage, KvPut, KvPutAnswer, KvQuery, MeshQuery, Problem, ProblemCode,
};
use waxwing_protocol::limits;

use super::Api;
use super::problem::Refused;
use super::request::{Acting, Json, Query};
use crate::mesh::Mesh;
use crate::state::{self, Asked, Key, Refusal, Version, When, Wish, author};

/// The only scope that there is.
const MESH: &str = "mesh";
/// Keys in an answer, unless asked otherwise.
const LIMIT: usize = 100;

/// An answer with the etag of what it is about.
type Tagged<T> = (AppendHeaders<[(HeaderName, String); 1]>, Answer<T>);

/// `GET /v1/kv/{scope}`
pub(super) async fn list(
    State(api): State<Api>,
    _: Within,
    Query(query): Query<KvQuery>,
) -> Result<Answer<KvPage>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let limit = query.limit.unwrap_or(LIMIT);
    if limit == 0 || limit > limits::STATE_PAGE {
        return Err(malformed("limit must be 1 to 1000"));
    }
    let prefix = query.prefix.unwrap_or_default();
    if !prefix.is_empty() {
        key(&prefix)?;
    }
    let after = query.after.as_deref().map(key).transpose()?;
    let page = state::list(mesh, &Asked { prefix, category: query.category, after, limit }).await?;
    let entries = page.entries.iter().map(|(key, version)| entry(mesh, key, version)).collect();
    Ok(Answer(KvPage {
        mesh: mesh.name.clone(),
        entries,
        next: page.next.map(|key| key.as_str().to_owned()),
        current: page.freshness.complete,
        as_of: page.freshness.as_of,
    }))
}

/// `GET /v1/kv/{scope}/{key}`
pub(super) async fn get(
    State(api): State<Api>,
    At(key): At,
    Query(query): Query<MeshQuery>,
) -> Result<Tagged<KvAnswer>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let (version, freshness) = state::find(mesh, &key).await?;
    let answer = KvAnswer {
        entry: entry(mesh, &key, &version),
        mesh: mesh.name.clone(),
        current: freshness.complete,
        as_of: freshness.as_of,
    };
    Ok(tagged(&version, answer))
}

/// `GET /v1/kv/{scope}/{key}/history`
pub(super) async fn history(
    State(api): State<Api>,
    At(key): At,
    Query(query): Query<MeshQuery>,
) -> Result<Answer<KvHistory>, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let (versions, freshness) = state::history(mesh, &key).await?;
    Ok(Answer(KvHistory {
        mesh: mesh.name.clone(),
        versions: versions.iter().map(|version| entry(mesh, &key, version)).collect(),
        current: freshness.complete,
        as_of: freshness.as_of,
    }))
}

/// `PUT /v1/kv/{scope}/{key}`
pub(super) async fn put(
    State(api): State<Api>,
    acting: Acting,
    At(key): At,
    headers: HeaderMap,
    Json(request): Json<KvPut>,
) -> Result<Tagged<KvPutAnswer>, Refused> {
    let mesh = &api.mesh(request.mesh.as_ref())?;
    let wish = Wish {
        value: value(&request)?.into(),
        category: request.category,
        ttl: request.ttl.as_deref().map(lifetime).transpose()?,
        when: condition(&headers)?,
        request: acting.id.clone(),
        by: acting.holder(mesh)?.which,
    };
    let done = state::put(mesh, &key, &wish).await?;
    let answer =
        KvPutAnswer { state: done.state, duplicate: done.duplicate, key: about(mesh, &key, &done.version) };
    Ok(tagged(&done.version, answer))
}

/// `DELETE /v1/kv/{scope}/{key}`
pub(super) async fn delete(
    State(api): State<Api>,
    acting: Acting,
    At(key): At,
    headers: HeaderMap,
    Query(query): Query<MeshQuery>,
) -> Result<StatusCode, Refused> {
    let mesh = &api.mesh(query.mesh.as_ref())?;
    let by = acting.holder(mesh)?.which;
    state::delete(mesh, &key, condition(&headers)?, &by.name).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The scope that a path names.
pub(super) struct Within;

impl FromRequestParts<Api> for Within {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refused> {
        let path = Path::<String>::from_request_parts(parts, api).await;
        let Path(scope) = path.map_err(|_| malformed("a scope is UTF-8"))?;
        within(&scope)
    }
}

fn within(scope: &str) -> Result<Within, Refused> {
    if scope == MESH {
        return Ok(Within);
    }
    let detail =
        format!("no scope is called `{}`: there is `{MESH}`, and no other so far", scope.escape_debug());
    Err(Problem::new(ProblemCode::NotFound).detail(detail).into())
}

/// The key that a path names.
pub(super) struct At(Key);

impl FromRequestParts<Api> for At {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refused> {
        let path = Path::<(String, String)>::from_request_parts(parts, api).await;
        let Path((scope, text)) = path.map_err(|_| malformed("a key is UTF-8"))?;
        within(&scope)?;
        key(&text).map(Self)
    }
}

fn key(text: &str) -> Result<Key, Refused> {
    text.parse().map_err(malformed)
}

/// What must stand there, by the request's headers.
fn condition(headers: &HeaderMap) -> Result<When, Refused> {
    let text = |name| {
        let value = headers.get(name).map(|value| value.to_str().map(str::trim));
        value.transpose().map_err(|_| malformed("a condition is text"))
    };
    match (text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(When::Any),
        (None, Some("*")) => Ok(When::Absent),
        (None, Some(_)) => Err(malformed("If-None-Match is *: only where nothing stands")),
        (Some("*"), None) => Ok(When::Present),
        (Some(etag), None) => {
            let wanted = matched(etag);
            wanted.ok_or_else(|| malformed("If-Match is an etag, a version, or *"))
        }
        (Some(_), Some(_)) => Err(malformed("give If-Match or If-None-Match")),
    }
}

/// `"3-1887436800001"`, or `3`.
fn matched(etag: &str) -> Option<When> {
    let bare = etag.strip_prefix('"').and_then(|etag| etag.strip_suffix('"')).unwrap_or(etag);
    match bare.split_once('-') {
        None => bare.parse().ok().map(When::Version),
        Some((version, seq)) => {
            Some(When::Exactly { version: version.parse().ok()?, seq: seq.parse().ok()? })
        }
    }
}

fn value(request: &KvPut) -> Result<Vec<u8>, Refused> {
    let value = match (&request.value, &request.value_base64) {
        (Some(text), None) => text.as_bytes().to_vec(),
        (None, Some(base64)) => {
            BASE64.decode(base64.as_bytes()).map_err(|_| malformed("value_base64 is not base64"))?
        }
        (None, None) | (Some(_), Some(_)) => return Err(malformed("give value or value_base64")),
    };
    if value.is_empty() {
        return Err(malformed("a value has a byte at least: DELETE takes it away"));
    }
    if value.len() > limits::STATE_VALUE {
        let detail = format!("a value may have {} bytes", limits::STATE_VALUE);
        return Err(Problem::new(ProblemCode::TooLarge).detail(detail).into());
    }
    Ok(value)
}

/// In milliseconds.
fn lifetime(text: &str) -> Result<u64, Refused> {
    let may = limits::LIFETIME_MIN..=limits::LIFETIME_MAX;
    let ttl = humantime::parse_duration(text).ok().filter(|ttl| may.contains(ttl));
    let millis = ttl.and_then(|ttl| u64::try_from(ttl.as_millis()).ok());
    millis.ok_or_else(|| malformed("ttl must be 1s to 366d, as 30m"))
}

fn tagged<T>(version: &Version, answer: T) -> Tagged<T> {
    (AppendHeaders([(header::ETAG, format!("\"{}\"", version.etag()))]), Answer(answer))
}

/// A version, as apps are shown it.
fn entry(mesh: &Mesh, key: &Key, version: &Version) -> KvEntry {
    let (value, value_base64) = match std::str::from_utf8(&version.says.value) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64.encode(&version.says.value))),
    };
    KvEntry { key: about(mesh, key, version), value, value_base64 }
}

fn about(mesh: &Mesh, key: &Key, version: &Version) -> KvKey {
    KvKey {
        scope: MESH.to_owned(),
        key: key.as_str().to_owned(),
        category: version.says.category,
        version: version.version,
        etag: version.etag(),
        created_by: author(mesh, &version.says.created_by),
        created_at: version.says.created_at,
        updated_by: author(mesh, &version.by),
        updated_at: version.at,
        expires_at: version.expires,
    }
}

fn malformed(detail: impl Into<String>) -> Refused {
    Problem::new(ProblemCode::Malformed).detail(detail).into()
}

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Self {
        match why {
            Refusal::NotWritten(why) => why.into(),
            Refusal::Conflict(there) => {
                let detail = match &there {
                    Some(etag) => format!("its etag is {etag}: read it, and decide anew"),
                    None => "nothing stands there".to_owned(),
                };
                let problem = Problem::new(ProblemCode::VersionConflict).detail(detail);
                Problem { conflict: there, ..problem }.into()
            }
            Refusal::NotFound => {
                Problem::new(ProblemCode::NotFound).detail("nothing stands under this key").into()
            }
            Refusal::Reused => Problem::new(ProblemCode::IdempotencyKeyReused)
                .detail("something else was put there under this id")
                .into(),
            Refusal::NotYours => Problem::new(ProblemCode::Conflict)
                .detail("a member has put something there that only he, or an admin, can take away")
                .into(),
            Refusal::Full => Problem::new(ProblemCode::SpaceFull)
                .detail("delete what is not needed, or have its operator raise the limits of the broker")
                .into(),
            Refusal::Failed(error) => error.into(),
        }
    }
}
