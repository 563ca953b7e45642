//! Codes on their way to Twilio over real HTTP: authorised, tried again as documented, and taken once.

use std::time::Duration;

use http::StatusCode;

use crate::client::Client;
use crate::journeys::{WITHDRAW, withdrawal};
use crate::kit::POLICY;
use crate::kit::twilio::{Asked, FROM, SID, Says, TOKEN, Twilio};
use crate::world::{OKX, World};

const BOB: &str = "+4915112345667";
const MARK: &str = "+886912345678";

/// A gateway that sends through a Twilio at this address.
async fn world_at(address: std::net::SocketAddr) -> World {
    let world = World::edited(POLICY, OKX, "", |kit| {
        let log = "[sms]\nprovider = \"log\"\nfile = \"state/sms.txt\"\n";
        let text = std::fs::read_to_string(kit.config()).unwrap();
        assert!(text.contains(log));
        std::fs::write(kit.config(), text.replace(log, &Twilio::config(address))).unwrap();
        std::fs::write(kit.dir.join("secrets/sms"), format!("{SID}:{TOKEN}\n")).unwrap();
    })
    .await;
    world.enrol_phone("bob", BOB).await;
    world.enrol_phone("mark", MARK).await;
    world
}

async fn world() -> (World, Twilio) {
    let twilio = Twilio::start().await;
    (world_at(twilio.address).await, twilio)
}

/// Bob begins a withdrawal; his code goes out at once.
async fn bob_asks(world: &World) -> (Client, String) {
    let bob = world.session("bob", "s1").await;
    let challenge = bob.post_json(WITHDRAW, withdrawal("5", "TAddressOfBob1")).await.challenge();
    (bob, challenge)
}

/// Somebody else's code goes out: whatever was due before it has gone out too.
async fn a_later_message(world: &World, twilio: &Twilio, count: usize) {
    let mark = world.session("mark", &format!("s{count}")).await;
    mark.post_json(WITHDRAW, withdrawal(&count.to_string(), "TAddressOfMark")).await.challenge();
    twilio.reached(MARK, count).await;
}

fn code(asked: &Asked) -> String {
    let body = asked.field("Body");
    body.rsplit_once(" #").unwrap_or_else(|| panic!("no code in {body}")).1.to_owned()
}

