//! `[[admin.operator]]`: more people who may ask at the admin interface.
//!
//! Never two of one name, and none with the name of the first token's.

use super::AdminOperator;
use super::check::Checker;
use super::file;
use crate::admin::operators::ADMIN;

impl Checker<'_> {
    pub(super) fn operators(&mut self, written: &[file::AdminOperator]) -> Vec<AdminOperator> {
        let mut operators: Vec<AdminOperator> = Vec::new();
        for operator in written {
            let (name, span) = (operator.name.get_ref(), operator.name.span());
            let token = self.secret(&operator.token);
            if name == ADMIN {
                self.fault(
                    span,
                    "the operator `admin` is the one with the token in [admin] itself",
                )
                .help("give this one another name");
                continue;
            }
            if !is_name(name) {
                self.fault(span, format!("`{name}` is no operator's name"))
                    .help("small letters, digits, `-` and `_`, at most 32, a letter first");
                continue;
            }
            if operators.iter().any(|known| known.name == *name) {
                self.fault(span, format!("there are two operators called `{name}`"))
                    .help("the record tells operators apart by their names");
                continue;
            }
            let name = name.clone();
            operators.extend(token.map(|token| AdminOperator { name, token }));
        }
        operators
    }
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    name.len() <= NAME_CHARS_MAX
        && chars.next().is_some_and(|c| c.is_ascii_lowercase())
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
}

const NAME_CHARS_MAX: usize = 32;
