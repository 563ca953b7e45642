//! Where the bytes of a TOML text stand in its spelling, so that a fault inside a condition points at its word.
//!
//! Never guesses: where text and spelling part, there are no places. Invariant: places lie inside the spelling and grow.

/// Offsets in the spelling, of the text's bytes in which something was left out before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// First byte of the text in the spelling.
    start: usize,
    /// From this byte of the text on, so many bytes more stand before it in the spelling.
    shifts: Vec<(usize, usize)>,
}

impl Places {
    pub fn at(&self, byte: usize) -> usize {
        let shift = self.shifts.iter().rev().find(|(from, _)| *from <= byte);
        self.start + byte + shift.map_or(0, |(_, more)| *more)
    }
}

/// `raw` is the spelling with its quotes, `text` what it says.
pub fn of(raw: &str, text: &str) -> Option<Places> {
    const QUOTES: [&str; 4] = ["\"\"\"", "'''", "\"", "'"];
    let quote = QUOTES.into_iter().find(|quote| raw.starts_with(quote))?;
    let body = raw.strip_prefix(quote)?.strip_suffix(quote)?;
    let newline = match quote.len() {
        3 => ["\r\n", "\n"].into_iter().find(|newline| body.starts_with(newline)),
        _ => None,
    };
    let skipped = newline.map_or(0, str::len);
    let mut places = Places { start: quote.len() + skipped, shifts: Vec::new() };
    let (mut rest, mut said, mut more) = (body.get(skipped..)?, text, 0);
    while let Some(wanted) = said.chars().next() {
        let taken = if quote.starts_with('"') && rest.starts_with('\\') {
            escape(rest, wanted)?
        } else if rest.starts_with("\r\n") && wanted == '\n' {
            2
        } else {
            rest.starts_with(wanted).then_some(wanted.len_utf8())?
        };
        if taken > 0 {
            said = said.get(wanted.len_utf8()..)?;
        }
        // What is taken for nothing is a line's end behind a backslash.
        let spelt = if taken > 0 { taken } else { folded(rest)? };
        let width = if taken > 0 { wanted.len_utf8() } else { 0 };
        rest = rest.get(spelt..)?;
        if spelt > width {
            more += spelt - width;
            places.shifts.push((text.len() - said.len(), more));
        }
    }
    Some(places)
}

/// How long the escape at the beginning of `rest` is; 0 if it stands for nothing.
fn escape(rest: &str, wanted: char) -> Option<usize> {
    match rest.as_bytes().get(1)? {
        b'u' => Some(6),
        b'U' => Some(10),
        b'x' => Some(4),
        b'\n' | b'\r' | b' ' | b'\t' => Some(0),
        b'"' | b'\\' if rest.get(1..)?.starts_with(wanted) => Some(2),
        b'b' | b't' | b'n' | b'f' | b'r' | b'e' => Some(2),
        _ => None,
    }
}

/// A backslash at the end of a line and all white space behind it.
fn folded(rest: &str) -> Option<usize> {
    let behind = rest.strip_prefix('\\')?;
    let left = behind.trim_start_matches([' ', '\t', '\r', '\n']);
    Some(rest.len() - left.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `word` stands in the spelling, by way of the text.
    fn found(raw: &str, text: &str, word: &str) -> usize {
        of(raw, text).unwrap().at(text.find(word).unwrap())
    }

    #[test]
    fn a_word_is_found_in_every_spelling() {
        for (raw, text) in [
            ("\"a is b\"", "a is b"),
            ("'a is b'", "a is b"),
            ("\"\"\"\na\nis b\"\"\"", "a\nis b"),
            ("\"\"\"\r\na\r\nis b\"\"\"", "a\nis b"),
            ("\"\\\"a\\\" \\u0041 is b\"", "\"a\" A is b"),
            ("\"\"\"a \\\n    is b\"\"\"", "a is b"),
        ] {
            assert_eq!(raw.get(found(raw, text, "is")..).unwrap().get(..2), Some("is"), "{raw}");
        }
    }

    #[test]
    fn what_is_spelt_otherwise_has_no_places() {
        assert_eq!(of("\"abc\"", "abd"), None);
        assert_eq!(of("abc", "abc"), None);
    }
}
