//! What a disk, a file system and the people on it can do to a node, and to a broker: it says so, goes on when it can, and loses nothing.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use waxwing_client::Error;
use waxwing_client::api::{MeshQuery, MessageState, ProblemCode, SendRequest};
use waxwing_lab::{Lab, eventually};

use crate::copies::put_back;
use crate::metrics::shows;
use crate::support::{Pair, WITHIN};

/// Runs a program of the system that must succeed.
fn system(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// A small disk under what a node or a broker keeps. Mounting takes root, as other machines on a network do.
struct Disk(PathBuf);

impl Disk {
    /// Moves the meshes of a stopped node to a disk of their own.
    fn under(lab: &Lab, node: &str) -> Self {
        Self::at(lab.state(node).join("meshes"))
    }

    /// The same for what a stopped broker has.
    fn under_broker(lab: &Lab) -> Self {
        Self::at(lab.state(Lab::BROKER))
    }

    fn at(folder: PathBuf) -> Self {
        let aside = folder.with_extension("aside");
        fs::rename(&folder, &aside).unwrap();
        crate::support::private_folder(&folder);
        system("mount", &["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", folder.to_str().unwrap()]);
        let disk = Self(folder);
        system("cp", &["-a", &format!("{}/.", aside.display()), disk.0.to_str().unwrap()]);
        disk
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut file = fs::File::create(self.0.join("ballast")).unwrap();
        let chunk = [0; 4096];
        while std::io::Write::write_all(&mut file, &chunk).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.0.join("ballast")).unwrap();
    }

    fn remount(&self, how: &str) {
        system("mount", &["-o", &format!("remount,{how}"), self.0.to_str().unwrap()]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l", self.0.to_str().unwrap_or_default()]).status();
    }
}

/// A message that does not fit beside what is there.
fn large(id: &str) -> SendRequest {
    SendRequest {
        to: "beta".into(),
        body: Some("x".repeat(200 * 1024)),
        client_message_id: Some(id.parse().unwrap()),
        ..SendRequest::default()
    }
}

#[tokio::test]
async fn a_full_disk_refuses_sends_says_so_and_takes_them_again_once_there_is_room() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop("alpha").await.unwrap();
    let disk = Disk::under(&pair.lab, "alpha");
    pair.lab.restart("alpha").await.unwrap();
    pair.lab.linked("alpha").await.unwrap();
    disk.fill();
    let client = pair.lab.client("alpha");
    let Err(Error::Problem(full)) = client.send(&large("too-much")).await else { panic!("there is no room") };
    assert_eq!((full.code, full.status), (ProblemCode::DiskFull, 507));
    shows(&pair.lab, "alpha", "disk_full", "", 1.0).await;
    let health = client.health().await.unwrap();
    assert!(health.live && !health.ready, "{health:?}");
    let status = pair.lab.run("alpha", &["node", "status"], b"").await.unwrap().stdout;
    assert!(status.contains("the disk is full"), "{status}");

    // What comes in waits at the broker, also through a link that is lost meanwhile.
    let beta = pair.lab.client("beta");
    let mut incoming = large("incoming");
    incoming.to = "alpha".into();
    beta.send(&incoming).await.unwrap();
    let id = "incoming".parse().unwrap();
    let is = async |wanted: MessageState| {
        (beta.status(&id, &MeshQuery::default()).await.ok()?.state == wanted).then_some(())
    };
    eventually(WITHIN, "it is at the broker", async || is(MessageState::Accepted).await).await.unwrap();
    pair.lab.proxy().cut_links();
    shows(&pair.lab, "alpha", "link_up", "", 0.0).await;

    disk.make_room();
    eventually(WITHIN, "it is delivered", async || is(MessageState::Delivered).await).await.unwrap();
    shows(&pair.lab, "alpha", "disk_full", "", 0.0).await;
    assert!(client.health().await.unwrap().ready);
    pair.send(3).await;
    pair.conclude().await;
    pair.lab.stop("alpha").await.unwrap();
}

