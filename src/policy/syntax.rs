//! The grammar of conditions and factor expressions: text to a tree of words, each with its byte
//! range.
//!
//! Never knows a fact: meaning is `condition`'s business. Invariant: total on every input; length
//! and depth are bounded, so no later walk over the tree can exhaust the stack.
//!
//! ```text
//! any    = all ("or" all)*
//! all    = unit ("and" unit)*
//! unit   = "not" unit | "(" any ")" | sum [test]
//! sum    = fact ("+" fact)*
//! test   = ("<" | "<=" | ">" | ">=" | "is" | "is" "not") value | "in" list
//!        | "between" value "and" value | "matches" value
//! list   = "[" value ("," value)* [","] "]" | "@" name
//! ```

use std::ops::Range;

use winnow::stream::{Stream, TokenSlice};

use super::tokens::{KEYWORDS, Lexeme, Op, Token, Trouble, tokens};

/// A word or quoted text as it stands in the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<'i> {
    pub text: &'i str,
    pub quoted: bool,
    pub span: Range<usize>,
}

/// A condition before its words mean anything.
#[derive(Debug)]
pub enum Raw<'i> {
    Any(Vec<Raw<'i>>),
    All(Vec<Raw<'i>>),
    Not(Box<Raw<'i>>, Range<usize>),
    Atom(RawAtom<'i>),
}

/// `sum [test]`.
#[derive(Debug)]
pub struct RawAtom<'i> {
    pub facts: Vec<Written<'i>>,
    pub test: RawTest<'i>,
    /// Of the comparing word, for faults about it.
    pub operator: Range<usize>,
}

#[derive(Debug)]
pub enum RawTest<'i> {
    /// Nothing follows: the fact itself says yes or no.
    Holds,
    Order(Op, Written<'i>),
    Is(Written<'i>),
    IsNot(Written<'i>),
    Between(Written<'i>, Written<'i>),
    Matches(Written<'i>),
    In(Vec<Written<'i>>),
    /// The name without its `@`.
    InSet(Written<'i>),
}

/// Longest condition, bytes.
pub const CONDITION_MAX: usize = 4_096;
/// Deepest nesting of parentheses and `not`.
pub const DEPTH_MAX: usize = 32;
/// Facts in one sum; their exact sum then always fits.
const SUM_MAX: usize = 16;

/// What a text is about; both have the same grammar, and their authors other words.
#[derive(Clone, Copy, Debug)]
pub enum Speech {
    Condition,
    Factors,
}

impl Speech {
    fn whole(self) -> &'static str {
        match self {
            Self::Condition => "condition",
            Self::Factors => "requirement",
        }
    }
    fn item(self) -> &'static str {
        match self {
            Self::Condition => "a fact",
            Self::Factors => "a factor",
        }
    }
}

/// Parses one condition or factor expression.
///
/// # Errors
/// The first place where the text is none.
pub fn parse(text: &str, speech: Speech) -> Result<Raw<'_>, Trouble> {
    if text.len() > CONDITION_MAX {
        let message = format!("this {} is longer than {CONDITION_MAX} bytes", speech.whole());
        return Err(Trouble::new(0..text.len(), message).help("split it into several rules"));
    }
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        let trouble = Trouble::new(0..text.len(), format!("this {} is empty", speech.whole()));
        return Err(match speech {
            Speech::Condition => trouble.help("leave the key out if the rule always applies"),
            Speech::Factors => trouble.help("name a factor, as in `totp or sms`"),
        });
    }
    let mut grammar = Grammar { rest: TokenSlice::new(&tokens), end: text.len(), speech };
    let raw = grammar.any(0)?;
    match grammar.next() {
        None => Ok(raw),
        Some(token) => Err(leftover(&token, speech)),
    }
}

struct Grammar<'t, 'i> {
    rest: TokenSlice<'t, Token<'i>>,
    /// Where the condition ends, for faults about what is missing.
    end: usize,
    speech: Speech,
}

impl<'i> Grammar<'_, 'i> {
    fn peek(&self) -> Option<Lexeme<'i>> {
        self.rest.peek_token().map(|token| token.lexeme)
    }

    fn next(&mut self) -> Option<Token<'i>> {
        self.rest.next_token().cloned()
    }

    /// Consumes this keyword or sign if it is next.
    fn take(&mut self, lexeme: Lexeme<'_>) -> Option<Range<usize>> {
        (self.peek() == Some(lexeme)).then(|| self.next().map(|token| token.span)).flatten()
    }

    /// Consumes it, or says what was expected where something else stands.
    fn expect(&mut self, lexeme: Lexeme<'_>, what: &str) -> Result<Range<usize>, Trouble> {
        self.take(lexeme).ok_or_else(|| self.expected(what))
    }

    fn expected(&self, what: &str) -> Trouble {
        match self.rest.peek_token() {
            Some(token) => Trouble::new(token.span.clone(), format!("expected {what} here")),
            None => {
                let end = self.end;
                let whole = self.speech.whole();
                Trouble::new(end..end, format!("expected {what}, but the {whole} ends"))
            }
        }
    }

    fn any(&mut self, depth: usize) -> Result<Raw<'i>, Trouble> {
        let mut parts = vec![self.all(depth)?];
        while self.take(Lexeme::Word("or")).is_some() {
            parts.push(self.all(depth)?);
        }
        Ok(one_or(parts, Raw::Any))
    }

    fn all(&mut self, depth: usize) -> Result<Raw<'i>, Trouble> {
        let mut parts = vec![self.unit(depth)?];
        while self.take(Lexeme::Word("and")).is_some() {
            parts.push(self.unit(depth)?);
        }
        Ok(one_or(parts, Raw::All))
    }

    fn unit(&mut self, depth: usize) -> Result<Raw<'i>, Trouble> {
        if depth > DEPTH_MAX {
            let here = self.rest.peek_token().map_or(self.end..self.end, |t| t.span.clone());
            return Err(Trouble::new(here, format!("nested deeper than {DEPTH_MAX} levels"))
                .help("split it into several rules"));
        }
        if let Some(span) = self.take(Lexeme::Word("not")) {
            return Ok(Raw::Not(Box::new(self.unit(depth + 1)?), span));
        }
        if self.take(Lexeme::Open).is_some() {
            let inner = self.any(depth + 1)?;
            self.expect(Lexeme::Close, "`)`")?;
            return Ok(inner);
        }
        self.atom()
    }

    fn atom(&mut self) -> Result<Raw<'i>, Trouble> {
        let mut facts = vec![self.fact()?];
        while self.take(Lexeme::Plus).is_some() {
            facts.push(self.fact()?);
        }
        if let [first, .., last] = &*facts
            && facts.len() > SUM_MAX
        {
            let span = first.span.start..last.span.end;
            return Err(Trouble::new(span, format!("a sum has at most {SUM_MAX} facts")));
        }
        let operator = self.rest.peek_token().map_or(self.end..self.end, |t| t.span.clone());
        let test = self.test()?;
        Ok(Raw::Atom(RawAtom { facts, test, operator }))
    }

    fn fact(&mut self) -> Result<Written<'i>, Trouble> {
        let Some(Lexeme::Word(text)) = self.peek().filter(|lexeme| !lexeme.is_keyword()) else {
            let item = self.speech.item();
            return Err(match self.peek() {
                Some(Lexeme::Quoted(_)) => {
                    self.expected(item).help("quotes are for values, on the right of a comparison")
                }
                _ => self.expected(item),
            });
        };
        let span = self.next().map(|token| token.span).unwrap_or_default();
        if self.peek() == Some(Lexeme::Open) {
            return Err(Trouble::new(span, format!("`{text}(`: there are no functions"))
                .help("conditions compare facts with values; see the table of facts"));
        }
        Ok(Written { text, quoted: false, span })
    }

    fn test(&mut self) -> Result<RawTest<'i>, Trouble> {
        match self.peek() {
            Some(Lexeme::Order(op)) => {
                self.next();
                self.value().map(|value| RawTest::Order(op, value))
            }
            Some(Lexeme::Word("is")) => {
                self.next();
                if self.take(Lexeme::Word("not")).is_none() {
                    return self.value().map(RawTest::Is);
                }
                if self.peek() == Some(Lexeme::Word("in")) {
                    return Err(self.expected("a value").help("write `not fact in [a, b]`"));
                }
                self.value().map(RawTest::IsNot)
            }
            Some(Lexeme::Word("in")) => {
                self.next();
                self.list()
            }
            Some(Lexeme::Word("between")) => {
                self.next();
                let low = self.value()?;
                self.expect(Lexeme::Word("and"), "`and` and the upper bound")?;
                self.value().map(|high| RawTest::Between(low, high))
            }
            Some(Lexeme::Word("matches")) => {
                self.next();
                self.value().map(RawTest::Matches)
            }
            Some(Lexeme::Word("not")) => {
                Err(self.expected("a comparison").help("`not` stands before the fact"))
            }
            _ => Ok(RawTest::Holds),
        }
    }

    fn value(&mut self) -> Result<Written<'i>, Trouble> {
        let (text, quoted) = match self.peek() {
            Some(Lexeme::Quoted(text)) => (text, true),
            Some(lexeme @ Lexeme::Word(text)) => {
                if lexeme.is_keyword() {
                    let help = format!("if the value is the word itself, write `\"{text}\"`");
                    return Err(self.expected("a value").help(help));
                }
                (text, false)
            }
            Some(Lexeme::Set(name)) => {
                let help = format!("write `in @{name}`");
                return Err(self.expected("a value").help(help));
            }
            Some(Lexeme::OpenList) => {
                return Err(self.expected("a single value").help("write `in [a, b]`"));
            }
            _ => return Err(self.expected("a value")),
        };
        let span = self.next().map(|token| token.span).unwrap_or_default();
        Ok(Written { text, quoted, span })
    }

    fn list(&mut self) -> Result<RawTest<'i>, Trouble> {
        if let Some(Lexeme::Set(text)) = self.peek() {
            let span = self.next().map(|token| token.span).unwrap_or_default();
            return Ok(RawTest::InSet(Written { text, quoted: false, span }));
        }
        let open = self
            .expect(Lexeme::OpenList, "a list")
            .map_err(|trouble| trouble.help("write `in [a, b]` or `in @set`"))?;
        let mut values = Vec::new();
        loop {
            if let Some(close) = self.take(Lexeme::CloseList) {
                if values.is_empty() {
                    let span = open.start..close.end;
                    return Err(Trouble::new(span, "nothing is ever in an empty list"));
                }
                return Ok(RawTest::In(values));
            }
            values.push(self.value()?);
            if self.take(Lexeme::Comma).is_none() && self.peek() != Some(Lexeme::CloseList) {
                return Err(self.expected("`,` or `]`"));
            }
        }
    }
}

