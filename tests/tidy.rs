//! What the codemap promises, read off the sources: who may import whom, and what the core never calls.
//!
//! The table of layers is the one in `src/lib.rs`, so that the page people read is the rule that holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// From the bottom up: a module imports from its own row and those before it.
const ROWS: [&str; 7] = ["ground", "core", "ports", "outgoing", "edges", "stories", "root"];
/// In this row modules do not even know one another.
const EDGES: usize = 4;
const CORE: usize = 1;

/// A library that only these modules may touch.
const RESERVED: &[(&str, &[&str])] = &[
    ("totp_rs", &["stepup::totp"]),
    ("webauthn_rs", &["stepup::passkey"]),
    ("jsonwebtoken", &["identify", "lib"]),
    ("maxminddb", &["locate::maxmind"]),
    ("redb", &["store::embedded"]),
    ("redis", &["store::redis"]),
    ("rand", &["world", "crypto"]),
];

/// What a pure and sync core has no use for.
const NOT_IN_CORE: &[&str] = &[
    "tokio",
    "hyper",
    "redis",
    "redb",
    "rand",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::thread",
    "std::process",
    "std::env",
    "std::io",
    "SystemTime",
    "Instant",
    "tracing",
    "async",
    "await",
];

struct Source {
    path: PathBuf,
    /// `pipeline::record`; `lib` and `main` for the roots.
    module: String,
    /// See `bare`.
    code: String,
    opens_with_doc: bool,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(source(&root, path));
            }
        }
    }
    assert!(found.len() > 100, "the sources were found");
    found
}

fn source(root: &Path, path: PathBuf) -> Source {
    let text = std::fs::read_to_string(&path).unwrap();
    let inside = path.strip_prefix(root).unwrap().with_extension("");
    let names: Vec<_> = inside.iter().map(|name| name.to_str().unwrap()).collect();
    let module = names.join("::");
    let module = module.strip_suffix("::mod").unwrap_or(&module).to_owned();
    Source { module, code: bare(&text), opens_with_doc: text.starts_with("//! "), path }
}

impl Source {
    /// Whole files that only tests compile.
    fn is_test(&self) -> bool {
        ["tests", "testing"].iter().any(|name| self.module.ends_with(name))
    }
}

/// The code alone: without comments, strings, and the modules that only tests compile.
fn bare(text: &str) -> String {
    let text = &without_test_modules(text);
    let bytes = text.as_bytes();
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    while at < bytes.len() {
        let rest = &text[at..];
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(length) = raw_string(rest) {
            length
        } else if rest.starts_with('"') {
            string(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest[1..].find("'").unwrap() + 2
        } else {
            0
        };
        if skipped > 0 {
            out.push(' ');
            at += skipped;
            continue;
        }
        let next = rest.chars().next().unwrap();
        out.push(next);
        at += next.len_utf8();
    }
    out
}

fn without_test_modules(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blocks = text.split("#[cfg(test)]\n");
    out.push_str(blocks.next().unwrap_or_default());
    for block in blocks {
        let head = block.lines().next().unwrap_or_default();
        let is_module = head.contains("mod ") && head.ends_with('{');
        let end = block.find("\n}\n").map(|at| at + 3).filter(|_| is_module);
        out.push_str(&block[end.unwrap_or(0)..]);
    }
    out
}

/// Length of `r"…"` or `r#"…"#` at the text's beginning.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?.bytes().take_while(|byte| *byte == b'#').count();
    let inside = text.get(1 + hashes..)?.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(2 + hashes + inside.find(&end)? + end.len())
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// Module → row, as the table in `src/lib.rs` has it.
fn table() -> BTreeMap<String, usize> {
    let text = include_str!("../src/lib.rs");
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let Some(cells) = line.strip_prefix("//! | ") else { continue };
        let Some((head, modules)) = cells.trim_end_matches([' ', '|']).split_once(" | ") else {
            continue;
        };
        let name = head.split(',').next().unwrap();
        let Some(row) = ROWS.iter().position(|row| *row == name) else { continue };
        for module in modules_of(modules) {
            assert!(rows.insert(module.clone(), row).is_none(), "{module} stands twice");
        }
    }
    assert!(ROWS.iter().enumerate().all(|(row, _)| rows.values().any(|known| *known == row)));
    rows
}

/// `a, b (a remark), c::{d, e}` → a, b, c::d, c::e.
fn modules_of(cell: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut depth = 0;
    for c in cell.chars() {
        depth += usize::from(c == '(');
        if depth == 0 {
            plain.push(c);
        }
        depth -= usize::from(c == ')');
    }
    tree(&plain).0
}

/// Reads `a::{b, c::d}, e as f` as paths, up to what is no path.
fn tree(text: &str) -> (Vec<String>, usize) {
    let (mut paths, mut at) = (Vec::new(), 0);
    loop {
        let rest = &text[at..];
        at += rest.len() - rest.trim_start().len();
        let (found, length) = path(&text[at..]);
        paths.extend(found);
        at += length;
        let rest = &text[at..];
        let gap = rest.len() - rest.trim_start().len();
        if !rest.trim_start().starts_with(',') {
            return (paths, at + gap);
        }
        at += gap + 1;
    }
}

