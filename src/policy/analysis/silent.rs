//! Rules that never speak.
//!
//! Never about facts that cannot be read: a restriction speaks then, but nobody writes a rule for that alone.
//! Invariant: what is refused here has no facts, all of them readable, for which `when` holds and `unless` does not.

use super::super::rule::{Pattern, Rule};
use super::super::written::Text;
use super::formula::{Formula, Node, Subjects};
use super::words::{self, Part};
use super::worlds::{Found, Goal, Means, Side, Worlds};
use crate::fault::{Fault, Source};

/// Why the rule never speaks, if it never does.
pub fn fault(file: &Source, rule: &Rule, means: &Means) -> Option<Fault> {
    let formula = Formula::of(rule, &mut Subjects::default());
    if formula.atoms.is_empty() {
        return None;
    }
    let worlds = Worlds::of(&formula, None, &rule.on, means)?;
    let look = Look { worlds: &worlds, on: &rule.on };
    let mut goals = vec![sure(&formula.when, true)];
    goals.extend(formula.unless.iter().map(|unless| sure(unless, false)));
    if worlds.search(goals) != Found::Never {
        return None;
    }
    if let Some(when) = rule.place.when.as_ref()
        && look.never(&[(&formula.when, true)])
    {
        return Some(look.contradiction(file, when, &formula.when));
    }
    let (text, unless) = (rule.place.unless.as_ref()?, formula.unless.as_ref()?);
    let part = words::part(text, &[]);
    let fault = |message: &str| Fault::new(file, part.span.clone(), message);
    if look.never(&[(unless, false)]) {
        return Some(
            fault("this exception always holds, so the rule never speaks")
                .help("leave the rule out, or say when it shall speak"),
        );
    }
    Some(
        fault("this exception holds whenever `when` does, so the rule never speaks")
            .help("an exception is narrower than what it is an exception from"),
    )
}

/// A part of the rule itself that must be known to come out as wanted.
fn sure(node: &Node, want: bool) -> Goal<'_> {
    Goal { side: Side::One, node, want, doubt: false }
}

struct Look<'l, 'p> {
    worlds: &'l Worlds<'p>,
    on: &'l [Pattern],
}

impl Look<'_, '_> {
    /// Whether these cannot come out so together.
    fn never(&self, wanted: &[(&Node, bool)]) -> bool {
        let goals = wanted.iter().map(|(node, want)| sure(node, *want)).collect();
        self.worlds.search(goals) == Found::Never
    }

    /// The smallest part that never holds, or two that never hold together.
    fn contradiction(&self, file: &Source, when: &Text, root: &Node) -> Fault {
        let (mut node, mut want, mut path) = (root, true, Vec::new());
        loop {
            if let Node::Not(inner) = node {
                (node, want) = (&**inner, !want);
                path.push(0);
                continue;
            }
            let Some((parts, true)) = node.parts(want) else { break };
            let alone = parts.iter().position(|part| self.never(&[(part, want)]));
            let Some((at, part)) = alone.and_then(|at| Some((at, parts.get(at)?))) else {
                return self.pair(file, when, &path, parts, want);
            };
            path.push(at);
            node = part;
        }
        let part = words::part(when, &path);
        let how = if want { "never" } else { "always" };
        let message = format!("`{}` {how} holds, so the rule never speaks", part.text);
        let fault = Fault::new(file, part.span, message);
        match is_about_action(&part.text) {
            true => fault.help(format!("the rule is only about {}", spelt(self.on))),
            false => fault.help("write what can be, or leave the rule out"),
        }
    }

    fn pair(
        &self,
        file: &Source,
        when: &Text,
        path: &[usize],
        parts: &[Node],
        want: bool,
    ) -> Fault {
        let at = |step: usize| -> Part {
            let path: Vec<usize> = path.iter().copied().chain([step]).collect();
            words::part(when, &path)
        };
        let few = || parts.iter().enumerate().take(PARTS_MAX);
        for (second, later) in few() {
            let earlier = few().take(second);
            let torn = |part: &(usize, &Node)| self.never(&[(part.1, want), (later, want)]);
            if let Some((first, _)) = earlier.into_iter().find(torn) {
                let (first, second) = (at(first), at(second));
                let (this, that) = (second.text, first.text);
                let message = match want {
                    true => format!("`{this}` never holds together with `{that}`"),
                    false => format!("one of `{that}` and `{this}` always holds"),
                };
                return Fault::new(file, second.span, message)
                    .help("where both can occur, write two rules or join them with `or`");
            }
        }
        let part = words::part(when, path);
        Fault::new(file, part.span, "this condition never holds, so the rule never speaks")
            .help("its parts contradict one another")
    }
}

fn is_about_action(text: &str) -> bool {
    text.split_whitespace().any(|word| word == "action")
}

fn spelt(on: &[Pattern]) -> String {
    let word = |pattern: &Pattern| match pattern {
        Pattern::Every => "`*`".to_owned(),
        Pattern::Exact(name) => format!("`{name}`"),
        Pattern::Prefix(prefix) => format!("`{prefix}*`"),
    };
    on.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// Of longer lists only so many are compared with one another.
const PARTS_MAX: usize = 32;
