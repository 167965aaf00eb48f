//! Certificates: whom a node believes, and what a broker that is another comes to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use waxwing_crypto::membership::{InviteSeed, InviteToken};
use waxwing_crypto::{MeshId, Pin};
use waxwing_lab::{Process, eventually};

use crate::sites::Site;
use crate::support::WITHIN;

/// A CA, and the folder that its certificates are put in.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// What its own certificate is in.
    fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Puts a new certificate for this name, and its key, where the broker has them.
    fn issue(&self, name: &str, until: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.folder.path().join("chain.pem"), certificate.pem()).unwrap();
        std::fs::write(self.folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    }

    /// A broker with what was issued last, at a port that is kept, and the URL that it goes by.
    async fn broker(&self, site: &Site, port: u16, more: &[&str]) -> (Process, String) {
        let path = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let (cert, key, listen) = (path("chain.pem"), path("key.pem"), format!("127.0.0.1:{port}"));
        let run = ["--listen", &listen, "--tls-cert", &cert, "--tls-key", &key];
        let mut broker = site.broker(&[&run[..], more].concat());
        let ready = broker.start().await.unwrap_or_else(|error| panic!("{error}"));
        (broker, ready["url"].as_str().unwrap().to_owned())
    }
}

/// A port that nobody listens on at this moment, and that is given to nobody who asks for any, as all the other tests do.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let next = || first + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(next).take(2_000).find(is_free).expect("a port")
}

/// The number of a broker's lines that say this.
fn lines(broker: &Process, what: &str) -> usize {
    broker.log().lines().filter(|line| line.contains(what)).count()
}

fn found(url: &str) -> [&str; 7] {
    ["mesh", "create", "lab", "--broker", url, "--node", "alpha"]
}

#[tokio::test]
async fn without_a_pin_a_ca_must_vouch_for_the_name_dialled_and_each_refusal_has_its_own_code() {
    let (folder, authority, other) =
        (tempfile::tempdir().unwrap(), Authority::new("ours"), Authority::new("theirs"));
    let believes = Site::here(folder.path(), "alpha").with("SSL_CERT_FILE", &authority.file());
    let doubts = Site::here(folder.path(), "doubts").with("SSL_CERT_FILE", &other.file());
    let trusts_nobody = Site::here(folder.path(), "nobody").with("SSL_CERT_FILE", Path::new("/dev/null"));
    let at = Site::here(folder.path(), "at");
    let port = free_port();

    authority.issue("127.0.0.1", 1990);
    let (broker, url) = authority.broker(&at, port, &[]).await;
    assert_eq!(
        url,
        format!("wss://127.0.0.1:{port}"),
        "no pin: whoever renews the certificate may change its key"
    );
    assert_eq!(believes.fails(&found(&url), 5).await.0, "certificate_expired");
    drop(broker);

    authority.issue("broker.example", 4000);
    let (broker, _) = authority.broker(&at, port, &[]).await;
    let (code, message) = believes.fails(&found(&url), 5).await;
    assert!(code == "wrong_name" && message.contains("127.0.0.1"), "{code}: {message}");
    drop(broker);

    authority.issue("127.0.0.1", 4000);
    let (_broker, _) = authority.broker(&at, port, &[]).await;
    assert_eq!(doubts.fails(&found(&url), 5).await.0, "unknown_issuer");
    assert_eq!(trusts_nobody.fails(&found(&url), 5).await.0, "no_authorities");
    let pinned = format!("{url}#pin={}", "A".repeat(43));
    let (code, message) = believes.fails(&found(&pinned), 5).await;
    assert!(
        code == "wrong_pin" && message.contains("AAAA"),
        "a pin counts although a CA would vouch: {message}"
    );
    let (mesh, seed) = (MeshId::from_bytes([1; 16]), InviteSeed::from_bytes(&[2; 32]));
    let invite = InviteToken::new(&url, mesh, seed, Some(Pin::from_bytes([3; 32]))).unwrap().reveal();
    assert_eq!(doubts.fails(&["join", &invite], 5).await.0, "wrong_pin", "so does an invite's");
    assert!(!doubts.folder().join("entering").exists() && !doubts.folder().join("meshes").exists());
    let plain = url.replace("wss", "ws");
    assert_eq!(believes.fails(&found(&plain), 6).await.0, "unreachable", "plain, to a broker with TLS");

    believes.json(&found(&url)).await;
    let _node = believes.node().await;
    believes.linked().await;
    believes.delivers("alpha", "to myself").await;
}

