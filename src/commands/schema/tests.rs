//! The schemas against the loaders and against the files in the tree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::classify;
use crate::fault::{Fault, Source};
use crate::policy::{self, PolicySet};
use crate::types::{ActionName, Fields};

/// No loader knows this key.
const ODD: &str = "zzzzzzzzzzzz";

/// Each table of each schema: its name in the schema (`` for the file itself), and a text in which `?` stands for a key of it.
/// Whoever adds a table adds a row here; whoever adds a key to a loader adds it to the schema's struct.
const TABLES: &[(Kind, &str, &str)] = &[
    (Kind::Config, "", "?\n[listen]\naddress = \"a\"\n"),
    (Kind::Config, "Listen", "[listen]\n?\n"),
    (Kind::Config, "Pair", "[listen]\n[[listen.tls]]\n?\n"),
    (Kind::Config, "Admin", "[admin]\n?\n"),
    (
        Kind::Config,
        "AdminOperator",
        "[admin]\naddress = \"a\"\ntoken = \"file:a\"\n[[admin.operator]]\n?\n",
    ),
    (Kind::Config, "Store", "[store]\n?\n"),
    (Kind::Config, "Geo", "[geo]\n?\n"),
    (Kind::Config, "Audit", "[audit]\n?\n"),
    (Kind::Config, "Sms", "[sms]\n?\n"),
    (Kind::Config, "Budget", "[sms]\nprovider = \"log\"\n[sms.budget]\n?\n"),
    (Kind::Config, "Mail", "[mail]\n?\n"),
    (Kind::Config, "Limits", "[limits]\n?\n"),
    (Kind::Config, "Prices", "[prices]\n?\n"),
    (Kind::Config, "Site", "[[site]]\n?\n"),
    (Kind::Config, "Webauthn", "[[site]]\n[site.webauthn]\n?\n"),
    (Kind::Config, "Identity", "[[site]]\n[[site.identity]]\n?\n"),
    (Kind::Actions, "", "?\n"),
    (Kind::Actions, "Unclassified", "[unclassified]\n?\n"),
    (Kind::Actions, "Challenge", "[challenge]\n?\n"),
    (Kind::Actions, "Websocket", "[websocket]\n?\n"),
    (Kind::Actions, "Action", "[[action]]\n?\n"),
    (
        Kind::Actions,
        "Choice",
        "[[action]]\nname = \"a\"\nmatch = \"POST /a\"\n[[action.choose]]\n?\n",
    ),
    (Kind::Policy, "", "?\n"),
    (Kind::Policy, "Rule", "[[rule]]\n?\n"),
    (Kind::Cases, "", "?\n"),
    (Kind::Cases, "Case", "[[case]]\n?\n"),
    (Kind::Cases, "Request", "[[case]]\n[case.request]\n?\n"),
    (Kind::Cases, "Account", "[[case]]\n[case.account]\n?\n"),
    (Kind::Cases, "Address", "[[case]]\n[[case.account.addresses]]\n?\n"),
    (Kind::Cases, "Done", "[[case]]\n[[case.account.done]]\n?\n"),
    (Kind::Cases, "History", "[[case]]\n[case.history]\n?\n"),
    (Kind::Cases, "Place", "[[case]]\nrequest = { action = \"ordinary\" }\n[case.place]\n?\n"),
    (
        Kind::Cases,
        "Then",
        "[[case]]\nrequest = { action = \"ordinary\" }\nexpect = { verdict = \"allow\" }\n[[case.then]]\n?\n",
    ),
    (Kind::Cases, "CaseTable", "[[table]]\n?\n"),
    (
        Kind::Cases,
        "ExpectOfAll",
        "[[table]]\nname = \"a\"\ncolumns = []\nrows = [[]]\n[table.expect]\n?\n",
    ),
    (Kind::Cases, "Elevation", "[[case]]\n[[case.elevations]]\n?\n"),
    (Kind::Cases, "Hold", "[[case]]\n[[case.holds]]\n?\n"),
    (Kind::Cases, "Expect", "[[case]]\n[case.expect]\n?\n"),
    (Kind::ActionsCases, "", "?\n"),
    (Kind::ActionsCases, "PackCase", "[[case]]\n?\n"),
    (Kind::ActionsCases, "PackExpect", "[[case]]\n[case.expect]\n?\n"),
];

/// Tables whose keys are names of the author's, or the facts, which have a test of their own.
const OPEN: [&str; 1] = ["Facts"];

