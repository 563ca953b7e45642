//! The faults for a person: each with its line, a caret and what to do, and at the end how many there are.
//!
//! Never coloured but on a terminal. Invariant: without colours it is what a reload writes into the log.

use std::io::IsTerminal;

use super::Report;
use crate::fault::{Fault, Severity};

pub(super) fn print(report: &Report) {
    let coloured = std::io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let render = if coloured { Fault::render_coloured } else { Fault::render };
    for fault in &report.faults {
        say!("{}\n", render(fault));
    }
    say!("{}", last_line(report));
}

fn last_line(report: &Report) -> String {
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    let (sites, cases) = (report.sites, report.cases);
    let fine = || format!("{}: fine ({sites} site(s), {cases} case(s))", report.config.display());
    match (report.is_fine(), warnings) {
        (true, 0) => fine(),
        (true, _) => format!("{}, {warnings} warning(s)", fine()),
        (false, _) => format!("{errors} error(s), {warnings} warning(s)"),
    }
}
