//! Sealing: how a message for one node is made unreadable to everybody else.
//!
//! ```text
//! recipient   publishes a signed [`Prekey`], a short-lived X-Wing public key
//! sender      opens a [`SendingSession`] to it (HPKE, signed opening), once for up to 60 min or 2^20 messages
//!             seals each [`Plaintext`] under the session's key, its [`Header`] authenticated beside it
//! recipient   verifies the opening against the roster, derives the same keys ([`Opening::accept`]), opens the box,
//!             stores it, and answers with a [`Receipt`](crate::Receipt) or a signed [`Nack`]
//! ```
//!
//! One suite, no negotiation: HPKE base mode (RFC 9180) with X-Wing (draft-connolly-cfrg-xwing-kem, as in
//! draft-ietf-hpke-pq), HKDF-SHA256 and ChaCha20-Poly1305 for the opening; XChaCha20-Poly1305 for the boxes. A later
//! suite is a new version number.

mod envelope;
mod hedge;
pub(crate) mod padding;
mod plaintext;
mod prekey;
mod receipt;
mod refusal;
mod session;

pub use envelope::{Envelope, Header};
pub use plaintext::{CounterRange, Kind, MAX_VOID_RANGES, Plaintext};
pub use prekey::{Prekey, PrekeyId, PrekeySecret};
pub use receipt::{Nack, NackReason, ReceiptSecret};
pub use refusal::{Refusal, Why};
pub use session::{Opening, Parties, ReceivingSession, SESSION_LIFETIME, SESSION_MESSAGES, SendingSession};

/// Version of everything in this module.
pub const VERSION: u8 = 1;
