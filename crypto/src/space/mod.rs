//! Records of spaces: what a broker keeps for members without being able to read it.
//!
//! ```text
//! writer    makes a [`Statement`], signs it, pads it, seals it under the epoch's state key       ([`Space::seal`])
//! broker    keeps the bytes under a [`SpaceId`](crate::SpaceId) and a [`KeyId`](crate::KeyId), made of names it cannot guess
//! follower  [`Space::open`]: of this epoch, for this place          -> [`Opened`], which is not yet believed
//!           [`Opened::verify`], [`verify_all`]: said by the writer  -> the [`Statement`]
//! ```
//!
//! A record opens for every member of its epoch, so that it opens says only that some member has made it. Who, the signature
//! says, and it covers everything that a record means: mesh, space, key, epoch, operation, condition, lifetime, counter. A
//! member can neither change another's record nor show it in another place. What the signature cannot tell, an old record
//! that is shown again, the follower tells by its counter.

mod condition;
mod name;
mod naming;
mod opened;
mod sealed;
mod statement;

pub use condition::Condition;
pub use name::{KeyName, SpaceName};
pub use naming::NamingKey;
pub use opened::{Opened, verify_all};
pub use sealed::{Frame, Opener, SEALED_MAX, Space, digest, epoch_of};
pub use statement::{Operation, RecordRef, Seen, Stands, Statement, VALUE_MAX};

/// Version of everything in this module.
pub const VERSION: u8 = 1;
