//! X25519 points that make every shared secret zero (RFC 7748, 6.1). X-Wing leaves it to its user whether to refuse
//! them. We do: with one, a session would rest on ML-KEM alone.

/// The points of low order on the curve and its twist, with every encoding that 255 bits allow, little endian.
const LOW_ORDER: [[u8; 32]; 7] = [
    one_then(0x00, 0x00, 0x00),
    one_then(0x01, 0x00, 0x00),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda,
        0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04,
        0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    // The prime less one, the prime, and the prime plus one.
    one_then(0xec, 0xff, 0x7f),
    one_then(0xed, 0xff, 0x7f),
    one_then(0xee, 0xff, 0x7f),
];

const fn one_then(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut point = [middle; 32];
    point[0] = first;
    point[31] = last;
    point
}

/// Whether an X25519 point contributes to shared secrets: has 32 bytes, and is none of low order. The top bit does not
/// count (RFC 7748, 5).
pub(crate) fn contributes(point: &[u8]) -> bool {
    let Ok(mut point) = <[u8; 32]>::try_from(point) else {
        return false;
    };
    point[31] &= 0x7f;
    !LOW_ORDER.contains(&point)
}

#[cfg(test)]
mod tests {
    use x25519_dalek::x25519;

    use super::*;

    const ZERO: [u8; 32] = [0; 32];

    #[test]
    fn points_of_low_order_are_those_that_make_every_secret_zero() {
        for point in LOW_ORDER {
            for top in [0, 0x80] {
                let mut point = point;
                point[31] |= top;
                assert!(!contributes(&point), "{point:02x?}");
                for secret in [[1; 32], [0x55; 32], [0xff; 32]] {
                    assert_eq!(x25519(secret, point), ZERO, "{point:02x?}");
                }
            }
        }
    }

    #[test]
    fn all_small_and_all_non_canonical_points_are_judged_as_x25519_does() {
        for last in [0x00, 0x7f, 0x80, 0xff] {
            for first in 0..=255 {
                for middle in [0x00, 0xff] {
                    let point = one_then(first, middle, last);
                    assert_eq!(contributes(&point), x25519([9; 32], point) != ZERO, "{point:02x?}");
                }
            }
        }
    }

    #[test]
    fn a_point_has_32_bytes() {
        assert!(
            contributes(&[9; 32]) && !contributes(&[9; 31]) && !contributes(&[9; 33]) && !contributes(&[])
        );
    }
}