#[tokio::test]
async fn a_disk_that_is_read_only_stops_the_node_with_what_is_wrong_and_it_goes_on_where_it_was() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop("alpha").await.unwrap();
    let disk = Disk::under(&pair.lab, "alpha");
    disk.remount("ro");
    let refused = pair.lab.run("alpha", &["--json", "node", "up", "--foreground"], b"").await.unwrap();
    let error: Value = serde_json::from_str(refused.stderr.lines().last().unwrap()).unwrap();
    let said = error["error"]["message"].to_string().to_lowercase();
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(said.contains("read-only") || said.contains("readonly"), "{said}");
    disk.remount("rw");
    pair.lab.restart("alpha").await.unwrap();
    pair.send(3).await;
    pair.conclude().await;
    pair.lab.stop("alpha").await.unwrap();
}

#[tokio::test]
async fn a_brokers_full_disk_ends_links_acknowledges_nothing_and_lets_mail_go_on_once_there_is_room() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop(Lab::BROKER).await.unwrap();
    let disk = Disk::under_broker(&pair.lab);
    pair.lab.restart(Lab::BROKER).await.unwrap();
    for node in ["alpha", "beta"] {
        pair.lab.linked(node).await.unwrap();
    }
    pair.send(2).await;
    pair.read(2).await;
    disk.fill();
    let first = pair.sent.len();
    pair.send(3).await;
    for node in ["alpha", "beta"] {
        shows(&pair.lab, node, "link_up", "", 0.0).await;
    }
    for id in &pair.sent[first..] {
        assert_eq!(pair.state(id).await, MessageState::Queued, "{id}");
    }
    let broker = pair.lab.process(Lab::BROKER);
    assert!(broker.has_ended().unwrap().is_none(), "it waits for room");
    assert!(broker.log().contains("the disk is full"), "{}", broker.log());
    let data = pair.lab.state(Lab::BROKER);
    let status =
        pair.lab.json("alpha", &["broker", "status", "--data", data.to_str().unwrap()]).await.unwrap();
    assert_eq!(status["readiness"]["ready"], false, "{status}");

    let pid = pair.lab.process(Lab::BROKER).pid();
    disk.make_room();
    for node in ["alpha", "beta"] {
        pair.lab.linked(node).await.unwrap();
    }
    pair.send(2).await;
    pair.conclude().await;
    assert_eq!(pair.lab.process(Lab::BROKER).pid(), pid, "by itself");
    pair.lab.stop(Lab::BROKER).await.unwrap();
}

#[tokio::test]
async fn a_brokers_disk_that_is_read_only_refuses_its_start_with_what_is_wrong_and_it_goes_on_where_it_was() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    pair.lab.stop(Lab::BROKER).await.unwrap();
    let disk = Disk::under_broker(&pair.lab);
    disk.remount("ro");
    pair.send(2).await;
    let refused = pair.lab.restart(Lab::BROKER).await.unwrap_err().to_string().to_lowercase();
    assert!(refused.contains("read-only") || refused.contains("readonly"), "{refused}");
    disk.remount("rw");
    pair.lab.restart(Lab::BROKER).await.unwrap();
    pair.send(2).await;
    pair.conclude().await;
    pair.lab.stop(Lab::BROKER).await.unwrap();
}

#[tokio::test]
async fn a_socket_that_is_deleted_is_there_again_and_nothing_else_changes() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let pid = pair.lab.process("alpha").pid();
    fs::remove_file(pair.lab.state("alpha").join("node.sock")).unwrap();
    let client = pair.lab.client("alpha");
    let answers = async || client.version().await.ok();
    eventually(WITHIN, "the node answers on its socket", answers).await.unwrap();
    assert_eq!(pair.lab.process("alpha").pid(), pid);
    pair.send(3).await;
    pair.conclude().await;
}

