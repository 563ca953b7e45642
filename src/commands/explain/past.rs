//! What a log knows, in words: who and what it was, what it was decided on, and what happened one after the other.
//!
//! Never says more than its JSON does.

use std::fmt::{self, Display, Formatter};

use super::recorded::{Past, Rule};
use super::words::{facts, row, table};

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
        let Some(policy) = &self.policy else { return Ok(()) };
        writeln!(f, "\nrules as recorded under policy {policy} ({})", self.rules.said)?;
        self.rules.rules.iter().try_for_each(|rule| spoken(f, rule, self.rules.same))?;
        let verdict = self.verdict.as_deref().unwrap_or("no rule spoke");
        writeln!(f)?;
        row(f, "verdict", verdict)
    }
}

fn spoken(f: &mut Formatter<'_>, rule: &Rule, same: bool) -> fmt::Result {
    let outcome = match (&rule.text, &rule.outcome) {
        (Some(text), _) if same => format!("{} (line {})", text.outcome, text.line),
        (_, Some(outcome)) => outcome.to_string(),
        (Some(_), None) => "not in the record".to_owned(),
        (None, None) => String::new(),
    };
    writeln!(f, "  {:<10}{}: {outcome}", rule.voice, rule.rule)?;
    let Some(text) = &rule.text else {
        return writeln!(f, "            not in the configuration's policy");
    };
    let now =
        if same { String::new() } else { format!("now {} on line {}: ", text.outcome, text.line) };
    let unless = text.unless.as_ref().map(|unless| format!("; unless {unless}"));
    writeln!(f, "            {now}{}{}", text.when, unless.unwrap_or_default())?;
    for (name, value) in &rule.looked_at {
        writeln!(f, "            {name} = {value}")?;
    }
    Ok(())
}
