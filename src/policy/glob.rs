//! Patterns of `matches`: `*` stands for any run of characters, `?` for one.
//!
//! Never backtracks exponentially: two fingers, worst case pattern times text. Invariant: no other
//! character is special.

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    pattern: Vec<char>,
    ignore_case: bool,
}

impl Glob {
    /// `ignore_case` is about ASCII letters only.
    pub fn new(pattern: &str, ignore_case: bool) -> Self {
        Self { pattern: pattern.chars().map(|c| folded(c, ignore_case)).collect(), ignore_case }
    }

    /// Whether every text fits the pattern.
    pub fn matches_all(&self) -> bool {
        !self.pattern.is_empty() && self.pattern.iter().all(|c| *c == '*')
    }

    /// Whether the whole text fits the pattern.
    pub fn matches(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut at = 0;
        // Where to go on if the last `*` has to swallow one more character.
        let mut star: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let before = rest.clone();
            let next = rest.next().map(|c| folded(c, self.ignore_case));
            match (self.pattern.get(at), next) {
                (Some('*'), _) => {
                    at += 1;
                    star = Some((at, before.clone()));
                    rest = before;
                }
                (Some('?'), Some(_)) => at += 1,
                (Some(wanted), Some(c)) if *wanted == c => at += 1,
                (None, None) => return true,
                _ => {
                    let Some((after, swallowed)) = &mut star else { return false };
                    if swallowed.next().is_none() {
                        return false;
                    }
                    at = *after;
                    rest = swallowed.clone();
                }
            }
        }
    }
}

fn folded(c: char, ignore_case: bool) -> char {
    if ignore_case { c.to_ascii_lowercase() } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_and_question_marks_are_all_there_is() {
        for (pattern, text, fits) in [
            ("bc1*", "bc1qxyz", true),
            ("bc1*", "BC1QXYZ", false),
            ("*", "", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("a*b*c", "axxbyybzzc", true),
            ("a*b*c", "axxbyyb", false),
            ("[a]", "a", false),
            ("[a]", "[a]", true),
            ("*.example", "a.b.example", true),
            ("ü?", "üx", true),
        ] {
            assert_eq!(Glob::new(pattern, false).matches(text), fits, "{pattern} {text}");
        }
        assert!(Glob::new("usdt*", true).matches("USDT-TRC20"));
    }

    /// The definition, slow and obvious.
    fn slow(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', after @ ..], _) => {
                slow(after, text) || matches!(text, [_, rest @ ..] if slow(pattern, rest))
            }
            (['?', after @ ..], [_, rest @ ..]) => slow(after, rest),
            ([wanted, after @ ..], [c, rest @ ..]) => wanted == c && slow(after, rest),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_its_definition(pattern in "[ab*?]{0,7}", text in "[ab]{0,9}") {
            let p: Vec<char> = pattern.chars().collect();
            let t: Vec<char> = text.chars().collect();
            prop_assert_eq!(Glob::new(&pattern, false).matches(&text), slow(&p, &t));
        }
    }
}
