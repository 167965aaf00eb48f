//! Ids for messages whose app gave none.

use rand_core::Rng as _;
use ulid::Ulid;
use waxwing_crypto::ClientMessageId;

use crate::clock;

/// A new ULID.
#[expect(clippy::expect_used, reason = "a ULID is 26 letters and digits")]
pub(crate) fn fresh() -> ClientMessageId {
    let mut rng = crate::rng();
    let random = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
    Ulid::from_parts(clock::now().as_millis(), random).to_string().parse().expect("a valid id")
}
