//! The policies that ship: each loads, each case comes out, each rule has a case.

use std::fs;
use std::path::Path;

use stepgate::fault::Source;
use stepgate::policy::cases;

use super::{no_packs, rendered};

#[test]
fn every_shipped_policy_says_what_its_cases_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.to_str().and_then(|path| path.strip_suffix(".policy.toml")) else {
            continue;
        };
        let policy = Source::new(&path, fs::read_to_string(&path).unwrap());
        let cases = format!("{name}.cases.toml");
        let cases = Source::new(&cases, fs::read_to_string(&cases).unwrap());
        let mut faults = Vec::new();
        let policy = stepgate::policy::load(&policy, &[], &[], &mut faults);
        let policy = policy.unwrap_or_else(|| panic!("{}", rendered(&faults)));
        let run = cases::run(&cases, &policy, &no_packs, &mut faults);
        assert!(faults.is_empty(), "{}", rendered(&faults));
        assert!(run.untested.is_empty(), "no case expects {:?}", run.untested);
        assert!(run.gaps.is_empty(), "no case tries {:?}", run.gaps);
        assert!(run.ran > 0 && run.failed == 0);
        seen += 1;
    }
    assert!(seen > 0, "there is a shipped policy");
}
