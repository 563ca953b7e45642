//! Rules that another rule makes needless, because it speaks whenever they do and is at least as strict.
//!
//! Never compares all with all: only rules about the same action whose conditions have facts in common, first by an
//! example, and not more than is worth the time. Invariant: without a rule that is called needless every request has
//! the same verdict, and whoever is told or asked is told and asked the same.

use std::collections::HashMap;

use super::super::rule::{Outcome, Pattern, Rule, Say};
use super::super::verdict::{FactorExpr, Valid};
use super::cells::{self, Example};
use super::formula::{Compared, Formula, Node, Subjects};
use super::worlds::{Found, Goal, Means, Side, Worlds};
use crate::fault::{Fault, Source};
use crate::types::{Factor, FactorSet};

/// Pairs that are looked at, in one policy.
const LOOKS_MAX: usize = 400_000;
/// Pairs that are searched through for one rule.
const SEARCHES_MAX: usize = 24;

/// One warning for each needless rule.
pub fn doubts(file: &Source, rules: &[Rule], means: &Means) -> Vec<Fault> {
    let mut subjects = Subjects::default();
    let known: Vec<Known<'_>> = rules.iter().map(|rule| Known::of(rule, &mut subjects)).collect();
    let index = index(rules);
    let mut search = Search { rules: &known, means, looks: LOOKS_MAX };
    let mut doubts = Vec::new();
    for (at, one) in known.iter().enumerate() {
        let others = index.of(one.rule);
        if let Some(message) = search.needless(at, one, others) {
            let fault = Fault::warning(file, one.rule.place.id.clone(), message);
            doubts.push(fault.help("leave one of them out, or say how they differ"));
        }
    }
    doubts
}

/// A rule with what is reckoned once.
struct Known<'p> {
    rule: &'p Rule,
    formula: Formula<'p>,
    mask: u64,
    needed: Vec<u64>,
    texts: (&'p str, Option<&'p str>),
}

impl<'p> Known<'p> {
    fn of(rule: &'p Rule, subjects: &mut Subjects) -> Self {
        let formula = Formula::of(rule, subjects);
        let texts = (rule.when.text(), rule.unless.as_ref().map(|unless| unless.text()));
        Self { mask: formula.mask(), needed: formula.needed_masks(), formula, rule, texts }
    }

    /// The goals under which the rule speaks, or under which it does not.
    fn goals(&self, side: Side, speaks: bool) -> Vec<Goal<'_>> {
        let (when, unless) = (&self.formula.when, self.formula.unless.as_ref());
        // A restriction speaks in doubt, an allowance does not.
        let doubt = self.formula.allows != speaks;
        let goal = |node, want| Goal { side, node, want, doubt };
        let mut goals = vec![goal(when, speaks)];
        goals.extend(unless.map(|unless| goal(unless, !speaks)));
        goals
    }
}

/// For each rule those that may be about all of its actions.
struct Index<'p> {
    by_action: HashMap<&'p str, Vec<usize>>,
    general: Vec<usize>,
}

fn index(rules: &[Rule]) -> Index<'_> {
    let mut index = Index { by_action: HashMap::new(), general: Vec::new() };
    for (at, rule) in rules.iter().enumerate() {
        if !matches!(rule.say, Say::Aloud(_)) {
            continue;
        }
        if rule.on.iter().any(|pattern| !matches!(pattern, Pattern::Exact(_))) {
            index.general.push(at);
        }
        for pattern in &rule.on {
            if let Pattern::Exact(action) = pattern {
                index.by_action.entry(&**action).or_default().push(at);
            }
        }
    }
    index
}

impl Index<'_> {
    fn of(&self, rule: &Rule) -> impl Iterator<Item = usize> + use<'_> {
        let exact = rule.on.iter().find_map(|pattern| match pattern {
            Pattern::Exact(action) => self.by_action.get(&**action),
            _ => None,
        });
        exact.into_iter().flatten().chain(&self.general).copied()
    }
}

struct Search<'s, 'p> {
    rules: &'s [Known<'p>],
    means: &'p Means,
    looks: usize,
}

/// Some facts under which a rule speaks: the state of each of its subjects; `None` is absent.
type World<'p> = Vec<(usize, Option<Example<'p>>)>;

