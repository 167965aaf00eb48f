//! Apps: registered by a stream or for a time, found from another node, taken over, written to whether they are there or not.

use std::time::Duration;

use waxwing_client::api::{
    AppsQuery, EventBody, EventQuery, InboxQuery, Registration, RemoveQuery, Scope, SendRequest,
};
use waxwing_client::{Client, Error, Name};
use waxwing_lab::{Lab, Scan, eventually};

use crate::commands::{fails, json, run};
use crate::support::{WITHIN, mesh};
use crate::terminal::Running;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn for_a(ttl: &str) -> Registration {
    Registration { ttl: Some(ttl.to_owned()), ..Registration::default() }
}

/// `app/instance@node` of those found in the whole mesh.
async fn found(client: &Client, query: AppsQuery) -> Vec<String> {
    let apps = client.apps(&AppsQuery { scope: Some(Scope::Mesh), ..query }).await.unwrap().apps;
    let shown = |app: &waxwing_client::api::App| match &app.instance {
        Some(instance) => format!("{}/{instance}@{}", app.name, app.node),
        None => format!("{}@{}", app.name, app.node),
    };
    apps.iter().map(shown).collect()
}

/// Waits until alpha finds just these.
async fn alpha_finds(lab: &Lab, query: AppsQuery, expected: &[&str]) {
    let client = lab.client("alpha");
    let what = format!("alpha finds {expected:?}");
    eventually(WITHIN, &what, async || (found(&client, query.clone()).await == expected).then_some(()))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Words that are in nothing but what the app says of itself, its name among them.
const SAYS: [&str; 6] =
    ["quagga-watcher", "okapi-kind", "zebu/savanna", "gnu-herding", "the tapir is asleep", "9.87-ibex"];

#[tokio::test]
async fn what_an_app_says_and_its_name_are_on_no_brokers_disk_nor_log_nor_wire_and_unreadable_on_the_nodes() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let [app, kind, repository, capability, summary, version] = SAYS.map(str::to_owned);
    let registration = Registration {
        kind: Some(kind),
        repository: Some(repository),
        capabilities: Some(vec![capability]),
        summary: Some(summary),
        version: Some(version),
        ..for_a("10m")
    };
    lab.client("beta").register(&name(&app), &registration).await.unwrap();
    alpha_finds(&lab, AppsQuery::default(), &["quagga-watcher@beta"]).await;
    let mut scan = Scan::default();
    scan.path(&lab.state(Lab::BROKER), &SAYS).unwrap();
    scan.path(lab.process(Lab::BROKER).log_path(), &SAYS).unwrap();
    for frame in lab.proxy().captured() {
        scan.content("the wire".as_ref(), &frame.bytes, &SAYS);
    }
    // Of an app of another node its name is in the events that were told, and nothing else.
    for node in ["alpha", "beta"] {
        scan.path(&lab.state(node), &SAYS[1..]).unwrap();
        scan.path(lab.process(node).log_path(), &SAYS[1..]).unwrap();
    }
    assert!(scan.found.is_empty() && scan.files > 6 && scan.bytes > 10_000, "{scan:?}");
}

/// M-04, S-08, S-09.
#[tokio::test]
async fn apps_are_found_from_another_node_by_what_they_say() {
    let lab = mesh(&["alpha", "beta"]).await;
    let agent = |version: &str, can: &[&str]| Registration {
        kind: Some("agent".to_owned()),
        version: Some(version.to_owned()),
        capabilities: Some(can.iter().map(|word| (*word).to_owned()).collect()),
        repository: Some("waxwing/waxwing".to_owned()),
        ..for_a("10m")
    };
    let beta = lab.client("beta");
    beta.register(&name("reviewer"), &agent("1.0", &["rust", "sql"])).await.unwrap();
    for instance in ["one", "two"] {
        let instance = Some(name(instance));
        let worker = Registration { instance, kind: Some("worker".to_owned()), ..for_a("10m") };
        beta.register(&name("worker"), &worker).await.unwrap();
    }
    lab.client("alpha").register(&name("author"), &agent("2.0", &["rust"])).await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    let any = AppsQuery::default();
    alpha_finds(&lab, any.clone(), &["author@alpha", "reviewer@beta", "worker/one@beta", "worker/two@beta"])
        .await;
    let client = lab.client("alpha");
    for (query, expected) in [
        (AppsQuery { kind: text("agent"), ..any.clone() }, vec!["author@alpha", "reviewer@beta"]),
        (AppsQuery { kind: text("agent"), version: text("1.0"), ..any.clone() }, vec!["reviewer@beta"]),
        (AppsQuery { capability: vec!["rust".into(), "sql".into()], ..any.clone() }, vec!["reviewer@beta"]),
        (AppsQuery { node: Some(name("alpha")), ..any.clone() }, vec!["author@alpha"]),
        (AppsQuery { app: Some(name("worker")), ..any.clone() }, vec!["worker/one@beta", "worker/two@beta"]),
        (AppsQuery { repository: text("waxwing"), ..any.clone() }, vec![]),
        (AppsQuery { status: Some(waxwing_client::api::Activity::Idle), ..any.clone() }, vec![]),
    ] {
        assert_eq!(found(&client, query.clone()).await, expected, "{query:?}");
    }
    let listed =
        json(&lab, "alpha", &["apps", "--mesh-wide", "--capability", "rust", "--node", "beta"]).await;
    assert_eq!(
        (&listed["apps"][0]["name"], &listed["current"]),
        (&"reviewer".into(), &true.into()),
        "{listed}"
    );
    let own = json(&lab, "alpha", &["apps"]).await;
    assert_eq!(own["apps"].as_array().unwrap().len(), 1, "{own}");
    let people = run(&lab, "alpha", &["apps", "--mesh-wide"]).await;
    assert!(people.stdout.contains("worker/two@beta  worker"), "{people:?}");
    // Hidden, and one by one.
    json(&lab, "beta", &["profile", "--visible", "false"]).await;
    alpha_finds(&lab, any.clone(), &["author@alpha"]).await;
    json(&lab, "beta", &["profile", "--visible", "true"]).await;
    beta.unregister(&name("reviewer"), &RemoveQuery::default()).await.unwrap();
    alpha_finds(&lab, any.clone(), &["author@alpha", "worker/one@beta", "worker/two@beta"]).await;
    json(&lab, "alpha", &["peers", "block", "beta"]).await;
    assert_eq!(found(&client, any).await, ["author@alpha"], "what a blocked peer says is not listened to");
}

