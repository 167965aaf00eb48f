//! The Rust client on every route: each is asked by its method, and what a real node answers is read.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{UnixListener, UnixStream};
use waxwing_client::api::{
    AbandonRequest, AbortRequest, AckRequest, AcquireRequest, AcquireState, AppsQuery, BatchOutcome,
    BatchRequest, BrokerRequest, CallRequest, CancelRequest, CheckQuery, ClaimRequest, ClaimState,
    ClaimsQuery, CompleteRequest, CreateRequest, EventQuery, GrantRequest, HistoryQuery, InboxQuery,
    InviteRequest, JoinRequest, KvPut, KvQuery, LeaseMode, LeasesQuery, LeaveRequest, LinkState,
    MembersQuery, MeshQuery, OutboxQuery, PeerRequest, ProblemCode, ProfileRequest, PublishRequest, ROUTES,
    RecoverRequest, Registration, ReleaseRequest, RemoveQuery, RenewRequest, ReplyRequest, RequestItem,
    RequeueRequest, ResumeRequest, RetentionRequest, RevokeInviteRequest, RevokeLeaseRequest, RevokeRequest,
    RotateRequest, Route, SendRequest, StartFrom, StatusQuery, SubscribeRequest, TokenRequest, TokenScope,
    TokenState, TopicAckRequest, TopicEvent, TopicStreamQuery, TopicsQuery, UnsubscribeRequest,
};
use waxwing_client::{Asks, Client, KvTerms, Name, Requests, Step};
use waxwing_crypto::membership::Role;
use waxwing_lab::{Lab, eventually};

use crate::meshes::linked;
use crate::support::{WITHIN, mesh};

const MESH: MeshQuery = MeshQuery { mesh: None };

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The routes that were asked, as it went over the sockets of nodes.
#[derive(Clone, Default)]
struct Walked(Arc<Mutex<BTreeSet<(&'static str, &'static str)>>>);

impl Walked {
    /// A client of a node, whose requests are noted.
    fn client(&self, lab: &Lab, node: &str) -> Client {
        let socket = lab.folder().join(format!("{node}.walk"));
        let listener = UnixListener::bind(&socket).unwrap();
        let (walked, node) = (self.clone(), lab.state(node).join("node.sock"));
        tokio::spawn(async move {
            while let Ok((app, _)) = listener.accept().await {
                tokio::spawn(walked.clone().pass(app, node.clone()));
            }
        });
        Client::new(socket)
    }

    async fn pass(self, app: UnixStream, node: PathBuf) {
        let Ok(node) = UnixStream::connect(node).await else { return };
        let ((mut asks, mut hears), (mut answers, mut asked)) = (app.into_split(), node.into_split());
        let asking = async {
            let (mut bytes, mut text) = ([0; 8_192], Vec::new());
            while let Ok(count @ 1..) = asks.read(&mut bytes).await {
                text.extend_from_slice(&bytes[..count]);
                self.note(&mut text);
                if asked.write_all(&bytes[..count]).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = asking => {}
            _ = copy(&mut answers, &mut hears) => {}
        }
    }

    /// Notes the requests in what was sent so far, and takes their lines out of it.
    fn note(&self, text: &mut Vec<u8>) {
        while let Some(end) = text.windows(2).position(|two| two == b"\r\n") {
            let line: Vec<u8> = text.drain(..end + 2).collect();
            let line = String::from_utf8_lossy(&line);
            let request = line.trim_end().strip_suffix(" HTTP/1.1").and_then(|line| line.rsplit_once(' '));
            let Some((before, path)) = request else { continue };
            // Before the method there may be the body of the request before.
            let methods = ["GET", "POST", "PUT", "DELETE"];
            let method = methods.into_iter().find(|method| before.ends_with(method)).unwrap();
            let path = path.split('?').next().unwrap();
            let route = route(method, path).unwrap_or_else(|| panic!("no route is {method} {path}"));
            self.0.lock().unwrap().insert((route.method, route.path));
        }
    }
}

fn route(method: &str, path: &str) -> Option<&'static Route> {
    let fits = |route: &&Route| {
        let (parts, said): (Vec<_>, Vec<_>) = (route.path.split('/').collect(), path.split('/').collect());
        let same = |(part, said): (&&str, &&str)| part == said || part.starts_with('{');
        route.method == method && parts.len() == said.len() && parts.iter().zip(&said).all(same)
    };
    Route::find(method, path).or_else(|| ROUTES.iter().find(fits))
}

