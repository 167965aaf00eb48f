//! What this node does when a broker ends a link, against a broker that says exactly that.

use std::collections::VecDeque;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use waxwing_crypto::{NodeId, Priority, Timestamp, WireId};
use waxwing_protocol::link::{
    Code, Deliver, Delivery, Envelope, ErrorFrame, Frame, Limits, Mark, SUBPROTOCOL, Sent, ToBrokerLogin,
    ToNode, ToNodeLogin, VERSIONS, Welcome, decode, encode,
};

use waxwing_protocol::{RunId, StoreId};

use super::*;
use crate::mesh::tests::alone_at;

/// Everything here takes milliseconds, but for the waits between links.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a scripted broker does with one link.
#[derive(Clone, Debug)]
enum Line {
    /// Challenges, saying that it serves these versions.
    Challenge(Vec<u32>),
    /// Waits for the hello.
    Hello,
    /// Welcomes, having these features.
    Welcome(Features),
    /// Sends this so many times, whatever the node answers.
    Send(Message, usize),
    /// Ends it.
    GoAway(GoAway),
}

/// A broker that does one script per link, then no more.
struct Scripted {
    url: String,
    /// Told of each link when it comes.
    links: mpsc::Receiver<()>,
}

impl Scripted {
    async fn start(scripts: impl IntoIterator<Item = Vec<Line>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", listener.local_addr().unwrap());
        let (came, links) = mpsc::channel(100);
        let mut scripts: VecDeque<_> = scripts.into_iter().collect();
        tokio::spawn(async move {
            let (mut open, mut logins) = (Vec::new(), 1);
            while let Ok((stream, _)) = listener.accept().await {
                came.send(()).await.unwrap();
                let Some(script) = scripts.pop_front() else { continue };
                open.push(serve(stream, script, &mut logins).await); // A link that is not ended stays.
            }
        });
        Self { url, links }
    }

    async fn link(&mut self) {
        timeout(PATIENCE, self.links.recv()).await.expect("the node comes").unwrap();
    }
}

/// `logins` is the number of the next.
async fn serve(stream: TcpStream, script: Vec<Line>, logins: &mut u64) -> WebSocketStream<TcpStream> {
    let protocol = |_: &Request, mut response: Response| {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        Ok(response)
    };
    let mut socket = accept_hdr_async(stream, protocol).await.unwrap();
    let clock = Timestamp::default();
    for line in script {
        match line {
            Line::Challenge(versions) => {
                let (nonce, store) = ([7; 32], StoreId::from_bytes([1; 16]));
                say(&mut socket, &ToNodeLogin::Challenge(Challenge { nonce, store, clock, versions })).await;
            }
            Line::Hello => {
                let Some(Ok(Message::Binary(bytes))) = socket.next().await else { panic!("no hello") };
                decode::<ToBrokerLogin>(&bytes).unwrap();
            }
            Line::Welcome(features) => {
                let limits = Limits { items: 1_024, bytes: 8 << 20, dedupe: 35 * 86_400_000, lease: 90_000 };
                // A broker that has lost the log: what it says of it is not judged.
                let (login, head, waits, pass) = (Some(*logins), None, true, None);
                *logins += 1;
                let welcome = Welcome { login, head, waits, pass, limits, features, clock };
                say(&mut socket, &ToNodeLogin::Welcome(welcome)).await;
            }
            Line::Send(message, times) => {
                for _ in 0..times {
                    drop(socket.send(message.clone()).await);
                }
            }
            Line::GoAway(goaway) => say(&mut socket, &ToNode::GoAway(goaway)).await,
        }
    }
    socket
}

async fn say(socket: &mut WebSocketStream<TcpStream>, frame: &impl Frame) {
    // A node that has heard enough may be gone.
    drop(socket.send(Message::Binary(encode(frame).unwrap())).await);
}

fn goaway(reason: Reason, again: Option<(u64, u64)>) -> GoAway {
    GoAway { reason, detail: format!("why it is {reason}"), again }
}

