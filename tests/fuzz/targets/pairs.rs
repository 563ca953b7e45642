//! Queries and forms. What is taken is the text itself cut at `&`, has no name twice, reads the same in another library,
//! and survives being written anew.

use std::collections::HashSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use stepgate::fuzz;

pub fn run(text: &str) {
    let Ok(pairs) = fuzz::pairs(text) else { return };
    let raw: Vec<&str> = pairs.iter().map(|pair| &*pair.raw).collect();
    assert_eq!(raw.join("&"), text, "a pair lost its spelling");
    let names: HashSet<&str> = pairs.iter().map(|pair| &*pair.name).collect();
    assert_eq!(names.len(), pairs.len(), "a name occurs twice");
    let theirs: Vec<(String, String)> =
        form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    let ours: Vec<(String, String)> = pairs
        .iter()
        .map(|pair| (pair.name.clone(), pair.value.clone().unwrap_or_default()))
        .collect();
    assert_eq!(ours, theirs, "another library reads it otherwise");
    let spell = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let anew: Vec<String> = pairs
        .iter()
        .map(|pair| match &pair.value {
            Some(value) => format!("{}={}", spell(&pair.name), spell(value)),
            None => spell(&pair.name),
        })
        .collect();
    // A name of nothing, without `=`, cannot be written.
    if pairs.iter().all(|pair| pair.value.is_some() || !pair.name.is_empty()) {
        let again = fuzz::pairs(&anew.join("&")).expect("what was read can be written");
        let same = |(a, b): (&fuzz::Pair, &fuzz::Pair)| a.name == b.name && a.value == b.value;
        assert!(again.len() == pairs.len() && again.iter().zip(&pairs).all(same));
    }
}