#[tokio::test]
async fn the_client_asks_every_route_and_reads_what_a_node_answers() {
    let mut lab = mesh(&["alpha", "beta", "gamma"]).await;
    let walked = Walked::default();
    let alpha = walked.client(&lab, "alpha").app(name("ann"));
    let beta = walked.client(&lab, "beta").app(name("bob"));
    about(&alpha).await;
    apps(&beta).await;
    mail(&alpha, &beta).await;
    requests(&alpha).await;
    claims(&alpha).await;
    leases(&alpha).await;
    state(&alpha).await;
    topics(&alpha).await;
    tokens(&alpha).await;
    peers(&alpha).await;
    lab.stop("gamma").await.unwrap();
    outbox(&alpha).await;
    members(&alpha, lab.recovery_words()).await;
    lab.lose_store().await.unwrap();
    resume(&alpha).await;
    lab.linked("beta").await.unwrap();
    meshes(&alpha, &beta, &lab.url()).await;

    let walked = walked.0.lock().unwrap();
    let left: Vec<_> = ROUTES.iter().filter(|route| !walked.contains(&(route.method, route.path))).collect();
    assert!(left.is_empty(), "there is no step here for {left:#?}");
}

async fn about(node: &Client) {
    assert_eq!(node.version().await.unwrap().api, waxwing_client::api::API_VERSION);
    assert_eq!(node.health().await.unwrap().meshes[0].node, name("alpha"));
    assert!(node.metrics().await.unwrap().ends_with("# EOF\n"));
    assert!(node.openapi().await.unwrap()["paths"].is_object());
}

async fn apps(node: &Client) {
    let registration = Registration { ttl: Some("1m".into()), ..Registration::default() };
    let registered = node.register(&name("bob"), &registration).await.unwrap();
    let found = node.apps(&AppsQuery::default()).await.unwrap().apps;
    assert_eq!(found, [registered.app]);
    node.unregister(&name("bob"), &RemoveQuery::default()).await.unwrap();
    let profile = ProfileRequest { summary: Some("here".into()), ..ProfileRequest::default() };
    let said = node.set_profile(&profile).await.unwrap();
    assert_eq!(said.profile.summary.as_deref(), Some("here"));
    assert_eq!(node.profile(&MESH).await.unwrap(), said);
}

fn message(to: &str, id: &str) -> SendRequest {
    let (body, client_message_id) = (Some(id.to_owned()), Some(id.parse().unwrap()));
    SendRequest { to: to.to_owned(), body, client_message_id, ..SendRequest::default() }
}

