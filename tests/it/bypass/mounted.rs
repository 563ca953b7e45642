//! A path that the application sees and the request line does not show: behind a script's name, or behind a prefix that
//! a header asks to be taken off. Found by the differential test.

use super::WITHDRAW;
use crate::kit::POLICY;
use crate::vectors::PACK;
use crate::world::World;

const BODY: &str = r#"{"amt":"9999","ccy":"BTC","toAddr":"EVIL"}"#;

/// Every write passes in this pack, so that only what is recognised is stopped.
fn lenient() -> String {
    PACK.replace(r#"sensitive = ["/api/v5/asset"]"#, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_path_behind_a_scripts_name_is_refused() {
    let world = World::with(POLICY, &lenient(), "").await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    for script in
        ["/index.php", "/Index.PHP", "/index%2ephp", "/a/b.php/", "/x/../index.php", "/app.cgi"]
    {
        let target = format!("{script}{WITHDRAW}");
        assert_eq!(alice.post_json(&target, BODY).await.status, 400, "{target}");
        assert!(world.exchange.seen_at(&target).is_empty());
    }
    assert_eq!(alice.post_json("/index.php/api/v5/trade/order", "{}").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_takes_a_prefix_off_the_path_or_names_another() {
    let world = World::with(POLICY, &lenient(), "").await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    for name in [
        "script_name",
        "script-name",
        "path_info",
        "x-script-name",
        "x_script_name",
        "x-forwarded-prefix",
        "x-original-url",
        "x-original-uri",
        "x-rewrite-url",
        "x-replaced-path",
        "unencoded_url",
        "orig_path_info",
        "request_uri",
    ] {
        let headers = [("content-type", "application/json"), (name, "/x"), ("x-kept", "1")];
        let passed = alice.send("POST", "/x/api/v5/asset/withdrawal", &headers, BODY).await;
        assert_eq!(passed.status, 200, "{name}");
        let seen = world.exchange.seen().pop().unwrap();
        assert_eq!(seen.target, "/x/api/v5/asset/withdrawal");
        assert!(seen.headers.contains_key("x-kept") && !seen.headers.contains_key(name), "{name}");
    }
}
