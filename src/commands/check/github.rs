//! The faults as workflow commands of GitHub Actions, which shows them at their lines.
//!
//! Never lets a message end its line early: a file's words could else give the runner commands. Invariant: one fault is
//! one line.

use std::path::Path;

use super::{Report, json, relative};
use crate::fault::Fault;

pub(super) fn print(report: &Report, directory: &Path) {
    report.faults.iter().for_each(|fault| say!("{}", annotation(fault, directory)));
}

fn annotation(fault: &Fault, directory: &Path) -> String {
    let ((line, column), (end_line, end_column)) = (fault.position(), fault.end());
    let file = property(&relative(&fault.source.path, directory));
    let mut place = format!("file={file}");
    if !fault.source.text.is_empty() {
        place += &format!(",line={line},endLine={end_line}");
        // GitHub shows columns only where both ends are on one line.
        if end_line == line {
            place += &format!(",col={column},endColumn={end_column}");
        }
    }
    let help = fault.help.as_ref().map(|help| format!("\n{help}")).unwrap_or_default();
    let word = json::word(fault.severity);
    format!("::{word} {place}::{}", data(&format!("{}{help}", fault.message)))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Source;

    #[test]
    fn nothing_in_a_fault_can_end_its_line_or_its_place() {
        let source = Source::new("/w/a,b:c.toml", "x = 1\n");
        let message = "100%\r\n::stop-commands::x";
        let fault = Fault::new(&source, 0..1, message).help("do: this, that");
        assert_eq!(
            annotation(&fault, Path::new("/w")),
            "::error file=a%2Cb%3Ac.toml,line=1,endLine=1,col=1,endColumn=2::\
             100%25%0D%0A::stop-commands::x%0Ado: this, that"
        );
        let nameless = Fault::warning(&Source::new("b.toml", ""), 0..0, "gone");
        assert_eq!(annotation(&nameless, Path::new("/w")), "::warning file=b.toml::gone");
    }
}
