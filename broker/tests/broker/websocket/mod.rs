//! RFC 6455 as tables: what a client may send, what it must not, and what comes back. Whatever one does, the others are
//! served.

mod framing;
mod handshake;
