//! The local API over TCP: whoever is on this machine can knock, and without a token for it gets nothing.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;
use waxwing_client::api::{
    AckRequest, EventBody, EventQuery, InboxQuery, MeshHealth, MeshQuery, OutboxQuery, ProblemCode, ROUTES,
    Registration, Route, SendRequest, TokenRequest, TokenScope,
};
use waxwing_client::{Client, Error};
use waxwing_lab::{Lab, Scan, eventually};

use crate::api::exchange_on;
use crate::support::{PROGRAM, WITHIN, mesh};

/// A mesh whose first node listens on a port, and where.
async fn listening(nodes: &[&str]) -> (Lab, SocketAddr) {
    let mut lab = mesh(nodes).await;
    let file = lab.state(nodes[0]).join("config.toml");
    std::fs::write(file, "listen = \"127.0.0.1:0\"\n").unwrap();
    lab.restart(nodes[0]).await.unwrap();
    lab.linked(nodes[0]).await.unwrap();
    let listen = lab.client(nodes[0]).health().await.unwrap().listen.unwrap();
    (lab, listen)
}

async fn token(lab: &Lab, scope: TokenScope, app: Option<&str>) -> String {
    let client = lab.client("alpha");
    let name = format!("t-{}", client.tokens().await.unwrap().tokens.len()).parse().unwrap();
    let request = TokenRequest { name, scope, app: app.map(|app| app.parse().unwrap()) };
    client.create_token(&request).await.unwrap().token.to_string()
}

fn by(listen: SocketAddr, token: &str) -> Client {
    Client::tcp(listen, token.parse().unwrap()).unwrap()
}

/// What is said in a request beside its first line.
struct Said<'a> {
    host: &'a str,
    token: Option<&'a str>,
    more: &'a str,
    body: &'a [u8],
}

async fn answered(listen: SocketAddr, method: &str, path: &str, said: &Said<'_>) -> (u16, String) {
    let Said { host, token, more, body } = said;
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{token}content-type: application/json\r\n{more}content-length: {length}\r\n\r\n"
    );
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    let (status, head, problem) = exchange_on(TcpStream::connect(listen).await.unwrap(), &request).await;
    assert!(head.contains("nosniff") && head.contains("cache-control: no-store"), "{head}");
    assert!(!head.contains("access-control-"), "{head}");
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

/// A path that a route answers, of a mesh that there is not: nothing is found, and nothing waits.
fn filled(route: &Route) -> String {
    let path = route.path.replace("{id}", "7").replace("{row}", "7").replace("{name}", "nobody");
    let path = path.replace("{scope}", "mesh").replace("{key}", "k");
    let of_a_mesh =
        !["/v1/version", "/v1/health", "/v1/metrics", "/v1/openapi.json", "/v1/tokens", "/v1/tokens/{name}"]
            .contains(&route.path);
    let named = of_a_mesh && route.method != "POST" && route.method != "PUT";
    if named { format!("{path}?mesh=nowhere") } else { path }
}

fn has_body(route: &Route) -> bool {
    matches!(route.method, "POST" | "PUT")
}

/// What alpha says of its meshes, but for what is measured anew each time.
async fn meshes(lab: &Lab) -> Vec<MeshHealth> {
    let mut meshes = lab.client("alpha").health().await.unwrap().meshes;
    meshes.iter_mut().for_each(|mesh| mesh.clock_offset_ms = 0);
    meshes
}

