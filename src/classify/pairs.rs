//! Query strings and urlencoded bodies as pairs, each in its exact spelling and decoded.
//!
//! Never guesses: what two parsers could read differently is refused, also in pairs that no pack
//! names.

use percent_encoding::percent_decode_str;

/// One `name=value`; `value` is None without `=`.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    pub raw_name: &'a str,
    pub raw_value: Option<&'a str>,
    pub name: String,
    pub value: Option<String>,
}

/// Fewer than any upstream's limit, beyond which pairs are silently dropped.
const PAIRS_MAX: usize = 100;

/// # Errors
/// Why the text is refused.
pub(crate) fn parse(text: &str) -> Result<Vec<Pair<'_>>, &'static str> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    for piece in text.split('&') {
        let pair = pair(piece)?;
        if pairs.len() == PAIRS_MAX {
            return Err("too many parameters");
        }
        if pairs.iter().any(|other| other.name == pair.name) {
            return Err("a parameter is given twice");
        }
        pairs.push(pair);
    }
    Ok(pairs)
}

fn pair(piece: &str) -> Result<Pair<'_>, &'static str> {
    if piece.is_empty() {
        return Err("an empty parameter");
    }
    let (raw_name, raw_value) = match piece.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (piece, None),
    };
    Ok(Pair {
        raw_name,
        raw_value,
        name: decode(raw_name)?,
        value: raw_value.map(decode).transpose()?,
    })
}

/// # Errors
/// If the text has characters that must be encoded, a broken escape, or is not UTF-8 once decoded.
fn decode(text: &str) -> Result<String, &'static str> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b'#')) {
        return Err("a parameter holds a character that must be encoded");
    }
    let mut escapes = text.split('%').skip(1);
    if !escapes.all(|tail| tail.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2) {
        return Err("a broken percent-encoding");
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(Into::into).map_err(|_| "a parameter is not UTF-8")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_keep_their_spelling_and_are_decoded() {
        let pairs = parse("%61mt=1%2B2&x=a+b&flag&empty=").unwrap();
        let read: Vec<_> = pairs.iter().map(|pair| (&*pair.name, pair.value.as_deref())).collect();
        assert_eq!(
            read,
            [("amt", Some("1+2")), ("x", Some("a b")), ("flag", None), ("empty", Some(""))]
        );
        assert_eq!(pairs[0].raw_name, "%61mt");
    }

    #[test]
    fn what_parsers_disagree_on_is_refused() {
        for text in [
            "a=1&a=2",
            "a=1&%61=2",
            "a=1;b=2",
            "a=1&&b=2",
            "&a=1",
            "a=1&",
            "a=%zz",
            "a=%1",
            "a=%ff",
            "a=b c",
            "a=é",
            "a=1#b",
            "\u{feff}a=1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let many: Vec<String> = (0..=PAIRS_MAX).map(|at| format!("p{at}=1")).collect();
        assert!(parse(&many.join("&")).is_err());
        assert!(parse(&many[..PAIRS_MAX].join("&")).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,100}", wild in "[a%=&+;0-9\u{e9}]{0,60}") {
            let _ = parse(&text);
            let _ = parse(&wild);
        }
    }
}
