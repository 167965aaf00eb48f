//! A broker's store on a PostgreSQL server: started there, looked at, moved there and back.
#![cfg(target_os = "linux")]

use serde_json::Value;
use waxwing_lab::{Lab, eventually};
use waxwing_lab_postgres::Server;

use crate::support::{PROGRAM, Pair, WITHIN, private_folder};
use crate::terminal::{Desk, Running};

fn finding<'a>(examined: &'a Value, check: &str) -> Option<&'a Value> {
    examined["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == check)
}

/// What mends a check that must be wrong.
fn mend(examined: &Value, check: &str) -> String {
    let finding = finding(examined, check).unwrap_or_else(|| panic!("{check}: {examined}"));
    assert_eq!(finding["verdict"], "wrong", "{examined}");
    finding["mend"].as_str().unwrap().to_owned()
}

/// An app at each of two nodes, on a broker whose store is moved.
struct Moving {
    pair: Pair,
    store_id: Value,
}

impl Moving {
    async fn start() -> Self {
        let mut pair = Pair::on(Lab::mesh_by(PROGRAM, "", &["alpha", "beta"]).await.unwrap());
        pair.warm_up().await;
        let store_id = Self::status(&pair).await["store_id"].clone();
        Self { pair, store_id }
    }

    async fn status(pair: &Pair) -> Value {
        let data = pair.lab.state(Lab::BROKER);
        pair.lab.json("alpha", &["broker", "status", "--data", data.to_str().unwrap()]).await.unwrap()
    }

    /// Moves it with mail in a queue, and starts broker and recipient again. Says what the command does.
    async fn to(&mut self, from: &str, to: &str) -> Value {
        let pair = &mut self.pair;
        pair.lab.stop("beta").await.unwrap();
        pair.send(20).await;
        let last = pair.sent.last().unwrap().clone();
        pair.accepted(&last).await;
        pair.lab.stop(Lab::BROKER).await.unwrap();
        // Accepted by a node whose broker is away.
        pair.send(5).await;
        let moved = pair.lab.json("alpha", &["broker", "migrate", "--from", from, "--to", to]).await.unwrap();
        std::fs::write(pair.lab.folder().join("broker.toml"), format!("database = '{to}'\n")).unwrap();
        pair.lab.restart(Lab::BROKER).await.unwrap();
        assert_eq!(Self::status(pair).await["store_id"], self.store_id, "it is the same store");
        pair.lab.restart("beta").await.unwrap();
        pair.read(25).await;
        moved
    }
}

#[tokio::test]
async fn a_store_moves_to_a_server_and_back_and_a_broker_goes_on_on_each() {
    let Some(server) = Server::shared() else { return };
    let mut moving = Moving::start().await;
    let there = server.url(&server.database().unwrap());
    let folder = moving.pair.lab.state(Lab::BROKER);
    let here = format!("sqlite://{}/broker.db", folder.display());
    let moved = moving.to(&here, &there).await;
    let rows = |table: &str| {
        let tables = moved["tables"].as_array().unwrap();
        tables.iter().find(|one| one["table"] == table).unwrap()["rows"].as_u64().unwrap()
    };
    assert_eq!((rows("meta"), rows("mesh"), rows("queue")), (1, 1, 20), "{moved}");
    let back = format!("sqlite://{}/back/broker.db", moving.pair.lab.folder().display());
    moving.to(&there, &back).await;
    moving.pair.conclude().await;
    for node in ["alpha", "beta"] {
        let meshes = moving.pair.lab.json(node, &["mesh", "list"]).await.unwrap();
        assert!(!meshes.to_string().contains("resume"), "nobody has noticed a loss: {meshes}");
    }
}

#[tokio::test]
async fn what_runs_is_not_moved_and_what_has_a_store_is_not_written_over() {
    let Some(server) = Server::shared() else { return };
    let desk = Desk::new();
    desk.up().await;
    let (from, to) = (
        format!("sqlite://{}/broker/broker.db", desk.state().display()),
        server.url(&server.database().unwrap()),
    );
    let migrate = ["broker", "migrate", "--from", &from, "--to", &to];
    let refused = desk.fails(&migrate, 8).await;
    assert!(refused["hint"].as_str().unwrap().contains("broker down`"), "{refused}");
    desk.json(&["down"]).await;
    let moved = desk.run(&migrate).await;
    assert!(moved.code == Some(0) && moved.stdout.contains("and equal"), "{moved:?}");
    assert!(moved.stderr.contains(&format!("waxwing broker run --database '{to}'")), "{moved:?}");
    let again = desk.fails(&migrate, 8).await;
    assert!(again["message"].as_str().unwrap().contains("is not empty"), "{again}");

    let run =
        ["--json", "broker", "run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--database", &to];
    let mut running = Running::start(&desk.state(), &run);
    running.document().await;
    let other = format!("sqlite://{}/other/broker.db", desk.state().display());
    let held = desk.fails(&["broker", "migrate", "--from", &to, "--to", &other], 8).await;
    assert!(held["message"].as_str().unwrap().contains("another broker is using"), "{held}");
    running.stop().await;
    let nothing = desk.fails(&["broker", "migrate", "--from", &other, "--to", &to], 2).await;
    assert!(nothing["message"].as_str().unwrap().contains("no store to move"), "{nothing}");
}

