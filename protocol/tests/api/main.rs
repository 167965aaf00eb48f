//! The JSON of the local API: every type as it is documented to look, both ways.
#![expect(clippy::unwrap_used, reason = "a test's setup may panic")]

mod mail;
mod node;
mod people;

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use waxwing_crypto::{Name, NodeId, Timestamp};
use waxwing_protocol::MessageId;

const NODE: NodeId = NodeId::from_bytes([0xa1; 16]);
const NODE_TEXT: &str = "ugq2dinbugq2dinbugq2dinbue";
const MESSAGE: MessageId = MessageId::from_bytes([0x70; 16]);
const MESSAGE_TEXT: &str = "70707070-7070-7070-7070-707070707070";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// The value looks like this, and this reads as the value.
fn looks<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &Value) {
    assert_eq!(&serde_json::to_value(value).unwrap(), json);
    assert_eq!(&serde_json::from_str::<T>(&json.to_string()).unwrap(), value);
}

/// A request with a field that nobody knows is refused: it may be a misspelt option.
fn refuses_unknown<T: DeserializeOwned + Debug>(json: &Value) {
    for (field, value) in [("colour", json!("red")), ("Mesh", Value::Null)] {
        let mut more = json.clone();
        more[field] = value;
        let refused = serde_json::from_value::<T>(more).unwrap_err().to_string();
        assert!(refused.contains("unknown field") && refused.contains(field), "{refused}");
    }
}

/// An answer may grow: whoever reads it passes over what he does not know.
fn ignores_unknown<T: DeserializeOwned + PartialEq + Debug>(value: &T, json: &Value) {
    let mut more = json.clone();
    more["colour"] = json!("red");
    assert_eq!(&serde_json::from_value::<T>(more).unwrap(), value);
}
