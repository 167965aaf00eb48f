//! What a broker or a node alone reads: their configuration, and what members write in spaces. As in targets/: no bytes make a
//! panic, and what is read means the same when it is written and read again. Run in every test run by tests/e2e/corpus.rs.

use std::path::Path;

use waxwing_node::records::readings;

/// A target: any bytes.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 3] =
    [("broker_config", broker_config), ("node_config", node_config), ("node_record", node_record)];

/// An operator's file for a broker.
pub fn broker_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let config = match waxwing_broker::Config::parse(text) {
        Ok(config) => config,
        Err(error) => return assert!(error.to_string().starts_with("line "), "{error}"),
    };
    let _ = (config.check(), config.store().to_string());
    let Ok(written) = serde_json::to_value(&config) else { return };
    let again =
        serde_json::from_value::<waxwing_broker::Config>(written.clone()).and_then(serde_json::to_value);
    assert!(again.as_ref().is_ok_and(|again| *again == written), "{written}: {again:?}");
}

/// A user's file for a node.
pub fn node_config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(config) = waxwing_node::Config::parse(Path::new("/state"), text) else { return };
    assert_eq!(config.values().len(), waxwing_node::SETTINGS.len());
    assert!(config.listen.is_none_or(|listen| listen.ip().is_loopback()));
    assert!(config.hooks.values().all(|hook| hook.is_absolute()));
}

/// What a member writes in a space: a key, a line's end, and a value. What it is read as, it is read as again.
pub fn node_record(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let Ok(Ok(key)) = std::str::from_utf8(&bytes[..end]).map(str::parse) else { return };
    for (what, written) in readings(&key, bytes.get(end + 1..).unwrap_or_default()) {
        let again = readings(&key, &written);
        assert!(again.iter().any(|(said, again)| *said == what && *again == written), "{what}: {written:x?}");
    }
}
