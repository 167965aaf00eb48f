//! What comes over a link: frames, and what a stranger signs.

use std::fmt::Debug;

use waxwing_protocol::link::{
    DecodeError, Frame, Hello, ToBroker, ToBrokerLogin, ToNode, ToNodeLogin, decode, encode,
};

use super::golden::{key, unsigned};

/// A frame from a node, after login.
pub fn to_broker(bytes: &[u8]) {
    frame::<ToBroker>(bytes);
}

/// A frame from a broker, after login.
pub fn to_node(bytes: &[u8]) {
    frame::<ToNode>(bytes);
}

/// A frame from somebody who has not logged in.
pub fn to_broker_login(bytes: &[u8]) {
    frame::<ToBrokerLogin>(bytes);
}

/// A frame from a broker, before login.
pub fn to_node_login(bytes: &[u8]) {
    frame::<ToNodeLogin>(bytes);
}

fn frame<F: Frame + Debug + PartialEq>(bytes: &[u8]) {
    let Ok(frame) = decode::<F>(bytes) else { return };
    match encode(&frame) {
        Ok(again) => assert_eq!(decode::<F>(&again).as_ref(), Ok(&frame)),
        // Fields that may be left out are written.
        Err(err) => assert_eq!(err, DecodeError::TooLarge),
    }
}

/// What a stranger signs. Nobody has checked the signature yet when it is looked into.
pub fn hello(bytes: &[u8]) {
    let signed = unsigned(bytes);
    let Ok(hello) = Hello::peek(&signed) else { return };
    let _ = (hello.nonce(), hello.url(), hello.mesh());
    assert!(Hello::verify(&signed, &key(1).public()).is_err());
    if let Ok(again) = hello.sign(&key(1)) {
        assert_eq!(Hello::peek(&again).as_ref(), Ok(&hello));
        assert!(Hello::verify(&again, &key(1).public()).is_ok());
    }
}
