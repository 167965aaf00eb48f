use waxwing_protocol::link::Outcome;

use crate::harness::{Broker, Mesh, delivered, envelopes, item};

#[tokio::test]
async fn an_item_is_accepted_delivered_settled_and_its_sender_told() {
    let broker = Broker::start().await;
    let (mesh, alpha, beta) = Mesh::with_two(&broker).await;
    let mut from = mesh.login(&broker, &alpha).await;
    let mut to = mesh.login(&broker, &beta).await;
    let sent = item(&broker.clock, &beta, 1);
    assert!(matches!(
        from.send_one(sent.clone()).await,
        Outcome::Accepted { .. }
    ));
    let got = to.envelope().await;
    assert_eq!(
        (got.from, got.id, got.exp, &got.env),
        (alpha.id(), sent.id, sent.exp, &sent.env)
    );
    let items = [waxwing_protocol::link::Delivery::Envelope(got)];
    assert_eq!(envelopes(&items).len(), 1);
    to.receipt(&items).await;
    let notice = from.notice().await;
    assert_eq!((notice.id, notice.kind), (sent.id, delivered(sent.id)));
    broker.stop().await;
}