fn set() -> classify::ActionSet {
    let pack = Source::new("t.toml", "version = 1\nexchange = \"t\"\n");
    classify::load(&[pack], &mut Vec::new()).unwrap()
}

fn policy() -> PolicySet {
    policy::load(&Source::new("t.toml", "version = 1\n"), &[], &[], &mut Vec::new()).unwrap()
}

/// Everything that the loader of this kind of file says of a text.
fn faults(kind: Kind, text: &str) -> Vec<Fault> {
    let source = Source::new("t.toml", text);
    let mut faults = Vec::new();
    match kind {
        Kind::Config => {
            let dir = tempfile::TempDir::new().unwrap();
            let file = dir.path().join("stepgate.toml");
            std::fs::write(&file, text).unwrap();
            faults.extend(crate::config::load(&file).err().unwrap_or_default());
        }
        Kind::Actions => drop(classify::load(&[source], &mut faults)),
        Kind::Policy => drop(policy::load(&source, &[], &[], &mut faults)),
        Kind::Cases => {
            let classify = |_: &str| Ok((ActionName::new("ordinary"), vec![Fields::default()]));
            policy::cases::run(&source, &policy(), &classify, &mut faults);
        }
        Kind::ActionsCases => drop(classify::cases::run(&source, &set(), &mut faults)),
    }
    faults
}

/// The keys that the loader itself names when it meets one that it does not know.
fn known(kind: Kind, text: &str) -> BTreeSet<String> {
    let faults = faults(kind, &text.replace('?', &format!("{ODD} = 1")));
    let said = faults.iter().find(|fault| fault.message.contains(ODD));
    let said = said.unwrap_or_else(|| panic!("{text}: {faults:#?}"));
    let help = said.help.as_deref().unwrap_or("");
    // Where one key alone is known, that one must have been meant.
    let (_, names) = ["known here: ", "the keys here are ", "one of: ", "did you mean "]
        .into_iter()
        .find_map(|words| help.split_once(words))
        .unwrap_or_else(|| panic!("{text}: {said:?}"));
    names.split(", ").map(|name| name.trim_matches(['`', '?']).to_owned()).collect()
}

fn table<'s>(schema: &'s Value, name: &str) -> &'s Value {
    match name {
        "" => schema,
        name => schema.pointer(&format!("/$defs/{name}")).unwrap_or_else(|| panic!("{name}")),
    }
}

fn keys(table: &Value) -> BTreeSet<String> {
    table["properties"].as_object().into_iter().flat_map(|keys| keys.keys()).cloned().collect()
}

#[test]
fn every_table_has_the_keys_that_its_loader_takes_and_no_others() {
    for (kind, name, text) in TABLES {
        let schema = kind.schema();
        let table = table(&schema, name);
        assert_eq!(keys(table), known(*kind, text), "{kind:?} {name}");
        assert_eq!(table["additionalProperties"], false, "{kind:?} {name}");
    }
}

#[test]
fn no_table_of_a_schema_is_forgotten() {
    for kind in Kind::ALL {
        let schema = kind.schema();
        let closed = |table: &Value| table.get("properties").is_some();
        let defs = schema["$defs"].as_object().unwrap();
        for (name, _) in
            defs.iter().filter(|(name, table)| closed(table) && !OPEN.contains(&name.as_str()))
        {
            let row = |(of, known, _): &(Kind, &str, &str)| *of == kind && known == name;
            assert!(TABLES.iter().any(row), "{kind:?} {name} has no row");
        }
    }
}

#[test]
fn the_facts_of_a_case_are_those_of_the_language() {
    let schema = Kind::Cases.schema();
    let facts = &schema["$defs"]["Facts"]["properties"];
    for spec in crate::policy::table::FACTS.iter().filter(|spec| !spec.name.contains('<')) {
        let group = spec.name.split('.').next().unwrap();
        assert!(facts.get(spec.name).is_some() && facts.get(group).is_some(), "{}", spec.name);
    }
    for name in facts.as_object().unwrap().keys().filter(|name| name.contains('.')) {
        assert!(crate::policy::table::FACTS.iter().any(|spec| spec.name == name), "{name}");
    }
}

