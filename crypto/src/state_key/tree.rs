//! A Merkle tree over a list's slots: hashed as in RFC 9162, 2.1, so that a slot can be shown to be in a list with a
//! hash per level, without the others.

use sha2::{Digest as _, Sha256};

use crate::id::Digest;

/// Every level of a tree, the leaves first and the root last. Not empty.
pub(super) struct Tree(Vec<Vec<Digest>>);

impl Tree {
    /// The tree over these leaves, of which there is at least one.
    pub(super) fn new(leaves: Vec<Digest>) -> Self {
        let mut levels = vec![leaves];
        while let Some(last) = levels.last().filter(|level| level.len() > 1) {
            // One that is left over goes up as it is.
            let pair = |pair: &[Digest]| match pair {
                [left, right] => node(left, right),
                rest => rest[0],
            };
            let next = last.chunks(2).map(pair).collect();
            levels.push(next);
        }
        Self(levels)
    }

    pub(super) fn root(&self) -> Digest {
        self.0[self.0.len() - 1][0]
    }

    /// The hashes beside the way from a leaf to the root, lowest first.
    pub(super) fn path(&self, mut at: usize) -> Vec<Digest> {
        let mut path = Vec::new();
        for level in &self.0 {
            // The last of an odd level, and the root, have nothing beside them.
            path.extend(level.get(at ^ 1));
            at >>= 1;
        }
        path
    }
}

/// The root that a leaf at this place of a tree of so many leaves leads to, if the path has the right length
/// (RFC 9162, 2.1.3.2).
pub(super) fn climb(leaf: Digest, at: u64, leaves: u64, path: &[Digest]) -> Option<Digest> {
    let (mut at, mut last) = (at, leaves.checked_sub(1)?);
    if at > last {
        return None;
    }
    let mut hash = leaf;
    for beside in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            hash = node(beside, &hash);
            while at & 1 == 0 && at != 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(hash)
}

/// The hash of a leaf: the parts one after another, behind what keeps it apart from a node.
pub(super) fn leaf(parts: &[&[u8]]) -> Digest {
    let mut hash = Sha256::new_with_prefix([0]);
    for part in parts {
        hash.update(part);
    }
    Digest::from_bytes(hash.finalize().into())
}

fn node(left: &Digest, right: &Digest) -> Digest {
    let hash = Sha256::new_with_prefix([1]).chain_update(left.as_bytes()).chain_update(right.as_bytes());
    Digest::from_bytes(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count).map(|n| leaf(&[&n.to_be_bytes()])).collect()
    }

    /// As RFC 9162, 2.1.1 defines it.
    fn defined(leaves: &[Digest]) -> Digest {
        match leaves {
            [one] => *one,
            more => {
                let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
                node(&defined(left), &defined(right))
            }
        }
    }

    #[test]
    fn the_root_is_the_one_that_the_rfc_defines() {
        for count in 1..130 {
            assert_eq!(Tree::new(leaves(count)).root(), defined(&leaves(count)), "{count}");
        }
    }

    #[test]
    fn every_path_leads_to_the_root_and_only_from_its_own_place() {
        for count in 1..40 {
            let (leaves, tree) = (leaves(count), Tree::new(leaves(count)));
            for (at, own) in leaves.iter().enumerate() {
                let path = tree.path(at);
                for place in 0..count + 3 {
                    let led = climb(*own, place as u64, count as u64, &path);
                    assert_eq!(led == Some(tree.root()), place == at, "{at} of {count} at {place}");
                }
            }
        }
    }

    #[test]
    fn a_path_that_is_too_long_or_too_short_leads_nowhere() {
        let tree = Tree::new(leaves(7));
        let path = tree.path(3);
        let longer = [&path[..], &[leaf(&[])]].concat();
        assert_eq!(climb(leaves(7)[3], 3, 7, &path[..2]), None);
        assert_eq!(climb(leaves(7)[3], 3, 7, &longer), None);
        assert_eq!(climb(leaves(7)[3], 3, 0, &[]), None);
    }

    /// The example tree of RFC 6962, 2.1.3, which RFC 9162 hashes alike.
    #[test]
    fn the_published_tree_has_its_published_root() {
        let entries = [
            "",
            "00",
            "10",
            "2021",
            "3031",
            "40414243",
            "5051525354555657",
            "606162636465666768696a6b6c6d6e6f",
        ];
        let entries = entries.map(|hex| data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap());
        let root =
            |count: usize| Tree::new(entries[..count].iter().map(|entry| leaf(&[entry])).collect()).root();
        let hex = |digest: Digest| data_encoding::HEXLOWER.encode(digest.as_bytes());
        assert_eq!(hex(root(1)), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        assert_eq!(hex(root(7)), "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c");
        assert_eq!(hex(root(8)), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }
}