fn one_or<'i>(mut parts: Vec<Raw<'i>>, many: fn(Vec<Raw<'i>>) -> Raw<'i>) -> Raw<'i> {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            many(parts)
        }
        None => many(parts),
    }
}

/// Something stands where a condition could have ended.
fn leftover(token: &Token<'_>, speech: Speech) -> Trouble {
    let trouble = Trouble::new(token.span.clone(), "expected `and`, `or` or the end here");
    let help = match token.lexeme {
        Lexeme::Comma if matches!(speech, Speech::Factors) => {
            "factors are joined with `and` and `or`".to_owned()
        }
        Lexeme::Comma => "thousands are written `10_000`; lists stand in `[` and `]`".to_owned(),
        Lexeme::Close => return Trouble::new(token.span.clone(), "this `)` opens nowhere"),
        Lexeme::Order(_) | Lexeme::Word("is") => {
            "one fact is compared at a time; join comparisons with `and`".to_owned()
        }
        Lexeme::Plus => "sums stand on the left of a comparison".to_owned(),
        Lexeme::Word("-" | "*" | "/") => "facts can only be added, with `+`".to_owned(),
        Lexeme::Word(word) => match word.to_ascii_lowercase().as_str() {
            lower if lower != word && KEYWORDS.contains(&lower) => format!("write `{lower}`"),
            "s" | "sec" | "second" | "seconds" | "m" | "min" | "minute" | "minutes" | "h"
            | "hour" | "hours" | "d" | "day" | "days" | "week" | "weeks" => {
                "durations are written `45s`, `30m`, `24h` or `7d`".to_owned()
            }
            "less" | "more" | "greater" | "above" | "below" | "over" | "under" | "equals" => {
                "comparisons are `<`, `<=`, `>`, `>=`, `is` and `is not`".to_owned()
            }
            _ => return trouble,
        },
        _ => return trouble,
    };
    trouble.help(help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Raw<'_>, Trouble> {
        super::parse(text, Speech::Condition)
    }

    fn trouble(text: &str) -> Trouble {
        parse(text).expect_err(text)
    }

    #[test]
    fn and_binds_closer_than_or() {
        let Raw::Any(parts) = parse("a or b and not c").unwrap() else { panic!("not an `or`") };
        assert!(matches!(&*parts, [Raw::Atom(_), Raw::All(all)] if all.len() == 2));
    }

    #[test]
    fn faults_point_at_their_bytes() {
        for (text, span) in [
            ("a > 1 b", 6..7),
            ("a == 1", 2..4),
            ("\u{430}ge > 1", 0..2),
            ("a in []", 5..7),
            ("(a > 1", 6..6),
            ("a > 1)", 5..6),
            ("a > \"x", 4..6),
            ("lower(a) is b", 0..5),
            ("a is and", 5..8),
            ("a between 1 2", 12..13),
        ] {
            assert_eq!(trouble(text).span, span, "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let fits = format!("{}a{}", "(".repeat(DEPTH_MAX), ")".repeat(DEPTH_MAX));
        assert!(parse(&fits).is_ok());
        assert!(trouble(&format!("({fits})")).message.contains("deeper"));
        assert!(trouble(&format!("{}a", "not ".repeat(1000))).message.contains("deeper"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn no_sequence_of_words_makes_the_parser_panic(
            words in proptest::collection::vec(
                prop_oneof![
                    Just("and"), Just("or"), Just("not"), Just("is"), Just("in"), Just("between"),
                    Just("matches"), Just("("), Just(")"), Just("["), Just("]"), Just(","),
                    Just("+"), Just("<"), Just(">="), Just("@s"), Just("a"), Just("1"),
                    Just("\"x\""),
                ],
                0..40,
            )
        ) {
            let text = words.join(" ");
            if let Err(trouble) = parse(&text) {
                prop_assert!(text.get(trouble.span).is_some());
            }
        }
    }
}
