//! A case is told: each step is decided, compared, and leaves behind what the gateway would have learnt from it.
//!
//! Never reads a file. Invariant: the steps are decided by the very rules that decide live traffic; a step that does not
//! come out ends the story.

use super::PolicySet;
use super::case_file::{Answer, Case, Step};
use super::coverage::Coverage;
use super::facts::Elevation;
use super::history::History;
use super::literal::spell_duration;
use super::rule::Spelt;
use super::staged::{NOON, Staged};
use super::verdict::{Decision, Requirement, Valid, Verdict};
use crate::fault::{Fault, Source};

/// How long a session is taken to last.
const SESSION_MS: u64 = 86_400_000;

/// What one step leaves for the next.
struct Past {
    history: History,
    elevations: Vec<Elevation>,
}

/// Tells a whole case.
///
/// # Errors
/// The first step that does not come out, every difference in one fault.
pub fn tell(
    source: &Source,
    policy: &PolicySet,
    case: &Case,
    coverage: &mut Coverage,
) -> Result<(), Box<Fault>> {
    let first = case.steps.first().and_then(|step| step.elements.first());
    let mut past = Past {
        history: first.map(|staged| staged.history.clone()).unwrap_or_default(),
        elevations: first.map(|staged| staged.elevations.clone()).unwrap_or_default(),
    };
    for (index, step) in case.steps.iter().enumerate() {
        let name = match (index, step.at_ms) {
            (0, _) => format!("case \"{}\"", case.name),
            (_, 0) => format!("case \"{}\", step {}", case.name, index + 1),
            (_, ms) => format!("case \"{}\", {} later", case.name, spell_duration(ms)),
        };
        let fault = |span, message: String| Fault::new(source, span, format!("{name}: {message}"));
        let elements = past.stage(step);
        let decision = decide(policy, &elements, coverage);
        let now = elements.first().map_or(NOON, |staged| staged.now);
        let differences = step.expect.differences(policy, &decision, now);
        if !differences.is_empty() {
            let only = match &*differences {
                [(key, _)] => step.expect.cells.get(key),
                _ => None,
            };
            let span = only.unwrap_or(&step.expect.span).clone();
            let sentences: Vec<String> = differences.into_iter().map(|(_, it)| it).collect();
            let said = what_was_said(&decision);
            return Err(Box::new(fault(span, sentences.join("; ")).help(said)));
        }
        past.learn(&elements, &decision, step.answer.as_ref())
            .map_err(|(answer, message)| Box::new(fault(answer.span.clone(), message)))?;
    }
    Ok(())
}

fn decide(policy: &PolicySet, elements: &[Staged], coverage: &mut Coverage) -> Decision {
    let facts: Vec<_> = elements.iter().map(Staged::facts).collect();
    let decision = policy.decide(&facts);
    coverage.hear(policy, &facts, &decision);
    decision
}

impl Past {
    fn stage(&mut self, step: &Step) -> Vec<Staged> {
        let mut elements = step.elements.clone();
        for staged in &mut elements {
            staged.remember(&self.history, &self.elevations);
            staged.settle();
        }
        if let Some(first) = elements.first() {
            self.elevations.clone_from(&first.elevations);
        }
        elements
    }

    /// # Errors
    /// An answer that cannot have been meant.
    fn learn<'s>(
        &mut self,
        elements: &[Staged],
        decision: &Decision,
        answer: Option<&'s Answer>,
    ) -> Result<(), (&'s Answer, String)> {
        self.history.seen_here = false;
        match (&decision.verdict, answer) {
            (Verdict::Allow(_), None) => self.pass(elements, false),
            (Verdict::Require(requirement), Some(answer)) => {
                if !requirement.met_by(answer.factors) {
                    return Err((answer, not_enough(requirement)));
                }
                self.elevate(elements, requirement, answer);
                self.pass(elements, true);
            }
            (Verdict::Hold { starts, .. }, None) => {
                elements.iter().for_each(|staged| staged.held(&mut self.history, starts));
            }
            (_, Some(answer)) => {
                let message = format!("nothing is asked here: {}", decision.verdict.word());
                return Err((answer, message));
            }
            _ => {}
        }
        Ok(())
    }

    fn pass(&mut self, elements: &[Staged], proved: bool) {
        self.history.seen_here = true;
        elements.iter().for_each(|staged| staged.passed(&mut self.history, proved));
    }

    fn elevate(&mut self, elements: &[Staged], requirement: &Requirement, answer: &Answer) {
        let Some(here) = elements.first() else { return };
        for term in &requirement.terms {
            let lasts = match term.valid {
                None => continue,
                Some(Valid::Session) => SESSION_MS,
                Some(Valid::ForMs(ms)) => ms,
            };
            self.elevations.push(Elevation {
                rule: term.rule.clone(),
                factors: answer.factors,
                place: here.place_key().into(),
                until: here.now.plus_ms(lasts),
            });
        }
    }
}

fn not_enough(requirement: &Requirement) -> String {
    let asked: Vec<String> = requirement
        .terms
        .iter()
        .map(|term| format!("{} asks for {}", term.rule, Spelt(&term.factors)))
        .collect();
    format!("this answer is not enough: {}", asked.join(", "))
}

fn what_was_said(decision: &Decision) -> String {
    let voice = |shadow, satisfied| match (shadow, satisfied) {
        (true, _) => " in shadow",
        (false, true) => ", satisfied",
        (false, false) => "",
    };
    let said: Vec<String> = decision
        .said
        .iter()
        .map(|said| {
            format!("{} ({}{})", said.rule, said.outcome, voice(said.shadow, said.satisfied))
        })
        .collect();
    match said.is_empty() {
        true => "no rule spoke".to_owned(),
        false => format!("what was said: {}", said.join(", ")),
    }
}
