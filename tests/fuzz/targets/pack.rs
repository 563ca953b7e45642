//! Pack files. A file is taken without a fault, or refused with faults that each stand inside it and can be printed;
//! in what is taken, a write to the address of a guarded action is never ordinary traffic.

use super::inside;
use http::{HeaderMap, Method};
use stepgate::classify::{self, Detected};
use stepgate::fault::Source;

pub fn run(text: &str) {
    let source = Source::new("fuzz.actions.toml", text);
    let mut faults = Vec::new();
    let read = classify::load(std::slice::from_ref(&source), &mut faults);
    assert_eq!(read.is_some(), faults.is_empty(), "refused without a fault, or taken with one");
    faults.iter().for_each(|fault| inside(fault, &source));
    let Some(set) = read else { return };
    for rule in set.rules().iter().filter(|rule| rule.guarded && !rule.route.contains('{')) {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let detected = set.detect(&method, &rule.route, &HeaderMap::new());
            let seen = matches!(detected, Detected::Action(_) | Detected::NotCanonical(_));
            assert!(seen, "{method} {} is {detected:?}", rule.route);
        }
    }
}
