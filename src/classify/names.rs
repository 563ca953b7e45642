//! Parameter names that some server would take for another name.
//!
//! Never lists servers: everything but letters and digits is dropped and case is folded, so that
//! `AMT`, `amt `, `amt\0`, `amt[]`, `_amt` and the full-width `ａｍｔ` are all seen to be after `amt`.

use super::canonical::fold;

/// Whether `name` is not `bound` but would be read as it somewhere.
pub(super) fn is_variant(name: &str, bound: &str) -> bool {
    if name == bound {
        return false;
    }
    let target = core(bound);
    core(name) == target || core(base(name)) == target
}

/// Names with a meaning of their own: they reach the prototype of every object in JavaScript,
/// change the method, or change the charset of everything around them.
pub(super) fn is_reserved(name: &str) -> bool {
    const RESERVED: [&str; 5] = ["__proto__", "constructor", "prototype", "_method", "_charset_"];
    RESERVED.iter().any(|word| base(name).trim().eq_ignore_ascii_case(word))
}

/// The name under which servers take a bearer token among the parameters (RFC 6750 §2.2).
pub(super) fn is_token(name: &str) -> bool {
    core(base(name)) == "accesstoken"
}

/// The name up to where form parsers begin an index, a member or the end.
fn base(name: &str) -> &str {
    name.split(['[', '.', '\0']).find(|part| !part.is_empty()).unwrap_or("").trim_end_matches(']')
}

/// Letters and digits only, in one case and form.
pub(super) fn core(name: &str) -> String {
    fold(name).chars().filter(|letter| letter.is_alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_some_server_takes_for_a_bound_one_is_a_variant() {
        for name in [
            "AMT",
            "Amt",
            " amt",
            "amt ",
            "amt\0",
            "amt\0x",
            "amt[]",
            "amt[x]",
            "amt.x",
            "_amt",
            "ａｍｔ",
            "a\u{200b}mt",
        ] {
            assert!(is_variant(name, "amt"), "{name:?}");
        }
        assert!(is_variant("to_addr", "toAddr"));
    }

    #[test]
    fn the_name_itself_and_other_names_are_not() {
        for name in ["amt", "amount", "am", "amt2", "xamt"] {
            assert!(!is_variant(name, "amt"), "{name:?}");
        }
    }

    #[test]
    fn names_that_reach_prototypes_methods_or_charsets_are_reserved() {
        for name in [
            "__proto__",
            "constructor",
            "__proto__[amt]",
            "_method",
            "_METHOD",
            "_charset_",
            "[__proto__][x]",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        assert!(!is_reserved("method"));
    }

    #[test]
    fn a_token_is_known_in_every_spelling() {
        for name in ["access_token", "Access_Token", "access_token[]", "accessToken"] {
            assert!(is_token(name), "{name}");
        }
        for name in ["token", "access", "access_tokens", "my_access_token"] {
            assert!(!is_token(name), "{name}");
        }
    }
}