/// Up to the hello, then refused.
fn refusal(goaway: GoAway) -> Vec<Line> {
    vec![Line::Challenge(VERSIONS.to_vec()), Line::Hello, Line::GoAway(goaway)]
}

const NEVER: [(Reason, u8); 6] = [
    (Reason::Unauthenticated, 3),
    (Reason::Revoked, 3),
    (Reason::StaleState, 4),
    (Reason::Superseded, 4),
    (Reason::Unsupported, 5),
    (Reason::WrongBroker, 5),
];

const AGAIN: [Reason; 6] = [
    Reason::Restarting,
    Reason::Busy,
    Reason::TooSlow,
    Reason::Replaced,
    Reason::ProtocolViolation,
    Reason::FrameTooLarge,
];

/// Runs a mesh whose broker does one script, until it stops for good. Says how, and what its status is.
async fn stopped_by(script: Vec<Line>) -> (Error, waxwing_protocol::api::Link) {
    let mut broker = Scripted::start([script]).await;
    let (_folder, mesh) = alone_at(&broker.url).await;
    let ended = timeout(PATIENCE, mesh.run()).await.expect("it stops");
    broker.link().await;
    assert!(broker.links.try_recv().is_err(), "it did not come again");
    (ended.unwrap_err(), mesh.link())
}

#[tokio::test]
async fn a_refusal_for_good_stops_the_mesh_with_its_reason_and_exit_code() {
    for (reason, exit) in NEVER {
        let (error, link) = stopped_by(refusal(goaway(reason, None))).await;
        assert_eq!(error.exit_code(), exit, "{reason}");
        assert_eq!(link.state, LinkState::Stopped);
        let shown = link.reason.unwrap();
        assert!(shown.contains(reason.as_str()) && shown.contains("why it is"), "{shown}");
    }
}

#[test]
fn who_may_not_enter_is_told_by_a_code_of_its_own() {
    for (reason, code, exit) in [
        (Reason::UnknownInvite, "invite_unknown", 3),
        (Reason::InviteExpired, "invite_expired", 3),
        (Reason::InviteRevoked, "invite_revoked", 3),
        (Reason::UnknownMesh, "no_such_mesh", 5),
        (Reason::WrongBroker, "wrong_broker", 5),
    ] {
        let error = refused(&goaway(reason, None));
        assert_eq!((error.code(), error.exit_code()), (code, exit), "{reason}");
        assert!(error.hint().is_some(), "{reason}");
    }
}

#[tokio::test]
async fn a_broker_that_serves_no_version_of_ours_or_lacks_a_feature_stops_the_mesh() {
    let challenge = |versions: &[u32]| Line::Challenge(versions.to_vec());
    let short = Features::needed().with("dedupe_days", 7);
    for (script, says) in [
        (vec![challenge(&[9, 1])], "serves versions [9, 1]"),
        (vec![challenge(&[])], "serves versions []"),
        (vec![challenge(&[3, 0]), Line::Hello, Line::Welcome(short)], "has 7 of the feature `dedupe_days`"),
        (vec![challenge(&[0]), Line::Hello, Line::Welcome(Features::default())], "does not have the feature"),
    ] {
        let (error, link) = stopped_by(script).await;
        assert_eq!((error.exit_code(), link.state), (5, LinkState::Stopped));
        let shown = link.reason.unwrap();
        assert!(shown.contains("unsupported") && shown.contains(says), "{shown}");
    }
}

#[tokio::test]
async fn whoever_may_come_again_does_and_says_why_the_link_is_down() {
    for reason in AGAIN.into_iter().filter(|reason| !is_our_bug(*reason)) {
        let again = [goaway(reason, Some((0, 20))), goaway(reason, Some((20, 0)))]; // One of them is no span.
        let mut broker = Scripted::start(again.map(refusal)).await;
        let (_folder, mesh) = alone_at(&broker.url).await;
        let come_again = async {
            for _ in 0..2 {
                broker.link().await;
            }
            let link = mesh.link();
            assert_eq!(link.state, LinkState::Down);
            assert!(link.reason.unwrap().contains(reason.as_str()));
            broker.link().await;
        };
        tokio::select! {
            ended = mesh.run() => panic!("{reason}: {ended:?}"),
            () = come_again => {}
        }
    }
}