#[tokio::test]
async fn a_password_on_a_command_line_is_refused_and_not_repeated() {
    let desk = Desk::new();
    let url = "postgres://waxwing:sesame@127.0.0.1:1/mail";
    for arguments in [
        &["broker", "run", "--database", url][..],
        &["broker", "doctor", "--database", url],
        &["broker", "status", "--database", "postgres://127.0.0.1/mail?password=sesame"],
        &["broker", "migrate", "--from", "sqlite:///a/b.db", "--to", url],
        &["broker", "install-service", "--print", "--database", url],
    ] {
        let refused = desk.fails(arguments, 2).await;
        let hint = refused["hint"].as_str().unwrap();
        assert!(
            hint.contains("PGPASSWORD") && hint.contains("~/.pgpass") && hint.contains("--config"),
            "{hint}"
        );
        assert!(!refused.to_string().contains("sesame"), "{refused}");
    }
    let wrong = desk.fails(&["broker", "run", "--database", "mysql://u:sesame@h/d"], 2).await;
    assert!(!wrong.to_string().contains("sesame"), "{wrong}");
    let unit = desk
        .run(&[
            "broker",
            "install-service",
            "--print",
            "--user",
            "--database",
            "postgres://u@h/d?sslmode=verify-full",
        ])
        .await;
    assert!(unit.stdout.contains(r#"--database "postgres://u@h/d?sslmode=verify-full""#), "{unit:?}");
}

/// Waits until a server has taken a setting that needs no restart.
async fn set(server: &Server, setting: &str, value: &str) {
    server.sql("postgres", &format!("ALTER SYSTEM SET {setting} = {value}")).unwrap();
    server.sql("postgres", "SELECT pg_reload_conf()").unwrap();
    let is_set =
        async || (server.sql("postgres", &format!("SHOW {setting}")).ok()?.trim() == value).then_some(());
    eventually(WITHIN, &format!("{setting} is {value}"), is_set).await.unwrap();
}

#[tokio::test]
async fn the_doctor_knows_a_server_and_names_what_mends_it() {
    let Some(mut server) = Server::own() else { return };
    let url = server.url(&server.database().unwrap());
    let desk = Desk::new();
    let run =
        ["--json", "broker", "run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--database", &url];
    let mut running = Running::start(&desk.state(), &run);
    running.document().await;
    let doctor = ["broker", "doctor", "--database", &url];
    let examined = desk.json(&doctor).await;
    for check in [
        "process",
        "database",
        "server",
        "durability",
        "lock",
        "schema",
        "clock",
        "queues",
        "meshes",
        "vacuum",
        "address",
    ] {
        assert_eq!(finding(&examined, check).unwrap()["verdict"], "ok", "{check}: {examined}");
    }
    assert!(finding(&examined, "disk").is_none(), "that is the server's: {examined}");
    assert!(finding(&examined, "lock").unwrap()["detail"].as_str().unwrap().contains("held by a broker"));
    // From a host on which it does not run.
    let elsewhere = Desk::new();
    private_folder(&elsewhere.state().join("broker"));
    let seen = elsewhere.run(&["--json", "broker", "doctor", "--database", &url]).await;
    let seen: Value = serde_json::from_str(&seen.stdout).unwrap();
    let lock = finding(&seen, "lock").unwrap();
    assert!(
        lock["verdict"] == "warning" && lock["mend"].as_str().unwrap().contains("pg_terminate_backend("),
        "{seen}"
    );

    let refused = desk.fails(&["broker", "backup", "/tmp/none.db", "--database", &url], 2).await;
    assert!(refused["hint"].as_str().unwrap().contains("pg_dump -Fc"), "{refused}");
    running.stop().await;
    sick_servers(&desk, &mut server, &doctor, &run).await;
}

/// A server that forgets, one that follows another, and one that is away.
async fn sick_servers(desk: &Desk, server: &mut Server, doctor: &[&str], run: &[&str]) {
    let sick = async || {
        let output = desk.run(&[&["--json"], doctor].concat()).await;
        assert_eq!(output.code, Some(1), "{output:?}");
        serde_json::from_str::<Value>(&output.stdout).unwrap()
    };
    set(server, "fsync", "off").await;
    assert!(mend(&sick().await, "durability").contains("ALTER SYSTEM SET fsync = on"));
    let refused = desk.fails(&run[1..], 2).await;
    assert!(refused["message"].as_str().unwrap().contains("fsync = off"), "{refused}");
    set(server, "fsync", "on").await;
    set(server, "autovacuum", "off").await;
    assert!(mend(&sick().await, "vacuum").contains("autovacuum = on"));
    set(server, "autovacuum", "on").await;
    assert_eq!(desk.json(doctor).await["ok"], true);

    let mut standby = server.standby().unwrap();
    let copy = standby.url(doctor[3].rsplit('/').next().unwrap());
    let seen = desk.run(&["--json", "broker", "doctor", "--database", &copy]).await;
    assert!(mend(&serde_json::from_str(&seen.stdout).unwrap(), "server").contains("pg_promote()"));
    standby.stop().unwrap();

    server.stop().unwrap();
    assert!(mend(&sick().await, "database").starts_with("psql "));
    let away = desk.fails(&run[1..], 6).await;
    assert_eq!(away["code"], "database_away");
    assert!(away["hint"].as_str().unwrap().contains(&format!("--database '{}'`", doctor[3])), "{away}");
}
