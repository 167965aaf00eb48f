use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use waxwing_broker::{Config, TlsFiles};
use waxwing_crypto::Pin;
use waxwing_protocol::BrokerUrl;
use waxwing_protocol::link::{GoAway, Reason, SUBPROTOCOL, ToNodeLogin, decode};

use crate::admin::{get, until};
use crate::harness::raw::Raw;
use crate::harness::{Broker, PATIENCE};

/// Believes whoever holds the key of the certificate shown: these tests look at which one that is.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("not TLS 1.3".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn pin_of(certificate: &CertificateDer<'_>) -> Pin {
    let parsed = ParsedCertificate::try_from(certificate).unwrap();
    Pin::of(parsed.subject_public_key_info().as_ref())
}

/// A handshake, and the pin of the key that was shown.
async fn connect(addr: SocketAddr) -> (TlsStream<TcpStream>, Pin) {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let config = config.with_safe_default_protocol_versions().unwrap().dangerous();
    let config = config.with_custom_certificate_verifier(Arc::new(Anybody(provider))).with_no_client_auth();
    let stream = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let pin = pin_of(&stream.get_ref().1.peer_certificates().unwrap()[0]);
    (stream, pin)
}

/// A link over TLS that has been challenged.
async fn link(broker: &Broker) -> WebSocketStream<TlsStream<TcpStream>> {
    let mut request = format!("ws://{}/v1/link", broker.addr).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().unwrap());
    let (stream, _) = connect(broker.addr).await;
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let Some(Ok(Message::Binary(bytes))) = socket.next().await else { panic!("no challenge") };
    assert!(matches!(decode(&bytes).unwrap(), ToNodeLogin::Challenge(_)));
    socket
}

/// A certificate for `localhost`, and its pin.
fn certificate() -> (CertifiedKey<rcgen::KeyPair>, Pin) {
    let certificate = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pin = pin_of(certificate.cert.der());
    (certificate, pin)
}

fn write(folder: &Path, certificate: &CertifiedKey<rcgen::KeyPair>) {
    std::fs::write(folder.join("chain.pem"), certificate.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
}

/// A broker with this certificate, in files of this folder.
async fn broker(folder: &Path, certificate: &CertifiedKey<rcgen::KeyPair>) -> Broker {
    write(folder, certificate);
    let files = TlsFiles { cert: Some(folder.join("chain.pem")), key: Some(folder.join("key.pem")) };
    Broker::with(|config| config.tls = files).await
}

#[tokio::test]
async fn a_certificate_is_replaced_while_links_go_on_and_one_that_does_not_fit_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let ((first, first_pin), (second, second_pin)) = (certificate(), certificate());
    let broker = broker(folder.path(), &first).await;
    assert_eq!(connect(broker.addr).await.1, first_pin);

    std::fs::write(folder.path().join("chain.pem"), second.cert.pem()).unwrap();
    until(&broker, "certificate_stale", |stale| stale == 1.0).await;
    assert_eq!(connect(broker.addr).await.1, first_pin, "the new chain does not fit the old key");

    let mut before = link(&broker).await;
    write(folder.path(), &second);
    until(&broker, "certificates_loaded_total", |loaded| loaded == 1.0).await;
    until(&broker, "certificate_stale", |stale| stale == 0.0).await;
    assert_eq!(connect(broker.addr).await.1, second_pin);
    before.send(Message::Ping("still there?".into())).await.unwrap();
    let answer = timeout(PATIENCE, before.next()).await.unwrap();
    assert!(matches!(answer, Some(Ok(Message::Pong(_)))), "{answer:?}");

    std::fs::remove_file(folder.path().join("key.pem")).unwrap();
    until(&broker, "certificate_stale", |stale| stale == 1.0).await;
    assert_eq!(connect(broker.addr).await.1, second_pin, "a missing file changes nothing");
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let ((first, _), (second, _)) = (certificate(), certificate());
    write(folder.path(), &first);
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    for (cert, key, why) in [
        (chain.clone(), folder.path().join("none.pem"), "none.pem"),
        (key.clone(), key.clone(), "no certificate"),
        (chain.clone(), chain.clone(), "no key"),
    ] {
        let files = TlsFiles { cert: Some(cert), key: Some(key) };
        let error = Broker::with(|config| config.tls = files).await.ended().await.unwrap_err().to_string();
        assert!(error.contains(why), "{why}: {error}");
    }
    std::fs::write(&key, second.signing_key.serialize_pem()).unwrap();
    let files = TlsFiles { cert: Some(chain), key: Some(key) };
    let error = Broker::with(|config| config.tls = files).await.ended().await.unwrap_err().to_string();
    assert!(error.contains("do not fit together") && !error.contains("PRIVATE"), "{error}");
}

