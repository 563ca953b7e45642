//! Which of five languages a client reads: what the person chose on a page, else its `Accept-Language`.
//!
//! Pure. Never fails: whatever cannot be read, and whatever we do not speak, is English.

use http::header::{COOKIE, HeaderMap};

/// The languages that pages, refusals and text messages exist in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    #[default]
    En,
    ZhTw,
    ZhCn,
    Ja,
    De,
}

impl Language {
    pub const ALL: [Self; 5] = [Self::En, Self::ZhTw, Self::ZhCn, Self::Ja, Self::De];

    /// BCP 47.
    pub fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::ZhTw => "zh-TW",
            Self::ZhCn => "zh-CN",
            Self::Ja => "ja",
            Self::De => "de",
        }
    }

    /// What it is called by those who read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::ZhTw => "繁體中文",
            Self::ZhCn => "简体中文",
            Self::Ja => "日本語",
            Self::De => "Deutsch",
        }
    }

    /// The language of this very tag.
    pub fn exactly(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// The language of one tag, if we speak it. Traditional script goes by script, Taiwan, Hong Kong or Macao.
    fn of_tag(tag: &str) -> Option<Self> {
        let tag = tag.to_ascii_lowercase();
        let mut parts = tag.split('-');
        match parts.next()? {
            "en" => Some(Self::En),
            "ja" => Some(Self::Ja),
            "de" => Some(Self::De),
            "zh" => {
                let rest: Vec<&str> = parts.collect();
                let traditional = if rest.contains(&"hans") {
                    false
                } else {
                    rest.iter().any(|part| matches!(*part, "hant" | "tw" | "hk" | "mo"))
                };
                Some(if traditional { Self::ZhTw } else { Self::ZhCn })
            }
            _ => None,
        }
    }
}

/// The best language for an `Accept-Language` value (RFC 9110 §12.5.4): highest weight, then first named.
pub fn negotiate(accept_language: Option<&str>) -> Language {
    let mut best = (0, Language::En);
    for part in accept_language.unwrap_or("").split(',').take(TAGS_MAX) {
        let (tag, weight) = part.split_once(';').map_or((part, 1000), |(tag, rest)| {
            (tag, rest.trim().strip_prefix("q=").map_or(0, |q| thousandths(q.trim())))
        });
        if let Some(language) = Language::of_tag(tag.trim())
            && weight > best.0
        {
            best = (weight, language);
        }
    }
    best.1
}

/// What a page's switch asks for: `?lang=de`.
pub fn asked(query: Option<&str>) -> Option<Language> {
    query?.split('&').find_map(|pair| pair.strip_prefix("lang=")).and_then(Language::exactly)
}

/// What was chosen before on a page of ours.
pub fn remembered(headers: &HeaderMap) -> Option<Language> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(NAME)?.strip_prefix('='))
        .and_then(Language::exactly)
}

/// `Set-Cookie` that remembers a choice for a year. It says nothing of who chose.
pub fn remember(language: Language) -> String {
    let tag = language.tag();
    format!("{NAME}={tag}; Path=/; Max-Age=31536000; Secure; HttpOnly; SameSite=Lax")
}

/// `__Host-`: no other host, and no page without TLS, can have set it.
const NAME: &str = "__Host-stepgate-lang";

/// `0.8` → 800; 0 for anything that is not a weight.
pub(super) fn thousandths(q: &str) -> u32 {
    let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
    let digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || fraction.len() > 3 {
        return 0;
    }
    match whole {
        "1" => 1000,
        "0" => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

/// Tags beyond these are not looked at.
const TAGS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heaviest_language_that_we_speak_is_taken() {
        let cases = [
            ("", Language::En),
            ("de", Language::De),
            ("de-AT,en;q=0.9", Language::De),
            ("fr,ja;q=0.8,de;q=0.9", Language::De),
            ("en;q=0.5, ja ; q=0.8", Language::Ja),
            ("zh", Language::ZhCn),
            ("zh-TW,zh;q=0.9", Language::ZhTw),
            ("zh-Hant-HK", Language::ZhTw),
            ("zh-Hans-TW", Language::ZhCn),
            ("zh-SG", Language::ZhCn),
            ("DE-de", Language::De),
            ("ja;q=0,de;q=0.001", Language::De),
            ("ja;q=7,de;q=0.1", Language::De),
            ("*", Language::En),
            (";;q=,,", Language::En),
        ];
        for (header, language) in cases {
            assert_eq!(negotiate(Some(header)), language, "{header:?}");
        }
        assert_eq!(negotiate(None), Language::En);
    }

    #[test]
    fn a_flood_of_tags_is_cut_off() {
        let header = format!("{}de", "fr,".repeat(10_000));
        assert_eq!(negotiate(Some(&header)), Language::En);
    }

    #[test]
    fn a_choice_is_remembered_and_asked_for_by_its_very_tag() {
        let cookies = |lines: &[&str]| {
            let lines = lines.iter().map(|line| (COOKIE, line.parse().unwrap()));
            remembered(&lines.collect::<HeaderMap>())
        };
        assert_eq!(cookies(&["session=a; __Host-stepgate-lang=zh-TW"]), Some(Language::ZhTw));
        assert_eq!(cookies(&["session=a", "__Host-stepgate-lang=de"]), Some(Language::De));
        assert_eq!(cookies(&["__Host-stepgate-lang=fr"]), None);
        assert_eq!(cookies(&["x__Host-stepgate-lang=de"]), None);
        assert_eq!(asked(Some("with=sms&lang=ja")), Some(Language::Ja));
        assert_eq!(asked(Some("lang=xx")), None);
        assert_eq!(asked(None), None);
        assert!(remember(Language::De).starts_with("__Host-stepgate-lang=de; Path=/; "));
    }

    proptest::proptest! {
        #[test]
        fn any_header_gets_a_language(header in ".{0,80}") {
            let _ = negotiate(Some(&header));
        }
    }
}
