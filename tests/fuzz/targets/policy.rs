//! Policy files. A file is taken without a fault, or refused with faults that each stand inside it and can be printed;
//! what is taken once is the same policy again.

use super::inside;
use stepgate::fault::Source;
use stepgate::policy;
use stepgate::types::ActionName;

pub fn run(text: &str) {
    let source = Source::new("fuzz.policy.toml", text);
    let actions = ["withdrawal", "transfer", "address_book.add"].map(ActionName::new);
    let (mut faults, mut again) = (Vec::new(), Vec::new());
    let read = policy::load(&source, &actions, &[], &mut faults);
    let second = policy::load(&source, &actions, &[], &mut again);
    assert_eq!(read.is_some(), faults.is_empty(), "refused without a fault, or taken with one");
    assert_eq!(faults, again, "another reading, other faults");
    faults.iter().for_each(|fault| inside(fault, &source));
    if let (Some(read), Some(second)) = (read, second) {
        assert_eq!(read.version(), second.version());
        assert!(read.rule_ids().eq(second.rule_ids()));
    }
}