async fn mail(from: &Client, to: &Client) {
    let sent = from.send(&message("bob@beta", "w-1")).await.unwrap();
    let items = vec![message("bob@beta", "w-2")];
    let batch = from.send_batch(&BatchRequest { items }).await.unwrap();
    assert!(matches!(&batch.items[..], [BatchOutcome::Sent(_)]), "{batch:?}");
    let id = &sent.client_message_id;
    let mut status = from.status(id, &MESH).await.unwrap();
    while status.state.rung() < Some(2) {
        let query =
            StatusQuery { wait: Some("30s".into()), known: Some(status.state), ..StatusQuery::default() };
        status = from.wait_status(id, &query).await.unwrap();
    }
    assert!(from.broker_view(id, &MESH).await.unwrap().message_id.is_some());

    let unread = InboxQuery { unread: true, wait: Some("30s".into()), ..InboxQuery::default() };
    let mut left = BTreeSet::from(["w-1", "w-2"]);
    while !left.is_empty() {
        for item in to.inbox(&unread).await.unwrap().items {
            assert!(left.remove(item.client_message_id.as_str()), "{item:?}");
            let read = AckRequest { ids: Some(vec![item.id]), ..AckRequest::default() };
            assert_eq!(to.ack(&read).await.unwrap().acknowledged, 1);
            to.delete(item.id, &MESH).await.unwrap();
        }
    }
    let all = EventQuery { after: Some(0), app: Some("*".into()), ..EventQuery::default() };
    let first = from.events(&all).await.unwrap().next().await.unwrap();
    assert_eq!(from.events_resuming(&all).await.unwrap().next().await.unwrap(), first);
}

async fn asked(requests: &mut Requests) -> RequestItem {
    match requests.next().await.unwrap() {
        Asks::Request(request) => *request,
        Asks::Cancel(id) => panic!("{id} is cancelled"),
    }
}

async fn requests(node: &Client) {
    let clock = node.clone().app(name("clock"));
    let mut requests = clock.serve(&EventQuery::default()).await.unwrap();
    let call = |id: &str| {
        let id = Some(id.parse().unwrap());
        CallRequest { to: "clock@alpha".into(), timeout: Some("60s".into()), id, ..CallRequest::default() }
    };
    let reply = async |requests: &mut Requests| {
        let request = asked(requests).await;
        let noon = ReplyRequest { body: Some("noon".into()), ..ReplyRequest::to(request.id) };
        clock.reply(&noon).await.unwrap();
    };
    let first = call("r-1");
    let (answer, ()) = tokio::join!(node.ask(&first), reply(&mut requests));
    assert_eq!(answer.unwrap().body.as_deref(), Some("noon"));
    let mut second = node.ask_closely(&call("r-2")).await.unwrap();
    reply(&mut requests).await;
    assert!(matches!(second.next().await.unwrap(), Step::Answer(_)));
    let third = call("r-3");
    let (refused, ()) = tokio::join!(node.ask(&third), async {
        let request = asked(&mut requests).await;
        node.cancel(&CancelRequest { request: "r-3".parse().unwrap(), mesh: None }).await.unwrap();
        assert_eq!(requests.next().await.unwrap(), Asks::Cancel(request.id));
    });
    assert_eq!(refused.unwrap_err().problem().unwrap().code, ProblemCode::Cancelled);
}

async fn claims(node: &Client) {
    let claim = async |key: &str| {
        let claimed = node.claim(&ClaimRequest { key: key.into(), ..ClaimRequest::default() }).await.unwrap();
        assert_eq!(claimed.state, ClaimState::Claimed);
        (claimed.key, claimed.token.unwrap())
    };
    let (key, token) = claim("build-1").await;
    let outcome = Some("mended".to_owned());
    node.complete_claim(&CompleteRequest { key, token, outcome, mesh: None }).await.unwrap();
    let (key, token) = claim("build-2").await;
    node.abandon_claim(&AbandonRequest { key, token, mesh: None }).await.unwrap();
    let stands = async || {
        let claims = node.claims(&ClaimsQuery::default()).await.unwrap().claims;
        let [claim] = &claims[..] else { return None };
        claim.completion.is_some().then_some(())
    };
    eventually(WITHIN, "one claim is completed, the other gone", stands).await.unwrap();
}