/// A proxy with TLS in front of a broker without; and its port. It lives as long as the test's runtime.
async fn tls_proxy(authority: &Authority, to: u16) -> u16 {
    let read = |name: &str| std::fs::read(authority.folder.path().join(name)).unwrap();
    let chain = CertificateDer::pem_slice_iter(&read("chain.pem")).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(&read("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut node = acceptor.accept(stream).await?;
                let mut broker = TcpStream::connect(("127.0.0.1", to)).await?;
                copy_bidirectional(&mut node, &mut broker).await
            });
        }
    });
    port
}

#[tokio::test]
async fn a_proxy_with_tls_stands_in_front_of_a_broker_without() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let alpha = Site::here(folder.path(), "alpha").with("SSL_CERT_FILE", &authority.file());
    authority.issue("localhost", 4000);
    let (at, port) = (Site::here(folder.path(), "at"), free_port());
    let url = format!("wss://localhost:{}", tls_proxy(&authority, port).await);
    let listen = format!("127.0.0.1:{port}");
    let mut broker = at.broker(&["--listen", &listen, "--plaintext", "--advertise", &url]);
    let ready = broker.start().await.unwrap();
    assert_eq!(
        (&ready["url"], &ready["advertised"][0]),
        (&format!("ws://{listen}").into(), &url.as_str().into())
    );
    let plain = format!("ws://{listen}");
    let (_, message) = alpha.fails(&found(&plain), 5).await;
    assert!(message.contains("wrong_broker"), "not by the way round the proxy: {message}");
    alpha.json(&found(&url)).await;
    let _node = alpha.node().await;
    alpha.delivers("alpha", "through the proxy").await;
}

#[tokio::test]
async fn a_certificate_is_renewed_under_links_that_go_on() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let alpha = Site::here(folder.path(), "alpha").with("SSL_CERT_FILE", &authority.file());
    authority.issue("127.0.0.1", 4000);
    let at = Site::here(folder.path(), "at");
    let (broker, url) = authority.broker(&at, 0, &[]).await;
    alpha.json(&found(&url)).await;
    let mut node = alpha.node().await;
    let before = alpha.linked().await.link;

    // Half a renewal: it is said once, and nothing changes.
    let chain = std::fs::read(authority.folder.path().join("chain.pem")).unwrap();
    authority.issue("127.0.0.1", 3000);
    let renewed = std::fs::read(authority.folder.path().join("chain.pem")).unwrap();
    std::fs::write(authority.folder.path().join("chain.pem"), chain).unwrap();
    let said = async || (lines(&broker, "the new certificate cannot be used") == 1).then_some(());
    eventually(WITHIN, "the half is refused", said).await.unwrap();
    std::fs::write(authority.folder.path().join("chain.pem"), renewed).unwrap();
    let taken = async || (lines(&broker, "new certificate in use") == 1).then_some(());
    eventually(WITHIN, "the whole is taken", taken).await.unwrap();
    assert_eq!(lines(&broker, "the new certificate cannot be used"), 1, "said once");

    alpha.delivers("alpha", "still here").await;
    assert_eq!(alpha.linked().await.link.since, before.since, "the link has gone on");
    node.stop().await.unwrap();
    let _node = alpha.node().await;
    alpha.linked().await;
}

#[tokio::test]
async fn a_node_leaves_a_broker_that_does_not_go_by_the_url_it_dials() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
    let alpha = Site::here(folder.path(), "alpha").with("SSL_CERT_FILE", &authority.file());
    authority.issue("127.0.0.1", 4000);
    let (at, port) = (Site::here(folder.path(), "at"), free_port());
    let elsewhere = ["--advertise", "wss://broker.example:7900"];
    let (broker, url) = authority.broker(&at, port, &elsewhere).await;
    let (_, message) = alpha.fails(&found(&url), 5).await;
    assert!(message.contains("wrong_broker") && message.contains(&url), "{message}");
    drop(broker);

    let (mut broker, _) = authority.broker(&at, port, &[]).await;
    alpha.json(&found(&url)).await;
    let mut node = alpha.node().await;
    alpha.linked().await;
    broker.stop().await.unwrap();
    let (_broker, _) = authority.broker(&at, port, &elsewhere).await;
    let ended = node.ended(WITHIN).await.unwrap();
    assert_eq!(ended.code(), Some(5), "{}", node.log());
    assert!(node.log().contains("wrong_broker"), "{}", node.log());
}
