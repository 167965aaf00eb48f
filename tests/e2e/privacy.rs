//! What a broker and a disk can be searched for, and do not have.

use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use waxwing_client::api::SendRequest;
use waxwing_lab::{Lab, Scan, eventually};

use crate::support::{PROGRAM, Pair, WITHIN, mesh};
use crate::terminal::Running;

/// What a message carries that the broker must not learn. Each is long enough not to occur by chance.
const BODY: &str = "the lamp stays where it is until the tide has turned";
const META: &str = "metadata-of-the-evening-watch";
const THREAD: &str = "thread-of-the-evening-watch";
const APPS: [&str; 2] = ["kingfisher", "nightjar"];

/// A mesh in which enough has happened: messages both ways, kills, restarts, refusals, and everything read.
async fn busy_mesh() -> (Pair, Vec<String>) {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let mut ids = Vec::new();
    for victim in ["alpha", "beta", Lab::BROKER] {
        for n in 0..5 {
            let id = format!("watch-{victim}-{n}");
            pair.sender.client.send(&message(&id)).await.unwrap();
            ids.push(id);
        }
        pair.lab.kill(victim).await.unwrap();
        pair.lab.restart(victim).await.unwrap();
        pair.lab.linked("alpha").await.unwrap();
        pair.lab.linked("beta").await.unwrap();
    }
    let unknown = SendRequest { to: "nobody".to_owned(), ..message("refused") };
    pair.sender.client.send(&unknown).await.unwrap_err();
    pair.read(ids.len()).await;
    for id in &ids {
        pair.sender.settled(id, WITHIN).await.unwrap();
    }
    (pair, ids)
}

fn message(id: &str) -> SendRequest {
    SendRequest {
        to: format!("{}@beta", APPS[1]),
        from_app: Some(APPS[0].parse().unwrap()),
        body: Some(BODY.to_owned()),
        thread: Some(THREAD.to_owned()),
        meta: json!({ "note": META }).as_object().cloned(),
        client_message_id: Some(id.parse().unwrap()),
        ..SendRequest::default()
    }
}

#[tokio::test]
async fn plaintext_apps_and_ids_are_in_no_file_of_the_broker_and_bodies_in_no_file_of_a_node() {
    let (mut pair, ids) = busy_mesh().await;
    let mut needles = vec![BODY, META, THREAD, APPS[0], APPS[1], "the body of m-1"];
    needles.extend(ids.iter().map(String::as_str));

    let lab = &mut pair.lab;
    let mut broker = Scan::default();
    broker.path(&lab.state(Lab::BROKER), &needles).unwrap();
    broker.path(lab.process(Lab::BROKER).log_path(), &needles).unwrap();
    for frame in lab.proxy().captured() {
        broker.content("the wire".as_ref(), &frame.bytes, &needles);
    }
    assert_eq!(broker.found, []);
    assert!(broker.files > 1 && broker.bytes > 10_000, "the search went through something: {broker:?}");

    for node in ["alpha", "beta"] {
        let mut disk = Scan::default();
        disk.path(&lab.state(node), &[BODY, META, "the body of m-1"]).unwrap();
        assert_eq!(disk.found, [], "{node}");
        assert!(disk.files > 1 && disk.bytes > 10_000, "the search went through something: {disk:?}");
        let mut log = Scan::default();
        log.path(lab.process(node).log_path(), &needles).unwrap();
        assert_eq!(log.found, [], "{node}'s log");
    }
}

/// Names, and what they are for. Each is long enough not to occur by chance.
const NAMES: [&str; 5] =
    ["tide:lighthouse", "keeper-of-the-lamp", "oil/for-the-lamp", "fog-at-the-harbour", "signalman"];
const VALUES: [&str; 8] = [
    "the topic says that the ship has passed",
    "how far is it to the shore",
    "three miles and a half to the shore",
    "nobody else may trim the wick",
    "the bell was rung by the keeper",
    "seven barrels in the northern store",
    "a file about the repair of the lens",
    "watches the horizon from the gallery",
];

