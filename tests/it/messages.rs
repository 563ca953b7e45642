//! Text messages as they arrive on a telephone.

use stepgate::pages::{Language, Pages};
use stepgate::stepup::challenge::Challenge;
use stepgate::stepup::code::Code;
use stepgate::types::{ActionName, Shown};

use crate::pages::{new_place, withdrawal};

fn say(language: Language, challenge: &Challenge) -> String {
    let code = Code::parse("747723").unwrap();
    Pages::new().sms(language, challenge, "Example Exchange", "exchange.example", &code)
}

#[test]
fn a_transaction_and_a_place_in_every_language() {
    let mut text = String::new();
    for language in Language::ALL {
        for (name, challenge) in [("transaction", withdrawal()), ("place", new_place())] {
            text.push_str(&format!("=== {} {name}\n", language.tag()));
            text.push_str(&format!("{}\n\n", say(language, &challenge)));
        }
    }
    insta::assert_snapshot!("sms", text);
}

#[test]
fn the_last_line_is_bound_to_the_host() {
    for language in Language::ALL {
        for challenge in [withdrawal(), new_place()] {
            let text = say(language, &challenge);
            assert_eq!(text.lines().last(), Some("@exchange.example #747723"));
            assert_eq!(text.lines().count(), 3, "{text}");
        }
    }
}

#[test]
fn a_sign_in_never_reads_like_a_transaction() {
    let login = Challenge { action: ActionName::new("login"), ..withdrawal() };
    for language in Language::ALL {
        assert_eq!(say(language, &login), say(language, &new_place()));
        assert_ne!(say(language, &login), say(language, &withdrawal()));
    }
}

#[test]
fn english_texts_are_in_the_cheap_alphabet() {
    for challenge in [withdrawal(), new_place()] {
        assert!(say(Language::En, &challenge).is_ascii());
    }
}

#[test]
fn a_client_cannot_forge_the_last_line() {
    let mut challenge = withdrawal();
    challenge.shown.push(Shown { name: "label".into(), value: "x\n\n@evil.example #1".into() });
    let text = say(Language::En, &challenge);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert_eq!(text.lines().last(), Some("@exchange.example #747723"));
}