/// MB-07, SB-17.
#[tokio::test]
async fn whatever_is_wrong_with_a_request_is_refused_on_every_route_and_nothing_comes_of_it() {
    let (lab, listen) = listening(&["alpha"]).await;
    let (admin, read) =
        (token(&lab, TokenScope::Admin, None).await, token(&lab, TokenScope::Read, None).await);
    let own = listen.to_string();
    let plain = Said { host: &own, token: Some(&admin), more: "", body: b"" };
    let of_an_app = Said { more: "waxwing-app: ci\r\n", ..plain };
    let before = meshes(&lab).await;
    let unmade = format!("wwt1_{}", "A".repeat(43));
    let large = vec![b'x'; 8 * 1024 * 1024 + 1];
    for route in &ROUTES {
        let (method, path) = (route.method, filled(route));
        let cases = [
            ("no token", Said { token: None, ..plain }, (401, "token_missing")),
            ("another token", Said { token: Some(&unmade), ..plain }, (401, "token_refused")),
            ("no token at all", Said { token: Some("x"), ..plain }, (401, "token_refused")),
            ("another host", Said { host: "evil.example", ..plain }, (421, "misdirected")),
            ("another port", Said { host: "localhost:1", ..plain }, (421, "misdirected")),
            (
                "a page of another",
                Said { more: "origin: http://evil.example\r\n", ..plain },
                (403, "foreign_origin"),
            ),
            (
                "a page of ours",
                Said { more: "origin: http://localhost\r\n", ..plain },
                (403, "foreign_origin"),
            ),
            ("a link", Said { more: "referer: http://localhost/\r\n", ..plain }, (403, "foreign_origin")),
            ("a script", Said { more: "sec-fetch-site: cross-site\r\n", ..plain }, (403, "foreign_origin")),
        ];
        for (what, said, (status, code)) in cases {
            let answer = answered(listen, method, &path, &said).await;
            assert_eq!(answer, (status, code.to_owned()), "{what}: {method} {path}");
        }
        let mark = if path.contains('?') { '&' } else { '?' };
        let with_token = format!("{path}{mark}token={admin}");
        let in_query = answered(listen, method, &with_token, &Said { token: None, ..plain }).await;
        assert_eq!(in_query, (400, "token_in_query".to_owned()), "{method} {path}");
        let no_text = format!("{path}{mark}name=%ff");
        let no_text = answered(listen, method, &no_text, &of_an_app).await;
        assert_eq!(no_text, (400, "malformed".to_owned()), "{method} {path}");
        let (wrong, _) = answered(listen, "PATCH", &path, &plain).await;
        assert_eq!(wrong, 405, "PATCH {path}");
        if has_body(route) {
            let most = if route.path == "/v1/send/batch" { 8 * 1024 * 1024 } else { 512 * 1024 };
            let over = answered(listen, method, &path, &Said { body: &large[..most + 1], ..of_an_app }).await;
            assert_eq!(over, (413, "too_large".to_owned()), "{method} {path}");
            let no_text = answered(listen, method, &path, &Said { body: b"{\"\xff\":1}", ..of_an_app }).await;
            assert_eq!(no_text, (400, "malformed".to_owned()), "{method} {path}");
        }
        if route.scope > TokenScope::Read {
            let low = answered(listen, method, &path, &Said { token: Some(&read), ..plain }).await;
            assert_eq!(low, (403, "wrong_scope".to_owned()), "{method} {path}");
        }
    }
    let unknown = answered(listen, "GET", "/v1/nothing", &Said { token: None, ..plain }).await;
    assert_eq!(unknown.0, 401, "who has no token is not told what there is");
    assert_eq!(answered(listen, "GET", "/v1/nothing", &plain).await, (404, "no_such_route".to_owned()));
    let after = meshes(&lab).await;
    assert_eq!((after, lab.client("alpha").tokens().await.unwrap().tokens.len()), (before, 2));
}