async fn leases(node: &Client) {
    let acquire = async || {
        let (name, wait) = (Some("door".into()), Some("30s".into()));
        let wants = AcquireRequest { name, wait, ..AcquireRequest::default() };
        let lease = node.acquire_lease(&wants).await.unwrap();
        assert_eq!(lease.state, AcquireState::Acquired);
        lease.token.unwrap()
    };
    let (lease, token) = (String::from("door"), acquire().await);
    let renew = RenewRequest { name: lease.clone(), token, ttl: None, mesh: None };
    assert_eq!(node.renew_lease(&renew).await.unwrap().token, token);
    let check = CheckQuery { name: lease.clone(), fence: token, mesh: None };
    assert_eq!(node.check_lease(&check).await.unwrap().state, TokenState::Held);
    let listed = node.leases(&LeasesQuery::default()).await.unwrap().leases;
    assert_eq!((&listed[0].name, listed[0].holders[0].mode), (&lease, LeaseMode::Exclusive));
    let release = ReleaseRequest { name: lease.clone(), token, mesh: None };
    assert_eq!(node.release_lease(&release).await.unwrap().token, token);
    let token = acquire().await;
    let revoke = RevokeLeaseRequest { name: lease, token: None, mesh: None };
    assert_eq!(node.revoke_lease(&revoke).await.unwrap().revoked, [token]);
}

async fn state(node: &Client) {
    let (key, terms) = ("deploy/target", KvTerms::default());
    let put = KvPut { value: Some("blue".into()), ..KvPut::default() };
    assert_eq!(node.kv_put(key, &put, &terms).await.unwrap().key.version, 1);
    let stands = async || node.kv_get(key, &MESH).await.ok();
    let found = eventually(WITHIN, "what was put is here", stands).await.unwrap();
    assert_eq!(found.entry.value.as_deref(), Some("blue"));
    let listed = node.kv_list(&KvQuery::default()).await.unwrap().entries;
    let versions = node.kv_history(key, &MESH).await.unwrap().versions;
    assert_eq!((&listed, &versions), (&vec![found.entry], &listed));
    node.kv_delete(key, &terms, &MESH).await.unwrap();
}

async fn topics(node: &Client) {
    let (topic, pattern) = ("builds:main".parse().unwrap(), "builds:*".parse().unwrap());
    let kept = RetentionRequest { topic, retention: "12h".into(), mesh: None };
    let topic = node.topic_retention(&kept).await.unwrap().topic;
    let from = Some(StartFrom::Earliest);
    let wanted = SubscribeRequest { pattern, from, after: None, no_echo: false, mesh: None };
    assert!(node.subscribe(&wanted).await.unwrap().new);
    let publish = PublishRequest {
        topic: topic.clone(),
        body: Some("green".into()),
        body_base64: None,
        content_type: None,
        meta: None,
        ephemeral: false,
        client_message_id: None,
        mesh: None,
    };
    let seq = node.publish(&publish).await.unwrap().seq.unwrap();
    assert_eq!(node.topics(&TopicsQuery::default()).await.unwrap().topics[0].topic, topic);
    let mut stream = node.topic_stream(&TopicStreamQuery::default()).await.unwrap();
    let TopicEvent::Message(message) = stream.next().await.unwrap() else { panic!("something else") };
    assert_eq!((message.seq, message.body.as_deref()), (seq, Some("green")));
    let history = HistoryQuery { topic: topic.clone(), after: None, last: None, limit: None, mesh: None };
    assert_eq!(node.topic_history(&history).await.unwrap().items, [*message]);
    let through = TopicAckRequest { topic, through: seq, mesh: None };
    assert_eq!(node.topic_ack(&through).await.unwrap().acknowledged, seq);
    assert_eq!(node.subscriptions(&MESH).await.unwrap().cursors[0].acknowledged, seq);
    let pattern = wanted.pattern;
    node.unsubscribe(&UnsubscribeRequest { pattern, mesh: None }).await.unwrap();
}

async fn tokens(node: &Client) {
    let request = TokenRequest { name: name("ci"), scope: TokenScope::Send, app: Some(name("build")) };
    let made = node.create_token(&request).await.unwrap().about;
    assert_eq!(node.tokens().await.unwrap().tokens, [made]);
    node.revoke_token(&name("ci")).await.unwrap();
}

