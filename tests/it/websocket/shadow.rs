//! A candidate policy hears messages as it hears requests, and stops none.

use super::{PACK, PRIVATE, RULES, Scene, withdraw};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_is_told_of_messages_and_stops_none() {
    let sockets = super::exchange::Sockets::start().await;
    let everything = "version = 1\n[[rule]]\nid = \"all\"\non = \"*\"\ndeny = true\n";
    let beside = |kit: &crate::kit::Kit| {
        std::fs::write(kit.dir.join("policies/candidate.policy.toml"), everything).unwrap();
        let text = std::fs::read_to_string(kit.config()).unwrap();
        let live = "policy = \"policies/site.policy.toml\"";
        let both = format!("{live}\nshadow_policy = \"policies/candidate.policy.toml\"");
        std::fs::write(kit.config(), text.replace(live, &both)).unwrap();
    };
    let world = World::edited_in_front_of(sockets.address, RULES, PACK, beside).await;
    let scene = Scene::in_world(world, sockets).await;
    let mut bot = scene.bot().await;
    assert_eq!(bot.ask(r#"{"id":"1","op":"order"}"#).await["code"], "0");
    let id = super::challenge(&bot.ask(withdraw(2, "0.5")).await);
    scene.approve(&id).await;
    assert_eq!(bot.ask(withdraw(3, "0.5")).await["code"], "0");
    scene.outcomes(1).await;
    let said: Vec<_> =
        scene.world.audit().into_iter().filter(|line| line["path"] == PRIVATE).collect();
    let of = |event: &str, action: &str| {
        let found = said.iter().find(|line| line["event"] == event && line["action"] == action);
        found.unwrap_or_else(|| panic!("no {event} {action} in {said:#?}"))["shadow"].clone()
    };
    for shadow in [of("challenge_opened", "withdrawal"), of("intent", "withdrawal")] {
        assert_eq!((&shadow["verdict"], &shadow["differs"]), (&"deny".into(), &true.into()));
    }
    let told = said.iter().filter(|line| line["event"] == "decision" && line["method"] == "WS");
    assert!(
        told.clone().count() >= 1 && told.clone().all(|line| line["shadow"]["differs"] == true)
    );
}
