//! The local API as an OpenAPI document: made from the table of routes and the types, so that neither can say otherwise.

use std::collections::BTreeMap;

use utoipa::openapi::path::{OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Content, ContentBuilder, HttpMethod, InfoBuilder, OpenApiBuilder, Paths, Ref, RefOr, Required,
    ResponseBuilder,
};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::*;

/// What the bearer token is called in the document.
const TOKEN: &str = "token";
const JSON: &str = "application/json";
const ABOUT: &str = "What an app and its node say to each other: HTTP/1.1 on the node's Unix socket, which lets in its own user, \
and on a port of the machine if the node is told to listen on one, which takes a token. The scope of a token that an operation \
takes stands with it. Every error is a problem document (RFC 9457) with a stable `code`. A request with a body, and every DELETE, \
says that it is application/json. The header `Waxwing-App` names the calling app.";

/// The document, as docs/openapi.json has it.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn document() -> serde_json::Result<String> {
    let mut schemas = Schemas::default();
    schemas.of::<Problem>();
    // Only ever asked for: parameters name their types, and bring none along.
    schemas.of::<Scope>();
    let mut paths = Paths::new();
    for route in &ROUTES {
        let mut described = Shape { schemas: &mut schemas, operation: begin(route) };
        // A route without one has no good answer in the document, which a test looks for.
        if let Some((.., shape)) =
            SHAPES.iter().find(|(method, path, _)| (*method, *path) == (route.method, route.path))
        {
            described = shape(described);
        }
        paths.add_path_operation(route.path, vec![method(route)], described.operation.build());
    }
    let mut components = ComponentsBuilder::new().security_scheme(
        TOKEN,
        SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build()),
    );
    for (name, schema) in schemas.0 {
        components = components.schema(name, schema);
    }
    let info =
        InfoBuilder::new().title("Waxwing node").version(API_VERSION.to_string()).description(Some(ABOUT));
    let document = OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).build();
    document.to_pretty_json().map(|text| text + "\n")
}

fn method(route: &Route) -> HttpMethod {
    match route.method {
        "POST" => HttpMethod::Post,
        "PUT" => HttpMethod::Put,
        "DELETE" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

/// What every operation has: its words, its token, what varies in its path, and that it may be refused.
fn begin(route: &Route) -> OperationBuilder {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let refused = ResponseBuilder::new().description("Refused").content("application/problem+json", problem);
    let varies = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let varies = varies.map(|name| {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
        parameter.required(Required::True).schema(Some(text)).build()
    });
    OperationBuilder::new()
        .summary(Some(route.about))
        .operation_id(Some(id(route)))
        .parameters(Some(varies.collect::<Vec<Parameter>>()))
        .security(SecurityRequirement::new(TOKEN, [route.scope.as_str()]))
        .response("default", refused)
}

/// `post_mesh_invite_revoke`
fn id(route: &Route) -> String {
    let path = route.path.trim_start_matches("/v1/").replace(['/', '-', '.'], "_").replace(['{', '}'], "");
    format!("{}_{path}", route.method.to_lowercase())
}

/// What is named in the document, by name.
#[derive(Default)]
struct Schemas(BTreeMap<String, RefOr<Schema>>);

impl Schemas {
    /// Names a type, and all that is in it.
    fn of<T: ToSchema>(&mut self) -> Ref {
        let mut inner = Vec::new();
        T::schemas(&mut inner);
        self.0.extend(inner);
        self.0.insert(T::name().into_owned(), T::schema());
        Ref::from_schema_name(T::name())
    }
}

/// An operation while it is described.
struct Shape<'a> {
    schemas: &'a mut Schemas,
    operation: OperationBuilder,
}

impl Shape<'_> {
    fn asks<Q: IntoParams>(mut self) -> Self {
        for parameter in Q::into_params(|| Some(ParameterIn::Query)) {
            self.operation = self.operation.parameter(parameter);
        }
        self
    }

    fn takes<T: ToSchema>(mut self) -> Self {
        let content = Content::new(Some(self.schemas.of::<T>()));
        let body = RequestBodyBuilder::new().content(JSON, content).required(Some(Required::True));
        self.operation = self.operation.request_body(Some(body.build()));
        self
    }

    fn answers<T: ToSchema>(self) -> Self {
        self.answers_as::<T>("200", JSON)
    }

    fn answers_as<T: ToSchema>(mut self, status: &str, media: &str) -> Self {
        let content = Content::new(Some(self.schemas.of::<T>()));
        let response = ResponseBuilder::new().description("Done").content(media, content);
        self.operation = self.operation.response(status, response);
        self
    }

    /// As one thing, or as a stream of another.
    fn answers_either<T: ToSchema, U: ToSchema>(mut self, media: [&str; 2]) -> Self {
        let contents =
            [self.schemas.of::<T>(), self.schemas.of::<U>()].map(|schema| Content::new(Some(schema)));
        let mut response = ResponseBuilder::new().description("Done");
        for (media, content) in media.into_iter().zip(contents) {
            response = response.content(media, content);
        }
        self.operation = self.operation.response("200", response);
        self
    }

    /// With something that has no name in the document.
    fn answers_plain<T: PartialSchema>(mut self, media: &str) -> Self {
        let content = Content::new(Some(T::schema()));
        let response = ResponseBuilder::new().description("Done").content(media, content);
        self.operation = self.operation.response("200", response);
        self
    }

    fn answers_nothing(mut self) -> Self {
        self.operation = self.operation.response("204", ResponseBuilder::new().description("Done"));
        self
    }
}

