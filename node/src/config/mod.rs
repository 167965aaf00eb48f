//! Configuration: flag over environment over file over default.

mod kept;
mod settings;

use std::collections::BTreeMap;
use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use waxwing_protocol::api::EventKind;

pub use self::kept::Kept;
pub use self::settings::{SETTINGS, Setting, reference};
use crate::error::{Error, Result};

/// How long a stopping node waits for what is under way: less than the 10 s in which it promises to be gone.
pub(crate) const GRACE: Duration = Duration::from_secs(8);

/// How long a hook may take unless said otherwise.
const HOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// And at most: whoever works longer should be started by the hook's own means.
const SPAN_MAX: Duration = Duration::from_secs(600);

/// Where a node's state is and how it behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// The state folder.
    pub state: PathBuf,
    /// Where apps are listened to beside the socket: a loopback address.
    pub listen: Option<SocketAddr>,
    /// What stands in for the host's own evidence, if set: `host_id` in the file, or `WAXWING_HOST_ID`.
    pub host_id: Option<String>,
    /// Most messages in the outbox that are not delivered yet.
    pub outbox_messages: u64,
    /// Most bytes of them.
    pub outbox_bytes: u64,
    /// How long what is over is kept.
    pub kept: Kept,
    /// How many days of logs a process in the background keeps.
    pub log_files: usize,
    /// What is run after an event of a kind, by its absolute path.
    pub hooks: BTreeMap<EventKind, PathBuf>,
    /// How long each may take.
    pub hook_timeout: Duration,
    file: PathBuf,
    socket: PathBuf,
    origins: Vec<Origin>,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// The configuration file.
    File,
    /// Nobody has set it.
    Default,
}

/// A setting as it is.
#[derive(Clone, Debug)]
pub struct Value {
    /// Which setting.
    pub setting: Setting,
    /// What it is; none if it is not set and has no default.
    pub value: Option<String>,
    /// Where that came from.
    pub origin: Origin,
}

/// The file's form. Unknown keys are errors: a misspelt one must not be ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileConfig {
    listen: Option<SocketAddr>,
    host_id: Option<String>,
    outbox_messages: Option<u64>,
    outbox_bytes: Option<u64>,
    inbox_days: Option<u64>,
    sent_days: Option<u64>,
    dedupe_days: Option<u64>,
    log_files: Option<usize>,
    hook_timeout: Option<String>,
    hooks: BTreeMap<EventKind, PathBuf>,
}

impl Config {
    /// Finds the state folder (`--state`, else `WAXWING_STATE`, else `$XDG_STATE_HOME/waxwing`) and reads the
    /// configuration file that belongs to it.
    ///
    /// # Errors
    /// `Usage` if no folder can be found, or the file or a variable is not valid.
    pub fn resolve(state: Option<PathBuf>) -> Result<Self> {
        Self::resolve_in(state, &|name| env::var_os(name))
    }

    fn resolve_in(state: Option<PathBuf>, variables: Variables<'_>) -> Result<Self> {
        let places = Places::find(state, variables)?;
        Self::of_file(&read(&places.file)?, places, variables)
    }

    /// What a file with this text makes of a node with this state folder, where no variable is set.
    ///
    /// # Errors
    /// `Usage` if it is not valid.
    pub fn parse(state: &Path, text: &str) -> Result<Self> {
        Self::of_file(text, Places::find(Some(state.to_path_buf()), &|_| None)?, &|_| None)
    }

