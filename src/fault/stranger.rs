//! Characters that people take for others: Cyrillic and Greek twins of Latin letters, typographic quotes, spaces that are
//! none, marks that cannot be seen.
//!
//! Never judges a text in another language: only a word that mixes letters, or a character that nobody types on
//! purpose, is strange. Invariant: what is strange can be named.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

/// What `odd` is easily taken for: a twin from the table, else what compatibility decomposition (Unicode UAX #15) makes
/// of it.
pub fn look_alike(odd: char) -> Option<char> {
    if odd.is_ascii() {
        return None;
    }
    if let Some((_, plain, _)) = TWINS.iter().find(|(twin, ..)| *twin == odd) {
        return Some(*plain);
    }
    let mut plain = std::iter::once(odd).nfkc();
    match (plain.next(), plain.next()) {
        (Some(plain), None) if matches!(plain, ' '..='~') => Some(plain),
        _ => None,
    }
}

/// `U+0430 CYRILLIC SMALL LETTER A looks like `a``.
pub fn describe(odd: char) -> String {
    let code = format!("U+{:04X}", u32::from(odd));
    let name = name(odd).map(|name| format!(" {name}")).unwrap_or_default();
    match look_alike(odd) {
        Some(' ') => format!("{code}{name} looks like a space"),
        Some(plain) => format!("{code}{name} looks like `{plain}`"),
        None if is_unseen(odd) => format!("{code}{name} cannot be seen"),
        None => format!("{code}{name} (`{odd}`) is not an ASCII character"),
    }
}

/// The text with everything strange as what it looks like, and without what cannot be seen.
pub fn plain(text: &str) -> String {
    text.chars().filter(|c| !is_unseen(*c)).map(|c| look_alike(c).unwrap_or(c)).collect()
}

/// The first character that was hardly meant, and where: one that cannot be seen, a space or a sign that is another, or
/// a letter that looks like one of the Latin letters that it stands among.
pub fn find(text: &str) -> Option<(usize, char)> {
    if text.is_ascii() {
        return None;
    }
    let latin = |word: &str| word.chars().any(|c| c.is_ascii_alphanumeric());
    let alone =
        |odd: char| is_unseen(odd) || look_alike(odd).is_some_and(|plain| !plain.is_alphabetic());
    let mut start = 0;
    for word in text.split_inclusive(|c: char| !c.is_alphanumeric() && !c.is_ascii_graphic()) {
        let mixed = latin(word);
        let odd = word
            .char_indices()
            .find(|(_, c)| alone(*c) || (look_alike(*c).is_some() && (mixed || is_wide(*c))));
        if let Some((at, odd)) = odd {
            return Some((start + at, odd));
        }
        start += word.len();
    }
    None
}

/// A strange character at `span`; if the span says little, in the rest of its line.
pub(super) fn near(text: &str, span: &Range<usize>) -> Option<(usize, char)> {
    let inside = text.get(span.clone())?;
    let short = inside.lines().next().unwrap_or_default();
    if let Some((at, odd)) = find(short) {
        return Some((span.start + at, odd));
    }
    if inside.contains('\n') {
        return None;
    }
    // A parser stops at the first byte that it cannot use, or behind it.
    let begin = text.get(..span.start)?.rfind([' ', '\t', '\n', '=']).map_or(0, |at| at + 1);
    let rest = text.get(begin..)?;
    let word = rest.split([' ', '\t', '\n']).next()?;
    let at = find(word).map(|(at, odd)| (begin + at, odd));
    at.filter(|_| inside.chars().count() <= 1)
}

/// Nothing is drawn, or what is drawn around it changes its direction.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}')
}

/// Twins of all of ASCII for East Asian lines.
fn is_wide(c: char) -> bool {
    matches!(c, '\u{ff01}'..='\u{ff5e}')
}