/// Everything that nodes do together, once.
async fn everything_once(lab: &Lab) {
    let [topic, lease, key, claim, app] = NAMES;
    let [published, asked, answer, purpose, outcome, value, file, summary] = VALUES;
    let path = lab.folder().join("to-be-sent");
    std::fs::write(&path, file).unwrap();
    let file = path.to_str().unwrap();
    let script = format!("echo {answer}");
    let state = lab.state("beta");
    let serving = Running::start(&state, &["serve", "--name", app, "--", "sh", "-c", &script]);
    let listed = async || {
        let apps = lab.json("alpha", &["apps", "--mesh-wide"]).await.ok()?;
        apps.to_string().contains(app).then_some(())
    };
    eventually(WITHIN, "the app is there", listed).await.unwrap();
    let to_app = format!("{app}@beta");
    for words in [
        &["topic", "subscribe", topic, "--app", app, "--only"][..],
        &["topic", "publish", topic, published, "--app", app],
        &["request", &to_app, asked, "--app", app],
        &["lock", lease, "--purpose", purpose, "--", "true"],
        &["claim", "try", claim, "--app", app, "--purpose", purpose],
        &["claim", "complete", claim, "--app", app, "--outcome", outcome],
        &["kv", "put", key, value, "--app", app],
        &["send", &to_app, "--file", file, "--app", app, "--wait", "delivered"],
        &["profile", "--summary", summary],
    ] {
        lab.json("alpha", words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }
    // What beta has of it, so that there is something to be found there.
    let read = async || {
        let got = lab.json("beta", &["kv", "get", key]).await.ok()?;
        got.to_string().contains(value).then_some(())
    };
    eventually(WITHIN, "it is at beta", read).await.unwrap();
    std::fs::remove_file(path).unwrap();
    drop(serving);
}

/// The secrets of a node: as they are in their file, and as bytes.
fn secrets(lab: &Lab, node: &str) -> Vec<(String, Vec<u8>)> {
    let file = std::fs::read(lab.state(node).join("meshes/lab/identity.json")).unwrap();
    let identity: serde_json::Value = serde_json::from_slice(&file).unwrap();
    let secret = |name: &str| {
        let text = identity[name].as_str().unwrap().to_owned();
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        assert_eq!(bytes.len(), 32, "{name}");
        (text, bytes)
    };
    ["signing", "sealing", "storage"].map(secret).into()
}

/// What a broker tells its operator.
async fn metrics(lab: &mut Lab) -> Vec<u8> {
    let log = lab.process(Lab::BROKER).log();
    let (_, rest) = log.split_once("\"admin\":\"").unwrap();
    let admin = rest.split('"').next().unwrap();
    let mut stream = tokio::net::TcpStream::connect(admin).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut page = Vec::new();
    stream.read_to_end(&mut page).await.unwrap();
    assert!(page.starts_with(b"HTTP/1.1 200"));
    page
}

#[tokio::test]
async fn what_apps_do_together_leaves_no_name_value_or_secret_where_it_does_not_belong() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    everything_once(&lab).await;
    let invite = lab.client("alpha").invite(&Default::default()).await.unwrap();
    let access = lab.json("alpha", &["node", "token", "create", "ci", "--scope", "read"]).await.unwrap();
    let access = access["token"].as_str().unwrap().to_owned();
    let words: Vec<String> = NAMES.iter().chain(&VALUES).map(|word| (*word).to_owned()).collect();
    let kept = [invite.token.to_string(), access[5..].to_owned(), lab.recovery_words().to_owned()];
    let texts: Vec<&str> = words.iter().chain(&kept).map(String::as_str).collect();
    let page = metrics(&mut lab).await;
    let pages = [lab.client("alpha").metrics().await.unwrap(), lab.client("beta").metrics().await.unwrap()];
    let secrets = [secrets(&lab, "alpha"), secrets(&lab, "beta")].concat();

    let mut scan = Scan::default();
    for name in [Lab::BROKER, "alpha", "beta"] {
        scan.path(lab.process(name).log_path(), &texts).unwrap();
    }
    scan.path(&lab.state(Lab::BROKER), &texts).unwrap();
    // For which app something is, and of which key of the state an event tells, a node's database has in the clear.
    let sealed: Vec<&str> =
        texts.iter().copied().filter(|text| ![NAMES[2], NAMES[4]].contains(text)).collect();
    for node in ["alpha", "beta"] {
        scan.path(&lab.state(node), &sealed).unwrap();
    }
    for frame in lab.proxy().captured() {
        scan.content("the wire".as_ref(), &frame.bytes, &texts);
    }
    scan.content("the broker's metrics".as_ref(), &page, &texts);
    for page in &pages {
        scan.content("a node's metrics".as_ref(), page.as_bytes(), &texts);
    }
    assert_eq!(scan.found, []);
    assert!(scan.files > 8 && scan.bytes > 100_000, "the search went through something: {scan:?}");

    for (text, bytes) in &secrets {
        for place in everything_but_identities(&mut lab) {
            let Ok(content) = std::fs::read(&place) else { continue };
            let found = |secret: &[u8]| content.windows(secret.len()).any(|window| window == secret);
            assert!(!found(text.as_bytes()) && !found(bytes), "a secret is in {}", place.display());
        }
        assert!(
            lab.proxy().captured().iter().all(|frame| !frame.bytes.windows(32).any(|window| window == bytes))
        );
    }
}

