//! Every size, count and interval that both ends of a conversation rely on. What only one side decides lives there.

use std::time::Duration;

/// Largest body of a message, in bytes.
pub const BODY: usize = 256 * 1024;
/// Largest metadata of a message, in bytes of canonical JSON.
pub const META: usize = 16 * 1024;
/// Deepest nesting of metadata, itself counted: many readers of JSON stop at 128, and it stands in lists and events.
pub const META_DEPTH: usize = 64;
/// Longest content type, in bytes.
pub const CONTENT_TYPE: usize = 255;
/// Longest thread, in bytes.
pub const THREAD: usize = 128;
/// Largest WebSocket message in either direction, in bytes.
pub const FRAME: usize = 1024 * 1024;
/// What a link may send in all before it has logged in, in bytes.
pub const BEFORE_LOGIN: usize = 16 * 1024;
/// Largest sealed envelope, in bytes: body, metadata and names, Padmé's 12 %, an opening, and the tag.
pub const ENVELOPE: usize = 320 * 1024;
/// Most items in one frame, and most items in flight per direction on one link.
pub const WINDOW_ITEMS: usize = 1_024;
/// Most envelope bytes in flight per direction on one link.
pub const WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// What a frame may carry in envelope bytes, so that with names and numbers it stays below [`FRAME`].
pub const FRAME_ENVELOPES: usize = 640 * 1024;
/// Most log entries in one frame.
pub const LOG_PAGE: usize = 256;
/// Most bytes of log entries in one frame.
pub const LOG_PAGE_BYTES: usize = 512 * 1024;
/// Largest membership log that a broker takes back after it has lost its store, in bytes.
pub const LOG: usize = 64 * 1024 * 1024;
/// Uploads of a log, side by side.
pub const UPLOADS: usize = 4;
/// An upload that takes longer is closed.
pub const UPLOAD_WITHIN: Duration = Duration::from_secs(120);
/// Most logs of one mesh, beside its own, that a broker keeps until an admin says which is right.
pub const BRANCHES: usize = 16;
/// Most slots in one `keys.put`: with their proofs and the earlier keys, at most half a frame.
pub const KEY_SLOTS: usize = 256;
/// Largest sealed record of a space, in bytes.
pub const RECORD: usize = waxwing_crypto::space::SEALED_MAX;
/// Largest value of a record, in bytes.
pub const VALUE: usize = waxwing_crypto::space::VALUE_MAX;
/// Most changes in one frame, either way.
pub const SPACE_PAGE: usize = 1_024;
/// Spaces that one link follows.
pub const SPACES_FOLLOWED: usize = 1_024;
/// A new space's first place is above the second of its making, since the Unix epoch, times this.
pub const FIRST_PLACE: u64 = 1 << 20;
/// Shortest lifetime of a record that has one.
pub const LIFETIME_MIN: Duration = Duration::from_secs(1);
/// Longest lifetime of a record that has one.
pub const LIFETIME_MAX: Duration = days(366);
/// Longest that a record stays beyond its writer's lease.
pub const GRACE_MAX: Duration = days(1);
/// A tombstone, and the answer to a change, is kept for so long.
pub const TOMBSTONES: Duration = days(35);
/// How long a node's lease lasts after its last frame.
pub const LEASE: Duration = Duration::from_secs(90);
/// Shortest lease that a broker may be told to give.
pub const LEASE_MIN: Duration = Duration::from_secs(1);
/// Most nodes in one `prekey.get`.
pub const PREKEY_PAGE: usize = 256;
/// Most features in a hello or welcome.
pub const FEATURES: usize = 32;
/// Longest name of a feature, in bytes.
pub const FEATURE_NAME: usize = 32;
/// Most characters of a human-readable detail in an error or goaway.
pub const DETAIL: usize = 500;

/// A WebSocket ping goes out after this long, from both ends.
pub const PING_EVERY: Duration = Duration::from_secs(20);
/// A link without any frame for this long is dead, at both ends.
pub const DEAD_AFTER: Duration = Duration::from_secs(45);
/// A login that takes longer is closed.
pub const LOGIN_WITHIN: Duration = Duration::from_secs(10);

/// The furthest moment that a `goaway` may name for coming back. A node takes a later one for this.
pub const AGAIN_MAX: Duration = Duration::from_secs(10 * 60);
/// The longest wait that a `rate_limited` may ask for. A node takes a longer one for this.
pub const AFTER_MAX: Duration = Duration::from_secs(60);

