//! Readers of hostile bytes meet what the fuzz targets begin with, and changes of it: the same ones in every run.
//!
//! Never looks for long: `make fuzz` does.

mod mutate;

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use mutate::Mutator;

/// Every input of a target's folder.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = format!("{}/tests/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} is empty");
    files.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn survives(name: &str, input: &[u8]) {
    let (_, target) = targets::ALL.iter().find(|(known, _)| *known == name).unwrap();
    if std::panic::catch_unwind(|| target(input)).is_err() {
        panic!("{name} did not survive {:?}", input.escape_ascii().to_string());
    }
}

#[test]
fn every_target_has_inputs_to_begin_with_and_every_folder_a_target() {
    let folder = format!("{}/tests/fuzz/corpus", env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let names: Vec<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(folders, names);
}

#[test]
fn no_reader_of_hostile_bytes_is_broken_by_what_it_begins_with_or_by_changes_of_it() {
    for (name, _) in targets::ALL {
        let inputs = corpus(name);
        inputs.iter().for_each(|input| survives(name, input));
        let mut mutator = Mutator::new(1);
        for _ in 0..changes(name) {
            survives(name, &mutator.change(&inputs));
        }
    }
}

/// Whole files are slow to read in a build without optimisation.
fn changes(name: &str) -> usize {
    match name {
        "policy" | "cases" | "pack" => 150,
        "path" | "backup" => 1_000,
        _ => 5_000,
    }
}
