//! Memory that the machine has really got.

use std::hint::black_box;

/// Bytes written at once.
const PIECE: usize = 64 * 1024 * 1024;
/// Most that are written: what a few minutes of files in memory come to.
const MOST: u64 = 8 * 1024 * 1024 * 1024;

/// Writes to half of the memory that is free, 8 GiB at most, and gives it back. Says how many bytes it were.
///
/// A virtual machine's host gives it a page when it first uses it, which takes longer than writing a message does (3 µs for 4 KiB
/// were seen). Whoever writes most files would be measured by that, and in the first rounds alone.
pub(crate) fn touch() -> u64 {
    let free = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| free(&text)).unwrap_or_default();
    let pieces = (free / 2).min(MOST) / PIECE as u64;
    let held: Vec<Vec<u8>> = (0..pieces).map(|_| black_box(vec![1; PIECE])).collect();
    held.len() as u64 * PIECE as u64
}

/// What nobody uses, in bytes.
fn free(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemFree:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_free_is_read_in_kib() {
        let text = "MemTotal:       24684092 kB\nMemFree:        23356396 kB\nMemAvailable:   24134768 kB\n";
        assert_eq!(super::free(text), Some(23_356_396 * 1024));
        assert_eq!((super::free("MemFree: much kB"), super::free("")), (None, None));
    }
}
