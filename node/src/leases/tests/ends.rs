//! How what is held ends, and how it does not.

use super::*;

/// C-07.
#[tokio::test]
async fn ct_16_cb_06_what_a_registered_app_has_is_renewed_for_as_long_as_it_works() {
    let mates = Mates::of(2).await;
    let (ann, _) = mates.registers(0, "ann");
    let short = Want { ttl: Duration::from_secs(1), holder: ann, ..want("ann", NOT) };
    let token = mates.gets(0, short).await;
    let before = mates.commits();
    timeout(PATIENCE, async {
        while mates.commits() < before + 4 {
            mates.nodes[0].space.freshness().changed().await.unwrap();
        }
    })
    .await
    .expect("it is renewed");
    assert_eq!(mates.check(0, token).await, TokenState::Held, "twice its time is over");
    assert_eq!(mates.asks(1, want("bob", NOT)).await.unwrap().got, Got::Locked);
    assert_eq!(mates.told(0).await, []);
}

#[tokio::test]
async fn what_an_app_had_ends_with_its_registration_as_it_wanted() {
    let mates = Mates::of(2).await;
    for (name, on_disconnect, over) in [
        ("a", OnDisconnect::Release, true),
        ("b", OnDisconnect::Grace, true),
        ("c", OnDisconnect::Hold, false),
    ] {
        let (ann, id) = mates.registers(0, "ann");
        let key: KeyName = name.parse().unwrap();
        let token =
            mates.gets(0, Want { key: key.clone(), holder: ann, on_disconnect, ..want("ann", NOT) }).await;
        mates.nodes[0].mesh.apps.remove(&holder("ann").which, Some(&id)).unwrap();
        if over {
            mates.tells(0, LeaseNews::Lost, token, Some(LeaseEnd::Unregistered)).await;
        }
        let next =
            mates.asks(1, Want { key, ..want("bob", if over { LONG } else { NOT }) }).await.unwrap().got;
        assert_eq!(matches!(next, Got::Acquired { .. }), over, "{name}: {next:?}");
    }
}

#[tokio::test]
async fn mb_19_another_process_under_the_same_name_does_not_take_over_what_the_first_had() {
    let mates = Mates::of(1).await;
    let (ann, _) = mates.registers(0, "ann");
    let token = mates.gets(0, Want { holder: ann, ..want("ann", NOT) }).await;
    let claim = Claim { which: holder("ann").which, registration: None, takeover: true };
    let apps = &mates.nodes[0].mesh.apps;
    let (id, _) = apps.register(&claim, Some(LONG), &Default::default()).unwrap();
    mates.tells(0, LeaseNews::Lost, token, Some(LeaseEnd::Unregistered)).await;
    let second = apps.acting(holder("ann").which, Some(&id)).unwrap();
    assert!(mates.gets(0, Want { holder: second, ..want("ann", LONG) }).await > token);
}

/// C-08, S-13.
#[tokio::test]
async fn st_04_sb_03_a_holder_whose_node_has_died_is_followed_by_the_next() {
    let mut mates = Mates::of(2).await;
    let token = mates.gets(0, want("ann", NOT)).await;
    let node = mates.nodes[0].mesh.identity.node;
    mates.nodes[0].unlink().await;
    let (broker, space) = (mates.broker.clone(), mates.nodes[1].space.freshness());
    let next = mates.asks(1, want("bob", LONG));
    let dies = async {
        let mut space = space;
        space.wait_for(|now| now.place > token).await.unwrap();
        broker.does(|space| space.unbind(node, EndedBy::Lease));
    };
    let (next, ()) = tokio::join!(next, dies);
    assert!(matches!(next.unwrap().got, Got::Acquired { token: next, .. } if next > token));
    // Whoever was cut off learns it when he is back.
    assert_eq!(mates.check(0, token).await, TokenState::Unknown);
    let broker = mates.broker.clone();
    mates.nodes[0].link(&broker);
    mates.tells(0, LeaseNews::Lost, token, Some(LeaseEnd::Disconnected)).await;
}

