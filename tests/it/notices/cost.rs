//! What notices by text message may cost, and that nobody can starve those that matter.

use serde_json::json;

use super::{BALANCE, abroad, counted, until};
use crate::client::Client;
use crate::journeys::{TO_SPOT, TRANSFER};
use crate::kit::{FRANKFURT, POLICY};
use crate::world::{OKX, World};

const PHONE: &str = "+4915112345667";
const ORDER: &str = r#"{"by":"ops","reason":"test"}"#;

async fn world(budget: &str) -> World {
    World::with(POLICY, OKX, &format!("[sms.budget]\n{budget}\n")).await
}

fn texts(world: &World) -> Vec<String> {
    world.sms().lines().filter(|line| line.contains("/not-me/")).map(str::to_owned).collect()
}

/// A session of an account whose number only its token knows.
async fn claiming(world: &World, account: &str, session: &str, phone: &str) -> Client {
    let claims = json!({ "phone_number": phone, "phone_number_verified": true });
    let token = world.kit.token_with(account, session, world.now().seconds(), &claims);
    world.session(account, session).await.with("authorization", format!("Bearer {token}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_pumps_texts_to_a_number_that_only_a_token_claims() {
    let world = World::start().await;
    // Each session is another new sign-in: told each time, as far as the number's limit goes.
    for n in 0..8 {
        let mallory = claiming(&world, "mallory", &format!("s{n}"), "+9605551299").await;
        mallory.from(FRANKFURT).get(BALANCE).await;
    }
    assert!(texts_in(&world, 8).await < 3, "{}", world.sms());
    let all = world.sms().lines().count();
    assert!(all <= 3, "three in ten minutes, codes and notices together: {}", world.sms());
    assert!(world.noted("message_lost").await["note"].to_string().contains("no budget"));
}

/// How many of so many notices were told, once all are decided.
async fn texts_in(world: &World, all: u64) -> u64 {
    let read = async |result: &str| {
        let metrics = world.admin("GET", "/metrics", "").await.text();
        let name = format!("stepgate_notices_total{{about=\"remote_login\",result=\"{result}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned));
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    for _ in 0..3_000 {
        let (queued, lost) = (read("queued").await, read("over_budget").await);
        if queued + lost == all {
            return queued;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("never decided: {}", world.admin("GET", "/metrics", "").await.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_leaves_urgent_notices_to_an_enrolled_number() {
    let world = world("overall_hour_max = 6").await;
    world.enrol_totp("alice").await;
    world.enrol_phone("alice", PHONE).await;
    until("the phone is told of", || texts(&world).len() == 1).await;
    // Somebody spends all that codes may cost.
    for n in 0..6 {
        let bot = claiming(&world, &format!("bot{n}"), "s1", &format!("+88691234567{n}")).await;
        bot.post_json(TRANSFER, TO_SPOT).await.challenge();
    }
    // A sign-in is told no more; a freeze is.
    abroad(&world, "s1").await;
    counted(&world, "remote_login", "over_budget", 1).await;
    world.admin("POST", "/account/main/alice/freeze", ORDER).await;
    counted(&world, "frozen", "queued", 1).await;
    until("the freeze is told", || texts(&world).iter().any(|it| it.contains("frozen"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn urgent_notices_have_a_bound_of_their_own() {
    let world = world("urgent_percent = 0").await;
    world.enrol_totp("alice").await;
    world.enrol_phone("alice", PHONE).await;
    counted(&world, "factor_change", "over_budget", 1).await;
    world.admin("POST", "/account/main/alice/freeze", ORDER).await;
    counted(&world, "frozen", "over_budget", 1).await;
    assert!(texts(&world).is_empty(), "{}", world.sms());
    // What is less urgent has the codes' budget.
    world.admin("POST", "/account/main/alice/thaw", ORDER).await;
    abroad(&world, "s1").await;
    counted(&world, "remote_login", "queued", 1).await;
}
