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

#[cfg(test)]
mod tests {
    use super::super::{Admin, parse};
    use crate::fault::Source;

    fn read(operators: &[&str]) -> Result<Admin, Vec<String>> {
        let one =
            |name: &&str| format!("[[admin.operator]]\nname = \"{name}\"\ntoken = \"file:t\"\n");
        let operators: String = operators.iter().map(one).collect();
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:1\"\ncertificate = \"a\"\nkey = \"b\"\n[admin]\n\
             address = \"127.0.0.1:2\"\ntoken = \"file:a\"\n{operators}[store]\nurl = \"file:s\"\n\
             master_key = \"file:k\"\n[audit]\nfile = \"a\"\n\
             [[site]]\nname = \"main\"\nhosts = [\"a.example\"]\nupstream = [\"http://127.0.0.1:9\"]\npolicy = \"p\"\n"
        );
        match parse(&Source::new("stepgate.toml", text)) {
            Ok(config) => Ok(config.admin.unwrap()),
            Err(faults) => Err(faults.into_iter().map(|fault| fault.message).collect()),
        }
    }

    #[test]
    fn operators_have_names_of_their_own() {
        let admin = read(&["carol", "dave-2"]).unwrap();
        let names: Vec<&str> = admin.operators.iter().map(|it| it.name.as_str()).collect();
        assert_eq!((names, admin.four_eyes), (vec!["carol", "dave-2"], true));
        for (names, words) in [
            (&["carol", "carol"][..], "two operators called `carol`"),
            (&["admin"], "the one with the token in [admin] itself"),
            (&["Carol"], "no operator's name"),
            (&["a b"], "no operator's name"),
            (&[""], "no operator's name"),
        ] {
            let faults = read(names).err().unwrap();
            assert_eq!(faults.len(), 1, "{names:?}: {faults:?}");
            assert!(faults[0].contains(words), "{names:?}: {faults:?}");
        }
    }
}
