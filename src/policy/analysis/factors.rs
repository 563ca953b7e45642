//! Factors that a rule asks for and nobody can give.
//!
//! Never knows an account: what one account lacks another may have. Invariant: a requirement is refused only if no set
//! of factors that can be enrolled here meets it.

use super::super::condition;
use super::super::rule::Rule;
use super::super::syntax::{self, Raw, Speech};
use super::super::verdict::FactorExpr;
use super::super::written::Text;
use crate::fault::{Fault, Source};
use crate::types::{Factor, FactorSet};

/// What accounts can have; the language has words for more.
const GIVEN: [Factor; 3] = [Factor::Totp, Factor::Sms, Factor::Webauthn];

/// A requirement that nobody can meet.
pub fn never_given(file: &Source, text: &Text, factors: &FactorExpr) -> Option<Fault> {
    let given: FactorSet = GIVEN.into_iter().collect();
    if factors.met_by(given) {
        return None;
    }
    let missing = words_of(text, |factor| !GIVEN.contains(&factor));
    let (factor, span) = missing.into_iter().next()?;
    let message = format!("no account can have the factor `{}`", factor.word());
    Some(Fault::new(file, text.span_of(&span), message).help(help(&GIVEN)))
}

/// Alternatives that are never offered, and what cannot be met without text messages or passkeys.
pub fn doubts(file: &Source, rule: &Rule, sms: bool, passkeys: bool) -> Vec<Fault> {
    let Some(text) = &rule.place.require else { return Vec::new() };
    let Ok(factors) = condition::factors(&text.text) else { return Vec::new() };
    let is_here = |factor: &Factor| match factor {
        Factor::Sms => sms,
        Factor::Webauthn => passkeys,
        other => GIVEN.contains(other),
    };
    let lacks = !factors.met_by(GIVEN.into_iter().filter(is_here).collect());
    // That text messages are an alternative which this gateway does not have is for its operator to know.
    let such = |factor| !GIVEN.contains(&factor) || !is_here(&factor) && lacks;
    let doubt = |(factor, span): (Factor, _)| {
        let (message, help) = match factor {
            Factor::Sms => (
                "nobody can meet this: it needs `sms`, and there is no `[sms]`".to_owned(),
                "configure a provider, or let the rule take another factor".to_owned(),
            ),
            Factor::Webauthn => (
                "nobody can meet this: it needs `webauthn`, and this site has no passkeys"
                    .to_owned(),
                "they need a host name that is no address; or let the rule take another factor"
                    .to_owned(),
            ),
            _ => {
                let message =
                    format!("`{}` is never offered: no account can have it", factor.word());
                (message, help(&GIVEN))
            }
        };
        Fault::warning(file, text.span_of(&span), message).help(help)
    };
    words_of(text, such).into_iter().map(doubt).collect()
}

fn help(given: &[Factor]) -> String {
    let words: Vec<_> = given.iter().map(|factor| format!("`{}`", factor.word())).collect();
    let Some((last, others)) = words.split_last() else { return String::new() };
    format!("factors that can be given are {} and {last}", others.join(", "))
}

/// The factors of a requirement that are such, and where they stand in its text.
fn words_of(text: &Text, such: impl Fn(Factor) -> bool) -> Vec<(Factor, std::ops::Range<usize>)> {
    let (mut found, mut open) = (Vec::new(), Vec::new());
    let raw = syntax::parse(&text.text, Speech::Factors);
    open.extend(raw.as_ref().ok());
    while let Some(raw) = open.pop() {
        match raw {
            Raw::Any(parts) | Raw::All(parts) => open.extend(parts.iter().rev()),
            Raw::Not(inner, _) => open.push(inner),
            Raw::Atom(atom) => found.extend(atom.facts.iter().filter_map(|written| {
                let factor = Factor::from_word(written.text).filter(|factor| such(*factor))?;
                Some((factor, written.span.clone()))
            })),
        }
    }
    found
}