#[test]
fn closed_lists_of_words_are_the_loaders_own() {
    let words = |kind: Kind, name: &str| {
        let schema = kind.schema();
        let def = table(&schema, name);
        let list = def.get("enum").and_then(Value::as_array).cloned().unwrap_or_else(|| {
            // Words with a description each.
            let ways = def["oneOf"].as_array().unwrap_or_else(|| panic!("{def:#}"));
            ways.iter().map(|way| way["const"].clone()).collect()
        });
        list.iter().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let case = |verdict: &str| {
        let text = format!(
            "[[case]]\nname = \"a\"\nrequest = {{ action = \"login\" }}\nexpect = {{ verdict = \"{verdict}\" }}\n"
        );
        faults(Kind::Cases, &text).iter().any(|fault| fault.message.contains("unknown verdict"))
    };
    assert!(words(Kind::Cases, "Verdict").iter().all(|word| !case(word)) && case("permit"));
    let credential = |word: &str| {
        let text =
            format!("[[case]]\nrequest = {{ action = \"login\" }}\ncredential = \"{word}\"\n");
        faults(Kind::Cases, &text).iter().any(|it| it.message.contains("unknown credential"))
    };
    assert!(
        words(Kind::Cases, "Credential").iter().all(|word| !credential(word)) && credential("x")
    );
    let unlisted = |word: &str| {
        let text =
            format!("version = 1\nexchange = \"t\"\nunclassified = {{ write = \"{word}\" }}\n");
        !faults(Kind::Actions, &text).is_empty()
    };
    assert!(words(Kind::Actions, "Say").iter().all(|word| !unlisted(word)) && unlisted("hold"));
    let config = |text: String, says: &str| {
        faults(Kind::Config, &(CONFIG.to_owned() + &text))
            .iter()
            .any(|fault| fault.message.contains(says))
    };
    let provider =
        |word: &str| config(format!("[sms]\nprovider = \"{word}\"\n"), "unknown SMS provider");
    assert!(words(Kind::Config, "Provider").iter().all(|word| !provider(word)) && provider("x"));
    let mail =
        |word: &str| config(format!("[mail]\nprovider = \"{word}\"\n"), "unknown mail provider");
    assert!(words(Kind::Config, "MailProvider").iter().all(|word| !mail(word)) && mail("x"));
    let identity = |word: &str| {
        let site = "[[site]]\nname = \"a\"\nhosts = [\"a\"]\nupstream = [\"http://127.0.0.1:1\"]\npolicy = \"p\"\n";
        config(
            format!("{site}[[site.identity]]\nkind = \"{word}\"\nfrom = [\"bearer\"]\n"),
            "unknown identity kind",
        )
    };
    assert!(
        words(Kind::Config, "IdentityKind").iter().all(|word| !identity(word)) && identity("x")
    );
    assert_eq!(words(Kind::Config, "Algorithm"), crate::identify::algorithm_names());
}

const CONFIG: &str = "[listen]\naddress = \"127.0.0.1:1\"\ncertificate = \"c\"\nkey = \"k\"\n[store]\nurl = \"file:s\"\nmaster_key = \"file:m\"\n[audit]\nfile = \"a\"\n";

#[test]
fn patterns_take_what_the_language_takes() {
    for (text, fits) in [
        ("totp", true),
        ("totp or (sms and webauthn)", true),
        ("((totp))", true),
        ("totpsms", false),
        ("totp or pin", false),
    ] {
        let rule =
            format!("version = 1\n[[rule]]\nid = \"a\"\non = \"login\"\nrequire = \"{text}\"\n");
        assert_eq!(faults(Kind::Policy, &rule).is_empty(), fits, "{text}");
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/schemas")
}

#[test]
fn the_files_in_the_tree_are_what_the_program_prints() {
    for kind in Kind::ALL {
        let file = folder().join(kind.file());
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let name = format!("{kind:?}").replace("ActionsCases", "actions-cases").to_lowercase();
        assert!(
            text == kind.text().unwrap(),
            "{} is not what the program prints; renew it with\n    cargo run -- schema {name} > policies/schemas/{}",
            file.display(),
            kind.file(),
        );
    }
}

#[test]
fn every_shipped_file_names_its_schema_first() {
    let mut seen = 0;
    for entry in std::fs::read_dir(folder().parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // The longest ending says which.
        let mut kinds = Kind::ALL.to_vec();
        kinds.sort_by_key(|kind| std::cmp::Reverse(kind.file().len()));
        let kind = kinds.into_iter().find(|kind| {
            name.ends_with(&format!(".{}", kind.file().replace(".schema.json", ".toml")))
        });
        let Some(kind) = kind else { continue };
        let text = std::fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap();
        assert_eq!(first, format!("#:schema schemas/{}", kind.file()), "{name}");
        seen += 1;
    }
    assert!(seen >= 18, "the shipped files were found: {seen}");
}
