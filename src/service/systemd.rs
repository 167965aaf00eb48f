//! Units of systemd.

use std::path::{Path, PathBuf};

use super::{Scope, Service, home};
use crate::failure::Result;

/// What every service of ours has: what a user's own manager can give as well, on every kernel. Exit codes 2 to 5 are the same at
/// every start; after any other it is tried again for as long as it takes, as a disk may be full for hours.
const COMMON: &str = "\
NotifyAccess=main
Restart=on-failure
RestartPreventExitStatus=2 3 4 5
TimeoutStopSec=30
LimitNOFILE=65536
UMask=0077
NoNewPrivileges=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
";

/// A unit that says who has written it.
pub(super) fn marked(mark: &str) -> String {
    format!("# {mark}")
}

pub(super) fn text(service: &Service, program: &Path) -> String {
    let words = service.arguments.iter().map(|word| quoted(&word.to_string_lossy()));
    let command: Vec<_> = std::iter::once(quoted(&program.to_string_lossy())).chain(words).collect();
    let environment = service
        .environment
        .iter()
        .map(|(name, value)| format!("Environment={}\n", quoted(&format!("{name}={value}"))));
    let target = match service.scope {
        Scope::System => "multi-user.target",
        Scope::User => "default.target",
    };
    format!(
        "{mark}\n[Unit]\nDescription=Waxwing {name}\nWants=network-online.target\nAfter=network-online.target\n\
         StartLimitIntervalSec=0\n\n\
         [Service]\nType=notify\nExecStart={command}\n{environment}{COMMON}{own}\n[Install]\nWantedBy={target}\n",
        mark = marked(&service.written()),
        name = service.name,
        command = command.join(" "),
        environment = environment.collect::<String>(),
        own = service.unit,
    )
}

pub(super) fn path(name: &str, scope: Scope) -> Result<PathBuf> {
    Ok(match scope {
        Scope::System => Path::new("/etc/systemd/system").join(unit(name)),
        Scope::User => {
            let named = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
            let config = match named.filter(|path| path.is_absolute()) {
                Some(config) => config,
                None => home()?.join(".config"),
            };
            config.join("systemd/user").join(unit(name))
        }
    })
}

/// Enables and starts it, or stops it, removes it with `forget`, and has the manager forget it.
pub(super) fn tell(
    name: &str,
    scope: Scope,
    up: bool,
    systemctl: impl Fn(&[&str]) -> Result<()>,
    forget: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let unit = unit(name);
    let systemctl = |arguments: &[&str]| match scope {
        Scope::System => systemctl(arguments),
        Scope::User => systemctl(&[&["--user"], arguments].concat()),
    };
    if up {
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", "--now", &unit])
    } else {
        systemctl(&["disable", "--now", &unit])?;
        forget()?;
        systemctl(&["daemon-reload"])
    }
}

fn unit(name: &str) -> String {
    format!("waxwing-{name}.service")
}

/// One word of a unit.
fn quoted(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+=".contains(&b));
    if plain && !text.is_empty() {
        return text.to_owned();
    }
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_whatever_is_in_it() {
        assert_eq!(quoted("/usr/bin/waxwing"), "/usr/bin/waxwing");
        assert_eq!(quoted("/a b/50%/\"$x\\"), r#""/a b/50%%/\"$$x\\""#);
        assert_eq!(quoted(""), "\"\"");
    }
}
