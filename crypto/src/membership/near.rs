//! Names that somebody may have meant: for `unknown_recipient`, and for people who mistype.

use crate::id::Name;

/// Most names suggested.
const MOST: usize = 3;

/// The names nearest to `wanted`, nearest first and then in their own order: at most three, and none that differs in
/// more than a third of the longer one's letters, rounded up: two swapped letters of five count as two.
pub(super) fn names_like<'a>(wanted: &str, names: impl Iterator<Item = &'a Name>) -> Vec<Name> {
    // Nothing longer than a name and a half can be near one, and the cost grows with the length.
    if wanted.len() > Name::MAX + Name::MAX / 2 {
        return Vec::new();
    }
    let wanted = wanted.to_ascii_lowercase();
    let mut near: Vec<(usize, &Name)> = names
        .filter_map(|name| {
            let most = wanted.len().max(name.as_str().len()).div_ceil(3);
            let apart = wanted.len().abs_diff(name.as_str().len());
            // The difference in length is a lower bound, and spares most of the work.
            let distance =
                if apart > most { apart } else { distance(wanted.as_bytes(), name.as_str().as_bytes()) };
            (distance <= most).then_some((distance, name))
        })
        .collect();
    near.sort_unstable();
    near.into_iter().take(MOST).map(|(_, name)| name.clone()).collect()
}

/// Levenshtein distance in bytes: the fewest insertions, removals and replacements that turn one into the other.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(wanted: &str, names: &[&str]) -> Vec<String> {
        let names: Vec<Name> = names.iter().map(|name| name.parse().unwrap()).collect();
        names_like(wanted, names.iter()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_distance_counts_insertions_removals_and_replacements() {
        for (a, b, expected) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("alpha", "alhpa", 2)]
        {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
        }
    }

    #[test]
    fn at_most_three_nearest_names_are_suggested_nearest_first() {
        let names = ["alpha", "alpha-1", "alpha-2", "beta", "alphas", "gamma"];
        assert_eq!(like("alpah", &names), ["alpha", "alphas", "alpha-1"]);
        assert_eq!(like("alpha-3", &names), ["alpha-1", "alpha-2", "alpha"]);
        assert_eq!(like("Alpha", &names), ["alpha", "alphas", "alpha-1"]);
        assert_eq!(like("b", &["a", "c", "d", "e"]), ["a", "c", "d"]);
        assert!(like("omega-prime", &names).is_empty());
        assert!(like(&"a".repeat(200), &names).is_empty());
        assert!(like("", &["ab"]).is_empty());
    }

    #[test]
    fn nothing_longer_than_a_name_and_a_half_is_near_one() {
        let longest = "a".repeat(Name::MAX);
        let most = Name::MAX + Name::MAX / 2;
        assert_eq!(like(&"a".repeat(most), &[&longest]), [longest.as_str()]);
        assert!(like(&"a".repeat(most + 1), &[&longest]).is_empty());
    }
}
