//! Which codes count: one, fresh, exactly spelt, in the body.

use super::{TRANSFER, guess, step, transfer};
use crate::client::Client;
use crate::world::{World, totp_at};

async fn alice() -> (World, Client) {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    (world, alice)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_another_time_is_refused() {
    let (world, alice) = alice().await;
    let id = alice.post_json(TRANSFER, transfer("1")).await.challenge();
    let now = world.now();
    for offset in [30_000, 60_000, -60_000, -90_000] {
        let code = totp_at(stepgate::types::UnixMs(now.0 + offset));
        assert_eq!(guess(&alice, &id, "totp", &code).await.status, 403, "{offset}");
    }
    let shown = alice.get(&format!("/.stepgate/challenge/{id}")).await.json();
    assert_eq!(shown["attempts_left"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_code_neither_it_nor_an_earlier_one_counts() {
    let (world, alice) = alice().await;
    let earlier = world.totp();
    world.wait_s(30);
    let code = world.totp();
    let first = alice.post_json(TRANSFER, transfer("1")).await.challenge();
    assert_eq!(guess(&alice, &first, "totp", &code).await.status, 200);
    let second = alice.post_json(TRANSFER, transfer("2")).await.challenge();
    for old in [&code, &earlier] {
        assert_eq!(guess(&alice, &second, "totp", old).await.status, 403);
    }
    // The clock goes back: still not.
    world.wait_s(-30);
    assert_eq!(guess(&alice, &second, "totp", &earlier).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_spelling_is_refused_and_approves_nothing() {
    let (world, alice) = alice().await;
    let code = world.totp();
    let number = code.trim_start_matches('0').to_owned();
    let wide: String =
        code.chars().map(|c| char::from_u32(c as u32 - 0x30 + 0xff10).unwrap()).collect();
    let bodies = [
        format!(r#"{{"factor":"totp","code":{number}}}"#),
        format!(r#"{{"factor":"totp","code":["{code}"]}}"#),
        format!(r#"{{"factor":"totp","code":["000000","{code}"]}}"#),
        r#"{"factor":"totp","code":{"$ne":""}}"#.to_owned(),
        r#"{"factor":"totp","code":true}"#.to_owned(),
        format!(r#"{{"factor":"totp","code":"000000","code":"{code}"}}"#),
        format!(r#"{{"factor":"totp","codes":["{code}"]}}"#),
        format!(r#"[{{"factor":"totp","code":"{code}"}}]"#),
        format!(r#"{{"factor":"TOTP","code":"{code}"}}"#),
        format!(r#"{{"factor":"recovery","code":"{code}"}}"#),
        format!(r#"{{"factor":"sms","code":"{code}"}}"#),
        format!(r#"{{"factor":["totp"],"code":"{code}"}}"#),
    ];
    let id = alice.post_json(TRANSFER, transfer("1")).await.challenge();
    for body in bodies {
        let answer = alice.post_json(&step(&id, "answer"), body.clone()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    let spelt =
        [format!("+{code}"), format!("{code}0"), wide, format!("{} {}", &code[..3], &code[3..])];
    for text in spelt {
        assert_eq!(guess(&alice, &id, "totp", &text).await.status, 400, "{text}");
    }
    let shown = alice.get(&format!("/.stepgate/challenge/{id}")).await.json();
    assert_eq!(shown["state"], "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_stands_in_the_body_and_once() {
    let (world, alice) = alice().await;
    let code = world.totp();
    let id = alice.post_json(TRANSFER, transfer("1")).await.challenge();
    let query = format!("{}?code={code}&factor=totp", step(&id, "answer"));
    assert_eq!(alice.post_json(&query, r#"{"factor":"totp"}"#).await.status, 400);
    let form = format!("factor=totp&code=000000&code={code}");
    assert_eq!(alice.post_form(&step(&id, "answer"), form).await.status, 400);
    let header = [("content-type", "application/json"), ("step-up-code", code.as_str())];
    let both = alice.send("POST", &step(&id, "answer"), &header, r#"{"factor":"totp"}"#).await;
    assert_ne!(both.status, 200, "the header is for actions");
    for media in ["text/plain", "multipart/form-data; boundary=x", ""] {
        let body = format!(r#"{{"factor":"totp","code":"{code}"}}"#);
        let headers = [("content-type", media)];
        assert_eq!(alice.send("POST", &step(&id, "answer"), &headers, body).await.status, 400);
    }
    for (method, status) in [("GET", 404), ("PUT", 404), ("PATCH", 404), ("DELETE", 404)] {
        let body = format!(r#"{{"factor":"totp","code":"{code}"}}"#);
        let headers = [("content-type", "application/json")];
        let answer = alice.send(method, &step(&id, "answer"), &headers, body).await;
        assert_eq!(answer.status, status, "{method}");
    }
    let shown = alice.get(&format!("/.stepgate/challenge/{id}")).await.json();
    assert_eq!(shown["state"], "open");
}
