//! The faults as one JSON object, for scripts.
//!
//! Never has a line of the file in it: it may hold a secret. Lines and columns are 1-based, columns in characters; the
//! end is behind the last character. A fault of a file as a whole stands at 1:1.

use serde_json::{Value, json};

use super::Report;
use crate::fault::{Fault, Severity};

pub(super) fn print(report: &Report) {
    let faults: Vec<Value> = report.faults.iter().map(fault).collect();
    let all = json!({
        "files": report.files,
        "faults": faults,
        "sites": report.sites,
        "cases": report.cases,
    });
    say!("{all:#}");
}

fn fault(fault: &Fault) -> Value {
    let ((line, column), (end_line, end_column)) = (fault.position(), fault.end());
    json!({
        "severity": word(fault.severity),
        "message": fault.message,
        "help": fault.help,
        "file": fault.source.path.display().to_string(),
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    })
}

pub(super) fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}
