//! Writes that no action names, from the traffic that brings them to the list that ops read.

use serde_json::{Value, json};

use crate::world::World;

const PACK: &str = r#"version = 1
exchange = "small"
unclassified = { write = "allow" }
sensitive = ["/api/v5/asset/"]

[[action]]
name = "transfer"
match = ["POST /api/v5/asset/transfer"]
body = "json"
sample = '{"amt":"1"}'
"#;

async fn routes(world: &World) -> Vec<Value> {
    let answer = world.admin("GET", "/routes", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["routes"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_pass_and_writes_that_are_refused_are_both_counted() {
    let world = World::with("version = 1\n", PACK, "").await;
    let client = world.client();
    for id in [4711, 4712, 4713] {
        let path = format!("/api/v5/users/{id}/nickname?x=1");
        assert_eq!(client.post_json(&path, "{}").await.status, 200);
    }
    assert_eq!(client.post_json("/api/v5/asset/unheard-of", "{}").await.status, 403);
    // Neither a read nor an action belongs here.
    client.get("/api/v5/users/4711").await;
    client.post_json("/api/v5/asset/transfer", "{}").await;

    let rows = routes(&world).await;
    let [nickname, unheard] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(nickname["path"], "/api/v5/users/{id}/nickname");
    let counted =
        |row: &Value| json!([row["count"], row["passed"], row["refused"], row["answers"]]);
    assert_eq!(counted(nickname), json!([3, 3, 0, { "2xx": 3 }]));
    assert_eq!((&nickname["verdict"], &nickname["sensitive"]), (&"allow".into(), &false.into()));
    assert_eq!(counted(unheard), json!([1, 0, 1, {}]));
    assert_eq!((&unheard["verdict"], &unheard["sensitive"]), (&"deny".into(), &true.into()));
    assert_eq!(unheard["last"], "2026-11-20T12:00:00.000Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_has_to_be_asked_about_is_counted_as_asked_and_then_as_passed() {
    let pack = PACK.replace(r#"write = "allow""#, r#"write = "require""#);
    let world = World::with("version = 1\n", &pack, "").await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let asked = alice.post_json("/api/v5/users/nickname", "{}").await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    let code = world.totp();
    let headers = [("content-type", "application/json"), ("step-up-code", &*code)];
    let answered = alice.send("POST", "/api/v5/users/nickname", &headers, "{}").await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    let rows = routes(&world).await;
    let [row] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((&row["count"], &row["asked"], &row["passed"]), (&2.into(), &1.into(), &1.into()));
    assert_eq!(row["verdict"], "require");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_got_a_name_is_no_longer_listed() {
    let world = World::with("version = 1\n", PACK, "").await;
    let client = world.client();
    client.post_json("/api/v5/users/4711/nickname", "{}").await;
    assert_eq!(routes(&world).await.len(), 1);
    let named = "\n[[action]]\nname = \"nickname\"\nmatch = [\"POST /api/v5/users/{id}/nickname\"]\nbody = \"json\"\nsample = '{}'\n";
    std::fs::write(world.dir().join("policies/site.actions.toml"), format!("{PACK}{named}"))
        .unwrap();
    let reloaded = world.admin("POST", "/reload", "").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert!(routes(&world).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_told_before_the_gateway_stops_and_each_sight_once() {
    let mut world = World::with("version = 1\n", PACK, "").await;
    let client = world.client();
    client.post_json("/api/v5/users/nickname", "{}").await;
    client.post_json("/api/v5/users/nickname", "{}").await;
    world.restart().await;
    world.client().post_json("/api/v5/users/nickname", "{}").await;
    world.restart().await;
    let told = world.audit();
    let told = told.iter().filter(|line| line["event"] == "route_seen");
    let counts: Vec<&Value> = told.map(|line| &line["route"]["count"]).collect();
    assert_eq!(counts, [2, 1]);
}