impl<'p> Search<'_, 'p> {
    /// Which other rule makes this one needless, as a sentence.
    fn needless(
        &mut self,
        at: usize,
        one: &Known<'p>,
        others: impl Iterator<Item = usize>,
    ) -> Option<String> {
        // Made when it is needed: most rules have no other that is stricter.
        let mut world: Option<Option<World<'p>>> = None;
        let mut searches = SEARCHES_MAX;
        for other_at in others.filter(|other| *other != at) {
            let other = self.rules.get(other_at)?;
            self.looks = self.looks.checked_sub(1)?;
            let shares = other.needed.iter().all(|needed| needed & one.mask != 0);
            if !shares || !covers_actions(other.rule, one.rule) {
                continue;
            }
            let Some(standing) = compare(one, other) else { continue };
            let same = one.texts == other.texts;
            // Of two that either could be left out the second is called needless.
            let either = standing == Standing::Alike && covers_actions(one.rule, other.rule);
            if same {
                if !(either && at < other_at) && self.named(at, one, other) {
                    return Some(told(one, other, true));
                }
                continue;
            }
            if standing == Standing::OnlyIfSame {
                continue;
            }
            let world = world.get_or_insert_with(|| self.example(one));
            if world.as_ref().is_some_and(|world| speaks(other, world) == Some(false)) {
                continue;
            }
            searches = searches.checked_sub(1)?;
            if !self.implies(one, other) {
                continue;
            }
            let spared = either && at < other_at && self.implies(other, one);
            if !spared && self.named(at, one, other) {
                return Some(told(one, other, false));
            }
        }
        None
    }

    /// Whether there are no facts under which one speaks and the other does not.
    fn implies(&self, one: &Known<'p>, other: &Known<'p>) -> bool {
        let worlds = Worlds::of(&one.formula, Some(&other.formula), &one.rule.on, self.means);
        // The other does not speak if either of its conditions keeps it from that.
        worlds.is_some_and(|worlds| {
            other.goals(Side::Other, false).into_iter().all(|silent| {
                let mut goals = one.goals(Side::One, true);
                goals.push(silent);
                worlds.search(goals) == Found::Never
            })
        })
    }

    /// Facts under which the rule speaks.
    fn example(&self, one: &Known<'p>) -> Option<World<'p>> {
        let worlds = Worlds::of(&one.formula, None, &one.rule.on, self.means)?;
        let Found::World(world) = worlds.search(one.goals(Side::One, true)) else { return None };
        let states = worlds.examples(&world).into_iter();
        states.map(|(subject, state)| Some((subject, state?))).collect()
    }

    /// Whether the actions that the rule names stay named without it: naming an action is what makes requests of it
    /// guarded.
    fn named(&self, at: usize, one: &Known<'p>, other: &Known<'p>) -> bool {
        let by_name = |rule: &Rule, pattern: &Pattern| {
            rule.on.iter().any(|it| *it != Pattern::Every && covers_pattern(it, pattern))
        };
        one.rule.on.iter().all(|pattern| {
            let mut third = self.rules.iter().enumerate().filter(|(third, _)| *third != at);
            *pattern == Pattern::Every
                || by_name(other.rule, pattern)
                || third.any(|(_, third)| by_name(third.rule, pattern))
        })
    }
}

fn told(one: &Known<'_>, other: &Known<'_>, same: bool) -> String {
    let (id, other_id) = (&one.rule.id, &other.rule.id);
    if one.rule.say.is_shadow() {
        return format!("`{id}` is in shadow, and `{other_id}` says the same aloud");
    }
    let how = if same { "under the same condition" } else { "whenever this one does" };
    if one.formula.allows && !other.formula.allows {
        return format!("`{id}` allows nothing: `{other_id}` speaks {how} and is stricter");
    }
    format!("`{id}` changes nothing: `{other_id}` speaks {how} and is at least as strict")
}

/// How a rule stands to one that might be needless beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Stricter,
    /// As strict, so that either may be left out.
    Alike,
    /// At least as strict, if both always speak together.
    OnlyIfSame,
}

