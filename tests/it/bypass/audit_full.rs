//! No record, no forward: a full disk stops guarded actions and nothing else.

use super::{TRANSFER, transfer};
use crate::world::{OKX, World};

const LAX: &str = "version = 1\n";

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_disk_guarded_actions_wait_and_the_rest_goes_on() {
    let world = World::edited(LAX, OKX, "", |kit| {
        std::os::unix::fs::symlink("/dev/full", kit.dir.join("audit/stepgate.jsonl")).unwrap();
    })
    .await;
    let token = world.kit.token("alice", "s1", world.now().seconds());
    let alice = world.client().with("authorization", format!("Bearer {token}"));
    assert_eq!(alice.get("/api/v5/account/balance").await.status, 200);
    let refused = alice.post_json(TRANSFER, transfer("1")).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(world.exchange.seen_at(TRANSFER).is_empty());
    assert_eq!(alice.get("/api/v5/account/balance").await.status, 200);
}
