//! What a record says, and whether its writer has said it.

use std::fmt;

use rand_core::CryptoRng;

use super::statement::Statement;
use crate::batch::{Claim, all_hold};
use crate::error::{Error, Result};
use crate::keys::{Purpose, Signed, VerifyingKey};

const BAD: Error = Error::BadSignature("record");

/// Signatures that are checked at once: the more, the less each costs.
const BATCH: usize = 1024;
/// Of so few with a bad one among them, each is checked by itself; more are halved.
const FEW: usize = 64;

/// A record that a member has sealed for its place in a space. Whether it was its writer is not checked: any member of its epoch
/// can seal what it likes.
pub struct Opened {
    epoch: u64,
    signed: Signed,
    statement: Statement,
}

impl Opened {
    pub(super) fn new(epoch: u64, signed: Signed, statement: Statement) -> Self {
        Self { epoch, signed, statement }
    }

    /// The epoch in which it was sealed.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The place in the membership log as of which its writer's key is to be looked up, as it says itself.
    pub fn log_seq(&self) -> u64 {
        self.statement.log_seq
    }

    /// What it says, which nobody need have said: for reports, and to look up who should have.
    pub fn unverified(&self) -> &Statement {
        &self.statement
    }

    /// What it says, without asking whether its writer has said it: for a record that was verified when it came and has been
    /// kept in a place of one's own since.
    pub fn verified_before(self) -> Statement {
        self.statement
    }

    /// What its writer has said, if this key of the writer's has signed it. About 35 µs: for many, [`verify_all`].
    ///
    /// # Errors
    /// `BadSignature` if it has not.
    pub fn verify(self, key: &VerifyingKey) -> Result<Statement> {
        if self.claim(key).is_some_and(|claim| claim.holds()) { Ok(self.statement) } else { Err(BAD) }
    }

    fn claim(&self, key: &VerifyingKey) -> Option<Claim> {
        Claim::new(key, Purpose::Record, &self.signed.bytes, &self.signed.signature)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened(unverified, by {})", self.statement.writer)
    }
}

/// [`Opened::verify`] of many, each with the key of its writer: the same outcomes, in the same order. About 8 µs each where
/// few have written them and 12 µs where everybody has, against 35 µs one by one.
///
/// What is accepted here and not by [`VerifyingKey::verify`] is told where the check is: `crypto/src/batch.rs`.
pub fn verify_all(opened: Vec<(Opened, VerifyingKey)>, rng: &mut impl CryptoRng) -> Vec<Result<Statement>> {
    let mut held = Vec::with_capacity(opened.len());
    for batch in opened.chunks(BATCH) {
        let claims: Vec<_> = batch.iter().map(|(opened, key)| opened.claim(key)).collect();
        check(&claims, &mut held, rng);
    }
    let outcome = |((opened, _), held): ((Opened, VerifyingKey), bool)| {
        if held { Ok(opened.statement) } else { Err(BAD) }
    };
    opened.into_iter().zip(held).map(outcome).collect()
}

/// Adds whether each of them holds.
fn check(claims: &[Option<Claim>], held: &mut Vec<bool>, rng: &mut impl CryptoRng) {
    let good: Vec<_> = claims.iter().flatten().collect();
    if all_hold(&good, rng) {
        held.extend(claims.iter().map(Option::is_some));
    } else if claims.len() <= FEW {
        held.extend(claims.iter().map(|claim| claim.as_ref().is_some_and(Claim::holds)));
    } else {
        let (first, second) = claims.split_at(claims.len() / 2);
        check(first, held, rng);
        check(second, held, rng);
    }
}
