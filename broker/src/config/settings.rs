//! What can be set, in one table: the reference is made from it.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its key in the file, with its section.
    pub key: &'static str,
    /// The flag of `waxwing broker run` that goes over the file.
    pub flag: Option<&'static str>,
    /// What it is when nobody sets it, as the file would say it or in words.
    pub default: &'static str,
    /// A value, as the file says it.
    pub example: &'static str,
    /// What it is for.
    pub about: &'static str,
}

/// Every setting, in the order of the reference.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "data",
        flag: Some("--data"),
        default: "`broker` in the state folder",
        example: "\"/var/lib/waxwing-broker\"",
        about: "Folder for what the broker stores. Made if absent; only its owner may have access.",
    },
    Setting {
        key: "database",
        flag: Some("--database"),
        default: "`broker.db` in the data folder",
        example: "\"postgres://waxwing@db.example:5432/waxwing?sslmode=verify-full\"",
        about: "Where the store is: `sqlite:///PATH`, or a PostgreSQL database (see operations.md). The flag takes no password, which \
                others on this machine could read: it is in `PGPASSWORD`, in the password file (`~/.pgpass`), or in this file, which \
                must then be its owner's alone.",
    },
    Setting {
        key: "listen",
        flag: Some("--listen"),
        default: "\"127.0.0.1:7900\"",
        example: "\"0.0.0.0:7900\"",
        about: "Address to listen on. Port 0 takes a free one.",
    },
    Setting {
        key: "urls",
        flag: Some("--advertise"),
        default: "[]",
        example: "[\"wss://broker.example:7900\"]",
        about: "URLs that nodes may dial this broker by. Empty: the listen address, and on loopback the loopback names with \
                its port; for an address like 0.0.0.0, which nobody dials, they must be named. A node that dials another is \
                refused as `wrong_broker`. The flag may be repeated, and replaces the list.",
    },
    Setting {
        key: "plaintext",
        flag: Some("--plaintext"),
        default: "false",
        example: "false",
        about: "No TLS on an address that other machines can reach: for a TLS proxy in front, whose URL nodes dial (`urls`). \
                Without it, and without a certificate, such a broker makes itself one. On loopback there is no TLS unless \
                there is a certificate.",
    },
    Setting {
        key: "founding",
        flag: Some("--founding"),
        default: "`open` if only this machine can reach the broker, by its address and its URLs; else `closed`",
        example: "\"closed\"",
        about: "Who may found a mesh. `open`: whoever can connect. `closed`: whoever has the token in `creation.token` in the \
                data folder, made at the first start of a closed broker. Joining a mesh needs an invite, either way.",
    },
    Setting {
        key: "grace_seconds",
        flag: None,
        default: "10",
        example: "20",
        about: "How long a stopping broker waits for its links to end.",
    },
    Setting {
        key: "reconnects_per_second",
        flag: None,
        default: "1000",
        example: "500",
        about: "How many nodes may come back in a second after the broker was stopped: they are told to spread by that, over \
                2 s at least and 5 minutes at most.",
    },
    Setting {
        key: "admin.listen",
        flag: Some("--admin"),
        default: "\"127.0.0.1:7901\", or a free port of 127.0.0.1 if that is taken",
        example: "\"127.0.0.1:7951\"",
        about: "Address on which operators are answered: health, metrics, status (see operations.md). One that is set and \
                cannot be had is an error. On an address that other machines can reach, callers must show the token in \
                `admin.token` in the data folder.",
    },
    Setting {
        key: "tls.cert",
        flag: Some("--tls-cert"),
        default: "none",
        example: "\"/etc/waxwing/chain.pem\"",
        about: "The certificate, PEM: the broker's own first, then those that lead to the CA. It and the key are loaded anew \
                when the files change, and links go on; a pair that does not fit is logged, and the old one kept.",
    },
    Setting {
        key: "tls.key",
        flag: Some("--tls-key"),
        default: "none",
        example: "\"/etc/waxwing/key.pem\"",
        about: "The certificate's key, PEM.",
    },
    Setting {
        key: "limits.queue_items",
        flag: None,
        default: "100000",
        example: "50000",
        about: "Most envelopes in one node's queue; then senders are told `queue_full` and try again.",
    },
    Setting {
        key: "limits.queue_bytes",
        flag: None,
        default: "1073741824",
        example: "536870912",
        about: "Most envelope bytes in one node's queue.",
    },
    Setting {
        key: "limits.send_items",
        flag: None,
        default: "20000",
        example: "5000",
        about: "Items that one node may send per second, in the long run. Beyond its allowance, an item is told `rate_limited` and when \
                to come again; nothing is lost. A retry of what was accepted costs nothing.",
    },
    Setting {
        key: "limits.send_items_burst",
        flag: None,
        default: "100000",
        example: "10000",
        about: "Items that it may send at once, after a pause.",
    },
    Setting {
        key: "limits.send_bytes",
        flag: None,
        default: "268435456",
        example: "67108864",
        about: "Envelope bytes that one node may send per second, in the long run. Each envelope counts for 1 KiB at least.",
    },
    Setting {
        key: "limits.send_bytes_burst",
        flag: None,
        default: "536870912",
        example: "134217728",
        about: "Envelope bytes that it may send at once, after a pause. At least 327680, the largest envelope.",
    },
    Setting {
        key: "limits.requests",
        flag: None,
        default: "500",
        example: "100",
        about: "Requests other than sends that one node may make per second, in the long run: for prekeys (one for each peer asked \
                about), for the log, for what the broker holds of a message.",
    },
    Setting {
        key: "limits.requests_burst",
        flag: None,
        default: "5000",
        example: "1000",
        about: "Requests that it may make at once, after a pause. At least 256.",
    },
    Setting {
        key: "limits.window_items",
        flag: None,
        default: "1024",
        example: "512",
        about: "Most items in flight on one link, per direction. At most 1024.",
    },
    Setting {
        key: "limits.window_bytes",
        flag: None,
        default: "8388608",
        example: "4194304",
        about: "Most envelope bytes in flight on one link, per direction. 1 to 8 MiB.",
    },
    Setting {
        key: "limits.space_records",
        flag: None,
        default: "1000000",
        example: "100000",
        about: "Most records in the spaces of one mesh, with what is left of those that were deleted or have ended, and the \
                spaces themselves; then what would add one is told `full`.",
    },
    Setting {
        key: "limits.space_bytes",
        flag: None,
        default: "4294967296",
        example: "1073741824",
        about: "Most sealed bytes of these records. At least 327680, the largest record.",
    },
    Setting {
        key: "limits.lease_seconds",
        flag: None,
        default: "90",
        example: "30",
        about: "How long a node is taken for present after the last that was heard of it. What it has bound to its lease ends \
                then, and it is told to have left. Nodes are pinged three times in it, or every 20 s. Under 20 s, a network that \
                stalls is enough for a leave.",
    },
    Setting {
        key: "limits.dedupe_days",
        flag: None,
        default: "35",
        example: "60",
        about: "How long an accepted message's id is remembered, in days. At least 8; a message may live 5 days less.",
    },
    Setting {
        key: "limits.connections",
        flag: None,
        default: "16384",
        example: "65536",
        about: "Most connections at once. More wait to be accepted.",
    },
    Setting {
        key: "limits.strangers",
        flag: None,
        default: "1024",
        example: "4096",
        about: "Most connections that have not logged in; never more than half of all. Beyond that, a newcomer takes the place of the one that has waited \
                longest, of the address that has most. Each has 10 seconds to log in.",
    },
    Setting {
        key: "limits.links",
        flag: None,
        default: "16000",
        example: "60000",
        about: "Most links of members at once. A node beyond that is told `busy`, and comes again.",
    },
    Setting {
        key: "limits.logins",
        flag: None,
        default: "50",
        example: "10",
        about: "Logins that may be begun per second from one address (of IPv6: one network), in the long run. Beyond that it is told \
                `busy`. This machine's own addresses are not counted.",
    },
    Setting {
        key: "limits.logins_burst",
        flag: None,
        default: "500",
        example: "100",
        about: "Logins that may be begun from it at once, after a pause.",
    },
];

