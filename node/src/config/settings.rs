//! What can be set, in one table: `waxwing config show` and the reference are made from it.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name, and its key in the file if it may stand there.
    pub name: &'static str,
    /// The flag that sets it.
    pub flag: Option<&'static str>,
    /// The environment variable that sets it.
    pub variable: Option<&'static str>,
    /// Whether it may stand in the file.
    pub in_file: bool,
    /// What it is when nobody sets it, in words.
    pub default: &'static str,
    /// What it is for.
    pub about: &'static str,
}

impl Setting {
    const fn of_file(
        name: &'static str,
        variable: &'static str,
        default: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, flag: None, variable: Some(variable), in_file: true, default, about }
    }

    const fn place(name: &'static str, default: &'static str, about: &'static str) -> Self {
        Self { name, flag: None, variable: None, in_file: false, default, about }
    }
}

pub(super) const STATE: Setting = Setting {
    flag: Some("--state"),
    variable: Some("WAXWING_STATE"),
    ..Setting::place(
        "state",
        "$XDG_STATE_HOME/waxwing, else ~/.local/state/waxwing",
        "Folder with everything that must outlive the node: keys, messages, logs. When it is set by flag or environment, \
         the file, the socket and the logs are in it too.",
    )
};
pub(super) const FILE: Setting = Setting::place(
    "file",
    "$XDG_CONFIG_HOME/waxwing/config.toml, else ~/.config/waxwing/config.toml",
    "The configuration file. It need not exist. An unknown key in it is an error.",
);
pub(super) const SOCKET: Setting = Setting::place(
    "socket",
    "$XDG_RUNTIME_DIR/waxwing/node.sock, else in the state folder",
    "The Unix socket that apps talk to. Only this user and root can connect.",
);
pub(super) const HOST_ID: Setting = Setting::of_file(
    "host_id",
    "WAXWING_HOST_ID",
    "none: the machine id, else the network cards",
    "What this host is recognised by, in place of its own evidence. For hosts that have none worth trusting, such as \
     containers. Two hosts must never have the same.",
);
pub(super) const OUTBOX_MESSAGES: Setting = Setting::of_file(
    "outbox_messages",
    "WAXWING_OUTBOX_MESSAGES",
    "1000000",
    "Most messages in a mesh's outbox that are not delivered yet. One more is refused with `outbox_full`.",
);
pub(super) const OUTBOX_BYTES: Setting =
    Setting::of_file("outbox_bytes", "WAXWING_OUTBOX_BYTES", "5368709120", "Most bytes of them.");
pub(super) const INBOX_DAYS: Setting = Setting::of_file(
    "inbox_days",
    "WAXWING_INBOX_DAYS",
    "30",
    "How many days a received message is kept after it was acknowledged. One that was not is kept until it is.",
);
pub(super) const SENT_DAYS: Setting = Setting::of_file(
    "sent_days",
    "WAXWING_SENT_DAYS",
    "30",
    "How many days the content of a sent message is kept after its delivery; 0 wipes it within a minute. That of one which \
     ended without being delivered is kept as long as its id, so that it can be sent again.",
);
pub(super) const DEDUPE_DAYS: Setting = Setting::of_file(
    "dedupe_days",
    "WAXWING_DEDUPE_DAYS",
    "40",
    "How many days the id of a message is remembered after it was received, and a day longer after a sent one came to its \
     end, or than the broker remembers it if that is more: so long the same message is never shown or taken twice, whatever else \
     was deleted. At least 35: the longest that a message may be under way, and five days.",
);
pub(super) const LOG_FILES: Setting = Setting::of_file(
    "log_files",
    "WAXWING_LOG_FILES",
    "7",
    "How many days of logs a process in the background keeps, one file each.",
);

pub(super) const LISTEN: Setting = Setting::of_file(
    "listen",
    "WAXWING_LISTEN",
    "none: the socket alone",
    "A loopback address, such as `127.0.0.1:7980`, for apps that cannot use the socket. Each request must show a token, which \
     `waxwing node token create` makes. Port 0 takes a free one, which `waxwing node status` shows.",
);

pub(super) const HOOK_TIMEOUT: Setting = Setting::of_file(
    "hook_timeout",
    "WAXWING_HOOK_TIMEOUT",
    "10s",
    "How long a hook may take, from `1s` to `600s`. Then it and what it has started are killed.",
);
pub(super) const HOOKS: Setting = Setting {
    in_file: true,
    ..Setting::place(
        "hooks",
        "none",
        "What to run after an event of a kind: `message`, `receipt`, `outbox`, `peer_join`, `peer_leave`, `app_join`, \
         `app_leave`, `state`, `lease`, `claim`, `broker_status`, `security` or `system`. The path of an executable, absolute or from the file's \
         folder; it must belong to this user or root, and nobody else may be able to change it. \
         [What it is given](operations.md#hooks).",
    )
};

/// Every setting.
pub const SETTINGS: [Setting; 13] = [
    STATE,
    FILE,
    SOCKET,
    LISTEN,
    HOST_ID,
    OUTBOX_MESSAGES,
    OUTBOX_BYTES,
    INBOX_DAYS,
    SENT_DAYS,
    DEDUPE_DAYS,
    LOG_FILES,
    HOOK_TIMEOUT,
    HOOKS,
];

/// The reference, as docs/config.md has it.
pub fn reference() -> String {
    let mut text = "# Configuration\n\n\
        A setting is taken from its flag, else from its environment variable, else from the file, else it has its\n\
        default. `waxwing config show` prints each value and where it came from, `waxwing config path` the file.\n\n\
        This page is made from the table in the code; a test compares them. A broker has settings of its own:\n\
        [config-broker.md](config-broker.md).\n\n\
        | setting | flag | environment | in the file | default |\n|---|---|---|---|---|\n"
        .to_owned();
    let code = |word: Option<&str>| word.map(|word| format!("`{word}`")).unwrap_or_default();
    for setting in SETTINGS {
        let in_file = if setting.in_file { "yes" } else { "" };
        text.push_str(&format!(
            "| `{}` | {} | {} | {in_file} | {} |\n",
            setting.name,
            code(setting.flag),
            code(setting.variable),
            setting.default
        ));
    }
    for setting in SETTINGS {
        text.push_str(&format!("\n## {}\n\n{}\n", setting.name, wrap(setting.about)));
    }
    text.push_str(
        "\n## Example\n\n```toml\noutbox_messages = 50000\nlog_files = 14\n\n[hooks]\nmessage = \"hooks/on-message\"\n\
         security = \"/usr/local/bin/page-somebody\"\n```\n",
    );
    text
}

/// Lines of at most 100 characters.
fn wrap(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + word.len() < 100 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_reference_in_the_docs_is_made_from_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.md");
        if std::env::var_os("WAXWING_BLESS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == reference(),
            "docs/config.md is not what the table says: WAXWING_BLESS=1 rewrites it"
        );
    }

    #[test]
    fn names_are_said_once() {
        let names: std::collections::HashSet<_> = SETTINGS.iter().map(|setting| setting.name).collect();
        assert_eq!(names.len(), SETTINGS.len());
    }
}
