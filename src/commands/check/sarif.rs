//! The faults as SARIF 2.1.0 (OASIS), which code-scanning services read.
//!
//! Never has a line of the file in it: it may hold a secret. Invariant: what it says is valid under the published schema,
//! and a rule's id is the same in every version.

use std::collections::BTreeMap;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Report, json, relative};
use crate::fault::Fault;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";
/// What a path may have in a URI besides letters and digits.
const NOT_IN_PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(super) fn print(report: &Report, directory: &Path) {
    say!("{:#}", log(report, directory));
}

fn log(report: &Report, directory: &Path) -> Value {
    let kind = |fault: &Fault| report.kinds.of(&fault.source.path);
    let kinds: BTreeMap<_, _> = report.faults.iter().map(kind).collect();
    let rules: Vec<Value> = kinds
        .iter()
        .map(|(id, text)| json!({ "id": id, "shortDescription": { "text": text } }))
        .collect();
    let results: Vec<Value> =
        report.faults.iter().map(|fault| result(fault, kind(fault).0, directory)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "stepgate",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(fault: &Fault, rule: &str, directory: &Path) -> Value {
    let ((line, column), (end_line, end_column)) = (fault.position(), fault.end());
    let text = match &fault.help {
        Some(help) => format!("{}\n{help}", fault.message),
        None => fault.message.clone(),
    };
    json!({
        "ruleId": rule,
        "level": json::word(fault.severity),
        "message": { "text": text },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&relative(&fault.source.path, directory)) },
            "region": {
                "startLine": line,
                "startColumn": column,
                "endLine": end_line,
                "endColumn": end_column,
            },
        } }],
    })
}

fn uri(path: &str) -> String {
    let encoded = utf8_percent_encode(path, NOT_IN_PATH);
    match path.starts_with('/') {
        true => format!("file://{encoded}"),
        false => encoded.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_uris() {
        assert_eq!(uri("policies/a b%.toml"), "policies/a%20b%25.toml");
        assert_eq!(uri("/etc/x.toml"), "file:///etc/x.toml");
    }
}
