//! One path, many operations: a member of the JSON body says which, and no other spelling of it is a way around.

use crate::client::Client;
use crate::kit::POLICY;
use crate::world::World;

const RPC: &str = "/api/v2";

const PACK: &str = r#"version = 1
exchange = "rpc"

[challenge]
body = '{"error":{"code":13021,"message":"{message}"}}'

[[action]]
name = "withdrawal"
match = ["POST /api/v2 method=private/withdraw"]
select = "json.method"
body = "json"
fields = { asset = "json.params.currency", amount = "json.params.amount", address = "json.params.address" }
need = ["asset", "amount", "address"]
volatile = ["json.id"]
show = ["amount", "asset", "address"]
sample = '{"id":1,"method":"{operation}","params":{"currency":"BTC","amount":1,"address":"bc1q"}}'

[[action]]
name = "read"
match = ["POST /api/v2 method=public/*", "POST /api/v2 method=private/get_*"]
select = "json.method"
body = "json"
guarded = false
"#;

fn call(id: u32, method: &str, amount: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"currency":"BTC","amount":{amount},"address":"bc1q"}}}}"#
    )
}

async fn home() -> (World, Client) {
    let world = World::with(POLICY, PACK, "").await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    (world, alice)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selected_operation_is_asked_about_and_passes_once() {
    let (world, alice) = home().await;
    let asked = alice.post_json(RPC, call(1, "private/withdraw", "1")).await;
    assert_eq!(asked.status, 401, "{}", asked.text());
    assert_eq!(asked.json()["error"]["code"], 13021);
    super::approve(&world, &alice, &asked.challenge()).await;
    let other = alice.post_json(RPC, call(2, "private/withdraw", "2")).await;
    assert_eq!(other.status, 401, "another amount");
    assert!(world.exchange.seen_at(RPC).is_empty());
    let passed = alice.post_json(RPC, call(2, "private/withdraw", "1")).await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    assert_eq!(world.exchange.seen_at(RPC)[0].body, call(2, "private/withdraw", "1"));
    assert_eq!(alice.post_json(RPC, call(3, "private/withdraw", "1")).await.status, 401);
    assert_eq!(world.exchange.seen_at(RPC).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn ordinary_operations_of_the_path_pass_untouched_and_unlisted_ones_do_not() {
    let (world, alice) = home().await;
    let spaced = " {\"method\" : \"public\\/get_time\"}\n";
    for body in [spaced.to_owned(), call(1, "private/get_positions", "1")] {
        let answer = alice.post_json(RPC, body.as_str()).await;
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!(world.exchange.seen_at(RPC).last().unwrap().body, body);
    }
    let nobody = world.client().post_json(RPC, spaced).await;
    assert_eq!(nobody.status, 200, "public operations need no credential");
    let count = world.exchange.seen_at(RPC).len();
    let refused = alice.post_json(RPC, call(1, "private/create_api_key", "1")).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(world.client().post_json(RPC, call(1, "private/withdraw", "1")).await.status, 401);
    assert_eq!(world.exchange.seen_at(RPC).len(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_spelling_of_the_operation_reaches_the_exchange() {
    let (world, alice) = home().await;
    let sound = call(1, "private/withdraw", "1");
    let public = call(1, "public/test", "1");
    let spellings = [
        call(1, "Private/Withdraw", "1"),
        call(1, "public/../private/withdraw", "1"),
        call(1, "private//withdraw", "1"),
        call(1, "private/withdraw ", "1"),
        call(1, "private/withdraw\\u0000", "1"),
        format!("[{sound}]"),
        format!("{public}{sound}"),
        public.replace("\"id\"", "\"method\":\"private/withdraw\",\"id\""),
        public.replace("\"id\":1", "\"Method\":\"private/withdraw\""),
        public.replace("\"id\":1", "\"m\\u0065thod\":\"private/withdraw\""),
        public.replace("\"public/test\"", "[\"private/withdraw\"]"),
        public.replace("\"public/test\"", "null"),
        sound.replace("\"method\"", "\"METHOD\""),
        "{}".to_owned(),
        String::new(),
        sound.replace("bc1q", &"q".repeat(70_000)),
    ];
    for body in spellings {
        let answer = alice.post_json(RPC, body.as_str()).await;
        let refused = matches!(answer.status.as_u16(), 400 | 403 | 411 | 413);
        assert!(refused, "{} {}", answer.status, body.get(..200).unwrap_or(&body));
    }
    for (name, value) in [("content-type", "text/plain"), ("content-encoding", "gzip")] {
        let answer = alice.send("POST", RPC, &[(name, value)], sound.as_str()).await;
        assert_eq!(answer.status, 415, "{value}");
    }
    for target in ["/api/v2?method=private/withdraw", "/api/V2", "/api/v2/", "/api//v2"] {
        let answer = alice.post_json(target, public.as_str()).await;
        assert_eq!(answer.status, 400, "{target}");
    }
    let reached = world.exchange.seen();
    let runs = |seen: &&crate::exchange::Seen| {
        !seen.target.contains("balance") && String::from_utf8_lossy(&seen.body).contains("withdraw")
    };
    assert_eq!(reached.iter().filter(runs).count(), 0, "{reached:#?}");
}
