//! What a log knows, in words: who and what it was, what it was decided on, and what happened one after the other.
//!
//! Never says more than its JSON does.

use std::fmt::{self, Display, Formatter};

use super::anew::Anew;
use super::recorded::{Past, Spoke};
use super::words::{facts, row, table};
use crate::audit::ShadowNoted;

impl Display for Past {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        row(f, self.kind, &self.id)?;
        self.seen(f)?;
        writeln!(f, "\nwhat happened")?;
        for event in &self.happened {
            let other = event.request.as_ref().map(|it| format!(" [request {it}]"));
            writeln!(f, "  {}  {}{}", event.time, event.says, other.unwrap_or_default())?;
        }
        if self.cut {
            writeln!(f, "  … and more lines than are told here")?;
        }
        self.decided(f)
    }
}

impl Past {
    fn seen(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let rows = [
            ("line", self.line.clone()),
            ("site", self.site.as_ref().map(ToString::to_string)),
            ("account", self.account.clone()),
            (
                "credential",
                self.credential.as_ref().map(|it| format!("{} {}", it.kind.word(), it.id)),
            ),
            ("client", self.client.as_ref().map(|client| self.from(client))),
            ("action", self.action.as_ref().map(ToString::to_string)),
            ("intent", self.intent.clone()),
        ];
        for (name, value) in rows {
            if let Some(value) = value {
                row(f, name, value)?;
            }
        }
        for challenge in self.challenges.iter().filter(|it| ***it != *self.id) {
            row(f, "challenge", challenge)?;
        }
        if !self.shown.is_empty() {
            writeln!(f, "\nshown to the owner")?;
            let rows = self.shown.iter();
            table(f, rows.map(|line| (line.name.to_string(), line.value.to_string())))?;
        }
        Ok(())
    }

    fn from(&self, client: &str) -> String {
        let Some(place) = &self.place else { return client.to_owned() };
        let known = [place.country.as_deref(), place.city.as_deref()];
        let mut words: Vec<String> = known.into_iter().flatten().map(str::to_owned).collect();
        words.extend(place.asn.map(|asn| format!("AS{asn}")));
        words.push(format!("network {}", place.network));
        format!("{client}: {}", words.join(", "))
    }

    fn decided(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.facts.is_empty() {
            writeln!(f, "\nno facts are recorded: it never came to a decision")?;
        } else {
            let batch = self.elements.map(|count| format!(" of {count} elements"));
            writeln!(f, "\nfacts{} as recorded", batch.unwrap_or_default())?;
            facts(f, &self.facts)?;
        }
        for elevation in &self.elevations {
            let factors: Vec<&str> = elevation.factors.iter().map(|factor| factor.word()).collect();
            let (rule, place) = (&elevation.rule, &elevation.place);
            writeln!(
                f,
                "  elevated by {rule} at {place} until {}: {}",
                elevation.until,
                factors.join(" ")
            )?;
        }
        for hold in &self.holds {
            writeln!(f, "  held by {} since {}", hold.rule, hold.since)?;
        }
        self.ruled(f)?;
        if self.policy.is_none() {
            return Ok(());
        }
        let verdict = self.verdict.as_deref().unwrap_or("no rule spoke");
        writeln!(f)?;
        row(f, "verdict", verdict)?;
        self.candidate.as_ref().map_or(Ok(()), |candidate| would_have(f, candidate))
    }

    /// What the rules say now is what they said then, if it is the same policy.
    fn ruled(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let same = self.rules.anew.as_ref().filter(|anew| anew.same);
        if let Some(policy) = &self.policy
            && same.is_none()
        {
            let cannot = self.rules.cannot.as_ref();
            let cannot = cannot.map(|why| format!(" (they cannot be weighed again: {why})"));
            writeln!(f, "\nrules as recorded under policy {policy}{}", cannot.unwrap_or_default())?;
            self.rules.recorded.iter().try_for_each(|rule| spoke(f, rule))?;
            if self.rules.recorded.is_empty() {
                writeln!(f, "  no rule spoke")?;
            }
        }
        let Some(anew) = &self.rules.anew else { return Ok(()) };
        let present = if anew.same { "" } else { "the present " };
        writeln!(f, "\nrules under {present}policy {}, from the recorded facts", anew.policy)?;
        rules(f, anew)?;
        if !anew.same {
            return row(f, "  would be", anew.verdict);
        }
        let is_other = |rule: &&Spoke| {
            anew.elements.iter().flat_map(|it| &it.rules).all(|it| it.rule.as_str() != &*rule.rule)
        };
        let mut of_pack = self.rules.recorded.iter().filter(is_other);
        of_pack.try_for_each(|rule| spoke(f, rule))
    }
}

/// What the candidate policy would have said; it decided nothing.
fn would_have(f: &mut Formatter<'_>, candidate: &ShadowNoted) -> fmt::Result {
    writeln!(f, "\nrules of the candidate policy {}, as recorded", candidate.policy)?;
    candidate.rules.iter().map(Spoke::of).try_for_each(|rule| spoke(f, &rule))?;
    let factors = candidate.factors.as_ref().map(|factors| format!(" ({factors})"));
    let until = candidate.until.map(|until| format!(" until {until}"));
    let more = factors.or(until).unwrap_or_default();
    let differs = if candidate.differs { "" } else { ", like the live policy" };
    row(f, "  would be", format_args!("{}{more}{differs}", candidate.verdict))
}

fn spoke(f: &mut Formatter<'_>, rule: &Spoke) -> fmt::Result {
    writeln!(f, "  {:<10}{}: {}", rule.voice, rule.rule, rule.outcome)
}

fn rules(f: &mut Formatter<'_>, anew: &Anew) -> fmt::Result {
    let count = anew.elements.len() + anew.untold;
    for (at, element) in anew.elements.iter().enumerate() {
        if count > 1 {
            writeln!(f, "  element {} of {count}: {}", at + 1, element.verdict)?;
        }
        if element.rules.is_empty() {
            writeln!(f, "  no rule is about this action")?;
        }
        element.rules.iter().try_for_each(|rule| write!(f, "{rule}"))?;
    }
    if anew.untold > 0 {
        writeln!(f, "  {} more elements are not in the record", anew.untold)?;
    }
    if !anew.unsaid.is_empty() {
        let names: Vec<&str> = anew.unsaid.iter().map(|name| &**name).collect();
        writeln!(f, "  not in the record: {}", names.join(", "))?;
    }
    for other in &anew.differs {
        let (rule, recorded, weighed) = (&other.rule, other.recorded, other.weighed);
        writeln!(f, "  otherwise than recorded: {rule} {weighed}, recorded as {recorded}")?;
    }
    Ok(())
}
