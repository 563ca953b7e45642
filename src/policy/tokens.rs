//! The spelling of conditions: words, quotations, signs, each with its byte range.
//!
//! Never guesses at a character that only looks like ASCII. Invariant: total on every input, and
//! every span lies at characters of the text.

use std::ops::Range;

use winnow::combinator::{alt, delimited, preceded};
use winnow::error::EmptyError;
use winnow::prelude::*;
use winnow::stream::{LocatingSlice, Location};
use winnow::token::{take_till, take_while};

use crate::fault::stranger;

/// What is wrong, at which bytes of the condition.
#[derive(Debug, PartialEq, Eq)]
pub struct Trouble {
    pub span: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

impl Trouble {
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// How two ordered values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Op {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// Words that no value may be without quotes.
pub const KEYWORDS: [&str; 7] = ["and", "or", "not", "is", "in", "between", "matches"];

/// What the language is spelt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lexeme<'i> {
    Word(&'i str),
    Quoted(&'i str),
    Set(&'i str),
    Order(Op),
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
    Plus,
}

/// A lexeme and its bytes.
#[derive(Clone, Debug)]
pub struct Token<'i> {
    pub lexeme: Lexeme<'i>,
    pub span: Range<usize>,
}

impl Lexeme<'_> {
    pub fn is_keyword(self) -> bool {
        matches!(self, Self::Word(word) if KEYWORDS.contains(&word))
    }
}

type Input<'i> = LocatingSlice<&'i str>;

/// Cuts a text into tokens.
///
/// # Errors
/// The first character that begins none.
pub fn tokens(text: &str) -> Result<Vec<Token<'_>>, Trouble> {
    let mut input = LocatingSlice::new(text);
    let mut tokens = Vec::new();
    loop {
        skip_space(&mut input);
        if input.is_empty() {
            return Ok(tokens);
        }
        let start = input.current_token_start();
        match lexeme(&mut input) {
            Ok(lexeme) => tokens.push(Token { lexeme, span: start..input.current_token_start() }),
            Err(EmptyError) => return Err(unreadable(text, start)),
        }
    }
}

fn skip_space(input: &mut Input<'_>) {
    let space: Result<&str, EmptyError> =
        take_while(0.., [' ', '\t', '\r', '\n']).parse_next(input);
    debug_assert!(space.is_ok(), "zero or more always match");
}

fn lexeme<'i>(input: &mut Input<'i>) -> Result<Lexeme<'i>, EmptyError> {
    let signs = alt((
        "<=".value(Lexeme::Order(Op::LessOrEqual)),
        "<".value(Lexeme::Order(Op::Less)),
        ">=".value(Lexeme::Order(Op::GreaterOrEqual)),
        ">".value(Lexeme::Order(Op::Greater)),
    ));
    let marks = alt((
        "(".value(Lexeme::Open),
        ")".value(Lexeme::Close),
        "[".value(Lexeme::OpenList),
        "]".value(Lexeme::CloseList),
        ",".value(Lexeme::Comma),
        "+".value(Lexeme::Plus),
    ));
    let texts = alt((
        delimited('"', take_till(0.., '"'), '"').map(Lexeme::Quoted),
        delimited('\'', take_till(0.., '\''), '\'').map(Lexeme::Quoted),
        preceded('@', take_while(1.., is_word)).map(Lexeme::Set),
        take_while(1.., is_word).map(Lexeme::Word),
    ));
    alt((signs, marks, texts)).parse_next(input)
}

fn is_word(c: char) -> bool {
    c.is_ascii_graphic() && !"()[],+<>=!&|\"'@".contains(c)
}

/// Why nothing can be read at `start`, which is inside `text` and at a character.
fn unreadable(text: &str, start: usize) -> Trouble {
    let rest = &text[start..];
    let odd = rest.chars().next().unwrap_or(' ');
    let span = start..start + odd.len_utf8();
    let signs = [
        ("==", "write `is`"),
        ("=>", "write `>=`"),
        ("=<", "write `<=`"),
        ("=", "write `is`"),
        ("!=", "write `is not`"),
        ("!", "write `not`"),
        ("&&", "write `and`"),
        ("&", "write `and`"),
        ("||", "write `or`"),
        ("|", "write `or`"),
    ];
    if let Some((sign, help)) = signs.into_iter().find(|(sign, _)| rest.starts_with(sign)) {
        let span = start..start + sign.len();
        return Trouble::new(span, format!("`{sign}` is not part of the language")).help(help);
    }
    match odd {
        '"' | '\'' => Trouble::new(start..text.len(), "this quotation is not closed"),
        '@' => Trouble::new(span, "a set's name follows `@`").help("write `in @office`"),
        odd if odd.is_ascii() => {
            Trouble::new(span, format!("`{}` has no meaning here", odd.escape_debug()))
        }
        odd => strange(odd, span),
    }
}

/// A character that only looks as if it belonged here.
fn strange(odd: char, span: Range<usize>) -> Trouble {
    let trouble = Trouble::new(span, stranger::describe(odd));
    match stranger::look_alike(odd) {
        Some(' ') => trouble.help("write an ordinary space"),
        Some(plain) => trouble.help(format!("it only looks like `{plain}`; write that")),
        None => trouble.help("conditions are ASCII outside quotations"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(text: &str) -> Trouble {
        tokens(text).expect_err(text)
    }

    #[test]
    fn look_alikes_are_named() {
        assert_eq!(
            trouble("\u{ff41} > 1").help.as_deref(),
            Some("it only looks like `a`; write that")
        );
        assert_eq!(trouble("a\u{a0}> 1").help.as_deref(), Some("write an ordinary space"));
        assert!(trouble("a\u{200b} > 1").message.contains("U+200B"));
    }

    #[test]
    fn values_need_no_quotes_and_quotes_have_no_escapes() {
        let lexemes: Vec<_> = tokens("a<=2001:db8::/32 'it\\' @x\"\"").unwrap();
        let lexemes: Vec<_> = lexemes.into_iter().map(|token| token.lexeme).collect();
        let expected = [
            Lexeme::Word("a"),
            Lexeme::Order(Op::LessOrEqual),
            Lexeme::Word("2001:db8::/32"),
            Lexeme::Quoted("it\\"),
            Lexeme::Set("x"),
            Lexeme::Quoted(""),
        ];
        assert_eq!(lexemes, expected);
    }
}
