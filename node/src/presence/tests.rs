use waxwing_protocol::StoreId;
use waxwing_protocol::api::{Activity, EventKind};

use super::*;
use crate::mesh::tests::alone;
use crate::store;

const PEER: NodeId = NodeId::from_bytes([7; 16]);

#[tokio::test]
async fn a_profile_is_kept_and_what_a_request_leaves_out_stays() {
    let (_folder, mesh) = alone().await;
    assert!(mesh.presence.profile().visible);
    let summary = |text: &str| ProfileRequest { summary: Some(text.to_owned()), ..ProfileRequest::default() };
    mesh.set_profile(&ProfileRequest { status: Some(Activity::Dnd), ..summary("a secret plan") })
        .await
        .unwrap();
    mesh.set_profile(&ProfileRequest { visible: Some(false), ..ProfileRequest::default() }).await.unwrap();
    let again = Presence::load(&mesh.db, &mesh.keys).await.unwrap().profile();
    assert_eq!(again, mesh.presence.profile());
    assert_eq!((again.visible, again.profile.status), (false, Some(Activity::Dnd)));
    assert_eq!(again.profile.summary.as_deref(), Some("a secret plan"));
    let sealed = store::meta::bytes(&mesh.db, store::meta::PROFILE).await.unwrap().unwrap();
    assert!(!sealed.windows(6).any(|window| window == b"secret"), "it is encrypted on the disk");
    mesh.set_profile(&summary("")).await.unwrap();
    assert_eq!(mesh.presence.profile().profile.summary, None, "an empty text takes away");
}

#[tokio::test]
async fn what_apps_were_told_is_kept_with_the_events_that_tell_it() {
    let (_folder, mesh) = alone().await;
    let at = Timestamp::from_millis(7);
    let which = Which { name: "ci".parse().unwrap(), instance: Some("one".parse().unwrap()) };
    let (node, app) = (Who::node(PEER), Who::app(PEER, which));
    let row = |who: &Who, online| Row { who: who.clone(), online, at };
    let told = || {
        vec![NewEvent { app: None, body: EventBody::PeerJoin { node: "beta".parse().unwrap(), id: PEER } }]
    };
    let store_id = Some(StoreId::from_bytes([3; 16]));
    mesh.writer.presence(vec![row(&node, true), row(&app, true)], told(), store_id).await.unwrap();
    let kept = Presence::load(&mesh.db, &mesh.keys).await.unwrap();
    assert_eq!(kept.seen(PEER).since, Some(at));
    kept.with(|state| assert!(state.tracker.there().contains_key(&app)));
    let events = store::events::list(&mesh.db, 0, None, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.body.kind()).collect::<Vec<_>>(), [EventKind::PeerJoin]);
    mesh.writer.presence(vec![row(&node, false), row(&app, false)], told(), store_id).await.unwrap();
    let kept = Presence::load(&mesh.db, &mesh.keys).await.unwrap();
    assert_eq!((kept.seen(PEER).since, kept.seen(PEER).last_seen), (None, Some(at)));
    assert_eq!(table::all(&mesh.db).await.unwrap().len(), 1, "of an app that is gone nothing is kept");
    assert_eq!(table::store(&mesh.db).await.unwrap(), store_id);
    let many = (0..300).map(|n| Which { name: format!("app-{n}").parse().unwrap(), instance: None });
    let many: Vec<Who> = many.map(|which| Who::app(PEER, which)).collect();
    let rows = |online| many.iter().map(|who| row(who, online)).collect::<Vec<_>>();
    mesh.writer.presence(rows(true), told(), store_id).await.unwrap();
    assert_eq!(table::all(&mesh.db).await.unwrap().len(), 301);
    mesh.writer.presence(rows(false), told(), store_id).await.unwrap();
    assert_eq!(table::all(&mesh.db).await.unwrap().len(), 1);
}