/// Adds what goes in and comes out.
type Describe = for<'a> fn(Shape<'a>) -> Shape<'a>;

/// What goes in and comes out of each route.
const SHAPES: [(&str, &str, Describe); ROUTES.len()] = [
    ("GET", "/v1/version", |s| s.answers::<Version>()),
    ("GET", "/v1/health", |s| s.answers::<Health>()),
    ("GET", "/v1/metrics", |s| s.answers_plain::<String>("application/openmetrics-text")),
    ("GET", "/v1/openapi.json", |s| s.answers_plain::<serde_json::Value>(JSON)),
    ("POST", "/v1/send", |s| {
        s.takes::<SendRequest>().answers::<SendAnswer>().answers_as::<SendAnswer>("202", JSON)
    }),
    ("POST", "/v1/send/batch", |s| s.takes::<BatchRequest>().answers::<BatchAnswer>()),
    ("GET", "/v1/send/{id}", |s| s.asks::<StatusQuery>().answers::<SendStatus>()),
    ("GET", "/v1/send/{id}/broker", |s| s.asks::<MeshQuery>().answers::<BrokerView>()),
    ("GET", "/v1/inbox", |s| s.asks::<InboxQuery>().answers::<InboxPage>()),
    ("POST", "/v1/inbox/ack", |s| s.takes::<AckRequest>().answers::<AckAnswer>()),
    ("DELETE", "/v1/inbox/{id}", |s| s.asks::<MeshQuery>().answers_nothing()),
    ("GET", "/v1/events", |s| s.asks::<EventQuery>().answers_as::<Event>("200", EVENT_STREAM)),
    ("POST", "/v1/request", |s| {
        s.takes::<CallRequest>().answers_either::<CallAnswer, CallProgress>([JSON, EVENT_STREAM])
    }),
    ("POST", "/v1/request/cancel", |s| s.takes::<CancelRequest>().answers_nothing()),
    ("POST", "/v1/reply", |s| s.takes::<ReplyRequest>().answers_nothing()),
    ("GET", "/v1/apps", |s| s.asks::<AppsQuery>().answers::<Apps>()),
    ("PUT", "/v1/apps/{name}", |s| s.takes::<Registration>().answers::<Registered>()),
    ("DELETE", "/v1/apps/{name}", |s| s.asks::<RemoveQuery>().answers_nothing()),
    ("GET", "/v1/profile", |s| s.asks::<MeshQuery>().answers::<OwnProfile>()),
    ("POST", "/v1/profile", |s| s.takes::<ProfileRequest>().answers::<OwnProfile>()),
    ("GET", "/v1/claims", |s| s.asks::<ClaimsQuery>().answers::<Claims>()),
    ("POST", "/v1/claims/try", |s| s.takes::<ClaimRequest>().answers::<ClaimAnswer>()),
    ("POST", "/v1/claims/complete", |s| s.takes::<CompleteRequest>().answers::<CompleteAnswer>()),
    ("POST", "/v1/claims/abandon", |s| s.takes::<AbandonRequest>().answers::<AbandonAnswer>()),
    ("GET", "/v1/kv/{scope}", |s| s.asks::<KvQuery>().answers::<KvPage>()),
    ("GET", "/v1/kv/{scope}/{key}", |s| s.asks::<MeshQuery>().answers::<KvAnswer>()),
    ("PUT", "/v1/kv/{scope}/{key}", |s| s.takes::<KvPut>().answers::<KvPutAnswer>()),
    ("DELETE", "/v1/kv/{scope}/{key}", |s| s.asks::<MeshQuery>().answers_nothing()),
    ("GET", "/v1/kv/{scope}/{key}/history", |s| s.asks::<MeshQuery>().answers::<KvHistory>()),
    ("GET", "/v1/leases", |s| s.asks::<LeasesQuery>().answers::<Leases>()),
    ("GET", "/v1/leases/check", |s| s.asks::<CheckQuery>().answers::<CheckAnswer>()),
    ("POST", "/v1/leases/acquire", |s| s.takes::<AcquireRequest>().answers::<AcquireAnswer>()),
    ("POST", "/v1/leases/renew", |s| s.takes::<RenewRequest>().answers::<RenewAnswer>()),
    ("POST", "/v1/leases/release", |s| s.takes::<ReleaseRequest>().answers::<ReleaseAnswer>()),
    ("POST", "/v1/leases/revoke", |s| s.takes::<RevokeLeaseRequest>().answers::<RevokedLease>()),
    ("GET", "/v1/outbox", |s| s.asks::<OutboxQuery>().answers::<OutboxPage>()),
    ("GET", "/v1/outbox/{row}", |s| s.asks::<MeshQuery>().answers::<OutboxDetail>()),
    ("POST", "/v1/outbox/requeue", |s| s.takes::<RequeueRequest>().answers::<OutboxAnswer>()),
    ("POST", "/v1/outbox/abort", |s| s.takes::<AbortRequest>().answers::<OutboxAnswer>()),
    ("GET", "/v1/peers", |s| s.asks::<MeshQuery>().answers::<Peers>()),
    ("POST", "/v1/peers/verify", |s| s.takes::<PeerRequest>().answers::<VerifyAnswer>()),
    ("POST", "/v1/peers/block", |s| s.takes::<PeerRequest>().answers::<PeerAnswer>()),
    ("POST", "/v1/peers/allow", |s| s.takes::<PeerRequest>().answers::<PeerAnswer>()),
    ("GET", "/v1/members", |s| s.asks::<MembersQuery>().answers::<Members>()),
    ("GET", "/v1/mesh/invites", |s| s.asks::<MeshQuery>().answers::<Invites>()),
    ("POST", "/v1/mesh/join", |s| s.takes::<JoinRequest>().answers::<JoinAnswer>()),
    ("POST", "/v1/mesh/create", |s| s.takes::<CreateRequest>().answers::<CreateAnswer>()),
    ("POST", "/v1/mesh/broker", |s| s.takes::<BrokerRequest>().answers::<BrokerAnswer>()),
    ("POST", "/v1/mesh/leave", |s| s.takes::<LeaveRequest>().answers::<LeaveAnswer>()),
    ("POST", "/v1/mesh/rotate-keys", |s| s.takes::<RotateRequest>().answers::<RotateAnswer>()),
    ("POST", "/v1/mesh/invite", |s| s.takes::<InviteRequest>().answers::<InviteAnswer>()),
    ("POST", "/v1/mesh/invite/revoke", |s| s.takes::<RevokeInviteRequest>().answers::<RevokedInvite>()),
    ("POST", "/v1/mesh/recover", |s| s.takes::<RecoverRequest>().answers::<MemberAnswer>()),
    ("POST", "/v1/mesh/grant", |s| s.takes::<GrantRequest>().answers::<MemberAnswer>()),
    ("POST", "/v1/mesh/revoke", |s| s.takes::<RevokeRequest>().answers::<MemberAnswer>()),
    ("POST", "/v1/mesh/resume", |s| s.takes::<ResumeRequest>().answers::<ResumeAnswer>()),
    ("GET", "/v1/topics", |s| s.asks::<TopicsQuery>().answers::<Topics>()),
    ("POST", "/v1/topics/publish", |s| s.takes::<PublishRequest>().answers::<PublishAnswer>()),
    ("POST", "/v1/topics/subscribe", |s| s.takes::<SubscribeRequest>().answers::<SubscribeAnswer>()),
    ("POST", "/v1/topics/unsubscribe", |s| s.takes::<UnsubscribeRequest>().answers_nothing()),
    ("GET", "/v1/topics/subscriptions", |s| s.asks::<MeshQuery>().answers::<Subscriptions>()),
    ("GET", "/v1/topics/stream", |s| {
        s.asks::<TopicStreamQuery>().answers_as::<TopicEvent>("200", "text/event-stream")
    }),
    ("POST", "/v1/topics/ack", |s| s.takes::<TopicAckRequest>().answers::<TopicAckAnswer>()),
    ("GET", "/v1/topics/history", |s| s.asks::<HistoryQuery>().answers::<TopicHistory>()),
    ("POST", "/v1/topics/retention", |s| s.takes::<RetentionRequest>().answers::<Topic>()),
    ("GET", "/v1/tokens", |s| s.answers::<Tokens>()),
    ("POST", "/v1/tokens", |s| s.takes::<TokenRequest>().answers::<TokenAnswer>()),
    ("DELETE", "/v1/tokens/{name}", |s| s.answers_nothing()),
];
