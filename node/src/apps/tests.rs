use super::*;

fn which(name: &str) -> Which {
    Which { name: name.parse().unwrap(), instance: None }
}

fn claim(name: &str) -> Claim {
    Claim { which: which(name), registration: None, takeover: false }
}

fn by(name: &str, id: &RegistrationId) -> Claim {
    Claim { registration: Some(id.clone()), ..claim(name) }
}

fn takeover(name: &str) -> Claim {
    Claim { takeover: true, ..claim(name) }
}

fn for_a(apps: &Apps, claim: &Claim, seconds: u64) -> Result<(RegistrationId, Shown), Denied> {
    apps.register(claim, Some(Duration::from_secs(seconds)), &Registration::default())
}

fn names(apps: &Apps) -> Vec<String> {
    apps.list().iter().map(|app| app.which.name.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stream_holds_its_app_and_is_not_away_when_it_comes_back_in_time() {
    let apps = Arc::new(Apps::default());
    let stream = apps.keep(&claim("ci")).unwrap();
    assert_eq!(apps.keep(&claim("ci")).unwrap_err(), Denied::Taken);
    assert_eq!(for_a(&apps, &claim("ci"), 9).unwrap_err(), Denied::Taken);
    let (id, since) = (stream.id().clone(), apps.list()[0].since);
    for _ in 0..3 {
        drop(apps.keep(&by("ci", &id)).unwrap());
    }
    assert_eq!(apps.list()[0].until, None, "others of its streams have ended");
    drop(stream);
    tokio::time::advance(GRACE / 2).await;
    let back = apps.keep(&by("ci", &id)).unwrap();
    tokio::time::advance(2 * GRACE).await;
    assert_eq!((apps.list()[0].since, apps.list()[0].until), (since, None));
    drop(back);
    tokio::time::advance(GRACE).await;
    assert!(apps.list().is_empty(), "its time to come back is over");
}

#[tokio::test(start_paused = true)]
async fn a_name_whose_stream_is_gone_is_free_at_once_and_was_not_away() {
    let apps = Arc::new(Apps::default());
    let first = apps.keep(&claim("ci")).unwrap();
    let (id, since) = (first.id().clone(), apps.list()[0].since);
    drop(first);
    let second = apps.keep(&claim("ci")).unwrap();
    assert_eq!(apps.list()[0].since, since);
    assert_eq!(apps.keep(&by("ci", &id)).unwrap_err(), Denied::Superseded);
    drop(second);
    for_a(&apps, &claim("ci"), 60).unwrap();
    assert_eq!(names(&apps), ["ci"]);
}

/// MB-08, MB-09, MB-11, SB-03.
#[tokio::test(start_paused = true)]
async fn a_time_is_renewed_by_its_holder_alone_and_ends() {
    let apps = Apps::default();
    let (id, first) = for_a(&apps, &claim("ci"), 10).unwrap();
    assert_eq!(for_a(&apps, &claim("ci"), 10).unwrap_err(), Denied::Taken, "whoever comes without the id");
    tokio::time::advance(Duration::from_secs(9)).await;
    let (same, renewed) = for_a(&apps, &by("ci", &id), 10).unwrap();
    assert!(same == id && renewed.since == first.since && renewed.until >= first.until);
    assert_eq!(apps.next_end(), Some(Instant::now() + Duration::from_secs(10)));
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(apps.next_end().is_none() && apps.list().is_empty());
    assert_eq!(apps.remove(&which("ci"), None), Err(Denied::Unknown), "its time is over");
    let (again, _) = for_a(&apps, &by("ci", &id), 10).unwrap();
    assert_eq!(again, id, "a holder that comes late has its name if nobody else has");
}

/// MB-12.
#[tokio::test]
async fn whoever_is_superseded_is_told_and_refused_until_he_takes_over_himself() {
    let apps = Arc::new(Apps::default());
    let old = apps.keep(&claim("ci")).unwrap();
    let mut standing = old.standing();
    let new = apps.keep(&takeover("ci")).unwrap();
    assert_eq!(*standing.borrow_and_update(), Standing::Superseded);
    assert_eq!(apps.keep(&by("ci", old.id())).unwrap_err(), Denied::Superseded);
    assert_eq!(for_a(&apps, &by("ci", old.id()), 9).unwrap_err(), Denied::Superseded);
    let more = apps.register(&by("ci", old.id()), None, &Registration::default());
    assert_eq!(more.unwrap_err(), Denied::Superseded);
    assert_eq!(apps.remove(&which("ci"), Some(old.id())), Err(Denied::Superseded));
    let id = old.id().clone();
    drop(old);
    assert_eq!(apps.list()[0].until, None, "the end of the old stream is nothing to the new one");
    let back = apps.keep(&Claim { takeover: true, ..by("ci", &id) }).unwrap();
    assert_eq!(*new.standing().borrow(), Standing::Superseded);
    assert_eq!(*back.standing().borrow(), Standing::Held);
    assert!(for_a(&apps, &by("ci", &id), 9).is_ok());
}

/// SB-12.
#[tokio::test]
async fn instances_of_a_name_stand_side_by_side_and_one_that_goes_leaves_the_others() {
    let apps = Arc::new(Apps::default());
    let instance = |of: &str| Claim {
        which: Which { instance: Some(of.parse().unwrap()), ..which("worker") },
        ..claim("worker")
    };
    let (id, _) = for_a(&apps, &instance("one"), 60).unwrap();
    let _two = apps.keep(&instance("two")).unwrap();
    for_a(&apps, &claim("worker"), 60).unwrap();
    assert_eq!(names(&apps), ["worker"; 3]);
    assert_eq!(for_a(&apps, &instance("two"), 60).unwrap_err(), Denied::Taken);
    apps.remove(&instance("one").which, Some(&id)).unwrap();
    assert_eq!(names(&apps), ["worker"; 2]);
}

#[tokio::test]
async fn a_registration_that_is_removed_is_gone_and_its_stream_told() {
    let apps = Arc::new(Apps::default());
    let first = apps.keep(&claim("ci")).unwrap();
    let stranger = RegistrationId::new([7; 16]);
    assert_eq!(apps.remove(&which("ci"), Some(&stranger)), Err(Denied::Unknown));
    apps.remove(&which("ci"), None).unwrap();
    assert_eq!(*first.standing().borrow(), Standing::Removed);
    let _second = apps.keep(&claim("ci")).unwrap();
    drop(first);
    assert_eq!(apps.list()[0].until, None, "the end of the first stream is nothing to the second");
}

#[tokio::test]
async fn details_are_merged_and_need_something_that_holds_the_registration() {
    let apps = Arc::new(Apps::default());
    let say = |kind: Option<&str>, summary: Option<&str>| Registration {
        kind: kind.map(str::to_owned),
        summary: summary.map(str::to_owned),
        capabilities: kind.map(|_| vec!["review".to_owned()]),
        ..Registration::default()
    };
    assert_eq!(apps.register(&claim("ci"), None, &say(None, None)).unwrap_err(), Denied::Unheld);
    let stream = apps.keep(&claim("ci")).unwrap();
    let held = by("ci", stream.id());
    apps.register(&held, None, &say(Some("builder"), Some("at rest"))).unwrap();
    let (_, shown) = apps.register(&held, None, &say(None, Some(""))).unwrap();
    assert_eq!((shown.details.kind.as_deref(), shown.details.summary), (Some("builder"), None));
    assert_eq!((shown.details.capabilities, shown.until), (vec!["review".to_owned()], None));
    let meta = serde_json::json!({ "text": "x".repeat(limits::PRESENCE) });
    let large = Registration { meta: meta.as_object().cloned(), ..Registration::default() };
    assert_eq!(apps.register(&held, None, &large).unwrap_err(), Denied::TooLarge);
    assert_eq!(apps.list()[0].details.kind.as_deref(), Some("builder"), "a refusal changes nothing");
    drop(stream);
    assert_eq!(apps.register(&held, None, &say(None, None)).unwrap_err(), Denied::Unheld);
    assert!(for_a(&apps, &held, 60).unwrap().1.details.kind.is_some());
}

#[tokio::test]
async fn there_are_as_many_as_may_be_and_an_end_makes_room() {
    let apps = Apps::default();
    for n in 0..limits::APPS {
        for_a(&apps, &claim(&format!("app-{n}")), 60).unwrap();
    }
    assert_eq!(for_a(&apps, &claim("one-more"), 60).unwrap_err(), Denied::Full);
    assert!(for_a(&apps, &takeover("app-7"), 60).is_ok(), "a place that is taken over is no new one");
    apps.remove(&which("app-0"), None).unwrap();
    for_a(&apps, &claim("one-more"), 60).unwrap();
}

/// A name that nobody has registered is anybody's; one that is registered, its holder's alone.
#[tokio::test(start_paused = true)]
async fn whoever_acts_under_a_registered_name_shows_its_registration() {
    let apps = Arc::new(Apps::default());
    let two = Which { instance: Some("two".parse().unwrap()), ..which("ci") };
    let stranger = RegistrationId::new([7; 16]);
    let alone = apps.acting(which("ci"), None).unwrap();
    assert!(!alone.registered && alone.which == which("ci"));
    assert_eq!(apps.acting(which("ci"), Some(&stranger)), Err(Denied::Unknown), "it has ended, or never was");

    let (id, _) = for_a(&apps, &claim("ci"), 60).unwrap();
    let (second, _) = for_a(&apps, &Claim { which: two.clone(), ..claim("ci") }, 60).unwrap();
    assert_eq!(apps.acting(which("ci"), None), Err(Denied::Unproven));
    assert_eq!(apps.acting(which("deploy"), Some(&id)), Err(Denied::Unproven), "it is of another app");
    assert_eq!(apps.acting(two.clone(), Some(&id)), Err(Denied::Unproven), "it is of another instance");
    assert_eq!(apps.acting(which("ci"), Some(&id)), Ok(Holder { which: which("ci"), registered: true }));
    let told = Holder { which: two.clone(), registered: true };
    assert_eq!(apps.acting(which("ci"), Some(&second)), Ok(told), "a registration says which instance");

    for_a(&apps, &takeover("ci"), 60).unwrap();
    assert_eq!(apps.acting(which("ci"), Some(&id)), Err(Denied::Superseded));
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(apps.acting(which("ci"), Some(&second)), Err(Denied::Unknown), "its time is over");
    assert!(!apps.acting(two, None).unwrap().registered);
}

/// The same rules in the fewest words, against which random histories are held.
mod model {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Open { who: usize, takeover: bool },
        Close(usize),
        Put { who: usize, takeover: bool, seconds: u64 },
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let who = 0..3_usize;
        prop_oneof![
            (who.clone(), any::<bool>()).prop_map(|(who, takeover)| Step::Open { who, takeover }),
            who.clone().prop_map(Step::Close),
            (who, any::<bool>(), 1..9_u64).prop_map(|(who, takeover, seconds)| Step::Put {
                who,
                takeover,
                seconds
            }),
            (1..7_u64).prop_map(Step::Pass),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Three programs that want one name. At every moment at most one has it; nobody who has been superseded gets it
        /// without saying so; who holds it is never refused.
        #[test]
        fn a_name_has_one_holder(steps in proptest::collection::vec(step(), 1..40)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                let apps = Arc::new(Apps::default());
                let ids: Vec<_> = (0..3).map(|n| RegistrationId::new([n; 16])).collect();
                let mut open: [Vec<Kept>; 3] = Default::default();
                let mut holder: Option<usize> = None;
                let mut superseded = [false; 3];
                for step in steps {
                    let held = apps.list();
                    assert!(held.len() <= 1);
                    if held.is_empty() { holder = None; }
                    let lingering = apps.lock().apps.values().any(|app| app.lingers);
                    let (who, takeover, outcome) = match step {
                        Step::Pass(seconds) => { tokio::time::advance(Duration::from_secs(seconds)).await; continue }
                        Step::Close(who) => { open[who].pop(); continue }
                        Step::Open { who, takeover } => {
                            let kept = apps.keep(&Claim { takeover, ..by("ci", &ids[who]) });
                            let outcome = kept.as_ref().map(|_| ()).map_err(|denied| *denied);
                            open[who].extend(kept.ok());
                            (who, takeover, outcome)
                        }
                        Step::Put { who, takeover, seconds } => {
                            let put = for_a(&apps, &Claim { takeover, ..by("ci", &ids[who]) }, seconds);
                            (who, takeover, put.map(|_| ()))
                        }
                    };
                    let free = holder.is_none() || holder == Some(who) || takeover || lingering;
                    let expected = if superseded[who] && !takeover { Err(Denied::Superseded) }
                        else if free { Ok(()) } else { Err(Denied::Taken) };
                    assert_eq!(outcome, expected, "{who} takes over: {takeover}, holder {holder:?}");
                    if outcome.is_ok() && holder != Some(who) {
                        if let Some(old) = holder {
                            superseded[old] = true;
                            // Its streams end, since they are told.
                            open[old].clear();
                        }
                        superseded[who] = false;
                        holder = Some(who);
                    }
                }
            });
        }
    }
}