#[tokio::test]
async fn a_token_allows_what_its_scope_says_on_every_route_and_nothing_else() {
    let (lab, listen) = listening(&["alpha"]).await;
    let own = listen.to_string();
    for scope in TokenScope::ALL {
        for app in [None, Some("build")] {
            if scope == TokenScope::Admin && app.is_some() {
                continue;
            }
            let token = token(&lab, scope, app).await;
            let mut allowed = 0;
            for route in &ROUTES {
                let body: &[u8] = if has_body(route) { b"no JSON" } else { b"" };
                let said = Said { host: &own, token: Some(&token), more: "", body };
                let path = filled(route).replace("nobody", app.unwrap_or("nobody"));
                let (status, code) = answered(listen, route.method, &path, &said).await;
                let refused = match () {
                    () if scope < route.scope => Some("wrong_scope"),
                    () if app.is_some() && !route.for_one_app => Some("other_app"),
                    () => None,
                };
                match refused {
                    Some(why) => assert_eq!((status, code.as_str()), (403, why), "{} {path}", route.method),
                    None => {
                        assert!(![401, 403].contains(&status), "{} {path}: {status} {code}", route.method);
                        allowed += 1;
                    }
                }
            }
            assert!(allowed > 0, "{scope:?} is good for something");
        }
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> ProblemCode {
    result.unwrap_err().problem().expect("a refusal").code
}

#[tokio::test]
async fn a_token_for_one_app_reads_and_speaks_as_that_app_alone() {
    let (lab, listen) = listening(&["alpha", "beta"]).await;
    let build = by(listen, &token(&lab, TokenScope::Send, Some("build")).await);
    for (to, id) in [("alpha", "for-node"), ("build@alpha", "for-build"), ("ci@alpha", "for-ci")] {
        let request = SendRequest {
            to: to.into(),
            client_message_id: Some(id.parse().unwrap()),
            ..SendRequest::default()
        };
        lab.client("beta").send(&request).await.unwrap();
    }
    let all = InboxQuery { app: Some("*".into()), ..InboxQuery::default() };
    let there = async || {
        let items = lab.client("alpha").inbox(&all).await.ok()?.items;
        (items.len() == 3).then_some(items)
    };
    let items = eventually(WITHIN, "all three are there", there).await.unwrap();
    let id = |of: &str| items.iter().find(|item| item.client_message_id.as_str() == of).unwrap().id;

    let own = build.inbox(&InboxQuery::default()).await.unwrap().items;
    assert_eq!(own.iter().map(|item| item.id).collect::<Vec<_>>(), [id("for-build")]);
    for other in ["*", "", "ci"] {
        let query = InboxQuery { app: Some(other.into()), ..InboxQuery::default() };
        assert_eq!(code(build.inbox(&query).await), ProblemCode::OtherApp, "{other}");
        let query = EventQuery { app: Some(other.into()), ..EventQuery::default() };
        assert_eq!(code(build.events(&query).await), ProblemCode::OtherApp, "{other}");
    }
    let ack = AckRequest { ids: Some(vec![id("for-node"), id("for-ci")]), ..AckRequest::default() };
    assert_eq!(build.ack(&ack).await.unwrap().acknowledged, 0);
    let ack = AckRequest { through: Some(100), ..AckRequest::default() };
    assert_eq!(build.ack(&ack).await.unwrap().acknowledged, 1);
    assert_eq!(code(build.delete(id("for-ci"), &MeshQuery::default()).await), ProblemCode::UnknownMessage);
    let as_ci = build.clone().app("ci".parse().unwrap());
    assert_eq!(code(as_ci.inbox(&InboxQuery::default()).await), ProblemCode::OtherApp);
    let from_ci =
        SendRequest { to: "beta".into(), from_app: Some("ci".parse().unwrap()), ..SendRequest::default() };
    assert_eq!(code(build.send(&from_ci).await), ProblemCode::OtherApp);
    let ttl = Registration { ttl: Some("30s".into()), ..Registration::default() };
    assert_eq!(code(build.register(&"ci".parse().unwrap(), &ttl).await), ProblemCode::OtherApp);
    build.register(&"build".parse().unwrap(), &ttl).await.unwrap();
    assert_eq!(code(build.outbox(&OutboxQuery::default()).await), ProblemCode::OtherApp);

    let sent = build.send(&SendRequest { to: "beta".into(), ..SendRequest::default() }).await.unwrap();
    let status = build.status(&sent.client_message_id, &MeshQuery::default()).await.unwrap();
    assert_eq!(status.from_app.unwrap().as_str(), "build");
    let request = SendRequest { to: "beta".into(), ..SendRequest::default() };
    let of_node = lab.client("alpha").send(&request).await.unwrap().client_message_id;
    let asked = build.status(&of_node, &MeshQuery::default()).await;
    assert_eq!(code(asked), ProblemCode::UnknownMessage, "another's message is none of its business");
}

#[tokio::test]
async fn a_revoked_token_is_refused_at_once_and_what_goes_on_by_it_ends() {
    let (lab, listen) = listening(&["alpha", "beta"]).await;
    let (ci, kept) = (token(&lab, TokenScope::Send, None).await, token(&lab, TokenScope::Read, None).await);
    let (ci, kept) = (by(listen, &ci), by(listen, &kept));
    let query = EventQuery { register: Some(1), app: Some("ci".into()), ..EventQuery::default() };
    let mut stream = ci.events(&query).await.unwrap();
    let mut other = kept.events(&EventQuery::default()).await.unwrap();
    let waits = InboxQuery { wait: Some("60s".into()), ..InboxQuery::default() };
    let waiting = tokio::spawn({
        let ci = ci.clone();
        async move { ci.inbox(&waits).await }
    });
    lab.json("alpha", &["node", "token", "revoke", "t-0"]).await.unwrap();
    assert_eq!(code(ci.version().await), ProblemCode::TokenRefused);
    let ended = timeout(WITHIN, stream.next()).await.expect("it ends");
    assert!(matches!(ended, Err(Error::Lost(_))), "{ended:?}");
    assert_eq!(code(timeout(WITHIN, waiting).await.expect("it ends").unwrap()), ProblemCode::TokenRefused);
    let hello = SendRequest { to: "alpha".into(), ..SendRequest::default() };
    lab.client("beta").send(&hello).await.unwrap();
    let goes_on = async { while !matches!(other.next().await.unwrap().body, EventBody::Message { .. }) {} };
    timeout(WITHIN, goes_on).await.expect("another's stream goes on");
}

#[tokio::test]
async fn a_token_is_shown_once_and_found_nowhere() {
    let (mut lab, listen) = listening(&["alpha"]).await;
    let made = lab.json("alpha", &["node", "token", "create", "ci", "--scope", "read"]).await.unwrap();
    let shown = made["token"].as_str().unwrap().to_owned();
    assert_eq!((&made["name"], &made["scope"]), (&"ci".into(), &"read".into()));
    by(listen, &shown).version().await.unwrap();
    let own = listen.to_string();
    let other = format!("wwt1_{}", "B".repeat(43));
    for (token, path) in [
        (&shown, "/v1/nothing".to_owned()),
        (&other, "/v1/inbox".to_owned()),
        (&shown, format!("/v1/inbox?token={shown}")),
    ] {
        answered(listen, "GET", &path, &Said { host: &own, token: Some(token), more: "", body: b"" }).await;
    }
    let listed = lab.json("alpha", &["node", "token", "list"]).await.unwrap();
    let about = [listed.to_string(), lab.json("alpha", &["config", "show"]).await.unwrap().to_string()];
    assert!(about[0].contains("ci") && about.iter().all(|text| !text.contains(&shown[5..])), "{about:?}");
    lab.restart("alpha").await.unwrap();
    by(lab.client("alpha").health().await.unwrap().listen.unwrap(), &shown).version().await.unwrap();
    let mut scan = Scan::default();
    scan.path(lab.folder(), &[&shown[5..], &other[5..]]).unwrap();
    assert!(scan.files > 3 && scan.found.is_empty(), "{:?}", scan.found);
}

#[tokio::test]
async fn whoever_says_nothing_at_the_port_is_hung_up_on_and_holds_up_nobody_at_the_socket() {
    let (lab, listen) = listening(&["alpha"]).await;
    let mut slow = TcpStream::connect(listen).await.unwrap();
    slow.write_all(b"GET /v1/version HTTP/1.1\r\nhost: ").await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(listen).await.unwrap());
    }
    assert!(lab.client("alpha").version().await.is_ok(), "the socket has room of its own");
    let mut rest = Vec::new();
    timeout(WITHIN, slow.read_to_end(&mut rest)).await.expect("it is hung up on").unwrap();
    let token = token(&lab, TokenScope::Read, None).await;
    timeout(WITHIN, by(listen, &token).version()).await.expect("there is room again").unwrap();
}