/// `None`: each says something that the other does not.
fn compare(one: &Known<'_>, other: &Known<'_>) -> Option<Standing> {
    let (rule, by) = (one.rule, other.rule);
    let Say::Aloud(outcome) = &by.say else { return None };
    let says_more = rule.notify && !by.notify
        || rule.geographic && !by.geographic
        || rule.why.is_some() && rule.why != by.why;
    if says_more {
        return None;
    }
    // Of the same requests, and no others.
    let same = one.texts == other.texts && covers_actions(rule, by);
    let back = (by.notify, by.geographic, &by.why) == (rule.notify, rule.geographic, &rule.why);
    let alike = if back { Standing::Alike } else { Standing::Stricter };
    let own = match &rule.say {
        Say::Aloud(own) => own,
        // What a shadow would say can only be compared as it is spelt.
        Say::Shadow(_) => {
            let says_the_same = same && rule.say.to_string() == by.say.to_string();
            return says_the_same.then_some(Standing::OnlyIfSame);
        }
    };
    match (own, outcome) {
        (Outcome::Allow, Outcome::Allow)
        | (Outcome::Deny, Outcome::Deny)
        | (Outcome::Freeze, Outcome::Freeze) => Some(alike),
        (Outcome::Allow, _)
        | (Outcome::Require { .. } | Outcome::Hold { .. } | Outcome::Deny, Outcome::Freeze)
        | (Outcome::Require { .. } | Outcome::Hold { .. }, Outcome::Deny) => {
            Some(Standing::Stricter)
        }
        // A hold that has been served no longer speaks, and each rule has its own.
        (Outcome::Hold { ms }, Outcome::Hold { ms: longer }) if same && ms <= longer => {
            Some(if ms == longer && back { Standing::Alike } else { Standing::OnlyIfSame })
        }
        (
            Outcome::Require { factors, valid },
            Outcome::Require { factors: stricter, valid: shorter },
        ) if asks_for(stricter, factors) => {
            let equal = back && valid == shorter && asks_for(factors, stricter);
            match (valid, shorter) {
                (None, None) if equal => Some(Standing::Alike),
                (_, None) => Some(Standing::Stricter),
                // An elevation that one rule was given is none of the other's.
                (None, Some(_)) => None,
                (Some(_), Some(_)) if same && equal => Some(Standing::Alike),
                (Some(long), Some(short)) if same && is_shorter(*short, *long) => {
                    Some(Standing::OnlyIfSame)
                }
                (Some(_), Some(_)) => None,
            }
        }
        _ => None,
    }
}

fn is_shorter(short: Valid, long: Valid) -> bool {
    match (short, long) {
        (Valid::ForMs(short), Valid::ForMs(long)) => short <= long,
        (short, long) => short == long,
    }
}

/// Whether whoever meets `stricter` meets `factors` too.
fn asks_for(stricter: &FactorExpr, factors: &FactorExpr) -> bool {
    stricter == factors
        || (0..1_u32 << Factor::ALL.len()).all(|choice| {
            let chosen =
                Factor::ALL.into_iter().enumerate().filter(|(at, _)| choice >> at & 1 == 1);
            let proven: FactorSet = chosen.map(|(_, factor)| factor).collect();
            !stricter.met_by(proven) || factors.met_by(proven)
        })
}

fn covers_actions(other: &Rule, one: &Rule) -> bool {
    one.on.iter().all(|pattern| other.on.iter().any(|it| covers_pattern(it, pattern)))
}

fn covers_pattern(other: &Pattern, pattern: &Pattern) -> bool {
    match (other, pattern) {
        (Pattern::Every, _) => true,
        (_, Pattern::Every) => false,
        (Pattern::Exact(_), Pattern::Prefix(_)) => false,
        (_, Pattern::Exact(name) | Pattern::Prefix(name)) => other.covers(name),
    }
}

/// Whether the rule speaks under these facts, where what is not among them is absent. `None`: it cannot be told.
fn speaks(rule: &Known<'_>, world: &World<'_>) -> Option<bool> {
    let when = holds(&rule.formula.when, &rule.formula.atoms, world);
    let unless = rule.formula.unless.as_ref();
    let unless = unless.map_or(Some(false), |it| holds(it, &rule.formula.atoms, world));
    match (when, unless) {
        (Some(false), _) | (_, Some(true)) => Some(false),
        (Some(true), Some(false)) => Some(true),
        _ => None,
    }
}

fn holds(node: &Node, atoms: &[Compared<'_>], world: &World<'_>) -> Option<bool> {
    let decisive = |parts: &[Node], decisive: bool| {
        let mut so_far = Some(!decisive);
        for part in parts {
            match holds(part, atoms, world) {
                Some(truth) if truth == decisive => return Some(decisive),
                None => so_far = None,
                Some(_) => {}
            }
        }
        so_far
    };
    match node {
        Node::Any(parts) => decisive(parts, true),
        Node::All(parts) => decisive(parts, false),
        Node::Not(inner) => holds(inner, atoms, world).map(|truth| !truth),
        Node::Atom(at) => {
            let Compared { subject, atom } = atoms.get(*at)?;
            match world.iter().find(|(known, _)| known == subject) {
                Some((_, Some(example))) => Some(example.passes(&atom.test)),
                None if cells::is_always_known(&atom.facts) => None,
                Some((_, None)) | None => Some(cells::is_true_of_absent(&atom.test)),
            }
        }
    }
}