/// One path, its braces multiplied out; what it is called here (`as`) is passed over.
fn path(text: &str) -> (Vec<String>, usize) {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '*';
    let word = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let (name, behind) = text.split_at(word);
    if let Some(inner) = behind.strip_prefix("::{") {
        let (paths, length) = tree(inner);
        let joined = paths.iter().map(|path| format!("{name}::{path}")).collect();
        return (joined, word + 3 + length + 1);
    }
    if let Some(inner) = behind.strip_prefix("::").filter(|inner| inner.starts_with(is_word)) {
        let (paths, length) = path(inner);
        let joined = paths.iter().map(|path| format!("{name}::{path}")).collect();
        return (joined, word + 2 + length);
    }
    let alias = behind
        .strip_prefix(" as ")
        .map_or(0, |alias| 4 + alias.find(|c| !is_word(c)).unwrap_or(alias.len()));
    let found = if name.is_empty() { Vec::new() } else { vec![name.to_owned()] };
    (found, word + alias)
}

/// Every path into this crate that the code names.
fn imports(source: &Source) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in source.code.match_indices("crate::") {
        let inside = &source.code[at + "crate::".len()..];
        match inside.strip_prefix('{') {
            Some(braces) => found.extend(tree(braces).0),
            None => found.extend(path(inside).0),
        }
    }
    let parent = source.module.rsplit_once("::").map_or("", |(parent, _)| parent);
    for (at, _) in source.code.match_indices("super::") {
        // Two levels up is only ever written where both are of one room.
        let inside = source.code[at + "super::".len()..].trim_start_matches("super::");
        let paths = match inside.strip_prefix('{') {
            Some(braces) => tree(braces).0,
            None => path(inside).0,
        };
        if !parent.is_empty() && !source.code[..at].ends_with("super::") {
            found.extend(paths.iter().map(|path| format!("{parent}::{path}")));
        }
    }
    found
}

/// The longest listed beginning of a path, and its row.
fn row_of<'t>(path: &str, table: &'t BTreeMap<String, usize>) -> Option<(&'t str, usize)> {
    let mut path = path;
    loop {
        if let Some((name, row)) = table.get_key_value(path) {
            return Some((name, *row));
        }
        path = path.rsplit_once("::")?.0;
    }
}

fn room(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

/// Whether the word stands in the code as a word of its own.
fn says(code: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let prefix = word.ends_with("Tcp") || word.ends_with("Udp");
        !before.is_some_and(part) && (prefix || !after.is_some_and(part))
    })
}

/// Whether a path begins with the library's name: a module of ours may be called the same.
fn uses(code: &str, library: &str) -> bool {
    let path = format!("{library}::");
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.match_indices(&path).any(|(at, _)| !code[..at].chars().next_back().is_some_and(part))
}

fn none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_module_stands_in_the_table_and_imports_only_downwards() {
    let table = table();
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.module != "lib" && !source.is_test()) {
        let Some((own, row)) = row_of(&source.module, &table) else {
            faults.push(format!("{} stands in no row of src/lib.rs", source.module));
            continue;
        };
        for path in imports(source) {
            let Some((name, its)) = row_of(&path, &table) else { continue };
            let stranger = row == EDGES && its == EDGES && room(own) != room(name);
            if its > row || stranger {
                let module = &source.module;
                faults.push(format!("{module} ({}) imports {path} ({})", ROWS[row], ROWS[its]));
            }
        }
    }
    none(faults);
}

#[test]
fn the_core_knows_no_clock_no_disk_no_network_and_does_not_wait() {
    let table = table();
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        if row_of(&source.module, &table).is_some_and(|(_, row)| row == CORE) {
            let said = NOT_IN_CORE.iter().filter(|word| says(&source.code, word));
            faults.extend(said.map(|word| format!("{} says {word}", source.path.display())));
        }
    }
    none(faults);
}

#[test]
fn some_libraries_are_reserved_for_one_place() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (library, places) in RESERVED {
            let allowed = places.iter().any(|place| {
                source.module == *place || source.module.starts_with(&format!("{place}::"))
            });
            if !allowed && uses(&source.code, library) {
                faults.push(format!("{} uses {library}", source.path.display()));
            }
        }
    }
    none(faults);
}

#[test]
fn nothing_outside_tests_unwraps() {
    let sources = sources();
    let unwraps = |source: &&Source| !source.is_test() && source.code.contains(".unwrap()");
    none(sources.iter().filter(unwraps).map(|it| it.path.display().to_string()).collect());
}

#[test]
fn every_file_says_first_what_it_is() {
    let sources = sources();
    none(
        sources
            .iter()
            .filter(|source| !source.opens_with_doc)
            .map(|it| it.path.display().to_string())
            .collect(),
    );
}

#[test]
fn the_reader_of_sources_is_not_blind() {
    let code = bare(
        "use crate::{a::b, c::{d, e as f}}; // crate::x\nlet s = \"crate::y\"; r#\"crate::z\"#; '\"'; crate::w::go()",
    );
    let source = Source { path: PathBuf::new(), module: "m::n".into(), code, opens_with_doc: true };
    assert_eq!(imports(&source), ["a::b", "c::d", "c::e", "w::go"]);
    let above = Source { code: "use super::{p, q::R};".into(), ..source };
    assert_eq!(imports(&above), ["m::p", "m::q::R"]);
    assert!(says("x tokio::y", "tokio") && !says("tokio_util", "tokio"));
    assert!(says("use std::net::TcpStream;", "std::net::Tcp"));
    assert_eq!(modules_of("a, b (x, y), c::{d, e}"), ["a", "b", "c::d", "c::e"]);
}
