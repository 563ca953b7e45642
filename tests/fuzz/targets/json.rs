//! The strict JSON reader. What it takes serde_json takes too and reads the same, token by token, and no name occurs twice.

use serde_json::Value;
use stepgate::fuzz;

pub fn run(text: &str) {
    let Ok(tokens) = fuzz::json(text) else { return };
    assert!(!fuzz::is_too_deep(text.as_bytes()), "deeper than its beginning said");
    assert_eq!(tokens, without_space(text), "a token lost its spelling");
    assert_eq!(fuzz::json(&tokens).as_deref(), Ok(&*tokens), "it is not its own canonical form");
    match (serde_json::from_str::<Value>(text), serde_json::from_str::<Value>(&tokens)) {
        (Ok(read), Ok(again)) => {
            assert_eq!(read, again);
            // A name that is given twice would be there once.
            assert_eq!(names(&read), colons(&tokens), "a name occurs twice");
        }
        // Numbers are kept as they are written, so any size of them is taken.
        (Err(error), Err(_)) => assert!(error.to_string().contains("out of range"), "{error}"),
        other => panic!("{other:?}"),
    }
}

/// The text without the white space that stands outside strings.
fn without_space(text: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let keep = |letter: &char| {
        let kept = quoted || !matches!(letter, ' ' | '\t' | '\r' | '\n');
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        kept
    };
    text.chars().filter(keep).collect()
}

fn colons(tokens: &str) -> usize {
    let (mut quoted, mut escaped, mut count) = (false, false, 0);
    for letter in tokens.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ':' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}

fn names(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.len() + members.values().map(names).sum::<usize>(),
        Value::Array(elements) => elements.iter().map(names).sum(),
        _ => 0,
    }
}