/// How long a node waits after its first link ended so.
fn wait(goaway: GoAway) -> Duration {
    let mut backoff = Backoff::RECONNECT;
    after(Ended::GoAway(goaway), &mut backoff).unwrap()
}

#[test]
fn a_node_comes_back_within_the_span_and_never_stays_away_for_longer_than_it_may_be_told() {
    for reason in AGAIN {
        for _ in 0..100 {
            let bug = is_our_bug(reason);
            let waits = wait(goaway(reason, Some((2_000, 5_000)))).as_millis();
            assert!((2_000..=if bug { 30_000 } else { 5_000 }).contains(&waits), "{reason}: {waits}");
        }
        for again in [(0, u64::MAX), (u64::MAX, u64::MAX), (5, 1), (u64::MAX, 0)] {
            assert!(wait(goaway(reason, Some(again))) <= limits::AGAIN_MAX, "{reason}: {again:?}");
        }
    }
}

#[test]
fn after_a_bug_of_its_own_a_node_backs_off_in_full_at_once() {
    for reason in AGAIN {
        let longest = (0..200).map(|_| wait(goaway(reason, Some((0, 0))))).max().unwrap();
        let bug = is_our_bug(reason);
        assert_eq!(longest > Duration::from_secs(10), bug, "{reason}: {longest:?}");
    }
}

/// A frame of a broker, once.
fn frame(frame: &ToNode) -> Line {
    Line::Send(Message::Binary(encode(frame).unwrap()), 1)
}

fn envelope(n: u64, bytes: usize) -> Delivery {
    let id = WireId::from_bytes([n as u8; 16]);
    let (from, pri, exp) = (NodeId::from_bytes([9; 16]), Priority::Next, Timestamp::from_millis(u64::MAX));
    Delivery::Envelope(Envelope { n, from, id, pri, exp, seal: 0, env: vec![7; bytes].into() })
}

#[tokio::test]
async fn a_broker_that_breaks_the_protocol_is_left_and_tried_again() {
    let deliver = |items: Vec<Delivery>| frame(&ToNode::Deliver(Deliver { items, tail: false }));
    let mark =
        Mark { store: StoreId::from_bytes([1; 16]), run: RunId::from_bytes([1; 16]), m: 1, code: [0; 32] };
    let error = ErrorFrame { req: None, code: Code::BadFrame, detail: String::new(), after: None };
    let one =
        ToNode::Deliver(Deliver { items: vec![envelope(1, 300_000), envelope(2, 300_000)], tail: false });
    for (what, line) in [
        ("text", Line::Send(Message::text("hello"), 1)),
        ("no frame", Line::Send(Message::binary(vec![0xc1]), 1)),
        ("an unknown frame", Line::Send(Message::binary(b"\x81\xa3who\x80".to_vec()), 1)),
        ("a message beyond the limit", Line::Send(Message::binary(vec![0; limits::FRAME + 1]), 1)),
        ("outcomes of nothing", frame(&ToNode::Sent(Sent { req: 7, outcomes: Vec::new(), mark }))),
        ("a delivery out of number", deliver(vec![envelope(2, 10)])),
        ("more than the window at once", deliver((1..=1_025).map(|n| envelope(n, 1)).collect())),
        ("a frame not understood", frame(&ToNode::Error(error))),
        // Each of these would be a megabyte in memory, if it were kept.
        ("deliveries without end", Line::Send(Message::Binary(encode(&one).unwrap()), 1_000)),
    ] {
        let script =
            vec![Line::Challenge(VERSIONS.to_vec()), Line::Hello, Line::Welcome(Features::needed()), line];
        let mut broker = Scripted::start([script]).await;
        let (_folder, mesh) = alone_at(&broker.url).await;
        let left = async {
            broker.link().await;
            broker.link().await;
        };
        tokio::select! {
            ended = mesh.run() => panic!("{what}: {ended:?}"),
            () = left => {}
        }
        assert_eq!(mesh.link().state, LinkState::Down, "{what}");
    }
}
