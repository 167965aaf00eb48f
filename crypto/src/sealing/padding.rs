//! Padmé padding (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs",
//! PoPETs 2019): a length keeps only its most significant bits, so sizes fall into few classes and grow by 12 % at most.

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Bytes of the length in front of the content.
const PREFIX: usize = 4;

/// The length of the class that `length` falls into.
fn padme(length: usize) -> usize {
    if length < 2 {
        return length;
    }
    let exponent = length.ilog2();
    let kept = exponent.ilog2() + 1;
    let mask = (1 << (exponent - kept.min(exponent))) - 1;
    (length + mask) & !mask
}

/// Content with its length in front and zeros behind, as long as its class.
pub(crate) fn pad(content: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = PREFIX + content.len();
    let mut padded = Zeroizing::new(Vec::with_capacity(padme(length) + 16));
    // Content is bounded at 512 KiB where messages are accepted.
    padded.extend_from_slice(&(content.len() as u32).to_be_bytes());
    padded.extend_from_slice(content);
    padded.resize(padme(length), 0);
    padded
}

/// The content of a padded plaintext.
///
/// # Errors
/// `Malformed` if the length is wrong, the class is not the content's, or the padding is not zero: one content has one
/// padded form.
pub(crate) fn unpad(padded: &[u8]) -> Result<&[u8]> {
    let malformed = Error::Malformed("padding");
    let (prefix, rest) = padded.split_first_chunk::<PREFIX>().ok_or(malformed)?;
    let length = u32::from_be_bytes(*prefix) as usize;
    let (content, zeros) = rest.split_at_checked(length).ok_or(malformed)?;
    let exact = padded.len() == padme(PREFIX + length) && zeros.iter().all(|byte| *byte == 0);
    if exact { Ok(content) } else { Err(malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fall_into_the_published_classes() {
        // From the definition: E = floor(log2 L), S = floor(log2 E) + 1, the last E - S bits become zero, rounding up.
        for (length, class) in [
            (0, 0),
            (1, 1),
            (2, 2),
            (8, 8),
            (9, 10),
            (100, 104),
            (1_000, 1_024),
            (1_025, 1_088),
            (65_537, 67_584),
        ] {
            assert_eq!(padme(length), class, "{length}");
        }
    }

    #[test]
    fn padding_costs_12_percent_at_most_and_never_shrinks() {
        for length in 0..70_000 {
            let padded = padme(length);
            assert!(padded >= length && padded as f64 <= length as f64 * 1.12 + 1.0, "{length} -> {padded}");
            assert_eq!(padme(padded), padded, "a class is its own class");
        }
    }

    #[test]
    fn only_the_one_padded_form_is_accepted() {
        let padded = pad(b"hello, world");
        assert_eq!(unpad(&padded).unwrap(), b"hello, world");
        for i in 0..padded.len() {
            let mut changed = padded.to_vec();
            changed[i] ^= 1;
            let content = unpad(&changed);
            assert!(content != Ok(b"hello, world"), "byte {i}");
        }
        let mut longer = padded.to_vec();
        longer.push(0);
        assert!(
            unpad(&longer).is_err() && unpad(&padded[..padded.len() - 1]).is_err() && unpad(&[]).is_err()
        );
    }
}
