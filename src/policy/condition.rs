//! Conditions and factor expressions: from text to something that can be judged, every fault with
//! its bytes.
//!
//! Never stops at the first wrong word: each comparison is checked by itself. Invariant: in a
//! compiled condition every literal has the type of its fact.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::glob::Glob;
use super::literal::{Literal, Wrong};
use super::syntax::{self, Raw, RawAtom, RawTest, Speech, Written};
use super::table::{FactRef, Kind};
use super::tokens::Trouble;
use super::truth::{Atom, Expr, Reading, Test, Truth};
use super::verdict::FactorExpr;
use super::vocabulary::Vocabulary;
use crate::fault::{stranger, suggest};
use crate::policy::facts::Facts;
use crate::types::{Factor, UnixMs};

/// `[sets]` of a policy: the items' texts, typed by each use.
pub type Sets = BTreeMap<Arc<str>, Vec<Arc<str>>>;

/// What words may mean in this policy.
#[derive(Clone, Copy)]
pub struct Scope<'s> {
    pub vocabulary: &'s Vocabulary,
    pub sets: &'s Sets,
}

/// A condition of a rule, ready to be judged.
#[derive(Clone, Debug)]
pub struct Condition {
    expr: Expr,
    text: Arc<str>,
}

impl Condition {
    /// Compiles `text`; every trouble found is added.
    pub fn compile(text: &str, scope: Scope<'_>, troubles: &mut Vec<Trouble>) -> Option<Self> {
        let raw = match syntax::parse(text, Speech::Condition) {
            Ok(raw) => raw,
            Err(trouble) => {
                troubles.push(trouble);
                return None;
            }
        };
        let expr = expr(&raw, scope, troubles)?;
        Some(Self { expr, text: text.into() })
    }

    /// What a rule without `when` says.
    pub fn always() -> Self {
        Self { expr: Expr::All(Vec::new()), text: "always".into() }
    }

    #[cfg(test)]
    pub fn truth(&self, facts: &Facts<'_>) -> Truth {
        self.truth_in(&Reading::new(facts))
    }

    /// Whether it holds for facts that several conditions look at.
    pub fn truth_in(&self, reading: &Reading<'_, '_>) -> Truth {
        self.expr.truth(reading)
    }

    /// See `Expr::number`.
    pub fn number(&mut self, known: &mut Vec<Vec<Arc<str>>>) {
        self.expr.number(known);
    }

    /// See `Expr::clears_at`.
    pub fn clears_at(&self, facts: &Facts<'_>) -> Option<UnixMs> {
        self.expr.clears_at(facts)
    }

    /// See `Expr::came_at`.
    pub fn came_at(&self, facts: &Facts<'_>) -> Option<UnixMs> {
        self.expr.came_at(facts)
    }

    /// The facts that it mentions, in the order of its text.
    pub fn facts(&self) -> Vec<&FactRef> {
        let mut facts = Vec::new();
        self.expr.each_fact(&mut |fact| facts.push(fact));
        facts
    }