async fn peers(node: &Client) {
    assert_eq!(node.peers(&MESH).await.unwrap().peers.len(), 3);
    let beta = PeerRequest { node: name("beta"), mesh: None };
    assert!(node.verify_peer(&beta).await.unwrap().words.iter().all(|word| !word.is_empty()));
    assert!(node.block_peer(&beta).await.unwrap().blocked);
    assert!(!node.allow_peer(&beta).await.unwrap().blocked);
}

/// One message is given up and sent again, another given up for good: whom they are for is not there.
async fn outbox(node: &Client) {
    for id in ["w-3", "w-4"] {
        node.send(&message("gamma", id)).await.unwrap();
    }
    let page = node.outbox(&OutboxQuery::default()).await.unwrap();
    let row = page.items.iter().find(|item| item.client_message_id.as_str() == "w-3").unwrap().row;
    assert_eq!(node.outbox_row(row, &MESH).await.unwrap().body.as_deref(), Some("w-3"));
    let again = RequeueRequest { id: "w-3".into(), ..RequeueRequest::default() };
    assert!(node.requeue(&again).await.unwrap().requeued_as.is_some());
    let no_more = AbortRequest { id: "w-4".into(), ..AbortRequest::default() };
    assert_eq!(node.abort(&no_more).await.unwrap().requeued_as, None);
}

async fn members(admin: &Client, words: &str) {
    assert_eq!(admin.members(&MembersQuery::default()).await.unwrap().members.len(), 3);
    admin.invite(&InviteRequest::default()).await.unwrap();
    let key = admin.invites(&MESH).await.unwrap().invites.remove(0).key;
    let end = RevokeInviteRequest { key: key.clone(), ..RevokeInviteRequest::default() };
    assert_eq!(admin.revoke_invite(&end).await.unwrap().key, key);
    let words = words.to_owned().into();
    let recover = RecoverRequest { words, node: Some(name("beta")), mesh: None };
    assert_eq!(admin.recover(&recover).await.unwrap().node, name("beta"));
    let grant = GrantRequest { node: name("beta"), role: Role::Member, mesh: None };
    assert_eq!(admin.grant(&grant).await.unwrap().node, name("beta"));
    let revoke = RevokeRequest { node: name("gamma"), reason: None, mesh: None };
    assert_eq!(admin.revoke(&revoke).await.unwrap().node, name("gamma"));
    assert!(admin.rotate_keys(&RotateRequest::default()).await.unwrap().in_log);
}

async fn resume(admin: &Client) {
    let wanted = async || {
        let mesh = admin.health().await.ok()?.meshes.pop()?;
        mesh.resume_wanted.filter(|_| mesh.link.state == LinkState::Up)
    };
    eventually(WITHIN, "the loss is known, and there is a link", wanted).await.unwrap();
    assert_eq!(admin.resume(&ResumeRequest::default()).await.unwrap().mesh, name("lab"));
}

async fn meshes(founder: &Client, other: &Client, broker: &str) {
    let second = Some(name("second"));
    let create = CreateRequest {
        name: name("second"),
        broker: broker.to_owned(),
        node: Some(name("alpha")),
        creation_token: None,
        plaintext: false,
    };
    assert_eq!(founder.create(&create).await.unwrap().mesh, name("second"));
    linked(founder, "second").await;
    let invite = InviteRequest { mesh: second.clone(), ..InviteRequest::default() };
    let token = founder.invite(&invite).await.unwrap().token;
    let join = JoinRequest { token, node: Some(name("beta")), plaintext: false };
    assert_eq!(other.join(&join).await.unwrap().node, name("beta"));
    linked(other, "second").await;
    let moved = BrokerRequest { url: broker.to_owned(), plaintext: false, mesh: second.clone() };
    assert_eq!(other.move_broker(&moved).await.unwrap().mesh, name("second"));
    linked(other, "second").await;
    assert_eq!(other.leave(&LeaveRequest { mesh: second }).await.unwrap().mesh, name("second"));
}