/// Whether it lets what follows run the other way, so that a line reads as another.
pub fn reorders(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn name(odd: char) -> Option<String> {
    if is_wide(odd) {
        let plain = look_alike(odd)?;
        return Some(match plain {
            '0'..='9' => format!("FULLWIDTH DIGIT {plain}"),
            'a'..='z' => format!("FULLWIDTH LATIN SMALL LETTER {}", plain.to_ascii_uppercase()),
            'A'..='Z' => format!("FULLWIDTH LATIN CAPITAL LETTER {plain}"),
            _ => format!("FULLWIDTH `{plain}`"),
        });
    }
    let twin = TWINS.iter().find(|(twin, ..)| *twin == odd).map(|(.., name)| *name);
    let unseen = || UNSEEN.iter().find(|(known, _)| *known == odd).map(|(_, name)| *name);
    twin.or_else(unseen).map(str::to_owned)
}

#[rustfmt::skip]
const TWINS: [(char, char, &str); 78] = [
    ('\u{430}', 'a', "CYRILLIC SMALL LETTER A"), ('\u{410}', 'A', "CYRILLIC CAPITAL LETTER A"),
    ('\u{412}', 'B', "CYRILLIC CAPITAL LETTER VE"), ('\u{441}', 'c', "CYRILLIC SMALL LETTER ES"),
    ('\u{421}', 'C', "CYRILLIC CAPITAL LETTER ES"), ('\u{501}', 'd', "CYRILLIC SMALL LETTER KOMI DE"),
    ('\u{435}', 'e', "CYRILLIC SMALL LETTER IE"), ('\u{415}', 'E', "CYRILLIC CAPITAL LETTER IE"),
    ('\u{4bb}', 'h', "CYRILLIC SMALL LETTER SHHA"), ('\u{41d}', 'H', "CYRILLIC CAPITAL LETTER EN"),
    ('\u{456}', 'i', "CYRILLIC SMALL LETTER BYELORUSSIAN-UKRAINIAN I"),
    ('\u{406}', 'I', "CYRILLIC CAPITAL LETTER BYELORUSSIAN-UKRAINIAN I"),
    ('\u{458}', 'j', "CYRILLIC SMALL LETTER JE"), ('\u{43a}', 'k', "CYRILLIC SMALL LETTER KA"),
    ('\u{41a}', 'K', "CYRILLIC CAPITAL LETTER KA"), ('\u{41c}', 'M', "CYRILLIC CAPITAL LETTER EM"),
    ('\u{43e}', 'o', "CYRILLIC SMALL LETTER O"), ('\u{41e}', 'O', "CYRILLIC CAPITAL LETTER O"),
    ('\u{440}', 'p', "CYRILLIC SMALL LETTER ER"), ('\u{420}', 'P', "CYRILLIC CAPITAL LETTER ER"),
    ('\u{455}', 's', "CYRILLIC SMALL LETTER DZE"), ('\u{405}', 'S', "CYRILLIC CAPITAL LETTER DZE"),
    ('\u{442}', 't', "CYRILLIC SMALL LETTER TE"), ('\u{422}', 'T', "CYRILLIC CAPITAL LETTER TE"),
    ('\u{443}', 'y', "CYRILLIC SMALL LETTER U"), ('\u{423}', 'Y', "CYRILLIC CAPITAL LETTER U"),
    ('\u{445}', 'x', "CYRILLIC SMALL LETTER HA"), ('\u{425}', 'X', "CYRILLIC CAPITAL LETTER HA"),
    ('\u{43c}', 'm', "CYRILLIC SMALL LETTER EM"), ('\u{432}', 'b', "CYRILLIC SMALL LETTER VE"),
    ('\u{3b1}', 'a', "GREEK SMALL LETTER ALPHA"), ('\u{391}', 'A', "GREEK CAPITAL LETTER ALPHA"),
    ('\u{392}', 'B', "GREEK CAPITAL LETTER BETA"), ('\u{395}', 'E', "GREEK CAPITAL LETTER EPSILON"),
    ('\u{397}', 'H', "GREEK CAPITAL LETTER ETA"), ('\u{3b9}', 'i', "GREEK SMALL LETTER IOTA"),
    ('\u{399}', 'I', "GREEK CAPITAL LETTER IOTA"), ('\u{39a}', 'K', "GREEK CAPITAL LETTER KAPPA"),
    ('\u{39c}', 'M', "GREEK CAPITAL LETTER MU"), ('\u{39d}', 'N', "GREEK CAPITAL LETTER NU"),
    ('\u{3bf}', 'o', "GREEK SMALL LETTER OMICRON"), ('\u{39f}', 'O', "GREEK CAPITAL LETTER OMICRON"),
    ('\u{3c1}', 'p', "GREEK SMALL LETTER RHO"), ('\u{3a1}', 'P', "GREEK CAPITAL LETTER RHO"),
    ('\u{3a4}', 'T', "GREEK CAPITAL LETTER TAU"), ('\u{3a5}', 'Y', "GREEK CAPITAL LETTER UPSILON"),
    ('\u{3a7}', 'X', "GREEK CAPITAL LETTER CHI"), ('\u{396}', 'Z', "GREEK CAPITAL LETTER ZETA"),
    ('\u{3bd}', 'v', "GREEK SMALL LETTER NU"), ('\u{131}', 'i', "LATIN SMALL LETTER DOTLESS I"),
    ('\u{578}', 'n', "ARMENIAN SMALL LETTER VO"), ('\u{57d}', 'u', "ARMENIAN SMALL LETTER SEH"),
    ('\u{201c}', '"', "LEFT DOUBLE QUOTATION MARK"), ('\u{201d}', '"', "RIGHT DOUBLE QUOTATION MARK"),
    ('\u{201e}', '"', "DOUBLE LOW-9 QUOTATION MARK"), ('\u{ab}', '"', "LEFT-POINTING DOUBLE ANGLE QUOTATION MARK"),
    ('\u{bb}', '"', "RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK"),
    ('\u{2018}', '\'', "LEFT SINGLE QUOTATION MARK"), ('\u{2019}', '\'', "RIGHT SINGLE QUOTATION MARK"),
    ('\u{2032}', '\'', "PRIME"), ('\u{2033}', '"', "DOUBLE PRIME"),
    ('\u{2010}', '-', "HYPHEN"), ('\u{2011}', '-', "NON-BREAKING HYPHEN"), ('\u{2012}', '-', "FIGURE DASH"),
    ('\u{2013}', '-', "EN DASH"), ('\u{2014}', '-', "EM DASH"), ('\u{2212}', '-', "MINUS SIGN"),
    ('\u{d7}', '*', "MULTIPLICATION SIGN"), ('\u{2217}', '*', "ASTERISK OPERATOR"),
    ('\u{a0}', ' ', "NO-BREAK SPACE"), ('\u{202f}', ' ', "NARROW NO-BREAK SPACE"),
    ('\u{2007}', ' ', "FIGURE SPACE"), ('\u{2009}', ' ', "THIN SPACE"), ('\u{3000}', ' ', "IDEOGRAPHIC SPACE"),
    ('\u{2044}', '/', "FRACTION SLASH"), ('\u{2215}', '/', "DIVISION SLASH"),
    ('\u{2236}', ':', "RATIO"), ('\u{201a}', ',', "SINGLE LOW-9 QUOTATION MARK"),
];

#[rustfmt::skip]
const UNSEEN: [(char, &str); 17] = [
    ('\u{ad}', "SOFT HYPHEN"), ('\u{61c}', "ARABIC LETTER MARK"), ('\u{200b}', "ZERO WIDTH SPACE"),
    ('\u{200c}', "ZERO WIDTH NON-JOINER"), ('\u{200d}', "ZERO WIDTH JOINER"),
    ('\u{200e}', "LEFT-TO-RIGHT MARK"), ('\u{200f}', "RIGHT-TO-LEFT MARK"),
    ('\u{202a}', "LEFT-TO-RIGHT EMBEDDING"), ('\u{202b}', "RIGHT-TO-LEFT EMBEDDING"),
    ('\u{202c}', "POP DIRECTIONAL FORMATTING"), ('\u{202d}', "LEFT-TO-RIGHT OVERRIDE"),
    ('\u{202e}', "RIGHT-TO-LEFT OVERRIDE"), ('\u{2060}', "WORD JOINER"),
    ('\u{2066}', "LEFT-TO-RIGHT ISOLATE"), ('\u{2067}', "RIGHT-TO-LEFT ISOLATE"),
    ('\u{2069}', "POP DIRECTIONAL ISOLATE"), ('\u{feff}', "ZERO WIDTH NO-BREAK SPACE (BYTE ORDER MARK)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_named() {
        for (odd, said) in [
            ('\u{430}', "U+0430 CYRILLIC SMALL LETTER A looks like `a`"),
            ('\u{ff11}', "U+FF11 FULLWIDTH DIGIT 1 looks like `1`"),
            ('\u{a0}', "U+00A0 NO-BREAK SPACE looks like a space"),
            ('\u{201c}', "U+201C LEFT DOUBLE QUOTATION MARK looks like `\"`"),
            ('\u{200b}', "U+200B ZERO WIDTH SPACE cannot be seen"),
            ('\u{202e}', "U+202E RIGHT-TO-LEFT OVERRIDE cannot be seen"),
        ] {
            assert_eq!(describe(odd), said);
        }
    }

    #[test]
    fn only_what_was_hardly_meant_is_strange() {
        for text in
            ["plain", "Zürich", "Москва", "東京", "Адрес новый", "it’s".trim_end_matches("’s")]
        {
            assert_eq!(find(text), None, "{text}");
        }
        assert_eq!(find("T\u{43e}kyo"), Some((1, '\u{43e}')));
        assert_eq!(find("JP\u{200b}"), Some((2, '\u{200b}')));
        assert_eq!(find("\u{ff11}\u{ff10}"), Some((0, '\u{ff11}')));
        assert_eq!(find("a\u{a0}b"), Some((1, '\u{a0}')));
    }
}
