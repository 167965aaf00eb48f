//! Signatures that are checked many at once: with the cofactor, so that one by one and all at once mean the same.
//!
//! [`VerifyingKey::verify`] asks for `s B = R + h A`. Many such equations are checked as one by adding them up, each times a
//! random number; but points of small order that are wrong in two of them can cancel out, so that a sum without the cofactor
//! would hold for some verifiers and not for others. Therefore what is to be checked many at once is always checked for
//! `8 s B = 8 R + 8 h A` (RFC 8032, 5.1.7), which the sum decides as the single one does, but for a chance of 2^-128.
//!
//! This accepts what strict verification refuses only if `R` or `A` has a part of small order, which needs the signer's own secret
//! key: nobody else can make another signature of one that there is, since `h` covers `R`. Everything else is as strict: `s`
//! is reduced, and neither `R` nor `A` is of small order (*Taming the many EdDSAs*, Chalkias, Garillot and Nikolaenko, SSR
//! 2020, algorithm 2). With that nobody can sign with an `R` in a second encoding: nobody knows the secret of such a point.

use std::collections::BTreeMap;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::VartimeMultiscalarMul as _;
use rand_core::CryptoRng;
use sha2::{Digest as _, Sha512};

use crate::keys::{Purpose, Signature, VerifyingKey};

/// One equation: that a key has signed some bytes.
pub(crate) struct Claim {
    key: VerifyingKey,
    nonce: EdwardsPoint,
    s: Scalar,
    /// `h` before it is reduced: covers nonce, key, purpose and bytes.
    hash: [u8; 64],
}

impl Claim {
    /// The equation to check. None for a signature that is none, whatever it is of.
    pub(crate) fn new(
        key: &VerifyingKey,
        purpose: Purpose,
        bytes: &[u8],
        signature: &Signature,
    ) -> Option<Self> {
        let (nonce, s) = signature.as_bytes().split_first_chunk::<32>()?;
        let s = Option::from(Scalar::from_canonical_bytes(s.try_into().ok()?))?;
        let point = CompressedEdwardsY(*nonce).decompress()?;
        if point.is_small_order() {
            return None;
        }
        let hash = Sha512::new_with_prefix(nonce)
            .chain_update(key.as_bytes())
            .chain_update(purpose.domain())
            .chain_update(bytes)
            .finalize();
        Some(Self { key: *key, nonce: point, s, hash: hash.into() })
    }

    fn h(&self) -> Scalar {
        Scalar::from_bytes_mod_order_wide(&self.hash)
    }

    /// Whether it holds.
    pub(crate) fn holds(&self) -> bool {
        let key = -self.key.point();
        let nonce = EdwardsPoint::vartime_double_scalar_mul_basepoint(&self.h(), &key, &self.s);
        (nonce - self.nonce).is_small_order()
    }
}

/// Whether all of them hold. The random numbers follow from the random source and from all that is checked: where the source
/// repeats or is known to somebody, it still takes him 2^128 hashes to find signatures that cancel out.
pub(crate) fn all_hold(claims: &[&Claim], rng: &mut impl CryptoRng) -> bool {
    let mut factors = Factors::new(claims, rng);
    let (mut base, mut keys) = (Scalar::ZERO, BTreeMap::new());
    let mut scalars = Vec::with_capacity(2 * claims.len() + 1);
    let mut points = Vec::with_capacity(2 * claims.len() + 1);
    for claim in claims {
        let factor = factors.next();
        base += factor * claim.s;
        let (_, sum) = keys.entry(claim.key.as_bytes()).or_insert((claim.key.point(), Scalar::ZERO));
        *sum += factor * claim.h();
        scalars.push(-factor);
        points.push(claim.nonce);
    }
    for (point, sum) in keys.into_values() {
        scalars.push(-sum);
        points.push(point);
    }
    scalars.push(base);
    points.push(ED25519_BASEPOINT_POINT);
    EdwardsPoint::vartime_multiscalar_mul(&scalars, &points).is_small_order()
}

/// A number below 2^128 for each claim: blocks of SHA-512 over a seed and a counter, four numbers in each.
struct Factors {
    seed: [u8; 64],
    block: [u8; 64],
    taken: u64,
}

impl Factors {
    fn new(claims: &[&Claim], rng: &mut impl CryptoRng) -> Self {
        let mut random = [0; 32];
        rng.fill_bytes(&mut random);
        let mut seed = Sha512::new_with_prefix(b"waxwing batch v1\0").chain_update(random);
        for claim in claims {
            seed.update(claim.hash);
            seed.update(claim.s.as_bytes());
        }
        Self { seed: seed.finalize().into(), block: [0; 64], taken: 0 }
    }

    fn next(&mut self) -> Scalar {
        let (block, part) = (self.taken / 4, (self.taken % 4) as usize);
        if part == 0 {
            let hash = Sha512::new_with_prefix(self.seed).chain_update(block.to_be_bytes());
            self.block = hash.finalize().into();
        }
        self.taken += 1;
        let mut number = [0; 16];
        number.copy_from_slice(&self.block[part * 16..][..16]);
        Scalar::from(u128::from_le_bytes(number))
    }
}

#[cfg(test)]
mod tests {
    use getrandom::SysRng;
    use getrandom::rand_core::UnwrapErr;

    use super::*;
    use crate::keys::SigningKey;

    fn claims(count: u8) -> Vec<Claim> {
        let claim = |n: u8| {
            // Some keys more than once.
            let key = SigningKey::from_seed(&[n % 3; 32]);
            let signature = key.sign(Purpose::Record, &[n]);
            Claim::new(&key.public(), Purpose::Record, &[n], &signature).unwrap()
        };
        (0..count).map(claim).collect()
    }

    fn hold(claims: &[Claim]) -> bool {
        all_hold(&claims.iter().collect::<Vec<_>>(), &mut UnwrapErr(SysRng))
    }

    #[test]
    fn good_signatures_hold_at_once_however_many_there_are() {
        for count in [0, 1, 2, 5, 21] {
            assert!(hold(&claims(count)), "{count}");
        }
    }

    #[test]
    fn each_factor_is_a_quarter_of_a_hash_that_no_other_factor_is_of() {
        let claims = claims(2);
        let mut factors = Factors::new(&claims.iter().collect::<Vec<_>>(), &mut UnwrapErr(SysRng));
        for block in 0..3_u64 {
            let hash = Sha512::new_with_prefix(factors.seed).chain_update(block.to_be_bytes()).finalize();
            for quarter in hash.chunks(16) {
                let number = u128::from_le_bytes(quarter.try_into().unwrap());
                assert_eq!(factors.next(), Scalar::from(number), "block {block}");
            }
        }
    }

    #[test]
    fn a_wrong_signature_does_not_hold_among_any_others_and_two_do_not_cancel_out() {
        for wrong in [0, 3, 4, 20] {
            let mut claims = claims(21);
            claims[wrong].s += Scalar::ONE;
            assert!(!claims[wrong].holds() && !hold(&claims), "{wrong}");
            // Their sum is what that of the good ones is, where both count the same.
            let other = (wrong + 7) % 21;
            claims[other].s -= Scalar::ONE;
            assert!(!hold(&claims), "{wrong} and {other}");
        }
    }
}