    /// What it is made of.
    pub(super) fn expr(&self) -> &Expr {
        &self.expr
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn expr(raw: &Raw<'_>, scope: Scope<'_>, troubles: &mut Vec<Trouble>) -> Option<Expr> {
    match raw {
        Raw::Any(parts) => exprs(parts, scope, troubles).map(Expr::Any),
        Raw::All(parts) => exprs(parts, scope, troubles).map(Expr::All),
        Raw::Not(inner, _) => expr(inner, scope, troubles).map(|inner| Expr::Not(Box::new(inner))),
        Raw::Atom(raw) => atom(raw, scope, troubles).map(Expr::Atom),
    }
}

/// All of them, or nothing; either way every part has been checked.
fn exprs(raw: &[Raw<'_>], scope: Scope<'_>, troubles: &mut Vec<Trouble>) -> Option<Vec<Expr>> {
    let parts: Vec<_> = raw.iter().map(|part| expr(part, scope, troubles)).collect();
    parts.into_iter().collect()
}

fn atom(raw: &RawAtom<'_>, scope: Scope<'_>, troubles: &mut Vec<Trouble>) -> Option<Atom> {
    let found: Vec<_> =
        raw.facts.iter().map(|written| fact(written, scope.vocabulary, troubles)).collect();
    let facts: Vec<FactRef> = found.into_iter().collect::<Option<_>>()?;
    let (first, rest) = facts.split_first()?;
    if !rest.is_empty()
        && let Some((odd, written)) =
            facts.iter().zip(&raw.facts).find(|(fact, _)| fact.kind != Kind::Number)
    {
        let message = format!("`{}` is a {}; only numbers can be added", odd.name, odd.kind.noun());
        troubles.push(Trouble::new(written.span.clone(), message));
        return None;
    }
    match test(raw, first, scope, troubles) {
        Ok(test) => Some(Atom::new(facts, test)),
        Err(trouble) => {
            troubles.extend(trouble);
            None
        }
    }
}

fn fact(
    written: &Written<'_>,
    vocabulary: &Vocabulary,
    troubles: &mut Vec<Trouble>,
) -> Option<FactRef> {
    let (name, span) = (written.text, written.span.clone());
    FactRef::find(name, vocabulary)
        .map_err(|help| {
            let is_value = name.starts_with(|c: char| c.is_ascii_digit());
            troubles.push(if is_value {
                Trouble::new(span, format!("`{name}` is a value, and a fact is expected here"))
                    .help("the fact stands on the left, the value on the right")
            } else {
                let values = "several values of one fact are written `fact in [a, b]`";
                let help = help.or_else(|| Some(values.to_owned()));
                Trouble { span, message: format!("unknown fact `{name}`"), help }
            });
        })
        .ok()
}

/// A comparison's right side. All troubles of a list are told at once.
fn test(
    raw: &RawAtom<'_>,
    fact: &FactRef,
    scope: Scope<'_>,
    troubles: &mut Vec<Trouble>,
) -> Result<Test, Option<Trouble>> {
    let value = |written: &Written<'_>| literal(fact, written, scope);
    let ordered = |sign: &str| match fact.kind.is_ordered() {
        true => Ok(()),
        false => Err(unordered(fact, sign, raw.operator.clone())),
    };
    Ok(match &raw.test {
        RawTest::Holds if fact.kind == Kind::Flag => Test::Is(Literal::Flag(true)),
        RawTest::Holds => return Err(Some(lonely(fact, raw))),
        RawTest::Order(op, written) => {
            ordered(op.sign())?;
            Test::Order(*op, value(written)?)
        }
        RawTest::Is(written) => Test::Is(value(written)?),
        RawTest::IsNot(written) => Test::IsNot(value(written)?),
        RawTest::Between(low, high) => {
            ordered("between")?;
            let span = low.span.start..high.span.end;
            between(fact, value(low)?, value(high)?, span)?
        }
        RawTest::Matches(written) => Test::Matches(glob(fact, written, raw.operator.clone())?),
        RawTest::In(list) => {
            let values: Vec<_> = list.iter().map(value).collect();
            let mut literals = Vec::with_capacity(values.len());
            let before = troubles.len();
            for value in values {
                match value {
                    Ok(literal) => literals.push(literal),
                    Err(trouble) => troubles.push(trouble),
                }
            }
            if troubles.len() > before {
                return Err(None);
            }
            Test::In(literals)
        }
        RawTest::InSet(name) => Test::In(set(fact, name, scope)?),
    })
}

fn lonely(fact: &FactRef, raw: &RawAtom<'_>) -> Trouble {
    let span = match (raw.facts.first(), raw.facts.last()) {
        (Some(first), Some(last)) => first.span.start..last.span.end,
        _ => raw.operator.clone(),
    };
    let noun = fact.kind.noun();
    let help = match fact.kind.is_ordered() {
        true => format!("compare it, as in `{} > …`", fact.name),
        false => format!("compare it, as in `{} is …`", fact.name),
    };
    Trouble::new(span, format!("`{}` is a {noun} and says neither yes nor no", fact.name))
        .help(help)
}

fn unordered(fact: &FactRef, sign: &str, span: Range<usize>) -> Trouble {
    let (name, noun) = (&fact.name, fact.kind.noun());
    let help = match fact.kind {
        Kind::Flag => format!("write `{name}` or `not {name}`"),
        _ => format!("write `{name} is …` or `{name} in […]`"),
    };
    Trouble::new(span, format!("`{name}` is a {noun}; `{sign}` has no meaning for it")).help(help)
}

fn between(
    fact: &FactRef,
    low: Literal,
    high: Literal,
    span: Range<usize>,
) -> Result<Test, Trouble> {
    if low.is_at_most(&high) {
        return Ok(Test::Between(low, high));
    }
    let trouble = Trouble::new(span, "nothing is between these: the first is larger");
    Err(match fact.kind {
        Kind::TimeOfDay => trouble
            .help(format!("for a span over midnight write `{0} >= … or {0} <= …`", fact.name)),
        _ => trouble.help("write the smaller one first"),
    })
}

fn glob(fact: &FactRef, written: &Written<'_>, operator: Range<usize>) -> Result<Glob, Trouble> {
    if !fact.kind.is_open_text() {
        let (name, noun) = (&fact.name, fact.kind.noun());
        return Err(Trouble::new(operator, format!("`{name}` is a {noun}; it has no patterns"))
            .help(format!("write `{name} is …` or `{name} in […]`")));
    }
    if !written.quoted {
        return Err(Trouble::new(written.span.clone(), "a pattern stands in quotes")
            .help(format!("write `matches \"{}\"`", written.text)));
    }
    if written.text.is_empty() || written.text.len() > PATTERN_MAX {
        let message = format!("a pattern has 1 to {PATTERN_MAX} bytes");
        return Err(Trouble::new(written.span.clone(), message));
    }
    if fact.kind != Kind::Free
        && let Some(odd) = written.text.chars().find(|c| !matches!(c, ' '..='~'))
    {
        let message = format!("{}, so this never matches", stranger::describe(odd));
        let trouble = Trouble::new(written.span.clone(), message);
        return Err(match stranger::look_alike(odd) {
            Some(plain) => trouble.help(format!("if `{plain}` is meant, write that")),
            None => trouble,
        });
    }
    Ok(Glob::new(written.text, matches!(fact.kind, Kind::Name | Kind::Wallet)))
}

fn literal(fact: &FactRef, written: &Written<'_>, scope: Scope<'_>) -> Result<Literal, Trouble> {
    if !written.quoted && FactRef::is_name(written.text) {
        let message = format!("`{}` is a fact, and facts are compared with values", written.text);
        let help = match fact.kind.is_open_text() {
            true => format!("if the value is that word itself, write `\"{}\"`", written.text),
            false => "only a value may stand on the right; facts are added on the left".to_owned(),
        };
        return Err(Trouble::new(written.span.clone(), message).help(help));
    }
    Literal::parse(fact, written.text, written.quoted, scope.vocabulary)
        .map_err(|wrong| at(written, wrong))
}

fn at(written: &Written<'_>, wrong: Wrong) -> Trouble {
    Trouble { span: written.span.clone(), message: wrong.message, help: wrong.help }
}

fn set(fact: &FactRef, name: &Written<'_>, scope: Scope<'_>) -> Result<Vec<Literal>, Trouble> {
    let Some(items) = scope.sets.get(name.text) else {
        return Err(Trouble {
            span: name.span.clone(),
            message: format!("unknown set `@{}`", name.text),
            help: suggest(name.text, scope.sets.keys().map(|name| &**name))
                .or_else(|| Some("sets are written in `[sets]`, as lists".to_owned())),
        });
    };
    let literals = items.iter().map(|item| Literal::parse(fact, item, false, scope.vocabulary));
    literals.collect::<Result<_, _>>().map_err(|wrong| {
        let (set, fact, noun) = (name.text, &fact.name, fact.kind.noun());
        let message =
            format!("`@{set}` does not hold what `{fact}` is, a {noun}: {}", wrong.message);
        Trouble { span: name.span.clone(), message, help: wrong.help }
    })
}

/// Compiles `totp and (sms or webauthn)`.
///
/// # Errors
/// The first trouble in it.
pub fn factors(text: &str) -> Result<FactorExpr, Trouble> {
    factor_expr(&syntax::parse(text, Speech::Factors)?)
}

fn factor_expr(raw: &Raw<'_>) -> Result<FactorExpr, Trouble> {
    let all = |parts: &[Raw<'_>]| parts.iter().map(factor_expr).collect::<Result<Vec<_>, _>>();
    match raw {
        Raw::Any(parts) => all(parts).map(FactorExpr::Any),
        Raw::All(parts) => all(parts).map(FactorExpr::All),
        Raw::Not(_, span) => {
            Err(Trouble::new(span.clone(), "a factor that is not given cannot be required"))
        }
        Raw::Atom(RawAtom { facts, test: RawTest::Holds, operator }) => match &**facts {
            [written] => factor(written),
            _ => Err(Trouble::new(operator.clone(), "factors are joined with `and` and `or`")),
        },
        Raw::Atom(atom) => {
            Err(Trouble::new(atom.operator.clone(), "factors are joined with `and` and `or`")
                .help("what must be true belongs into `when`"))
        }
    }
}

fn factor(written: &Written<'_>) -> Result<FactorExpr, Trouble> {
    Factor::from_word(written.text).map(FactorExpr::One).ok_or_else(|| {
        let words = Factor::ALL.map(Factor::word);
        Trouble {
            span: written.span.clone(),
            message: format!("unknown factor `{}`", written.text),
            help: suggest(written.text, words)
                .or_else(|| Some(format!("factors are {}", words.join(", ")))),
        }
    })
}

const PATTERN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::history::History;
    use super::super::staged::Staged;
    use super::*;
    use crate::fault::Source;
    use crate::types::Fields;

    fn compile(text: &str) -> Result<Condition, Vec<Trouble>> {
        let vocabulary = Vocabulary::new(&[]);
        let sets = Sets::from([("near".into(), vec!["JP".into()])]);
        let mut troubles = Vec::new();
        let scope = Scope { vocabulary: &vocabulary, sets: &sets };
        Condition::compile(text, scope, &mut troubles).ok_or(troubles)
    }

    #[test]
    fn every_wrong_comparison_of_a_condition_is_told() {
        let troubles = compile("usd_vale > 1 and (geo.asn is x or client.ip in [a, ::1, b])");
        let spans: Vec<_> = troubles.unwrap_err().into_iter().map(|trouble| trouble.span).collect();
        assert_eq!(spans, [0..8, 29..30, 48..49, 56..57]);
    }

    /// Words that conditions are made of, and some that they are not.
    fn words() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            proptest::sample::select(vec![
                "and",
                "or",
                "not",
                "is",
                "in",
                "between",
                "matches",
                "(",
                ")",
                "[",
                "]",
                ",",
                "+",
                "<",
                "<=",
                ">",
                ">=",
                "@near",
                "usd_value",
                "address.age",
                "address.known",
                "asset",
                "geo.country",
                "geo.asn",
                "client.ip",
                "time.of_day",
                "time.weekday",
                "counters.order.usd_1h",
                "field.x",
                "24h",
                "10_000",
                "0.5",
                "06:00",
                "JP",
                "mon",
                "10.0.0.0/8",
                "\"b*\"",
            ])
            .prop_map(str::to_owned),
            "\\PC{0,4}",
        ];
        proptest::collection::vec(word, 0..12).prop_map(|words| words.join(" "))
    }

    proptest! {
        #[test]
        fn no_condition_panics_and_every_trouble_lies_inside_its_text(text in words()) {
            match compile(&text) {
                Ok(condition) => {
                    let mut staged = Staged::new("order", Fields::default(), History::default());
                    staged.settle();
                    let _ = condition.truth(&staged.facts());
                    let _ = condition.clears_at(&staged.facts());
                }
                Err(troubles) => {
                    prop_assert!(!troubles.is_empty());
                    for trouble in troubles {
                        prop_assert!(text.get(trouble.span.clone()).is_some(), "{trouble:?}");
                    }
                }
            }
        }

        #[test]
        fn no_policy_file_panics(condition in words(), noise in "\\PC{0,20}", at in 0_usize..200) {
            let mut text = format!(
                "version = 1\n[sets]\nnear = [\"JP\"]\n[[rule]]\nid = \"r\"\non = \"*\"\n\
                 when = '''{condition}'''\ndeny = true\n"
            );
            let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
            text.insert_str(at.unwrap_or(0), &noise);
            let mut faults = Vec::new();
            let policy = crate::policy::load(&Source::new("p", text), &[], &[], &mut faults);
            prop_assert_eq!(policy.is_none(), !faults.is_empty());
            for fault in faults {
                let _ = fault.render();
            }
        }
    }
}
