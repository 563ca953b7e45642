//! Which of five languages a client reads, from its `Accept-Language`.
//!
//! Pure. Never fails: whatever cannot be read, and whatever we do not speak, is English.

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

    proptest::proptest! {
        #[test]
        fn any_header_gets_a_language(header in ".{0,80}") {
            let _ = negotiate(Some(&header));
        }
    }
}
