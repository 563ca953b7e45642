//! An operator's own look: what is in the folder is used, what is wrong in it is said with its place, and nothing of it
//! can leave out what an owner must see.

use std::path::Path;

use crate::binary::{run, said};
use crate::client::Client;
use crate::journeys::{TO_SPOT, TRANSFER};
use crate::kit::{Kit, Options, POLICY};
use crate::world::{OKX, World};

const WORDS: &str = "name = \"Example Exchange\"\nsign_in = \"/login\"\nsupport = \"mailto:help@exchange.example\"\n";
const CHALLENGE: &str = include_str!("../../src/pages/html/challenge.html");
const LOGO: &str = r#"<svg xmlns="http://www.w3.org/2000/svg"><script>x()</script></svg>"#;

fn step(challenge: &str, step: &str) -> String {
    format!("/.stepgate/challenge/{challenge}{step}")
}

fn write(dir: &Path, files: &[(&str, &str)]) {
    let folder = dir.join("brand");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let config = dir.join("stepgate.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    if !text.contains("brand = ") {
        let text = text.replace("name = \"main\"\n", "name = \"main\"\nbrand = \"brand\"\n");
        std::fs::write(config, text).unwrap();
    }
}

async fn world(files: &[(&str, &str)]) -> (World, Client) {
    let world = World::edited(POLICY, OKX, "", |kit| write(&kit.dir, files)).await;
    world.enrol_totp("alice").await;
    let alice = world.session("alice", "s1").await;
    (world, alice)
}

/// The page of a transfer's challenge.
async fn page(alice: &Client) -> String {
    let id = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let browser = alice.with("accept", "text/html");
    browser.get(&step(&id, "")).await.text()
}

/// What `check` says of a kit whose brand folder has these files; with the folder's name taken out.
fn check(files: &[(&str, &str)]) -> (bool, String) {
    let dir = tempfile::TempDir::new().unwrap();
    let upstream = ([127, 0, 0, 1], 9).into();
    let options = Options { upstream, policy: POLICY, pack: OKX, extra: "", workers: 1, sms: true };
    let _kit = Kit::write(dir.path(), &options);
    write(dir.path(), files);
    let config = dir.path().join("stepgate.toml");
    let output = run(dir.path(), &["check", "-c", config.to_str().unwrap()]);
    let text = said(&output).replace(&format!("{}/", dir.path().display()), "");
    (output.status.success(), text)
}