/// M-01, M-02, M-62.
#[tokio::test]
async fn apps_come_and_go_by_stream_and_time_and_others_are_told_once() {
    let mut lab = mesh(&["alpha", "beta"]).await;
    let kind = Some("app_join,app_leave".to_owned());
    let query = EventQuery { after: Some(0), kind, ..EventQuery::default() };
    let mut events = lab.client("alpha").events(&query).await.unwrap();
    let mut told = async || {
        let told =
            tokio::time::timeout(WITHIN, events.next()).await.expect("alpha tells something").unwrap().body;
        if let EventBody::AppLeave { app, node, reason, .. } = told {
            format!("-{app}@{node} {}", reason.unwrap().as_str())
        } else if let EventBody::AppJoin { app, node, .. } = told {
            format!("+{app}@{node}")
        } else {
            panic!("{told:?}")
        }
    };
    let watch = Running::start(&lab.state("beta"), &["events", "--app", "deploy", "--register"]);
    assert_eq!(told().await, "+deploy@beta");
    // The watcher comes back by itself, and neither its node's death nor its own absence is seen.
    lab.kill("beta").await.unwrap();
    lab.restart("beta").await.unwrap();
    lab.linked("beta").await.unwrap();
    lab.client("beta").register(&name("brief"), &for_a("1s")).await.unwrap();
    assert_eq!([told().await, told().await], ["+brief@beta", "-brief@beta unregistered"]);
    watch.stop().await;
    assert_eq!(told().await, "-deploy@beta unregistered");
    lab.client("beta").register(&name("last"), &for_a("10m")).await.unwrap();
    assert_eq!(told().await, "+last@beta");
    lab.stop("beta").await.unwrap();
    assert_eq!(told().await, "-last@beta goodbye");
}

/// MB-13, S-23.
#[tokio::test]
async fn whoever_loses_his_name_is_told_and_does_not_come_back() {
    let lab = mesh(&["beta"]).await;
    let mut old = Running::start(
        &lab.state("beta"),
        &["--json", "events", "--app", "deploy", "--register", "--kind", "system"],
    );
    let client = lab.client("beta");
    let is = async || (found(&client, AppsQuery::default()).await == ["deploy@beta"]).then_some(());
    eventually(WITHIN, "it is registered", is).await.unwrap();
    let watch = ["events", "--app", "deploy", "--register"];
    assert_eq!(fails(&lab, "beta", &watch, 8).await, "app_registered");
    let refused = client.register(&name("deploy"), &for_a("1m")).await.unwrap_err();
    assert!(matches!(refused, Error::Problem(problem) if problem.code.as_str() == "app_registered"));
    let new = Registration { takeover: true, ..for_a("1m") };
    let held = client.register(&name("deploy"), &new).await.unwrap();
    let told = old.document().await;
    assert_eq!((&told["kind"], &told["what"]), (&"system".into(), &"superseded".into()));
    let ended = old.end().await;
    assert_eq!(ended.code, Some(8), "{ended:?}");
    assert!(ended.stderr.contains("superseded"), "{ended:?}");
    let renewal = Registration { registration: Some(held.registration), ..for_a("1m") };
    client.register(&name("deploy"), &renewal).await.unwrap();
}

/// MB-02, MB-03, SB-19.
#[tokio::test]
async fn mail_for_an_app_that_is_not_there_waits_for_it() {
    let lab = mesh(&["alpha", "beta"]).await;
    let request =
        SendRequest { to: "later@beta".into(), body: Some("wait".into()), ..SendRequest::default() };
    lab.client("alpha").send(&request).await.unwrap();
    let later = lab.client("beta").app(name("later"));
    let wait = Some("60s".to_owned());
    let page =
        later.timeout(Duration::from_secs(90)).inbox(&InboxQuery { wait, ..InboxQuery::default() }).await;
    assert_eq!(page.unwrap().items[0].body.as_deref(), Some("wait"));
}