    fn of_file(text: &str, places: Places, variables: Variables<'_>) -> Result<Self> {
        let wrong = |error| Error::Usage(format!("{}: {error}", places.file.display()));
        let file: FileConfig = toml::from_str(text).map_err(wrong)?;
        // The file and the socket follow from the state folder.
        let mut origins = vec![places.state_from, Origin::Default, Origin::Default];
        let mut note = |origin| origins.push(origin);
        let listen = pick(&settings::LISTEN, variables, file.listen, &mut note)?;
        if let Some(other) = listen.filter(|listen| !listen.ip().is_loopback()) {
            let why = format!("listen is {other}, and must be a loopback address, as 127.0.0.1:7980");
            return Err(Error::Usage(why));
        }
        let host_id = pick(&settings::HOST_ID, variables, file.host_id.clone(), &mut note)?;
        let outbox_messages = pick(&settings::OUTBOX_MESSAGES, variables, file.outbox_messages, &mut note)?
            .unwrap_or(1_000_000);
        let outbox_bytes = pick(&settings::OUTBOX_BYTES, variables, file.outbox_bytes, &mut note)?;
        let kept = Kept::resolve(variables, &file, &mut note)?;
        let log_files = pick(&settings::LOG_FILES, variables, file.log_files, &mut note)?.unwrap_or(7);
        if log_files == 0 {
            return Err(Error::Usage("log_files must be at least 1".into()));
        }
        let hook_timeout = pick(&settings::HOOK_TIMEOUT, variables, file.hook_timeout, &mut note)?;
        let hook_timeout = hook_timeout.map_or(Ok(HOOK_TIMEOUT), |text| span("hook_timeout", &text))?;
        note(if file.hooks.is_empty() { Origin::Default } else { Origin::File });
        Ok(Self {
            hooks: hooks(file.hooks, &places.file)?,
            hook_timeout,
            state: places.state,
            socket: places.socket,
            listen,
            file: places.file,
            host_id,
            outbox_messages,
            outbox_bytes: outbox_bytes.unwrap_or(5 * 1024 * 1024 * 1024),
            kept,
            log_files,
            origins,
        })
    }

    /// The Unix socket that apps talk to.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The configuration file, which need not exist.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Where processes in the background log to.
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// Whether the state folder was named, by flag or environment: then everything else is in it.
    pub fn is_explicit(&self) -> bool {
        self.origins.first() != Some(&Origin::Default)
    }

    /// Every setting, what it is, and where that came from.
    pub fn values(&self) -> Vec<Value> {
        let values = [
            Some(self.state.display().to_string()),
            Some(self.file.display().to_string()),
            Some(self.socket.display().to_string()),
            self.listen.map(|listen| listen.to_string()),
            self.host_id.clone(),
            Some(self.outbox_messages.to_string()),
            Some(self.outbox_bytes.to_string()),
            Some(self.kept.inbox_days.to_string()),
            Some(self.kept.sent_days.to_string()),
            Some(self.kept.dedupe_days.to_string()),
            Some(self.log_files.to_string()),
            Some(humantime::format_duration(self.hook_timeout).to_string()),
            Some(self.hooks.iter().map(|(kind, path)| format!("{} = {}", kind.as_str(), path.display())))
                .map(|hooks| hooks.collect::<Vec<_>>().join(", "))
                .filter(|hooks| !hooks.is_empty()),
        ];
        let all = SETTINGS.into_iter().zip(values).zip(&self.origins);
        all.map(|((setting, value), &origin)| Value { setting, value, origin }).collect()
    }
}

/// Environment variables by name.
type Variables<'a> = &'a dyn Fn(&str) -> Option<std::ffi::OsString>;

/// Where everything is.
struct Places {
    state: PathBuf,
    file: PathBuf,
    socket: PathBuf,
    state_from: Origin,
}

impl Places {
    fn find(state: Option<PathBuf>, variables: Variables<'_>) -> Result<Self> {
        let named = match state {
            Some(state) => Some((state, Origin::Flag)),
            None => path(variables, "WAXWING_STATE").map(|state| (state, Origin::Environment)),
        };
        match named {
            Some((state, state_from)) => {
                let state = std::path::absolute(&state).map_err(Error::file("cannot resolve", &state))?;
                let (file, socket) = (state.join("config.toml"), state.join("node.sock"));
                Ok(Self { state, file, socket, state_from })
            }
            None => Self::of_user(variables),
        }
    }

