//! The configuration's text without what may be a secret, for faults that show a line of it.
//!
//! Never trusts that the file can be read: it looks at lines, so that a secret is hidden in a file that is not even TOML,
//! and under a key that is misspelt. Invariant: every byte that is not hidden stays where it was.

use crate::fault::{Fault, Source, nearest};

const KEYS: [&str; 5] = ["password", "sentinel_password", "token", "master_key", "credentials"];
const PARTS: [&str; 6] = ["passw", "passp", "secret", "token", "credential", "private"];

/// The same source, with stars for inline secrets and for passwords in URLs.
pub(super) fn hide(source: &Source) -> Source {
    let lines = source.text.split_inclusive('\n').map(line);
    Source::new(&source.path, lines.collect::<String>())
}

/// Lets a fault show this source, and say nothing of what is hidden in it.
pub(super) fn conceal(fault: &mut Fault, shown: &Source) {
    let before = fault.written().to_owned();
    fault.source = shown.clone();
    if fault.written() != before {
        fault.help = fault.help.take().filter(|help| !help.contains(&before));
        fault.message = fault.message.replace(&before, fault.written());
    }
}

fn line(text: &str) -> String {
    let mut shown = text.to_owned();
    let mut from = 0;
    while let Some(sign) = shown.get(from..).and_then(|rest| rest.find('=')) {
        let sign = from + sign;
        let key = shown[..sign].trim_end().rsplit([' ', '\t', ',', '{', '.']).next();
        if key.is_some_and(is_secret) {
            hide_value(&mut shown, sign + 1);
        }
        from = sign + 1;
    }
    hide_passwords(&mut shown);
    shown
}

fn is_secret(key: &str) -> bool {
    let key = key.trim_matches(['"', '\'']).to_lowercase();
    PARTS.iter().any(|part| key.contains(part)) || nearest(&key, KEYS).is_some()
}

/// Hides the value that begins behind an equals sign, unless it says where the secret is.
fn hide_value(line: &mut String, from: usize) {
    let rest = &line[from..];
    let begin = from + (rest.len() - rest.trim_start().len());
    let value = &line[begin..];
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (start, end) = match quote {
        Some(quote) => {
            let inside = &value[1..];
            let close = inside.find(quote).unwrap_or(inside.trim_end().len());
            (begin + 1, begin + 1 + close)
        }
        None => {
            let close = value.find([',', '}', '#']).unwrap_or(value.len());
            (begin, begin + value[..close].trim_end().len())
        }
    };
    let elsewhere = ["file:", "env:"].iter().any(|way| line[start..end].starts_with(way));
    if !elsewhere {
        stars(line, start, end);
    }
}

/// `redis://user:password@host`.
fn hide_passwords(line: &mut String) {
    let mut from = 0;
    while let Some(at) = line.get(from..).and_then(|rest| rest.find("://")) {
        let start = from + at + "://".len();
        let rest = &line[start..];
        let end = rest.find(['"', '\'', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
        let user = rest[..end].rfind('@').map(|at| &rest[..at]);
        if let Some((name, password)) = user.and_then(|user| user.split_once(':')) {
            let begin = start + name.len() + 1;
            let end = begin + password.len();
            stars(line, begin, end);
        }
        from = start;
    }
}

fn stars(line: &mut String, start: usize, end: usize) {
    line.replace_range(start..end, &"*".repeat(end - start));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(text: &str) -> String {
        let shown = hide(&Source::new("f", text)).text.to_string();
        assert_eq!(shown.len(), text.len());
        shown
    }

    #[test]
    fn secrets_are_hidden_wherever_somebody_writes_them() {
        for text in [
            "token = \"hunter2\"\n",
            "token = \"hunter2\n",
            "tokne = 'hunter2' # x",
            "pasword=hunter2",
            "admin = { address = \"a\", token = \"hunter2\" }",
            "store.password = \"hunter2\"",
            "\"password\" = \"hunter2\"",
            "url = \"redis://gate:hunter2@10.0.0.5\"",
            "url = \"redis://:hunter2@10.0.0.5",
            "url = \"redis://gate:hun@hunter2@10.0.0.5\"",
            "password = \"\u{1f600}hunter2\"",
        ] {
            assert!(!hidden(text).contains("hunter2"), "{text}: {}", hidden(text));
        }
    }

    #[test]
    fn everything_else_is_shown() {
        for text in [
            "token = \"file:secrets/token\"\n",
            "password = \"env:PASSWORD\"\n",
            "upstream = [\"http://127.0.0.1:9000\"]\n",
            "from = [\"cookie:session\", \"bearer\"]\n",
            "key = \"certs/gateway.key\"\n",
            "kind = \"api_key\"\n",
        ] {
            assert_eq!(hidden(text), text);
        }
    }
}
