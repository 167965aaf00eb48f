//! A node as a service: what it tells its service manager, what it takes from it, and its unit.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use waxwing_lab::eventually;

use crate::support::{PROGRAM, WITHIN, private_folder};
use crate::terminal::{Desk, command, output};

/// A service manager's ear.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { socket, folder }
    }

    /// A node of its own, that is to be quick about signs of life.
    fn starts(&self, desk: &Desk, patience: Duration) -> Child {
        let mut node = command(&desk.state(), &["node", "up", "--foreground"]);
        node.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        node.env("WATCHDOG_USEC", patience.as_micros().to_string());
        let log = std::fs::File::create(self.log()).unwrap();
        node.stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// How often the node has kept a sign of life back.
    fn silences(&self) -> usize {
        std::fs::read_to_string(self.log()).unwrap().matches("no sign of life is given").count()
    }

    async fn falls_silent(&self, times: usize) {
        let silent = async || (self.silences() >= times).then_some(());
        eventually(WITHIN, "the node keeps signs of life back", silent).await.unwrap();
    }

    /// All that it was told and has not been asked for.
    fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        let mut buffer = [0; 1_024];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            told.extend(std::str::from_utf8(&buffer[..length]).unwrap().lines().map(str::to_owned));
        }
        told
    }

    /// Waits until it is told this, so many times.
    async fn hears(&self, what: &str, times: usize) {
        let mut heard = 0;
        let enough = async || {
            heard += self.told().iter().filter(|told| *told == what).count();
            (heard >= times).then_some(())
        };
        eventually(WITHIN, &format!("{what} is told {times} times"), enough).await.unwrap();
    }
}

