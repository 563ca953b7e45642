//! Every notice in every language, as text message, mail and page.

use stepgate::pages::{Language, Pages};
use stepgate::stepup::device::Device;
use stepgate::stepup::notice::{About, Change, FrozenBy, Notice, is_one_segment};
use stepgate::types::{ActionName, Factor, Shown, UnixMs};

use crate::world::NOON;

const LINK: &str =
    "https://exchange.example/.stepgate/not-me/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn notice(about: About) -> Notice {
    Notice {
        about,
        at: NOON,
        site: "Example".into(),
        place: Some("Frankfurt am Main, DE".into()),
        device: Device::of("Firefox/127.0 Windows"),
    }
}

/// One of every kind.
fn kinds() -> Vec<Notice> {
    let change = |factor, change| About::FactorChange { factor, change };
    let line = |name: &str, value: &str| Shown { name: name.into(), value: value.into() };
    [
        About::RemoteLogin,
        change(Factor::Totp, Change::Added),
        change(Factor::Sms, Change::Replaced),
        change(Factor::Mail, Change::Removed),
        About::Locked,
        About::Frozen { by: FrozenBy::Owner },
        About::Frozen { by: FrozenBy::Rule },
        About::Frozen { by: FrozenBy::Operator },
        About::Thawed,
        About::Rule {
            action: ActionName::new("withdrawal"),
            shown: vec![
                line("amount", "0.5"),
                line("asset", "BTC"),
                line("address", "bc1qxy2kgdygjrsqtzq2n0yrf2493p83kkfjhx0wlh"),
            ],
            why: Some("Large sums are told.".into()),
        },
        About::ThawAsked { opens: UnixMs(NOON.0 + 86_400_000) },
    ]
    .map(notice)
    .into()
}

#[test]
fn every_notice_as_a_text_message_in_every_language() {
    let (pages, mut said) = (Pages::new(), String::new());
    for language in Language::ALL {
        for notice in kinds() {
            let text = pages.notice_sms(language, &notice, LINK);
            assert_eq!(text.lines().count(), 1);
            assert!(text.contains(LINK) && !text.contains("bc1q"), "{text}");
            let words = text.replace(LINK, "LINK");
            said.push_str(&format!("{} {}: {words}\n", language.tag(), notice.about.word()));
            if matches!(language, Language::En | Language::De) {
                assert!(is_one_segment(&text), "{} characters: {text}", text.chars().count());
            }
        }
    }
    insta::assert_snapshot!("notices_sms", said);
}

#[test]
fn every_notice_as_a_mail_in_every_language() {
    let (pages, mut said) = (Pages::new(), String::new());
    let until = UnixMs(NOON.0 + 7 * 86_400_000);
    for language in Language::ALL {
        for notice in kinds() {
            let mail = pages.notice_mail(language, &notice, LINK, until);
            assert!(!mail.subject.contains(['\r', '\n']));
            assert_eq!(mail.text.matches(LINK).count(), 1);
            assert_eq!(mail.html.matches(&format!("href=\"{LINK}\"")).count(), 1);
            let head = mail.text.split("\n\n").take(3).collect::<Vec<_>>().join("\n");
            said.push_str(&format!("=== {} {}\n{head}\n\n", language.tag(), mail.subject));
        }
    }
    let mail = pages.notice_mail(Language::En, &kinds()[9], LINK, until);
    said.push_str(&format!("=== whole\n{}\n=== html\n{}", mail.text, mail.html));
    insta::assert_snapshot!("notices_mail", said);
}

#[test]
fn no_value_begins_a_line_or_is_markup() {
    let odd = "x\r\nBcc: eve@evil.example\r\n\r\n<b>\u{202e}";
    let about = About::Rule {
        action: ActionName::new("withdrawal"),
        shown: vec![Shown { name: odd.into(), value: odd.into() }],
        why: Some(odd.into()),
    };
    let notice = Notice { site: odd.into(), place: Some(odd.into()), ..notice(about) };
    for language in Language::ALL {
        let mail = Pages::new().notice_mail(language, &notice, LINK, NOON);
        assert!(!mail.subject.contains(['\r', '\n', '\u{202e}']), "{}", mail.subject);
        assert!(!mail.text.lines().any(|line| line.starts_with("Bcc")), "{}", mail.text);
        assert!(!mail.html.contains("<b>") && mail.html.contains("&lt;b&gt;"), "{}", mail.html);
        let text = Pages::new().notice_sms(language, &notice, LINK);
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn a_text_message_leaves_out_the_program_and_the_city_rather_than_become_two() {
    let long = Notice {
        place: Some("Llanfairpwllgwyngyllgogerychwyrndrobwll, GB".into()),
        ..notice(About::RemoteLogin)
    };
    let text = Pages::new().notice_sms(Language::En, &long, LINK);
    assert!(is_one_segment(&text) && text.contains(", GB, "), "{text}");
    let home = Notice { place: Some("DE".into()), ..notice(About::Thawed) };
    let link = "https://a.example/.stepgate/not-me/x";
    assert!(Pages::new().notice_sms(Language::En, &home, link).contains("Firefox"));
}
