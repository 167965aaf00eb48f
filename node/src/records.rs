//! What members write in spaces, read: the values of records, as their writers sealed them.
//!
//! Who wrote a record is known, and that he is a member. What it says may be anything.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use waxwing_crypto::space::{KeyName, Stands};
use waxwing_crypto::{NodeId, Timestamp};
use waxwing_protocol::{StoreId, limits};

use crate::spaces::Entry;
use crate::{claims, leases, presence, state, topics};

/// Deepest nesting that is followed: metadata, in what it is of. The decoder's own limit of 1,024 is enough to overflow the stack of
/// a thread where the build is not optimised, and then the process ends.
const MAX_DEPTH: usize = limits::META_DEPTH + 8;

/// Reads a record's value. None for what is not of this version, or nothing that a node writes.
pub(crate) fn decode<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(value);
    reader.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut reader).ok()
}

/// All that a node can read in a record with this key and value, however it stands: what it is taken for, and that written
/// again as a node writes it. For whoever tries any bytes.
pub fn readings(key: &KeyName, value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let value = Bytes::copy_from_slice(value);
    let every = [Stands::Shared, Stands::Own, Stands::Appended];
    let entries = every.map(|stands| [None, Some(0)].map(|bound| entry(key, stands, bound, &value)));
    let mut found: Vec<_> = entries
        .iter()
        .flatten()
        .flat_map(|entry| {
            [
                ("a claim that is done", claims::again(entry)),
                ("a lease", leases::again(entry)),
                ("who is there", presence::again(entry)),
                ("a value", state::again(entry)),
                ("a value of before", state::kept_again(entry)),
                ("a message of a topic", topics::message_again(entry)),
                ("a topic", topics::listing_again(entry)),
                ("what is subscribed to", topics::wanted_again(entry)),
            ]
        })
        .filter_map(|(what, written)| Some((what, written?.to_vec())))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// A record as a copy has it.
fn entry(key: &KeyName, stands: Stands, bound: Option<u64>, value: &Bytes) -> Entry {
    Entry {
        seq: 1,
        key: key.clone(),
        writer: NodeId::from_bytes([7; 16]),
        stands,
        version: 1,
        at: Timestamp::from_millis(1),
        expires: Some(Timestamp::from_millis(2)),
        bound,
        counter: 1,
        life: StoreId::from_bytes([1; 16]),
        app: None,
        value: value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_nothing_but_nesting_is_none_and_ends_no_thread() {
        let node = NodeId::from_bytes([7; 16]);
        for key in [
            "deploy".to_owned(),
            "topic:builds".to_owned(),
            "now:mesh/plan".to_owned(),
            format!("app:{node}/ci"),
        ] {
            for nest in [0x91, 0x81] {
                let value = [
                    b"\x82\xa5since\x01\xa7details\x81\xa4meta\x81\xa1a".as_slice(),
                    &vec![nest; 900],
                    b"\xc0",
                ];
                assert_eq!(readings(&key.parse().unwrap(), &value.concat()), Vec::new(), "{key}");
            }
        }
    }

    #[test]
    fn what_an_app_says_of_itself_is_taken_as_deep_as_it_may_say_it_and_no_deeper() {
        let key: KeyName = format!("app:{}/ci", NodeId::from_bytes([7; 16])).parse().unwrap();
        let says = |levels: usize| {
            let lists = vec![0x91; levels - 1];
            [b"\x82\xa5since\x01\xa7details\x81\xa4meta\x81\xa1a", &lists[..], b"\x01"].concat()
        };
        for levels in [1, limits::META_DEPTH] {
            assert!(!readings(&key, &says(levels)).is_empty(), "{levels}");
        }
        assert!(readings(&key, &says(limits::META_DEPTH + 1)).is_empty());
    }
}