#[tokio::test]
async fn a_lock_file_that_is_deleted_lets_no_second_node_in() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    let lock = pair.lab.state("alpha").join("lock");
    fs::remove_file(&lock).unwrap();
    let second = pair.lab.run("alpha", &["node", "up", "--foreground"], b"").await.unwrap();
    assert_eq!(second.code, Some(8), "{second:?}");
    let pid = pair.lab.process("alpha").pid().unwrap().to_string();
    let named = async || (fs::read_to_string(&lock).ok()?.trim() == pid).then_some(());
    eventually(WITHIN, "the lock file names the node again", named).await.unwrap();
    pair.send(3).await;
    pair.conclude().await;
}

/// Overwrites the middle of a file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let from = bytes.len() / 4 / 4096 * 4096;
    bytes[..100].fill(0xa5);
    bytes[from..].fill(0xa5);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_database_is_refused_by_name_untouched_and_a_backup_takes_its_place() {
    let mut pair = Pair::start().await;
    pair.warm_up().await;
    // In every state there is: delivered, and at the broker for one who is away.
    pair.lab.stop("beta").await.unwrap();
    pair.send(3).await;
    pair.accepted("m-4").await;
    let backup = pair.lab.folder().join("backup");
    let to = backup.to_str().unwrap();
    let made = pair.lab.json("alpha", &["node", "backup", to]).await.unwrap();
    assert_eq!(made["meshes"][0]["mesh"], "lab");
    let again = pair.lab.run("alpha", &["node", "backup", to], b"").await.unwrap();
    assert_eq!(again.code, Some(8), "it replaces nothing: {again:?}");
    for (file, mode) in [
        ("", 0o700),
        ("meshes/lab", 0o700),
        ("meshes/lab/node.db", 0o600),
        ("meshes/lab/identity.json", 0o600),
    ] {
        use std::os::unix::fs::PermissionsExt as _;
        let found = fs::metadata(backup.join(file)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{file}");
    }
    pair.lab.stop("alpha").await.unwrap();
    pair.lab.restart("alpha").await.unwrap();
    pair.lab.linked("alpha").await.unwrap();
    pair.lab.stop("alpha").await.unwrap();

    let database = pair.lab.state("alpha").join("meshes/lab/node.db");
    damage(&database);
    let damaged = fs::read(&database).unwrap();
    let refused = refused(&pair.lab).await;
    assert_eq!((refused.0, refused.1.as_str()), (1, "damaged"), "{refused:?}");
    assert!(refused.2.contains("node backup"), "{refused:?}");
    assert!(fs::read(&database).unwrap() == damaged, "what can be saved of it is a person's to say");

    put_back(&pair.lab, "alpha", &backup);
    let set_back = self::refused(&pair.lab).await;
    assert_eq!((set_back.0, set_back.1.as_str()), (4, "stale_state"), "{set_back:?}");
    pair.lab.json("alpha", &["node", "accept-host", "--yes"]).await.unwrap();
    pair.lab.restart("alpha").await.unwrap();
    pair.send(2).await;
    // Beta comes back to what is sealed anew: where the old seals reach it first, the new counters are waited for for a minute.
    pair.accepted("m-4").await;
    pair.accepted("m-6").await;
    pair.lab.restart("beta").await.unwrap();
    pair.conclude().await;
}

/// Runs alpha, which must be refused: the exit code, the word for it, and what is advised.
async fn refused(lab: &Lab) -> (i32, String, String) {
    let output = lab.run("alpha", &["--json", "node", "up", "--foreground"], b"").await.unwrap();
    let error: Value = serde_json::from_str(output.stderr.lines().last().unwrap()).unwrap();
    let text = |field: &str| error["error"][field].as_str().unwrap_or_default().to_owned();
    (output.code.unwrap_or_default(), text("code"), text("hint"))
}
