//! What waits for the owner, in one list.

use super::*;
use crate::journeys::{WITHDRAW, withdrawal};

#[tokio::test(flavor = "multi_thread")]
async fn the_list_leads_to_what_this_credential_may_answer() {
    let world = World::start().await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    let key = world.client().with("ok-access-key", "key-alice");
    let by_key = key.post_json(WITHDRAW, withdrawal("7", "TKey")).await.challenge();
    let by_session = alice.post_json(WITHDRAW, withdrawal("5", "TSession")).await.challenge();
    let other = world.session("alice", "s2").await;

    let list = |client: Client| async move { client.get("/.stepgate/approvals").await.json() };
    let mine = list(alice.clone()).await["challenges"].as_array().unwrap().clone();
    assert_eq!(mine.len(), 2);
    let ids: Vec<_> = mine.iter().map(|one| one["challenge_id"].as_str().unwrap()).collect();
    assert_eq!(ids, [by_key.as_str(), by_session.as_str()]);

    // Another session may answer what a key asked, and only sees that the rest was asked.
    let theirs = list(other.clone()).await["challenges"].as_array().unwrap().clone();
    assert_eq!(theirs[0]["challenge_id"], by_key.as_str());
    assert_eq!(
        (theirs[1]["can_answer"].as_bool(), theirs[1].get("challenge_id")),
        (Some(false), None)
    );
    let page = browser(&other).get("/.stepgate/approvals").await.text();
    assert!(page.contains(&by_key) && !page.contains(&by_session), "{page}");
    assert!(page.contains("TKey"), "{page}");

    let bob = world.session("bob", "s1").await;
    assert_eq!(list(bob).await["challenges"].as_array().map(Vec::len), Some(0));
    let at = format!("/.stepgate/challenge/{by_session}");
    assert_eq!(answer(&alice, &at, "totp", &world.totp()).await.status, 200);
    assert_eq!(list(alice).await["challenges"].as_array().map(Vec::len), Some(1));
}
