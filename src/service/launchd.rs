//! Property lists of launchd.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Scope, Service, home};
use crate::failure::Result;

/// launchd starts a service again after every exit code but 0, so that is what a refusal for good ends with.
const REFUSED_IS_DONE: &str = "--refused-is-done";

/// A list that says who has written it.
pub(super) fn marked(mark: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- {mark} -->")
}

pub(super) fn text(service: &Service, program: &Path) -> String {
    let words = service.arguments.iter().map(|word| word.to_string_lossy().into_owned());
    let words = std::iter::once(program.to_string_lossy().into_owned()).chain(words);
    let words = words.chain([REFUSED_IS_DONE.to_owned()]).map(|word| string(&word));
    let mut environment = String::new();
    for (name, value) in &service.environment {
        // Writing to a string cannot fail.
        let _ = write!(environment, "<key>{}</key>{}", escaped(name), string(value));
    }
    format!(
        "{mark}\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n<dict>\n\
         <key>Label</key>{label}\n\
         <key>ProgramArguments</key><array>{words}</array>\n\
         <key>EnvironmentVariables</key><dict>{environment}</dict>\n\
         <key>RunAtLoad</key><true/>\n\
         <key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>\n\
         <key>ThrottleInterval</key><integer>10</integer>\n\
         <key>ExitTimeOut</key><integer>30</integer>\n\
         <key>Umask</key><integer>63</integer>\n\
         <key>SoftResourceLimits</key><dict><key>NumberOfFiles</key><integer>65536</integer></dict>\n\
         <key>StandardErrorPath</key>{log}\n\
         </dict>\n</plist>\n",
        mark = marked(&service.written()),
        label = string(&label(service.name)),
        words = words.collect::<String>(),
        log = string(&service.log.to_string_lossy()),
    )
}

pub(super) fn path(name: &str, scope: Scope) -> Result<PathBuf> {
    let file = format!("{}.plist", label(name));
    Ok(match scope {
        Scope::System => Path::new("/Library/LaunchDaemons").join(file),
        Scope::User => home()?.join("Library/LaunchAgents").join(file),
    })
}

/// Loads it, or stops it and removes it with `forget`. What is loaded already is loaded anew.
pub(super) fn tell(
    name: &str,
    scope: Scope,
    path: &Path,
    up: bool,
    launchctl: impl Fn(&[&str]) -> Result<()>,
    forget: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let domain = match scope {
        Scope::System => "system".to_owned(),
        Scope::User => format!("gui/{}", rustix::process::geteuid().as_raw()),
    };
    let loaded = format!("{domain}/{}", label(name));
    if up {
        // It fails if nothing is loaded, which is as good.
        let _ = launchctl(&["bootout", &loaded]);
        launchctl(&["bootstrap", &domain, &path.to_string_lossy()])
    } else {
        let _ = launchctl(&["bootout", &loaded]);
        forget()
    }
}

/// What launchd calls it.
fn label(name: &str) -> String {
    format!("waxwing.{name}")
}

fn string(text: &str) -> String {
    format!("<string>{}</string>", escaped(text))
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use plist::Value;

    use super::*;

    #[test]
    fn a_property_list_is_read_as_it_is_meant_whatever_is_in_a_path() {
        let service = Service {
            name: "node",
            scope: Scope::User,
            arguments: ["--state", "/a & b/<c>", "node", "up", "--foreground"].map(Into::into).to_vec(),
            environment: vec![("XDG_CONFIG_HOME".into(), "/d\"e'".into())],
            unit: "MemoryDenyWriteExecute=yes".into(),
            next: String::new(),
            log: "/a & b/logs/node.launchd".into(),
        };
        let text = text(&service, Path::new("/usr/local/bin/waxwing"));
        let read = Value::from_reader_xml(text.as_bytes()).unwrap();
        let list = read.as_dictionary().unwrap();
        let words: Vec<_> = list["ProgramArguments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_string().unwrap())
            .collect();
        let state = ["--state", "/a & b/<c>", "node", "up", "--foreground", REFUSED_IS_DONE];
        assert_eq!(words[0], "/usr/local/bin/waxwing");
        assert_eq!(words[1..], state);
        let environment = list["EnvironmentVariables"].as_dictionary().unwrap();
        assert_eq!(environment["XDG_CONFIG_HOME"].as_string(), Some("/d\"e'"));
        assert_eq!(list["Label"].as_string(), Some("waxwing.node"));
        assert_eq!(list["StandardErrorPath"].as_string(), Some("/a & b/logs/node.launchd"));
        assert_eq!(list["KeepAlive"].as_dictionary().unwrap()["SuccessfulExit"].as_boolean(), Some(false));
        assert_eq!(list["RunAtLoad"].as_boolean(), Some(true));
        assert_eq!(list["Umask"].as_signed_integer(), Some(0o077));
    }
}
