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
use waxwing_protocol::RegistrationId;
use waxwing_protocol::api::{
    APP_HEADER, AppsQuery, IDEMPOTENCY_HEADER, INSTANCE_HEADER, Problem, ProblemCode, REGISTRATION_HEADER,
};

use super::apps::denied;
use super::guard::Who;
use super::problem::Refused;
use super::{Api, objects};
use crate::apps::{Holder, Which};
use crate::mesh::Mesh;
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
        objects::read(&bytes)
            .map(Self)
            .map_err(|error| Problem::new(ProblemCode::Malformed).detail(error.to_string()).into())
    }
}

/// The place after which a list goes on: from its beginning if none is given. No list has one that a database cannot count to.
pub(super) fn place(after: Option<u64>) -> Result<u64, Problem> {
    let after = after.unwrap_or(0);
    match i64::try_from(after) {
        Ok(_) => Ok(after),
        Err(_) => Err(Problem::new(ProblemCode::Malformed).detail(format!("no place is as high as {after}"))),
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

/// The app that acts, by the request's headers: it names itself, or is the one that its token is for.
pub(super) struct Acting {
    which: Which,
    /// What it proves to be that app by, if it is registered.
    registration: Option<RegistrationId>,
    /// The id that the caller wants bound.
    pub(super) id: Option<ClientMessageId>,
}

impl Acting {
    /// Who this is in a mesh.
    pub(super) fn holder(self, mesh: &Mesh) -> Result<Holder, Refused> {
        mesh.apps.acting(self.which, self.registration.as_ref()).map_err(denied)
    }
}

impl FromRequestParts<Api> for Acting {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refused> {
        let From(Caller { app, id, .. }) = From::from_request_parts(parts, api).await?;
        let instance = parse(&parts.headers, INSTANCE_HEADER)?;
        let registration = parse(&parts.headers, REGISTRATION_HEADER)?;
        let unnamed = || {
            let how = format!("name it in the {APP_HEADER} header, as {APP_HEADER}: ci");
            Problem::new(ProblemCode::AppRequired).detail(how)
        };
        let which = Which { name: app.ok_or_else(unnamed)?, instance };
        Ok(Self { which, registration, id })
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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::extract::State;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;
    use crate::apps::Claim;
    use crate::mesh::tests::alone;
    use crate::meshes::Meshes;

    async fn who(State(api): State<Api>, acting: Acting) -> Result<String, Refused> {
        let id = acting.id.clone();
        let holder = acting.holder(&*api.mesh(None)?)?;
        Ok(format!("{}/{:?}/{}/{id:?}", holder.which.name, holder.which.instance, holder.registered))
    }

    /// What becomes of a request with these headers.
    async fn asked(api: &Api, headers: &[(&str, &str)]) -> String {
        let router = Router::new().route("/who", get(who)).with_state(api.clone());
        let request =
            headers.iter().fold(Request::get("/who"), |request, (name, value)| request.header(*name, *value));
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        String::from_utf8(to_bytes(answer.into_body(), 10_000).await.unwrap().to_vec()).unwrap()
    }

    /// MB-18.
    #[tokio::test]
    async fn an_app_that_acts_is_named_and_proves_to_be_the_registered_one() {
        let (_folder, mesh) = alone().await;
        let api = Api::of(Meshes::holding([&mesh]));
        let nobody = asked(&api, &[]).await;
        assert!(nobody.contains("app_required") && nobody.contains("waxwing-app: ci"), "{nobody}");
        let ci = ("waxwing-app", "ci");
        assert_eq!(asked(&api, &[ci]).await, "ci/None/false/None");
        let instance = ("waxwing-instance", "two");
        let two = asked(&api, &[ci, instance, ("idempotency-key", "k-1")]).await;
        assert!(two.contains("two") && two.contains("k-1"), "{two}");

        let which = Which { name: "ci".parse().unwrap(), instance: None };
        let kept = mesh.apps.keep(&Claim { which, registration: None, takeover: false }).unwrap();
        let unproven = asked(&api, &[ci]).await;
        assert!(unproven.contains("unproven_app") && unproven.contains("waxwing-registration"), "{unproven}");
        let shown = ("waxwing-registration", kept.id().as_str());
        assert_eq!(asked(&api, &[ci, shown]).await, "ci/None/true/None");
        assert!(asked(&api, &[ci, ("waxwing-registration", "no")]).await.contains("malformed"));
    }
}