/// What a broker on every address of this machine says that nodes dial, and the key that it shows.
async fn run_open_to_others(data: &Path) -> (BrokerUrl, Pin) {
    let mut config = Config::new(data);
    config.urls = vec!["wss://mesh.example:7900".into()];
    config.admin.listen = Some("127.0.0.1:0".parse().unwrap());
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let tell = |ready: &waxwing_broker::Ready| drop(told.send(ready.urls[0].clone()));
    let running = tokio::spawn(waxwing_broker::run(config, listener, tell, async { drop(stopped.await) }));
    let url = timeout(PATIENCE, ready).await.unwrap().unwrap();
    let (_, shown) = connect(([127, 0, 0, 1], port).into()).await;
    let admin = waxwing_broker::holder(data).unwrap().unwrap().admin.unwrap();
    let (_, status) = get(admin, "/status", "").await;
    assert!(status.contains(&url.to_string()), "who has lost the pin finds it there: {status}");
    drop(stop);
    timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    (url, shown)
}

#[tokio::test]
async fn off_loopback_a_broker_makes_itself_a_key_that_survives_and_tells_its_pin() {
    let dir = tempfile::tempdir().unwrap();
    let (url, shown) = run_open_to_others(dir.path()).await;
    assert_eq!((url.dialled().as_str(), url.pin()), ("wss://mesh.example:7900", Some(shown)));
    let mode = std::fs::metadata(dir.path().join("tls-key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(run_open_to_others(dir.path()).await, (url, shown), "after a restart");
    let other = tempfile::tempdir().unwrap();
    assert_ne!(run_open_to_others(other.path()).await.1, shown, "another broker has another");
}

#[tokio::test]
async fn whoever_stalls_the_handshake_is_closed_within_the_time_for_headers() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path(), &certificate().0).await;
    let (mut silent, mut slow) = (Raw::connect(&broker).await.stream, Raw::connect(&broker).await.stream);
    // The head of a record with a ClientHello, and then nothing.
    slow.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await.unwrap();
    let (mut after, _) = connect(broker.addr).await; // A handshake, and then no headers.
    for stream in [&mut silent, &mut slow] {
        let end = timeout(PATIENCE, stream.read(&mut [0; 100])).await.expect("it is closed in time");
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
    let end = timeout(PATIENCE, after.read(&mut [0; 100])).await.expect("it is closed in time");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    until(&broker, "connections_refused_total{reason=\"bad_tls\"}", |count| count == 2.0).await;
}

#[tokio::test]
async fn a_handshake_that_goes_on_and_on_is_ended_by_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path(), &certificate().0).await;
    let mut stream = Raw::connect(&broker).await.stream;
    let sent = async {
        // A ClientHello of 60,000 bytes, in records of 1,000.
        let mut first = true;
        for _ in 0..60 {
            let mut record = vec![22, 3, 1, 3, 232];
            record.extend(if first { vec![1, 0, 234, 96] } else { vec![0; 4] });
            record.extend([0; 996]);
            first = false;
            stream.write_all(&record).await?;
            tokio::task::yield_now().await;
        }
        stream.read(&mut [0; 100]).await
    };
    let end =
        timeout(std::time::Duration::from_secs(5), sent).await.expect("long before the time for headers");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    until(&broker, "connections_refused_total{reason=\"bad_tls\"}", |count| count == 1.0).await;
}

#[tokio::test]
async fn before_login_a_link_over_tls_has_as_little_room_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path(), &certificate().0).await;
    let mut socket = link(&broker).await;
    drop(socket.send(Message::Binary(vec![0; 17 * 1024].into())).await);
    let goaway = timeout(PATIENCE, socket.next()).await.unwrap();
    let Some(Ok(Message::Binary(bytes))) = goaway else { panic!("{goaway:?}") };
    let ToNodeLogin::GoAway(GoAway { reason, .. }) = decode(&bytes).unwrap() else { panic!("no goaway") };
    assert_eq!(reason, Reason::FrameTooLarge);
}

#[tokio::test]
async fn plain_bytes_are_no_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path(), &certificate().0).await;
    let mut stream = Raw::connect(&broker).await.stream;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}