fn faults(files: &[(&str, &str)]) -> String {
    let (content, text) = check(files);
    assert!(!content, "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_gives_a_site_its_name_its_style_and_its_logo() {
    let files = [("brand.toml", WORDS), ("brand.css", "h1{color:teal}"), ("logo.svg", LOGO)];
    let (world, alice) = world(&files).await;
    let text = page(&alice).await;
    assert!(text.contains(r#"<link rel="stylesheet" href="/.stepgate/brand.css">"#), "{text}");
    assert!(text.contains(r#"<img src="/.stepgate/logo" alt="Example Exchange">"#), "{text}");
    let style = alice.get("/.stepgate/brand.css").await;
    assert_eq!((style.status.as_u16(), style.text()), (200, "h1{color:teal}".to_owned()));
    let logo = alice.get("/.stepgate/logo").await;
    assert_eq!(logo.header("content-type"), "image/svg+xml");
    assert!(logo.header("content-security-policy").ends_with("sandbox"), "it runs no script");
    let nobody = world.client().with("accept", "text/html");
    let refused = nobody.get(&step(&"x".repeat(43), "")).await;
    assert!(refused.text().contains(r#"href="/login""#), "{}", refused.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_without_a_folder_has_no_such_files() {
    let world = World::start().await;
    let alice = world.session("alice", "s1").await;
    for path in ["/.stepgate/brand.css", "/.stepgate/logo"] {
        assert_eq!(alice.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_template_takes_the_place_of_the_one_of_its_name() {
    let own =
        CHALLENGE.replace("<dl class=\"facts\">", "<p>Our risk desk asks.</p><dl class=\"facts\">");
    let (_world, alice) = world(&[("challenge.html", &own)]).await;
    assert!(page(&alice).await.contains("<p>Our risk desk asks.</p>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_leaves_something_out_for_some_requests_only_is_not_used_for_these() {
    // The samples that it was checked with come from elsewhere.
    let hides = "{{ transaction(shown if client != \"203.0.113.10\" else [], destination, t) }}";
    let own = CHALLENGE.replace("{{ transaction(shown, destination, t) }}", hides);
    assert_ne!(own, CHALLENGE);
    let (_world, alice) = world(&[("challenge.html", &own)]).await;
    let id = alice.post_json(TRANSFER, TO_SPOT).await.challenge();
    let card = alice.get(&step(&id, "")).await.json();
    assert_eq!(card["client"], "203.0.113.10", "the claim is about this address");
    let text = alice.with("accept", "text/html").get(&step(&id, "")).await.text();
    assert!(text.contains("<dl class=\"shown\">") && text.contains("USDT"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_template_changes_nothing_at_a_reload() {
    let own = CHALLENGE.replace("<dl class=\"facts\">", "<p>Ours.</p><dl class=\"facts\">");
    let (world, alice) = world(&[("challenge.html", &own)]).await;
    write(
        world.dir(),
        &[("challenge.html", "{% extends \"base.html\" %}{% block body %}{{ nothing")],
    );
    let said = tokio::task::block_in_place(|| world.running.reload()).unwrap_err();
    assert!(said.contains("brand/challenge.html:1:"), "{said}");
    assert!(page(&alice).await.contains("<p>Ours.</p>"));
}

#[test]
fn a_good_folder_is_no_fault() {
    let files = [("brand.toml", WORDS), ("challenge.html", CHALLENGE), ("README.md", "ours")];
    let (content, text) = check(&files);
    assert!(content, "{text}");
}

#[test]
fn words_styles_and_files_that_pages_cannot_use() {
    insta::assert_snapshot!(faults(&[
        ("brand.toml", "name = \"\"\nsign_in = \"login\"\nsupport = \"javascript:x()\"\n"),
        ("brand.css", "@import \"a.css\";\nh1 { background: url(https://cdn.example/x.png) }\n"),
        ("logo.svg", LOGO),
        ("logo.png", "PNG"),
        ("challange.html", CHALLENGE),
    ]));
    insta::assert_snapshot!(faults(&[("brand.toml", "nam = \"Example\"\n")]));
}

#[test]
fn templates_that_do_not_parse_or_name_what_there_is_not() {
    let unknown = CHALLENGE.replace("t.transaction_intro", "t.transaction_into");
    insta::assert_snapshot!(faults(&[("challenge.html", &unknown)]));
    insta::assert_snapshot!(faults(&[
        ("closed.html", "{% extends \"base.html\" %}\n{% block body %}{% if %}{% endblock %}"),
        (
            "refusal.html",
            "{% extends \"base.html\" %}\n{% block body %}{{ text | shout }}{% endblock"
        ),
    ]));
}

#[test]
fn templates_that_leave_out_what_an_owner_must_see() {
    let without = |from: &str, to: &str| {
        let own = CHALLENGE.replace(from, to);
        assert_ne!(own, CHALLENGE, "{from}");
        faults(&[("challenge.html", &own)])
    };
    let shown = "{{ transaction(shown, destination, t) }}";
    let all = [
        without(shown, ""),
        without(shown, &format!("<!-- {shown} -->")),
        without(shown, &format!("<details><summary>More</summary>{shown}</details>")),
        without(shown, "{{ transaction(shown[:3], destination, t) }}"),
        without("{{ hidden(\"csrf\", csrf) }}", ""),
        without("name=\"code\"", "name=\"pin\""),
        without("{{ address }}/reject", "{{ address }}/answer"),
        without("<p class=\"why\"", "<p style=\"color:red\""),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_folder_that_is_not_there() {
    let dir = tempfile::TempDir::new().unwrap();
    let upstream = ([127, 0, 0, 1], 9).into();
    let options = Options { upstream, policy: POLICY, pack: OKX, extra: "", workers: 1, sms: true };
    let _kit = Kit::write(dir.path(), &options);
    write(dir.path(), &[]);
    std::fs::remove_dir(dir.path().join("brand")).unwrap();
    let config = dir.path().join("stepgate.toml");
    let text = said(&run(dir.path(), &["check", "-c", config.to_str().unwrap()]));
    assert!(
        text.contains("cannot read the folder") && text.contains("brand = \"brand\""),
        "{text}"
    );
}