async fn ends(mut node: Child) -> Option<i32> {
    let pid = rustix::process::Pid::from_raw(node.id().unwrap().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    node.wait().await.unwrap().code()
}

/// A desk in a mesh, with nothing running but its broker.
async fn desk() -> Desk {
    let desk = Desk::new();
    desk.up().await;
    desk.json(&["node", "down"]).await;
    desk
}

#[tokio::test]
async fn a_service_manager_is_told_when_a_node_is_ready_when_it_stops_and_that_it_lives() {
    let desk = desk().await;
    let manager = Manager::new();
    let node = manager.starts(&desk, Duration::from_millis(400));
    manager.hears("READY=1", 1).await;
    desk.client().version().await.expect("ready means that apps can connect");
    manager.hears("WATCHDOG=1", 3).await;
    assert_eq!(ends(node).await, Some(0));
    manager.hears("STOPPING=1", 1).await;
}

#[tokio::test]
async fn a_node_whose_database_is_stuck_gives_no_sign_of_life_though_it_answers() {
    let desk = desk().await;
    let manager = Manager::new();
    let node = manager.starts(&desk, Duration::from_secs(1));
    manager.hears("WATCHDOG=1", 2).await;
    // Somebody holds the one lock that writes need.
    let file = desk.state().join("meshes/home/node.db");
    let mut other = waxwing_sqlite::Options::new(&file).open().unwrap();
    other.run("BEGIN IMMEDIATE").unwrap();
    // Two times that none is given, from the moment that the node has noticed.
    let before = manager.silences();
    manager.falls_silent(before + 1).await;
    manager.told();
    manager.falls_silent(before + 3).await;
    assert_eq!(manager.told(), [""; 0], "no sign of life");
    desk.client().version().await.expect("it answers all the same");
    other.run("ROLLBACK").unwrap();
    manager.hears("WATCHDOG=1", 2).await;
    assert_eq!(ends(node).await, Some(0));
}

/// Starts a node with a socket that was bound for it, as systemd does.
fn activated(desk: &Desk, socket: &UnixListener) -> Child {
    let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let mut node = Command::new("sh");
    node.args(["-c", script, "sh", PROGRAM, "--json", "--state"]).arg(desk.state());
    node.args(["node", "up", "--foreground"]).kill_on_drop(true);
    node.stdin(OwnedFd::from(socket.try_clone().unwrap())).stdout(Stdio::null()).stderr(Stdio::piped());
    node.spawn().unwrap()
}

fn set(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_socket_that_systemd_has_bound_is_taken_over_and_left_and_no_other_is() {
    let desk = Desk::new();
    private_folder(&desk.state());
    let path = desk.state().join("node.sock");
    let socket = UnixListener::bind(&path).unwrap();
    set(&path, 0o600);
    // Whoever connects before the node runs is answered once it does.
    let early = tokio::spawn({
        let client = desk.client();
        async move { client.version().await }
    });
    let node = activated(&desk, &socket);
    early.await.unwrap().unwrap();
    assert_eq!(ends(node).await, Some(0));
    assert!(path.exists(), "it is systemd's");
    let again = activated(&desk, &socket);
    desk.client().version().await.unwrap();
    assert_eq!(ends(again).await, Some(0));

    set(&path, 0o666);
    let refused = activated(&desk, &socket).wait_with_output().await.unwrap();
    assert_eq!(refused.status.code(), Some(2), "others could connect: {refused:?}");
    let elsewhere = desk.state().join("elsewhere.sock");
    let other = UnixListener::bind(&elsewhere).unwrap();
    let refused = activated(&desk, &other).wait_with_output().await.unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && said.contains("apps look for it at"), "{said}");
}

#[tokio::test]
async fn the_nodes_unit_is_one_that_systemd_takes_and_it_finds_what_the_command_finds() {
    let desk = Desk::new();
    let unit = desk.run(&["node", "install-service", "--print"]).await;
    assert_eq!(unit.code, Some(0), "{unit:?}");
    let state = desk.state();
    let line = format!(" --state {} node up --foreground\n", state.display());
    for line in
        [line.as_str(), "\nType=notify\n", "\nRestartPreventExitStatus=2 3 4 5\n", "\nWatchdogSec=60\n"]
    {
        assert!(unit.stdout.contains(line), "{line}: {unit:?}");
    }
    assert!(!state.exists(), "printing it changes nothing");
    let folder = tempfile::tempdir().unwrap();
    let mut of_user = Command::new(PROGRAM);
    of_user.args(["node", "install-service", "--print"]).env_remove("WAXWING_STATE");
    of_user.env("HOME", folder.path()).env("XDG_STATE_HOME", "/a b").env("WAXWING_LOG_FILES", "9");
    let of_user = output(&mut of_user).await.stdout;
    for line in [
        " node up --foreground\n",
        "Environment=\"XDG_STATE_HOME=/a b\"\n",
        "Environment=WAXWING_LOG_FILES=9\n",
    ] {
        assert!(of_user.contains(line), "{line}: {of_user}");
    }
    assert!(!of_user.contains("--state"), "{of_user}");
    // As the manual has it: every option is known, and the program is there.
    let Ok(_) = std::process::Command::new("systemd-analyze").arg("--version").output() else { return };
    for (name, unit) in [("one", &unit.stdout), ("two", &of_user)] {
        let file = folder.path().join(format!("{name}.service"));
        std::fs::write(&file, unit).unwrap();
        let verified =
            std::process::Command::new("systemd-analyze").arg("verify").arg(&file).output().unwrap();
        let said = String::from_utf8(verified.stderr).unwrap();
        assert!(!said.contains(&format!("{name}.service")), "{said}");
    }
}

#[tokio::test]
async fn a_node_is_made_a_service_of_its_user_and_not_while_it_runs_by_itself() {
    let desk = Desk::new();
    let folder = tempfile::tempdir().unwrap();
    crate::broker::systemctl(folder.path());
    let run = async |verb: &str| {
        let mut command = command(&desk.state(), &["--json", "node", verb]);
        output(command.env("PATH", folder.path()).env("XDG_CONFIG_HOME", folder.path())).await
    };
    desk.json(&["node", "up"]).await;
    let refused = run("install-service").await;
    assert!(refused.code == Some(8) && refused.stderr.contains("node down"), "{refused:?}");
    desk.json(&["node", "down"]).await;
    let unit = folder.path().join("systemd/user/waxwing-node.service");
    assert_eq!(run("install-service").await.json().unwrap()["unit"], unit.to_str().unwrap());
    assert!(
        std::fs::read_to_string(&unit).unwrap().starts_with("# Written by `waxwing node install-service`.")
    );
    assert_eq!(run("uninstall-service").await.json().unwrap()["changed"], true);
    assert!(!unit.exists());
    let told = std::fs::read_to_string(folder.path().join("told")).unwrap();
    let expected = [
        "--user daemon-reload",
        "--user enable --now waxwing-node.service",
        "--user disable --now waxwing-node.service",
        "--user daemon-reload",
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
    std::fs::write(&unit, "[Service]\nExecStart=/bin/true\n").unwrap();
    assert_eq!(run("install-service").await.code, Some(8), "another's is left alone");
}

#[tokio::test]
async fn a_refusal_for_good_ends_with_0_where_anything_else_would_be_started_again() {
    let desk = Desk::new();
    private_folder(&desk.state());
    std::fs::write(desk.state().join("config.toml"), "outbox_mesages = 3").unwrap();
    let up = ["node", "up", "--foreground"];
    assert_eq!(desk.run(&up).await.code, Some(2));
    let done = desk.run(&[&up[..], &["--refused-is-done"]].concat()).await;
    assert!(done.code == Some(0) && done.stderr.contains("outbox_mesages"), "{done:?}");
    std::fs::remove_file(desk.state().join("config.toml")).unwrap();
    desk.json(&["node", "up"]).await;
    let twice = desk.run(&[&up[..], &["--refused-is-done"]].concat()).await;
    assert_eq!(twice.code, Some(8), "that one is worth another try");
}
