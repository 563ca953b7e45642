//! Slips of the keyboard: one small change somewhere in a text, by a seed.

use std::ops::Range;

/// A small generator (SplitMix64): the same seed, the same slips.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end.max(1) as u64).unwrap()
    }

    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// What looks like what.
const TWINS: [(&str, &str); 14] = [
    ("a", "\u{430}"),
    ("e", "\u{435}"),
    ("o", "\u{43e}"),
    ("c", "\u{441}"),
    ("p", "\u{440}"),
    ("i", "\u{456}"),
    ("0", "O"),
    ("1", "l"),
    ("\"", "\u{201d}"),
    ("-", "\u{2013}"),
    (" ", "\u{a0}"),
    ("=", "=="),
    (">", "\u{ff1e}"),
    (".", ","),
];
const OPERATORS: [&str; 9] =
    [" > ", " < ", " >= ", " <= ", " and ", " or ", " is ", " is not ", " in "];

/// One slip: its kind, and the text with it. The text may be the same.
pub fn slip(text: &str, dice: &mut Dice) -> (&'static str, String) {
    let letters = letters(text);
    let at = dice.one(&letters).clone();
    let letter = &text[at.clone()];
    let with = |range: Range<usize>, new: &str| {
        let mut changed = text.to_owned();
        changed.replace_range(range, new);
        changed
    };
    match dice.below(15) {
        0 => ("a character left out", with(at, "")),
        1 => ("a character twice", with(at.clone(), &letter.repeat(2))),
        2 => {
            let next = text[at.end..].chars().next().unwrap_or(' ');
            let end = (at.end + next.len_utf8()).min(text.len());
            ("neighbours swapped", with(at.start..end, &format!("{next}{letter}")))
        }
        3 => {
            let (plain, twin) = *dice.one(&TWINS);
            ("a look-alike", swap_one(text, plain, twin, dice))
        }
        4 => {
            let digits: Vec<_> =
                letters.iter().filter(|at| text.as_bytes()[at.start].is_ascii_digit()).collect();
            let digit = dice.below(10).to_string();
            (
                "another digit",
                if digits.is_empty() {
                    text.to_owned()
                } else {
                    with((*dice.one(&digits)).clone(), &digit)
                },
            )
        }
        5 => {
            let (one, other) = (*dice.one(&OPERATORS), *dice.one(&OPERATORS));
            ("another operator", swap_one(text, one, other, dice))
        }
        6 => {
            let words = words(text);
            let (one, other) = (dice.one(&words).clone(), dice.one(&words).clone());
            let other = text[other].to_owned();
            ("another word of the file", with(one, &other))
        }
        7 => ("a line left out", line(text, dice, |_| String::new())),
        8 => ("a line twice", line(text, dice, |line| line.repeat(2))),
        9 => ("a line commented out", line(text, dice, |line| format!("# {line}"))),
        10 => {
            let values = quoted(text);
            let (one, other) = (dice.one(&values).clone(), dice.one(&values).clone());
            if one.end > other.start {
                return ("two values swapped", text.to_owned());
            }
            let (head, middle) = (&text[..one.start], &text[one.end..other.start]);
            let swapped = [head, &text[other.clone()], middle, &text[one], &text[other.end..]];
            ("two values swapped", swapped.concat())
        }
        11 => ("a table moved", move_table(text, dice)),
        12 => {
            let more = *dice.one(&[
                "x", "0", "\"", "'", "]", "}", "=", "\n", ",", "#", "\\", "\u{0}", "é", "_", ".",
            ]);
            ("a character more", with(at.start..at.start, more))
        }
        13 => {
            let other = if letter == letter.to_ascii_lowercase() {
                letter.to_ascii_uppercase()
            } else {
                letter.to_ascii_lowercase()
            };
            ("other case", with(at, &other))
        }
        _ => {
            let end = (at.end..text.len())
                .find(|end| text.is_char_boundary(*end) && end - at.end >= dice.below(12))
                .unwrap_or(text.len());
            ("some characters left out", with(at.start..end, ""))
        }
    }
}

/// Characters that are no comment and no text that people read.
fn letters(text: &str) -> Vec<Range<usize>> {
    let mut letters = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if !line.starts_with('#') && !line.starts_with("why") && line.len() > 1 {
            letters
                .extend(line.char_indices().map(|(at, c)| start + at..start + at + c.len_utf8()));
        }
        start += line.len();
    }
    letters
}

fn swap_one(text: &str, one: &str, other: &str, dice: &mut Dice) -> String {
    let places: Vec<usize> = text.match_indices(one).map(|(at, _)| at).collect();
    if places.is_empty() {
        return text.to_owned();
    }
    let at = *dice.one(&places);
    [&text[..at], other, &text[at + one.len()..]].concat()
}

fn words(text: &str) -> Vec<Range<usize>> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@/".contains(c);
    let (mut words, mut start) = (Vec::new(), None);
    for at in letters(text) {
        let inside = text[at.clone()].starts_with(plain);
        match (inside, start) {
            (true, None) => start = Some(at.start),
            (false, Some(from)) => {
                words.push(from..at.start);
                start = None;
            }
            _ => {}
        }
    }
    words.retain(|word| text.get(word.clone()).is_some_and(|word| !word.contains('\n')));
    words
}

fn quoted(text: &str) -> Vec<Range<usize>> {
    let mut values = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let marks: Vec<usize> = line.match_indices('"').map(|(at, _)| start + at).collect();
        if !line.starts_with('#') && !line.starts_with("why") {
            values.extend(marks.chunks_exact(2).map(|pair| pair[0]..pair[1] + 1));
        }
        start += line.len();
    }
    values
}

fn line(text: &str, dice: &mut Dice, change: impl Fn(&str) -> String) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let telling: Vec<usize> = (0..lines.len())
        .filter(|at| lines[*at].len() > 1 && !lines[*at].starts_with('#'))
        .collect();
    let chosen = *dice.one(&telling);
    lines
        .iter()
        .enumerate()
        .map(|(at, line)| if at == chosen { change(line) } else { (*line).to_owned() })
        .collect()
}

fn move_table(text: &str, dice: &mut Dice) -> String {
    let starts: Vec<usize> = text.match_indices("\n[").map(|(at, _)| at + 1).collect();
    if starts.len() < 3 {
        return text.to_owned();
    }
    let from = dice.below(starts.len() - 1);
    let table = text[starts[from]..starts[from + 1]].to_owned();
    let rest = [&text[..starts[from]], &text[starts[from + 1]..]].concat();
    let places: Vec<usize> = rest.match_indices("\n[").map(|(at, _)| at + 1).collect();
    let at = *dice.one(&places);
    [&rest[..at], &table, &rest[at..]].concat()
}