#[tokio::test]
async fn what_ended_while_the_host_slept_is_not_held_again_because_the_broker_is_heard_again() {
    let mut mates = Mates::of(1).await;
    let released = Want { on_disconnect: OnDisconnect::Release, ..want("ann", NOT) };
    let token = mates.gets(0, released).await;
    let kept = Want { key: "kept".parse().unwrap(), on_disconnect: OnDisconnect::Hold, ..want("bob", NOT) };
    let kept = mates.gets(0, kept).await;
    // Nobody looks while it sleeps, and its node's lease ends.
    for task in mates.running.drain(..) {
        task.abort();
        let _ = task.await;
    }
    mates.nodes[0].unlink().await;
    let lease = mates.nodes[0].mesh.presence.lease();
    mates.nodes[0].mesh.presence.set_lease(Duration::ZERO);
    let broker = mates.broker.clone();
    mates.nodes[0].link(&broker);
    mates.nodes[0].mesh.presence.set_lease(lease);
    mates.run(0);
    mates.tells(0, LeaseNews::Lost, token, Some(LeaseEnd::Disconnected)).await;
    assert_eq!(mates.leases(0).counts(), Counts { held: 1, waiting: 0 }, "what is for its time is held");
    assert!(
        mates
            .leases(0)
            .renew(&mates.nodes[0].mesh, &holder("bob"), &"kept".parse().unwrap(), kept, None)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn after_a_loss_of_the_store_nobody_has_anything_and_all_are_told() {
    let mut mates = Mates::of(2).await;
    let hold = Want { on_disconnect: OnDisconnect::Hold, ..want("ann", NOT) };
    let token = mates.gets(0, hold).await;
    mates.becomes(1, token, TokenState::Held).await;
    for n in 0..2 {
        mates.nodes[n].unlink().await;
    }
    mates.broker.loses_all();
    let broker = mates.broker.clone();
    for n in 0..2 {
        mates.nodes[n].link(&broker);
    }
    mates.tells(0, LeaseNews::Lost, token, Some(LeaseEnd::StoreLost)).await;
    assert!(mates.gets(1, want("bob", LONG)).await > token, "tokens rise all the same");
}

#[tokio::test]
async fn a_node_that_was_restarted_has_what_it_had_if_its_app_comes_back() {
    let mates = Mates::of(2).await;
    let (ann, id) = mates.registers(0, "ann");
    let token = mates.gets(0, Want { holder: ann, ..want("ann", NOT) }).await;
    let lone = mates.gets(0, Want { key: "lone".parse().unwrap(), ..want("lone", NOT) }).await;
    let claim = Claim { which: holder("ann").which, registration: Some(id), takeover: false };
    let mates = mates.restarts(0).await;
    mates.nodes[0].mesh.apps.register(&claim, Some(LONG), &Default::default()).unwrap();
    mates.becomes(0, token, TokenState::Held).await;
    let ann = mates.nodes[0].mesh.apps.acting(claim.which, claim.registration.as_ref()).unwrap();
    let again = mates.asks(0, Want { holder: ann, ..want("ann", NOT) }).await.unwrap().got;
    assert!(matches!(again, Got::Extended { token: same, .. } if same == token), "{again:?}");
    let lone_again =
        mates.asks(0, Want { key: "lone".parse().unwrap(), ..want("lone", NOT) }).await.unwrap().got;
    assert!(matches!(lone_again, Got::Extended { token, .. } if token == lone), "{lone_again:?}");
}

#[tokio::test]
async fn whoever_goes_before_the_answer_has_nothing_and_blocks_nobody() {
    let mates = Mates::of(2).await;
    let token = mates.gets(0, want("ann", NOT)).await;
    let place = mates.commits();
    let gone = mates.leases(1).acquire(&mates.nodes[1].mesh, want("bob", LONG));
    let mut there = mates.nodes[1].space.freshness();
    tokio::select! {
        got = gone => panic!("{got:?}"),
        _ = there.wait_for(|now| now.place > place) => {}
    }
    mates.releases(0, "ann", token).await.unwrap();
    assert!(mates.gets(0, want("cid", LONG)).await > token);
    assert_eq!(mates.told(1).await, []);
}

#[tokio::test]
async fn without_a_link_nothing_is_granted_and_nobody_can_say() {
    let mut mates = Mates::of(1).await;
    let token = mates.gets(0, want("ann", NOT)).await;
    mates.nodes[0].unlink().await;
    assert_eq!(mates.check(0, token).await, TokenState::Unknown);
    let offline = || Denied::NotWritten(NotWritten::Offline);
    let other = Want { key: "other".parse().unwrap(), ..want("ann", NOT) };
    assert_eq!(mates.asks(0, other).await.unwrap_err(), offline());
    assert_eq!(mates.renews(0, "ann", token).await, Err(offline()));
    assert_eq!(mates.releases(0, "ann", token).await, Err(offline()));
}

#[tokio::test]
async fn who_is_revoked_is_told_so() {
    let mates = Mates::of(2).await;
    let token = mates.gets(0, want("ann", NOT)).await;
    let revoked = mates.leases(0).revoke(&mates.nodes[0].mesh, &key(), None).await.unwrap();
    assert_eq!(revoked, [token]);
    mates.tells(0, LeaseNews::Lost, token, Some(LeaseEnd::Revoked)).await;
    let next = mates.gets(1, want("bob", LONG)).await;
    mates.nodes[0].complete(next).await;
    let denied = mates.leases(0).revoke(&mates.nodes[0].mesh, &key(), Some(next)).await;
    assert_eq!(denied, Err(Denied::NotAdmin), "the broker takes no other node's from whoever is no admin");
}

#[tokio::test]
async fn who_asks_again_and_again_leaves_nothing_in_line_behind_him() {
    let mates = Mates::of(2).await;
    let token = mates.gets(0, want("ann", NOT)).await;
    for _ in 0..3 {
        let locked = mates.asks(1, want("bob", Duration::from_millis(50))).await.unwrap().got;
        assert_eq!(locked, Got::Locked);
    }
    let mates = Arc::new(mates);
    let its = Arc::clone(&mates);
    let waits = tokio::spawn(async move { its.gets(1, want("bob", LONG)).await });
    let (mesh, mut freshness) = (&mates.nodes[0].mesh, mates.nodes[0].space.freshness());
    let alone = async {
        while mates.leases(0).queue(mesh, &key()).await.unwrap().waiting().len() != 1 {
            freshness.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, alone).await.expect("only the last is in line, while he waits");
    mates.releases(0, "ann", token).await.unwrap();
    assert!(timeout(PATIENCE, waits).await.unwrap().unwrap() > token);
}
