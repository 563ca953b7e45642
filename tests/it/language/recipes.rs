//! The page of recipes: each is copied as it stands there, and its cases come out.

use std::fs;
use std::path::Path;

use super::{rendered, run};

/// Title, rules and cases of each recipe, in order.
fn recipes() -> Vec<(String, String, String)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/recipes.md");
    let page = fs::read_to_string(page).unwrap();
    let sections: Vec<&str> = page.split("\n## ").skip(1).collect();
    let numbered =
        sections.iter().filter(|section| section.starts_with(|c: char| c.is_ascii_digit()));
    let block = |section: &str, kind: &str| {
        let fence = format!("```toml {kind}\n");
        let (_, rest) =
            section.split_once(&fence).unwrap_or_else(|| panic!("no {kind}: {section}"));
        rest.split_once("```").unwrap().0.to_owned()
    };
    let recipe = |section: &&str| {
        let title = section.lines().next().unwrap().to_owned();
        (title, block(section, "policy"), block(section, "cases"))
    };
    numbered.map(recipe).collect()
}

#[test]
fn every_recipe_does_what_its_cases_say() {
    let recipes = recipes();
    assert!(recipes.len() >= 10, "{} recipes", recipes.len());
    for (title, rules, cases) in recipes {
        let (run, faults) = run(&rules, &cases);
        assert!(faults.is_empty(), "{title}\n{}", rendered(&faults));
        assert!(run.untested.is_empty(), "{title}: no case for {:?}", run.untested);
        assert!(
            run.ran >= 2,
            "{title}: a rule has a case where it speaks and one where it does not"
        );
    }
}
