//! What people paste and name.

use waxwing_crypto::membership::{InviteToken, RecoverySecret};
use waxwing_crypto::space::{KeyName, SpaceName};
use waxwing_crypto::{AccessToken, ClientMessageId, CreationToken, MeshId, Name, NodeId, WireId};
use waxwing_protocol::{Address, BrokerUrl, RegistrationId, TopicName, TopicPattern};

/// What a person pastes: an invite token, recovery words, a name, an id.
pub fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(token) = text.parse::<InviteToken>() {
        let again: Result<InviteToken, _> = token.reveal().parse();
        assert!(again.is_ok_and(|again| *again.reveal() == *token.reveal()));
    }
    if let Ok(secret) = text.parse::<RecoverySecret>() {
        let again: Result<RecoverySecret, _> = secret.reveal_words().parse();
        assert!(again.is_ok_and(|again| *again.reveal_words() == *secret.reveal_words()));
    }
    same::<Name>(text);
    same::<ClientMessageId>(text);
    same::<NodeId>(text);
    same::<MeshId>(text);
    same::<WireId>(text);
}

/// What a person or an app names: an address, a broker, a topic, a token, a space and a key.
pub fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    again::<Address>(text);
    again::<BrokerUrl>(text);
    again::<TopicName>(text);
    again::<TopicPattern>(text);
    again::<SpaceName>(text);
    again::<KeyName>(text);
    let _ = text.parse::<AccessToken>();
    let _ = text.parse::<CreationToken>();
    let _ = text.parse::<RegistrationId>();
}

/// What is read is the same when it is written and read again.
fn again<T: std::str::FromStr + ToString + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        assert!(written.parse::<T>().is_ok_and(|again| again == value), "{written}");
    }
}

/// What is read is the same when it is written and read again, and is written in one way whatever case it came in.
fn same<T: std::str::FromStr + ToString + PartialEq>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        assert!(written.eq_ignore_ascii_case(text), "{written}");
        assert!(written.parse::<T>().is_ok_and(|again| again == value), "{written}");
    }
}