/// How long a broker remembers an accepted wire id, at least, in days.
pub const DEDUPE_DAYS_MIN: u32 = 8;
/// How long a broker remembers an accepted wire id.
pub const DEDUPE: Duration = days(35);
/// Default lifetime of a message.
pub const TTL_DEFAULT: Duration = days(7);
/// Shortest lifetime of a message.
pub const TTL_MIN: Duration = Duration::from_secs(1);
/// A message must end this long before the dedupe memory does, so that no late retry is taken for a new message.
pub const TTL_MARGIN: Duration = days(5);
/// Longest lifetime of a message under the default dedupe memory.
pub const TTL_MAX: Duration = days(30);
/// An envelope this long past its expiry is refused by the recipient too.
pub const EXPIRY_GRACE: Duration = Duration::from_secs(5 * 60);
/// Two clocks further apart than this are worth a warning.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// Largest request to the local API, in bytes.
pub const API_BODY: usize = 512 * 1024;
/// Largest batch request to the local API, in bytes.
pub const API_BATCH_BODY: usize = 8 * 1024 * 1024;
/// Requests to the local API under way at once for one caller.
pub const API_AT_ONCE: usize = 64;
/// Most tokens of one node.
pub const TOKENS: usize = 256;
/// Most sends in one batch request.
pub const API_BATCH: usize = 1_000;
/// Most messages in one answer of the inbox.
pub const INBOX_PAGE: usize = 1_000;
/// Most body bytes in one answer of the inbox; the page ends early rather than exceed it.
pub const INBOX_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// How long a request waits for its answer.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Shortest and longest that a request may wait.
pub const ANSWER_MIN: Duration = Duration::from_millis(100);
/// See [`ANSWER_MIN`].
pub const ANSWER_MAX: Duration = Duration::from_secs(10 * 60);
/// Most requests of one mesh that wait at a node, and most that its apps have been given and not answered.
pub const REQUESTS: usize = 1_024;
/// Most notes on the way to one answer.
pub const PROGRESS: u64 = 1_000;

/// Most apps registered with one node in one mesh.
pub const APPS: usize = 256;
/// Most apps in one answer.
pub const APPS_PAGE: usize = 1_000;
/// What peers are told of an app, or of a node's profile, in bytes as it is sealed.
pub const PRESENCE: usize = 16 * 1024;
/// Longest kind or version of an app, and longest capability, in bytes.
pub const WORD: usize = 64;
/// Most capabilities.
pub const CAPABILITIES: usize = 32;
/// Longest summary, path of a folder, or avatar, in bytes.
pub const SUMMARY: usize = 1_024;
/// Longest repository, in bytes.
pub const REPOSITORY: usize = 512;
/// Longest title of a profile, in bytes.
pub const TITLE: usize = 128;
/// Longest text about a node, in bytes.
pub const BIO: usize = 4_096;

/// Longest key of shared state, in bytes.
pub const STATE_KEY: usize = 256;
/// Largest value of shared state, in bytes: with who has put it there it is a record's value.
pub const STATE_VALUE: usize = VALUE - 4 * 1024;
/// Versions of a key that are kept: the newest, and those before it.
pub const STATE_VERSIONS: usize = 16;
/// Most keys of shared state in one answer.
pub const STATE_PAGE: usize = 1_000;
/// Most bytes of values in one answer; the page ends early rather than exceed it.
pub const STATE_PAGE_BYTES: usize = 16 * 1024 * 1024;
/// Longest name of a topic, in bytes: with `topic:` before it, it is the name of a space.
pub const TOPIC: usize = 250;
/// Largest body of a message for a topic, in bytes: with its metadata it is a value of a space.
pub const TOPIC_BODY: usize = 192 * 1024;
/// How long a message for a topic is kept, unless the topic says otherwise.
pub const RETENTION: Duration = days(7);
/// Shortest time that a topic may keep its messages.
pub const RETENTION_MIN: Duration = Duration::from_secs(60);
/// Longest: a node that was away for longer than [`TOMBSTONES`] begins its copies anew.
pub const RETENTION_MAX: Duration = days(30);
/// Most topics of a mesh: a space each, and a link follows [`SPACES_FOLLOWED`].
pub const TOPICS: usize = 900;
/// Most subscriptions of one node in one mesh.
pub const SUBSCRIPTIONS: usize = 4_096;
/// Messages that an app may publish to a topic per second, in the long run.
pub const PUBLISH_RATE: u32 = 100;
/// Messages that it may publish at once, after a pause.
pub const PUBLISH_BURST: u32 = 500;
/// Most messages in one answer of a topic's history.
pub const HISTORY_PAGE: usize = 1_000;

const fn days(n: u64) -> Duration {
    Duration::from_secs(n * 24 * 60 * 60)
}

/// Longest name of a lease, in bytes.
pub const LEASE_NAME: usize = 256;
/// Shortest and longest time of a lease.
pub const LEASE_TTL: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=days(1);
/// A lease is asked for so long unless something else is said.
pub const LEASE_TTL_DEFAULT: Duration = Duration::from_secs(5 * 60);
/// A lease stays so long after its node's, and after its app's registration, unless something else is said.
pub const LEASE_GRACE: Duration = Duration::from_secs(45);
/// A claim is asked for so long unless something else is said.
pub const CLAIM_TTL_DEFAULT: Duration = Duration::from_secs(30 * 60);
/// That somebody has acted is known for so long.
pub const CLAIM_DONE: Duration = days(1);
/// Most leases that one app has or waits for.
pub const LEASES: usize = 1_000;
/// Most leases in one answer.
pub const LEASES_PAGE: usize = 1_000;
