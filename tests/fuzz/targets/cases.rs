//! Files of cases. Each case comes out or has a fault, every fault stands inside the file and can be printed; what ran
//! once runs the same way again.

use std::sync::LazyLock;

use super::inside;
use stepgate::fault::Source;
use stepgate::policy::{self, PolicySet, cases};

/// What is shipped, as a policy to be tried.
static POLICY: LazyLock<PolicySet> = LazyLock::new(|| {
    let text = include_str!("../../../policies/exchange.policy.toml");
    let source = Source::new("exchange.policy.toml", text);
    policy::load(&source, &[], &[], &mut Vec::new()).expect("what is shipped loads")
});

pub fn run(text: &str) {
    let source = Source::new("fuzz.cases.toml", text);
    let no_packs = |_: &str| Err("no pack is loaded".to_owned());
    let (mut faults, mut again) = (Vec::new(), Vec::new());
    let run = cases::run(&source, &POLICY, &no_packs, &mut faults);
    let second = cases::run(&source, &POLICY, &no_packs, &mut again);
    assert_eq!((&run, &faults), (&second, &again), "another reading comes out otherwise");
    assert!(run.failed <= run.ran && run.failed <= faults.len());
    faults.iter().for_each(|fault| inside(fault, &source));
}
