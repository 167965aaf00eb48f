//! What apps post.

use serde::Serialize;
use serde::de::DeserializeOwned;
use waxwing_protocol::api;

use super::Target;

/// What an app posts to its node: each body of the local API. What is read means the same when it is written and read again.
pub fn api(bytes: &[u8]) {
    for body in BODIES {
        body(bytes);
    }
}

fn body<T: DeserializeOwned + Serialize>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return };
    let Ok(written) = serde_json::to_value(&read) else { return };
    let again = serde_json::from_value::<T>(written.clone()).and_then(serde_json::to_value);
    assert!(again.is_ok_and(|again| again == written), "{written}");
}

/// Every body that is parsed of what an app has written.
const BODIES: [Target; 36] = [
    body::<api::AbandonRequest>,
    body::<api::AbortRequest>,
    body::<api::AckRequest>,
    body::<api::AcquireRequest>,
    body::<api::BatchRequest>,
    body::<api::BrokerRequest>,
    body::<api::CallRequest>,
    body::<api::CancelRequest>,
    body::<api::ClaimRequest>,
    body::<api::CompleteRequest>,
    body::<api::CreateRequest>,
    body::<api::GrantRequest>,
    body::<api::InviteRequest>,
    body::<api::JoinRequest>,
    body::<api::KvPut>,
    body::<api::LeaveRequest>,
    body::<api::PeerRequest>,
    body::<api::ProfileRequest>,
    body::<api::PublishRequest>,
    body::<api::RecoverRequest>,
    body::<api::Registration>,
    body::<api::ReleaseRequest>,
    body::<api::RenewRequest>,
    body::<api::ReplyRequest>,
    body::<api::RequeueRequest>,
    body::<api::ResumeRequest>,
    body::<api::RetentionRequest>,
    body::<api::RevokeInviteRequest>,
    body::<api::RevokeLeaseRequest>,
    body::<api::RevokeRequest>,
    body::<api::RotateRequest>,
    body::<api::SendRequest>,
    body::<api::SubscribeRequest>,
    body::<api::TokenRequest>,
    body::<api::TopicAckRequest>,
    body::<api::UnsubscribeRequest>,
];