/// The reference, as docs/config-broker.md has it.
pub fn reference() -> String {
    let mut text = "# Configuration of a broker\n\n\
        `waxwing broker run --config FILE` reads a file (TOML). A setting is taken from its flag, else from the file, else it\n\
        has its default. A file that is named must exist, an unknown key in it is an error, and paths in it are relative to\n\
        its folder. Without `--config` no file is read. A node has settings of its own: [config.md](config.md).\n\n\
        This page is made from the table in the code; a test compares them.\n\n\
        | setting | flag | default |\n|---|---|---|\n"
        .to_owned();
    for setting in SETTINGS {
        let flag = setting.flag.map(|flag| format!("`{flag}`")).unwrap_or_default();
        text.push_str(&format!("| `{}` | {flag} | {} |\n", setting.key, setting.default));
    }
    for setting in SETTINGS {
        text.push_str(&format!("\n## {}\n\n{}\n", setting.key, wrap(setting.about)));
    }
    text.push_str(&format!("\n## For one mesh\n\n{}\n", wrap(&per_mesh())));
    text.push_str(&format!("\n## Example\n\n```toml\n{}```\n", example()));
    text
}

/// What can be set for one mesh.
const PER_MESH: [&str; 10] = [
    "queue_items",
    "queue_bytes",
    "send_items",
    "send_items_burst",
    "send_bytes",
    "send_bytes_burst",
    "space_records",
    "space_bytes",
    "requests",
    "requests_burst",
];

