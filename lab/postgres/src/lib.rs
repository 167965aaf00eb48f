//! A PostgreSQL server that a test throws away: made from the binaries that are installed, in a folder of its own, on a Unix
//! socket and a free port of loopback, and gone with the process that made it, however that ends.
//!
//! Its settings are those of a server that keeps what it confirms: `fsync` and `synchronous_commit` are on.

mod host;

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use host::{User, binaries};

/// The variable that says where the binaries are, if they are not where they usually are.
pub const BINARIES: &str = "WAXWING_TEST_POSTGRES_BIN";
/// The variable that makes a missing server a failure of the test, as in CI.
pub const REQUIRED: &str = "WAXWING_TEST_POSTGRES";

/// The variable that says on what tests of the broker keep their stores: `sqlite`, as without it, or `postgres`.
pub const DATABASE: &str = "WAXWING_TEST_DATABASE";

/// A server takes no longer to start or stop.
const WITHIN: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Keeps a server until its standard input ends, which it does with whoever made it; then stops it and removes its folder.
const KEEPER: &str = r#"
exec 3<&0
"$1" -D "$2/data" </dev/null 3<&- & server=$!
{ cat <&3 >/dev/null; kill -INT $server 2>/dev/null; } & guard=$!
wait $server
kill $guard 2>/dev/null
[ -z "$3" ] || rm -rf "$2"
"#;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is installed.
    #[error(
        "PostgreSQL's server is not installed (Debian: apt-get install postgresql; or say in {BINARIES} where initdb is)"
    )]
    NotInstalled,
    /// The system.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// One of its programs.
    #[error("{0}")]
    Failed(String),
}

/// A result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A server.
#[derive(Debug)]
pub struct Server {
    binaries: PathBuf,
    folder: PathBuf,
    port: u16,
    user: User,
    running: Option<Running>,
    databases: AtomicU32,
    /// Removes the folder, if the keeper does not.
    _folder: Option<TempDir>,
}

#[derive(Debug)]
struct Running {
    keeper: Child,
    /// Closed, it ends the keeper.
    hold: Option<ChildStdin>,
}

impl Server {
    /// A hot standby of this server, which follows it and takes no writes until [`Server::promote`]. This one acknowledges no commit
    /// that the standby has not.
    ///
    /// # Errors
    /// What went wrong.
    pub fn standby(&mut self) -> Result<Self> {
        let mut standby = Self::prepare(false)?;
        let port = self.port.to_string();
        standby.run(
            "pg_basebackup",
            &[
                "-D",
                &standby.data(),
                "-h",
                "127.0.0.1",
                "-p",
                &port,
                "-U",
                "waxwing",
                "-R",
                "-X",
                "stream",
                "-c",
                "fast",
            ],
        )?;
        standby.configure()?;
        standby.resume()?;
        self.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        self.sql("postgres", "SELECT pg_reload_conf()")?;
        let synced = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        wait("the standby follows", || Ok(self.sql("postgres", synced)?.trim() == "1"))?;
        Ok(standby)
    }