/// The command line with this environment and nothing else, as this user.
async fn command(
    program: &Path,
    user: Option<u32>,
    environment: &[(&str, &str)],
    words: &[&str],
) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    command.env_clear().envs(environment.iter().copied()).args(words).stdin(Stdio::null());
    if let Some(user) = user {
        command.uid(user).gid(user).current_dir("/");
    }
    let output = timeout(WITHIN, command.output()).await.unwrap().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
    )
}

#[tokio::test]
async fn the_command_line_finds_a_node_by_the_environment_and_a_token_file_of_its_own() {
    let (lab, listen) = listening(&["alpha", "beta"]).await;
    let file = lab.folder().join("ci.token");
    let text = file.to_str().unwrap();
    let made = ["node", "token", "create", "ci", "--scope", "send", "--out", text];
    let made = lab.json("alpha", &made).await.unwrap();
    assert!(made.get("token").is_none(), "{made}");
    let again = lab
        .run("alpha", &["node", "token", "create", "ci2", "--scope", "send", "--out", text], b"")
        .await
        .unwrap();
    assert_ne!(again.code, Some(0), "a file that is there is not written over");
    assert_eq!(lab.client("alpha").tokens().await.unwrap().tokens.len(), 1, "and no token made");
    let (address, home) = (listen.to_string(), lab.folder().join("home"));
    let named =
        [("WAXWING_NODE", address.as_str()), ("WAXWING_TOKEN_FILE", text), ("HOME", home.to_str().unwrap())];
    let program = Path::new(PROGRAM);
    let (exit, said) =
        command(program, None, &named, &["send", "beta", "hi", "--wait", "delivered", "--json"]).await;
    assert_eq!(exit, Some(0), "{said}");
    let (exit, said) = command(program, None, &named, &["invite", "--json"]).await;
    assert!(exit == Some(3) && said.contains("wrong_scope"), "{exit:?} {said}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (exit, said) = command(program, None, &named, &["peers", "--json"]).await;
    assert!(exit == Some(2) && said.contains("chmod 600"), "{exit:?} {said}");
    let elsewhere = [
        ("WAXWING_NODE", "192.0.2.1:7980"),
        ("WAXWING_TOKEN", "wwt1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ];
    let (exit, said) = command(program, None, &elsewhere, &["peers", "--json"]).await;
    assert!(exit == Some(2) && said.contains("ssh -L"), "{exit:?} {said}");
}

#[tokio::test]
async fn another_user_of_the_host_gets_nothing_by_the_socket_whatever_its_modes_and_by_tcp_what_a_token_allows()
 {
    const NOBODY: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be another user");
        return;
    }
    let (mut lab, listen) = listening(&["alpha"]).await;
    let token = token(&lab, TokenScope::Read, None).await;
    // A copy where everybody can run it.
    let public = tempfile::tempdir().unwrap();
    let program = public.path().join("waxwing");
    std::fs::copy(PROGRAM, &program).unwrap();
    std::fs::set_permissions(public.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let state = lab.state("alpha");
    let words = ["--state", state.to_str().unwrap(), "node", "version", "--json"];
    let (exit, said) = command(&program, Some(NOBODY), &[], &words).await;
    assert!(exit != Some(0) && !said.contains("\"api\""), "{exit:?} {said}");
    for path in state.ancestors().take_while(|path| *path != std::env::temp_dir()) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::fs::set_permissions(state.join("node.sock"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let (exit, said) = command(&program, Some(NOBODY), &[], &words).await;
    assert!(exit == Some(6) && said.contains("lost"), "hung up on: {exit:?} {said}");
    let log = lab.process("alpha").log();
    assert!(log.contains("another user tried to connect"), "{log}");
    let address = listen.to_string();
    let named =
        [("WAXWING_NODE", address.as_str()), ("WAXWING_TOKEN", token.as_str()), ("HOME", "/nonexistent")];
    let (exit, said) = command(&program, Some(NOBODY), &named, &["peers", "--json"]).await;
    assert!(exit == Some(0) && said.contains("alpha"), "{exit:?} {said}");
    let unnamed: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(unnamed["schema"], 1);
}
