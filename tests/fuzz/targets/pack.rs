//! Pack files. A file is taken without a fault, or refused with faults that each stand inside it and can be printed;
//! in what is taken, every action without parameters is found at its own address.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stepgate::classify;
use stepgate::fault::Source;
use stepgate_fuzz::inside;

fuzz_target!(|text: &str| {
    let source = Source::new("fuzz.actions.toml", text);
    let mut faults = Vec::new();
    let read = classify::load(std::slice::from_ref(&source), &mut faults);
    assert_eq!(read.is_some(), faults.is_empty(), "refused without a fault, or taken with one");
    faults.iter().for_each(|fault| inside(fault, &source));
    let Some(set) = read else { return };
    assert!(set.rules().iter().all(|rule| set.action_names().contains(&rule.name)));
});