fn per_mesh() -> String {
    let names = PER_MESH.map(|name| format!("`{name}`")).join(", ");
    format!(
        "A section `[mesh.ID.limits]`, with the mesh's id, sets some of the limits for that mesh, over those for all: {names}. \
         `waxwing status` shows the id of a mesh."
    )
}

/// A file that sets everything. Settings without a section come first: TOML wants it so.
fn example() -> String {
    let mut text = String::new();
    let mut within = "";
    for setting in SETTINGS {
        let (section, key) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
        if section != within {
            text.push_str(&format!("\n[{section}]\n"));
            within = section;
        }
        text.push_str(&format!("{key} = {}\n", setting.example));
    }
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
    use std::collections::BTreeMap;
    use std::path::Path;

    use serde_json::Value;

    use super::*;
    use crate::config::Config;

    /// The values of a configuration by key, with its section.
    fn values(config: &Config) -> BTreeMap<String, Value> {
        fn walk(prefix: &str, value: Value, into: &mut BTreeMap<String, Value>) {
            if let Value::Object(map) = value {
                for (key, value) in map {
                    walk(&format!("{prefix}{key}."), value, into);
                }
            } else {
                into.insert(prefix.trim_end_matches('.').to_owned(), value);
            }
        }
        let mut all = BTreeMap::new();
        walk("", serde_json::to_value(config).unwrap(), &mut all);
        all
    }

    #[test]
    fn the_reference_in_the_docs_is_made_from_the_table() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config-broker.md");
        if std::env::var_os("WAXWING_BLESS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == reference(),
            "docs/config-broker.md is not what the table says: WAXWING_BLESS=1 rewrites it"
        );
    }

    #[test]
    fn every_key_of_the_file_is_in_the_table_once_and_its_example_is_one() {
        let config: Config = toml::from_str(&example()).unwrap();
        config.check().unwrap();
        config.check_listen(config.listen).unwrap();
        let mut listed: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        listed.sort_unstable();
        assert_eq!(listed, values(&config).keys().map(String::as_str).collect::<Vec<_>>());
    }

    #[test]
    fn what_the_page_lists_for_one_mesh_is_what_can_be_set() {
        let limits = serde_json::to_value(crate::config::MeshLimits::default()).unwrap();
        let mut listed = PER_MESH.map(str::to_owned);
        listed.sort_unstable();
        assert!(limits.as_object().unwrap().keys().eq(&listed));
        assert!(listed.iter().all(|name| SETTINGS.iter().any(|one| one.key == format!("limits.{name}"))));
    }

    #[test]
    fn what_the_table_says_of_defaults_is_true_and_examples_differ() {
        let (defaults, examples) = (values(&Config::default()), values(&toml::from_str(&example()).unwrap()));
        for setting in SETTINGS {
            let value = &defaults[setting.key];
            let in_words = *value == Value::Null || *value == "";
            let said: Option<Value> = serde_json::from_str(setting.default).ok();
            assert!(in_words || said.as_ref() == Some(value), "{}: {value}", setting.key);
            let same_in_example = setting.key == "plaintext"; // It contradicts a certificate.
            assert_eq!(*value == examples[setting.key], same_in_example, "{}", setting.key);
        }
    }
}
