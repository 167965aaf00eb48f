use waxwing_crypto::membership::{Body, Update};
use waxwing_crypto::sealing::{Prekey, PrekeyId};
use waxwing_crypto::{Signed, SigningKey, Timestamp};
use waxwing_protocol::limits;
use waxwing_protocol::link::{Code, ErrorFrame, PeerPrekey, PrekeyGet, PrekeyPut, ToBroker, ToNode};

use crate::harness::{Broker, Keys, Link, Mesh, rng};

fn mint(keys: &Keys, signing: &SigningKey, id: u64) -> Signed {
    let last = Some(PrekeyId::from_u64(id - 1));
    Prekey::mint(&mut rng(), signing, keys.id(), last, Timestamp::default()).unwrap().0
}

async fn put(link: &mut Link, prekey: &Signed) -> Result<(), ErrorFrame> {
    let req = link.next_req();
    link.transmit(&ToBroker::PrekeyPut(PrekeyPut { req, prekey: prekey.clone() })).await;
    link.wait_for(|frame| match frame {
        ToNode::Done(done) if done.req == req => Some(Ok(())),
        ToNode::Error(error) if error.req == Some(req) => Some(Err(error.clone())),
        _ => None,
    })
    .await
}

async fn get(link: &mut Link, nodes: &[&Keys]) -> Vec<PeerPrekey> {
    let req = link.next_req();
    let nodes = nodes.iter().map(|keys| keys.id()).collect();
    link.transmit(&ToBroker::PrekeyGet(PrekeyGet { req, nodes })).await;
    link.wait_for(|frame| match frame {
        ToNode::Prekeys(prekeys) if prekeys.req == req => Some(prekeys.prekeys.clone()),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn the_newest_of_each_member_is_kept() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    let (old, new) = (mint(&alpha, &alpha.signing, 5), mint(&alpha, &alpha.signing, 6));
    put(&mut link, &new).await.unwrap();
    put(&mut link, &old).await.unwrap();
    let broker = broker.restart().await;
    let mut other = mesh.login(&broker, &beta).await;
    let got = get(&mut other, &[&beta, &alpha, &beta]).await;
    assert_eq!(got.iter().map(|peer| peer.node).collect::<Vec<_>>(), [beta.id(), alpha.id(), beta.id()]);
    assert_eq!(got.into_iter().map(|peer| peer.prekey).collect::<Vec<_>>(), [None, Some(new), None]);
}

#[tokio::test]
async fn a_prekey_that_is_not_the_nodes_own_is_refused() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    let malformed = Signed::new(&alpha.signing, waxwing_crypto::Purpose::Prekey, b"prekey".to_vec());
    let long = Signed::new(&alpha.signing, waxwing_crypto::Purpose::Prekey, vec![0; Prekey::MAX + 1]);
    for (bad, code) in [
        (mint(&alpha, &beta.signing, 1), Code::NotAllowed),
        (mint(&beta, &beta.signing, 1), Code::NotAllowed),
        (mint(&beta, &alpha.signing, 1), Code::BadFrame),
        (malformed, Code::BadFrame),
        (long, Code::BadFrame),
    ] {
        assert_eq!(put(&mut link, &bad).await.unwrap_err().code, code);
    }
    assert_eq!(get(&mut link, &[&alpha]).await[0].prekey, None);
}

#[tokio::test]
async fn a_request_names_a_bounded_number_of_members() {
    let broker = Broker::start().await;
    let (mesh, alpha, _) = Mesh::with_two(&broker).await;
    let mut link = mesh.login(&broker, &alpha).await;
    for count in [0, limits::PREKEY_PAGE + 1] {
        link.transmit(&ToBroker::PrekeyGet(PrekeyGet { req: 9, nodes: vec![alpha.id(); count] })).await;
        let error = link.error().await;
        assert_eq!((error.req, error.code), (Some(9), Code::BadFrame));
    }
    let all = vec![&alpha; limits::PREKEY_PAGE];
    assert_eq!(get(&mut link, &all).await.len(), limits::PREKEY_PAGE);
}

#[tokio::test]
async fn a_new_signing_key_ends_the_prekeys_of_the_old() {
    let broker = Broker::start().await;
    let (mut mesh, alpha, beta) = Mesh::with_two(&broker).await;
    put(&mut mesh.login(&broker, &alpha).await, &mint(&alpha, &alpha.signing, 5)).await.unwrap();
    let new = SigningKey::generate(&mut rng());
    let update = Update { node: alpha.id(), signing: Some(new.public()), sealing: None, host: None };
    mesh.commit(&broker, mesh.entry(Body::Update(update), &[&alpha.signing, &new])).await;
    assert_eq!(get(&mut mesh.login(&broker, &beta).await, &[&alpha]).await[0].prekey, None);
}
