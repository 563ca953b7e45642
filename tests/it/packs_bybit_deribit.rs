//! The packs for Bybit and Deribit.
use stepgate::classify::{ActionSet, load};
use stepgate::fault::Source;

const BYBIT: &str = include_str!("../../policies/bybit.actions.toml");
const DERIBIT: &str = include_str!("../../policies/deribit.actions.toml");

fn compile(text: &str) -> ActionSet {
    let mut faults = Vec::new();
    let set = load(&[Source::new("test.actions.toml", text)], &mut faults);
    let faults: Vec<String> = faults.iter().map(stepgate::fault::Fault::render).collect();
    set.unwrap_or_else(|| panic!("{}", faults.join("\n")))
}

#[test]
fn both_packs_are_sound() {
    compile(BYBIT);
    compile(DERIBIT);
}
