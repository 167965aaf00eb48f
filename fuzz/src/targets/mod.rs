//! One function per kind of bytes that comes from outside: none may panic on any bytes, and what is read must mean the
//! same when it is written and read again. Used by the fuzzer, and by protocol/tests/corpus.rs through its path. What only a
//! node or a broker reads is in ../programs.rs.

mod bodies;
mod frames;
mod golden;
mod log;
mod mail;
mod spaces;
mod text;

pub use self::bodies::api;
pub use self::frames::{hello, to_broker, to_broker_login, to_node, to_node_login};
pub use self::golden::{golden, hex};
pub use self::log::entry;
pub use self::mail::{envelope, golden_texts, opening, plaintext};
pub use self::spaces::{key_slot, record};
pub use self::text::{address, token};

/// A target: any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 14] = [
    ("to_broker", to_broker),
    ("to_node", to_node),
    ("to_broker_login", to_broker_login),
    ("to_node_login", to_node_login),
    ("hello", hello),
    ("entry", entry),
    ("envelope", envelope),
    ("opening", opening),
    ("key_slot", key_slot),
    ("record", record),
    ("token", token),
    ("plaintext", plaintext),
    ("api", api),
    ("address", address),
];