/// Every file of the lab but for those that are there to keep a node's keys.
fn everything_but_identities(lab: &mut Lab) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        [Lab::BROKER, "alpha", "beta"].into_iter().flat_map(|name| everything(&lab.state(name))).collect();
    files.extend([Lab::BROKER, "alpha", "beta"].map(|name| lab.process(name).log_path().to_path_buf()));
    files.retain(|path| path.is_file() && path.file_name().is_none_or(|name| name != "identity.json"));
    assert!(files.len() > 8, "{files:?}");
    files
}

#[tokio::test]
async fn nobody_else_on_the_machine_can_read_a_state_folder() {
    use std::os::unix::fs::PermissionsExt as _;

    let pair = Pair::start().await;
    for name in ["alpha", "beta", Lab::BROKER] {
        let folder = pair.lab.state(name);
        let paths = everything(&folder);
        assert!(paths.len() > 3, "{paths:?}");
        for path in paths {
            let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
        }
    }
}

/// S-13, S-14.
#[tokio::test]
async fn nothing_is_readable_by_others_for_a_moment_even_where_that_is_the_custom() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    let mut lab = Lab::start(PROGRAM).await.unwrap();
    lab.add("alpha").await.unwrap();
    let invite = lab.client("alpha").invite(&Default::default()).await.unwrap();
    let (folder, done) = (lab.state("beta"), Arc::new(AtomicBool::new(false)));
    let watched = std::thread::spawn({
        let (folder, done) = (folder.clone(), Arc::clone(&done));
        move || {
            let (mut looks, mut open) = (0_u32, Vec::new());
            while !done.load(Ordering::Relaxed) {
                for path in everything_there(&folder) {
                    let Ok(found) = std::fs::symlink_metadata(&path) else { continue };
                    if found.permissions().mode() & 0o077 != 0 {
                        open.push(path);
                    }
                    looks += 1;
                }
            }
            (looks, open)
        }
    });
    // As under a shell whose new files are everybody's.
    let join = format!(
        "umask 000; {PROGRAM} --state {0} join - --name beta && {PROGRAM} --state {0} node up && {PROGRAM} --state {0} send alpha x \
         --wait delivered && {PROGRAM} --state {0} node down",
        folder.display()
    );
    let mut shell = tokio::process::Command::new("sh")
        .args(["-c", &join])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = shell.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stdin, invite.token.as_bytes()).await.unwrap();
    drop(stdin);
    assert!(shell.wait().await.unwrap().success());
    done.store(true, Ordering::Relaxed);
    let (looks, open) = watched.join().unwrap();
    assert!(looks > 100, "{looks}");
    assert!(open.is_empty(), "{open:?}");
}

#[tokio::test]
async fn a_node_whose_files_others_can_read_does_not_start_and_says_what_mends_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let mut lab = Lab::start(PROGRAM).await.unwrap();
    lab.add("alpha").await.unwrap();
    lab.stop("alpha").await.unwrap();
    let mesh = lab.state("alpha").join("meshes/lab");
    for (path, open, mend) in [
        (lab.state("alpha"), 0o755, "700"),
        (mesh.clone(), 0o750, "700"),
        (mesh.join("identity.json"), 0o644, "600"),
        (mesh.join("host.json"), 0o640, "600"),
        (mesh.join("node.db"), 0o604, "600"),
    ] {
        let before = std::fs::metadata(&path).unwrap().permissions();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(open)).unwrap();
        let refused = lab.run("alpha", &["node", "up", "--foreground"], b"").await.unwrap();
        let mended = format!("chmod {mend} {}", path.display());
        assert_eq!((refused.code, refused.stderr.contains(&mended)), (Some(2), true), "{}", refused.stderr);
        std::fs::set_permissions(&path, before).unwrap();
    }
    lab.restart("alpha").await.unwrap();
    lab.linked("alpha").await.unwrap();
}

/// The same of a folder that others change meanwhile.
fn everything_there(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_path_buf()];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(everything_there(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// A folder and whatever is below it.
fn everything(folder: &Path) -> Vec<PathBuf> {
    let below = std::fs::read_dir(folder).unwrap().flat_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() { everything(&path) } else { vec![path] }
    });
    std::iter::once(folder.to_path_buf()).chain(below).collect()
}