    /// The one server of this process, or nothing if none is installed: then a line says that the test is skipped.
    ///
    /// # Panics
    /// If it does not start, or none is installed and [`REQUIRED`] is set.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Server>> = OnceLock::new();
        SHARED.get_or_init(|| Self::unless_missing(true)).as_ref()
    }

    /// A server of this test's own, or nothing if none is installed: then a line says that the test is skipped.
    ///
    /// # Panics
    /// If it does not start, or none is installed and [`REQUIRED`] is set.
    pub fn own() -> Option<Self> {
        Self::unless_missing(false)
    }

    #[expect(clippy::panic, reason = "a test cannot go on without it, and says why")]
    fn unless_missing(kept: bool) -> Option<Self> {
        match Self::make(kept) {
            Ok(server) => Some(server),
            Err(missing @ Error::NotInstalled) if std::env::var_os(REQUIRED).is_none() => {
                eprintln!("skipped: {missing}");
                None
            }
            Err(err) => panic!("no PostgreSQL server for the tests: {err}"),
        }
    }

    /// Makes a server and starts it. `kept`: its folder goes with its keeper, since nobody drops what is static.
    fn make(kept: bool) -> Result<Self> {
        let mut server = Self::prepare(kept)?;
        server.run(
            "initdb",
            &["-D", &server.data(), "-U", "waxwing", "-A", "trust", "--no-sync", "-E", "UTF8"],
        )?;
        server.configure()?;
        server.resume()?;
        Ok(server)
    }

    fn prepare(kept: bool) -> Result<Self> {
        let (binaries, user) = (binaries()?, User::find()?);
        let dir = tempfile::Builder::new().prefix("waxwing-pg-").tempdir()?;
        user.own(dir.path())?;
        let folder = dir.path().to_owned();
        let dir = if kept {
            let _ = dir.keep();
            None
        } else {
            Some(dir)
        };
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self { binaries, folder, port, user, running: None, databases: AtomicU32::new(0), _folder: dir })
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    /// Where it listens, and how much it takes on.
    fn configure(&self) -> Result<()> {
        let socket = self.folder.display();
        let settings = format!(
            "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{socket}'\nmax_connections = 200\n\
             shared_buffers = 64MB\nmax_wal_size = 4GB\nlog_min_messages = fatal\nrecovery_init_sync_method = syncfs\n",
            self.port
        );
        let path = self.folder.join("data/postgresql.auto.conf");
        // A standby's has where it follows.
        let before = fs::read_to_string(&path).unwrap_or_default();
        let kept = before.lines().filter(|line| line.starts_with("primary_")).collect::<Vec<_>>().join("\n");
        fs::write(&path, format!("{kept}\n{settings}"))?;
        Ok(())
    }

    /// Starts it, if it was stopped.
    ///
    /// # Errors
    /// If it does not answer in time.
    pub fn resume(&mut self) -> Result<()> {
        let began = wait("it answers", || {
            // What is left of one that was killed keeps the next from starting for a moment.
            let ended = match &mut self.running {
                Some(running) => running.keeper.try_wait()?.is_some(),
                None => true,
            };
            if ended {
                self.stop()?;
                self.running = Some(self.spawn()?);
            }
            Ok(self.sql("postgres", "SELECT 1").is_ok())
        });
        began.map_err(|err| {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            Error::Failed(format!("{err}\n{log}"))
        })
    }

    fn spawn(&self) -> Result<Running> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(KEEPER).arg("keeper").arg(self.binaries.join("postgres")).arg(&self.folder);
        command.arg(if self._folder.is_none() { "remove" } else { "" });
        self.user.become_it(&mut command);
        let log = fs::File::create(self.folder.join("log"))?;
        // A group of its own: what interrupts the test ends it by closing its input, in order.
        command.process_group(0).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let mut keeper = command.current_dir("/").spawn()?;
        let hold = keeper.stdin.take();
        Ok(Running { keeper, hold })
    }

    /// Stops it, cutting every connection.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut running) = self.running.take() {
            drop(running.hold.take());
            running.keeper.wait()?;
        }
        Ok(())
    }

    /// Kills it without a word, as a loss of power does.
    ///
    /// # Errors
    /// If it does not end.
    pub fn kill(&mut self) -> Result<()> {
        let pids = fs::read_to_string(self.folder.join("data/postmaster.pid"))?;
        let pid = pids.lines().next().unwrap_or_default();
        // The postmaster's children end with it.
        signal(pid, "KILL")?;
        self.stop()
    }

    /// Makes a standby take writes.
    ///
    /// # Errors
    /// If it does not within half a minute.
    pub fn promote(&self) -> Result<()> {
        self.sql("postgres", "SELECT pg_promote(true, 30)").map(drop)
    }

    /// Makes an empty database.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn database(&self) -> Result<String> {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(name)
    }

    /// Makes a copy of a database that nobody is connected to.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn copy(&self, of: &str) -> Result<String> {
        let name = format!("t{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {of}"))?;
        Ok(name)
    }

    /// Puts a copy of another database, or an empty one, in the place of a database, whoever is connected.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn replace(&self, database: &str, with: Option<&str>) -> Result<()> {
        // Not dropped: that would have every file of every database synced.
        let away = format!("{database}_before_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let end =
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
        let rename = format!("ALTER DATABASE {database} RENAME TO {away}");
        wait("nobody is connected", || {
            self.sql("postgres", &end)?;
            Ok(self.sql("postgres", &rename).is_ok())
        })?;
        let template = with.map(|with| format!(" TEMPLATE {with}")).unwrap_or_default();
        self.sql("postgres", &format!("CREATE DATABASE {database}{template}")).map(drop)
    }

    /// The server on which a test is to keep its stores, if `WAXWING_TEST_DATABASE` says `postgres`.
    ///
    /// # Panics
    /// If that says something else than `postgres` or `sqlite`, or there is no server.
    #[expect(clippy::panic, reason = "a test cannot go on with it, and says why")]
    pub fn asked_for() -> Option<&'static Self> {
        match std::env::var(DATABASE).as_deref() {
            Ok("postgres") => match Self::shared() {
                Some(server) => Some(server),
                None => panic!("{DATABASE} asks for a server, and none is installed"),
            },
            Ok("sqlite") | Err(_) => None,
            Ok(other) => panic!("{DATABASE} is {other}, not sqlite or postgres"),
        }
    }

    /// What a client takes for one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://waxwing@127.0.0.1:{}/{database}", self.port)
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements with its own client, and gives what they print.
    ///
    /// # Errors
    /// What the client says.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String> {
        let host = self.folder.display().to_string();
        let port = self.port.to_string();
        let args = [
            "-h",
            &host,
            "-p",
            &port,
            "-U",
            "waxwing",
            "-d",
            database,
            "-v",
            "ON_ERROR_STOP=1",
            "-qtAXc",
            statements,
        ];
        self.run("psql", &args)
    }

    fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let mut command = Command::new(self.binaries.join(program));
        command.args(args).current_dir("/").stdin(Stdio::null());
        self.user.become_it(&mut command);
        let Output { status, stdout, stderr } = command.output()?;
        if status.success() {
            Ok(String::from_utf8_lossy(&stdout).into_owned())
        } else {
            Err(Error::Failed(format!("{program}: {}", String::from_utf8_lossy(&stderr).trim())))
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody can be told.
        let _ = self.stop();
    }
}

fn signal(pid: &str, signal: &str) -> Result<()> {
    let sent = Command::new("kill").args(["-s", signal, pid]).status()?;
    if sent.success() { Ok(()) } else { Err(Error::Failed(format!("kill -s {signal} {pid} failed"))) }
}

fn wait(what: &str, mut is: impl FnMut() -> Result<bool>) -> Result<()> {
    let begin = SystemTime::now();
    while !is()? {
        if begin.elapsed().is_ok_and(|passed| passed > WITHIN) {
            return Err(Error::Failed(format!("not within {} s: {what}", WITHIN.as_secs())));
        }
        sleep(LOOK);
    }
    Ok(())
}
