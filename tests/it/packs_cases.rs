//! The packs that ship: each has cases beside it, and takes every request for what they say.

use std::fs;
use std::path::Path;

use stepgate::classify::{cases, load};
use stepgate::fault::{Fault, Source};

fn rendered(faults: &[Fault]) -> String {
    faults.iter().map(Fault::render).collect::<Vec<_>>().join("\n\n")
}

fn source(path: &str) -> Source {
    Source::new(path, fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}")))
}

#[test]
fn every_shipped_pack_takes_requests_for_what_its_cases_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let (mut seen, mut told) = (0, Vec::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.to_str().and_then(|path| path.strip_suffix(".actions.toml")) else {
            continue;
        };
        let mut faults = Vec::new();
        let set = load(&[source(&format!("{name}.actions.toml"))], &mut faults);
        let set = set.unwrap_or_else(|| panic!("{}", rendered(&faults)));
        let ran = cases::run(&source(&format!("{name}.actions.cases.toml")), &set, &mut faults);
        if !faults.is_empty() {
            told.push(rendered(&faults));
        }
        assert!(ran >= 8, "{name} has {ran} cases only");
        seen += 1;
    }
    assert!(told.is_empty(), "{}", told.join("\n\n"));
    assert!(seen >= 8, "{seen}");
}

#[test]
fn packs_of_one_site_take_requests_for_what_each_of_them_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
    let names = ["kraken", "kraken-futures"].map(|name| format!("{folder}/{name}.actions"));
    let packs = names.each_ref().map(|name| source(&format!("{name}.toml")));
    let mut faults = Vec::new();
    let set = load(&packs, &mut faults).unwrap_or_else(|| panic!("{}", rendered(&faults)));
    for name in names {
        assert!(cases::run(&source(&format!("{name}.cases.toml")), &set, &mut faults) > 0);
    }
    assert!(faults.is_empty(), "{}", rendered(&faults));
}