    fn of_user(variables: Variables<'_>) -> Result<Self> {
        let home = |variable: &str, fallback: &str| {
            let base = path(variables, variable);
            let base = base.or_else(|| path(variables, "HOME").map(|home| home.join(fallback)));
            base.map(|base| base.join("waxwing")).ok_or_else(|| {
                Error::Usage(format!("neither {variable} nor HOME is set: say where with --state"))
            })
        };
        let state = home("XDG_STATE_HOME", ".local/state")?;
        let file = home("XDG_CONFIG_HOME", ".config")?.join("config.toml");
        let runtime = path(variables, "XDG_RUNTIME_DIR").map(|folder| folder.join("waxwing"));
        let socket = runtime.unwrap_or_else(|| state.clone()).join("node.sock");
        Ok(Self { state, file, socket, state_from: Origin::Default })
    }
}

/// An environment variable that is set and not empty.
fn path(variables: Variables<'_>, name: &str) -> Option<PathBuf> {
    variables(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A setting's value from the environment, else from the file.
fn pick<T: FromStr>(
    setting: &Setting,
    variables: Variables<'_>,
    in_file: Option<T>,
    note: &mut impl FnMut(Origin),
) -> Result<Option<T>> {
    let variable = setting.variable.and_then(|name| Some((name, variables(name)?)));
    if let Some((name, text)) = variable.filter(|(_, text)| !text.is_empty()) {
        note(Origin::Environment);
        let value = text.to_str().and_then(|text| text.parse().ok());
        let wrong = || Error::Usage(format!("{name} is {}, which it cannot be", text.display()));
        return value.map(Some).ok_or_else(wrong);
    }
    note(if in_file.is_some() { Origin::File } else { Origin::Default });
    Ok(in_file)
}

/// The hooks with their absolute paths: what is relative begins at the file's folder.
fn hooks(named: BTreeMap<EventKind, PathBuf>, file: &Path) -> Result<BTreeMap<EventKind, PathBuf>> {
    let of_a_stream = [EventKind::Lagged, EventKind::Request, EventKind::Cancel];
    if let Some(kind) = of_a_stream.iter().find(|kind| named.contains_key(kind)) {
        let why = "that is of one stream, and happens to no hook";
        return Err(Error::Usage(format!("{}: hooks.{}: {why}", file.display(), kind.as_str())));
    }
    let folder = file.parent().unwrap_or_else(|| Path::new("/"));
    Ok(named.into_iter().map(|(kind, path)| (kind, folder.join(path))).collect())
}

/// A span of time that is worth waiting for.
fn span(name: &str, text: &str) -> Result<Duration> {
    let wrong =
        || Error::Usage(format!("{name} is {text:?}, and is written as `10s`: from 1s to {SPAN_MAX:?}"));
    let span = humantime::parse_duration(text).map_err(|_| wrong())?;
    if (Duration::from_secs(1)..=SPAN_MAX).contains(&span) { Ok(span) } else { Err(wrong()) }
}

fn read(path: &Path) -> Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(Error::file("cannot read", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), "outbox_mesages = 3").unwrap();
        let error = Config::resolve(Some(folder.path().to_path_buf())).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("outbox_mesages"), "{error}");
        std::fs::write(folder.path().join("config.toml"), "outbox_messages = 3").unwrap();
        assert_eq!(Config::resolve(Some(folder.path().to_path_buf())).unwrap().outbox_messages, 3);
    }

    #[test]
    fn apps_are_listened_to_on_this_machine_alone() {
        let folder = tempfile::tempdir().unwrap();
        for (address, ok) in
            [("127.0.0.1:7980", true), ("[::1]:0", true), ("0.0.0.0:7980", false), ("192.168.1.5:1", false)]
        {
            std::fs::write(folder.path().join("config.toml"), format!("listen = '{address}'")).unwrap();
            let read = Config::resolve_in(Some(folder.path().to_path_buf()), &|_| None);
            assert_eq!(
                read.map(|config| config.listen.is_some()).map_err(|error| error.exit_code()),
                if ok { Ok(true) } else { Err(2) },
                "{address}"
            );
        }
    }

    #[test]
    fn environment_goes_over_file_and_file_over_default() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), "outbox_messages = 3\nlog_files = 4").unwrap();
        let set = |name: &str| match name {
            "WAXWING_STATE" => Some(folder.path().as_os_str().to_owned()),
            "WAXWING_OUTBOX_MESSAGES" => Some("5".into()),
            _ => None,
        };
        let config = Config::resolve_in(None, &set).unwrap();
        assert_eq!((config.outbox_messages, config.log_files), (5, 4));
        let from = |name: &str| {
            config.values().into_iter().find(|value| value.setting.name == name).map(|value| value.origin)
        };
        assert_eq!(from("state"), Some(Origin::Environment));
        assert_eq!(from("outbox_messages"), Some(Origin::Environment));
        assert_eq!(from("log_files"), Some(Origin::File));
        assert_eq!(from("outbox_bytes"), Some(Origin::Default));

        let wrong = |name: &str| (name == "WAXWING_LOG_FILES").then(|| "many".into());
        let error = Config::resolve_in(Some(folder.path().to_path_buf()), &wrong).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("WAXWING_LOG_FILES"), "{error}");
    }

    #[test]
    fn what_the_table_says_of_defaults_is_true() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::resolve_in(Some(folder.path().to_path_buf()), &|_| None).unwrap();
        for value in config.values().iter().filter(|value| value.setting.in_file) {
            let shown = value.value.as_deref().unwrap_or("none");
            assert!(value.setting.default.starts_with(shown), "{}: {shown}", value.setting.name);
        }
    }

    #[test]
    fn a_hook_is_for_a_kind_that_there_is_and_beside_the_file_unless_it_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let with = |text: &str| {
            std::fs::write(folder.path().join("config.toml"), text).unwrap();
            Config::resolve_in(Some(folder.path().to_path_buf()), &|_| None)
        };
        let config = with("[hooks]\nmessage = 'hooks/mail'\npeer_join = '/usr/bin/true'").unwrap();
        assert_eq!(config.hooks[&EventKind::Message], folder.path().join("hooks/mail"));
        assert_eq!(config.hooks[&EventKind::PeerJoin], Path::new("/usr/bin/true"));
        assert_eq!(config.hook_timeout, HOOK_TIMEOUT);
        assert_eq!(with("hook_timeout = '3s'").unwrap().hook_timeout, Duration::from_secs(3));
        for (wrong, said) in [
            ("[hooks]\nmesage = '/a'", "mesage"),
            ("[hooks]\nlagged = '/a'", "lagged"),
            ("hook_timeout = '0s'", "hook_timeout"),
            ("hook_timeout = '1h'", "hook_timeout"),
            ("hook_timeout = 'soon'", "soon"),
        ] {
            let error = with(wrong).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(said), "{wrong}: {error}");
        }
    }

    #[test]
    fn every_key_of_the_file_is_in_the_table() {
        let folder = tempfile::tempdir().unwrap();
        for setting in SETTINGS {
            let value = match setting.name {
                "host_id" => "'a'",
                "listen" => "'127.0.0.1:0'",
                "hook_timeout" => "'1s'",
                "hooks" => "{ message = '/a' }",
                "dedupe_days" => "40",
                _ => "1",
            };
            std::fs::write(folder.path().join("config.toml"), format!("{} = {value}", setting.name)).unwrap();
            let read = Config::resolve_in(Some(folder.path().to_path_buf()), &|_| None);
            assert_eq!(read.is_ok(), setting.in_file, "{}", setting.name);
        }
    }
}