async fn approve(bob: &Client, challenge: &str, code: &str) {
    let answer = format!("/.stepgate/challenge/{challenge}/answer");
    let right = bob.post_json(&answer, format!(r#"{{"factor":"sms","code":"{code}"}}"#)).await;
    assert_eq!(right.status, 200, "{}", right.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_posted_with_basic_authorisation_and_the_forms_three_fields() {
    let (world, twilio) = world().await;
    let (bob, challenge) = bob_asks(&world).await;
    let asked = twilio.reached(BOB, 1).await.remove(0);
    assert_eq!((asked.method.as_str(), asked.status), ("POST", 201), "{asked:?}");
    assert_eq!(asked.path, format!("/2010-04-01/Accounts/{SID}/Messages.json"));
    assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded");
    let names: Vec<&str> = asked.form.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["To", "From", "Body"]);
    assert_eq!(asked.field("From"), FROM);
    let body = asked.field("Body");
    assert!(body.contains("5 USDT") && body.contains("TAddressOfBob1"), "{body}");
    assert!(body.lines().last().unwrap().starts_with("@exchange.example #"), "{body}");
    approve(&bob, &challenge, &code(&asked)).await;
    a_later_message(&world, &twilio, 1).await;
    assert_eq!(twilio.to(BOB).len(), 1, "a message that was taken is not sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_twilio_is_tried_again_when_it_says_with_the_same_code_and_then_no_more() {
    let (world, twilio) = world().await;
    twilio.will(Says::Busy(Some(20)));
    let (bob, challenge) = bob_asks(&world).await;
    let first = twilio.reached(BOB, 1).await.remove(0);
    assert_eq!(first.status, 429);
    counted(&world, "failed", 1).await;
    world.wait_s(19);
    a_later_message(&world, &twilio, 1).await;
    assert_eq!(twilio.to(BOB).len(), 1, "not before the time that was told");
    world.wait_s(1);
    let tries = twilio.reached(BOB, 2).await;
    assert_eq!((tries[1].status, code(&tries[1])), (201, code(&first)));
    counted(&world, "taken", 2).await;
    world.wait_s(60);
    a_later_message(&world, &twilio, 2).await;
    assert_eq!(twilio.to(BOB).len(), 2);
    approve(&bob, &challenge, &code(&first)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twilio_out_of_order_is_tried_further_and_further_apart_until_the_code_is_over() {
    let (world, twilio) = world().await;
    twilio.always(Some(Says::Down(503)));
    bob_asks(&world).await;
    let mut tries = 1;
    twilio.reached(BOB, tries).await;
    for wait_s in [5, 15, 40, 40, 40, 40, 40, 40] {
        counted(&world, "failed", tries as u64).await;
        world.wait_s(wait_s);
        tries += 1;
        twilio.reached(BOB, tries).await;
    }
    counted(&world, "failed", tries as u64).await;
    // 260 s are over: the next try would be at 300, when the code is worth nothing.
    world.wait_s(60);
    twilio.always(None);
    a_later_message(&world, &twilio, 1).await;
    assert_eq!(twilio.to(BOB).len(), tries);
    assert!(twilio.to(BOB).iter().all(|asked| asked.status == 503));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_twilio_refuses_for_good_is_not_tried_again_and_a_new_code_can_be_asked_for() {
    let (world, twilio) = world().await;
    twilio.will(Says::Refuses(21211));
    let (bob, challenge) = bob_asks(&world).await;
    let first = twilio.reached(BOB, 1).await.remove(0);
    assert_eq!(first.status, 400);
    counted(&world, "refused", 1).await;
    world.wait_s(60);
    a_later_message(&world, &twilio, 1).await;
    assert_eq!(twilio.to(BOB).len(), 1);
    let send = format!("/.stepgate/challenge/{challenge}/send");
    assert_eq!(bob.post_json(&send, r#"{"factor":"sms"}"#).await.status, StatusCode::ACCEPTED);
    let second = twilio.reached(BOB, 2).await.remove(1);
    approve(&bob, &challenge, &code(&second)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twilio_that_cannot_be_reached_gets_the_message_once_it_is_there() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = port.local_addr().unwrap();
    drop(port);
    let world = world_at(address).await;
    let (bob, challenge) = bob_asks(&world).await;
    counted(&world, "failed", 1).await;
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let twilio = Twilio::on(listener);
    world.wait_s(5);
    let asked = twilio.reached(BOB, 1).await.remove(0);
    approve(&bob, &challenge, &code(&asked)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_come_is_not_waited_for() {
    let (world, twilio) = world().await;
    twilio.will(Says::Slow(Duration::from_secs(60)));
    let (bob, challenge) = bob_asks(&world).await;
    let first = twilio.reached(BOB, 1).await.remove(0);
    // Others are not held up meanwhile.
    a_later_message(&world, &twilio, 1).await;
    counted(&world, "failed", 1).await;
    world.wait_s(5);
    let second = twilio.reached(BOB, 2).await.remove(1);
    assert_eq!(code(&first), code(&second), "whichever arrives is right");
    approve(&bob, &challenge, &code(&second)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_not_taken_goes_out_after_a_restart_of_the_gateway() {
    let (mut world, twilio) = world().await;
    twilio.will(Says::Down(500));
    let (bob, challenge) = bob_asks(&world).await;
    let first = twilio.reached(BOB, 1).await.remove(0);
    world.restart().await;
    // Longer than the lease, in case the gateway stopped before it had written down what came of it.
    world.wait_s(31);
    let second = twilio.reached(BOB, 2).await.remove(1);
    assert_eq!(code(&first), code(&second));
    let mut again = world.client();
    again.headers = bob.headers;
    approve(&again, &challenge, &code(&second)).await;
    a_later_message(&world, &twilio, 1).await;
    assert_eq!(twilio.to(BOB).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_replaced_is_not_sent_any_more() {
    let (world, twilio) = world().await;
    twilio.will(Says::Down(503));
    let (bob, challenge) = bob_asks(&world).await;
    let first = twilio.reached(BOB, 1).await.remove(0);
    counted(&world, "failed", 1).await;
    let send = format!("/.stepgate/challenge/{challenge}/send");
    assert_eq!(bob.post_json(&send, r#"{"factor":"sms"}"#).await.status, StatusCode::ACCEPTED);
    let second = twilio.reached(BOB, 2).await.remove(1);
    counted(&world, "taken", 1).await;
    world.wait_s(60);
    a_later_message(&world, &twilio, 1).await;
    let all = twilio.to(BOB);
    assert_eq!(all.len(), 2, "{all:#?}");
    if code(&first) != code(&second) {
        assert!(all.iter().skip(1).all(|asked| code(asked) == code(&second)));
    }
    approve(&bob, &challenge, &code(&second)).await;
}

/// Waits until so many tries have ended so, and what came of them is written down.
async fn counted(world: &World, result: &str, count: u64) {
    for _ in 0..3_000 {
        if tries(world, result).await >= count {
            // The store answers in the order in which it is asked.
            for _ in 0..3 {
                assert_eq!(world.admin("GET", "/ready", "").await.status, 200);
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{count} tries never ended as {result}");
}

async fn tries(world: &World, result: &str) -> u64 {
    let metrics = world.admin("GET", "/metrics", "").await.text();
    let name = format!("stepgate_sms_sent_total{{provider=\"twilio\",result=\"{result}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.map_or(0, |count| count.parse().unwrap())
}
