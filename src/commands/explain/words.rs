//! A story in words, for a terminal at night: from what came in to what the customer gets.
//!
//! Never says more than the story's JSON does.

use std::fmt::{self, Display, Formatter};

use super::decided::Element;
use super::raw::Story;
use crate::policy::literal::legible;
use crate::policy::reasons::FactReason;
use crate::policy::told::COUNTERS;

/// `name        value`, with names in one column.
pub(super) fn row(f: &mut Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    writeln!(f, "{name:<12}{value}")
}

/// Rows below a heading, their first cells in one column.
pub(super) fn table(
    f: &mut Formatter<'_>,
    rows: impl IntoIterator<Item = (String, String)>,
) -> fmt::Result {
    let rows: Vec<_> = rows.into_iter().collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in &rows {
        writeln!(f, "  {}", format!("{name:<width$}  {value}").trim_end())?;
    }
    Ok(())
}

impl Display for Story {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.seen(f)?;
        self.checked(f)?;
        self.meant(f)?;
        for (at, element) in self.elements.iter().enumerate() {
            let count = self.elements.len();
            let title = if count > 1 {
                format!(" of element {} of {count}", at + 1)
            } else {
                String::new()
            };
            self.weighed(f, element, &title)?;
        }
        if let Some(says) = &self.says {
            writeln!(f)?;
            row(f, "verdict", says)?;
        }
        self.answered(f)
    }
}

impl Story {
    fn seen(&self, f: &mut Formatter<'_>) -> fmt::Result {
        row(f, "request", format_args!("{} {}", self.method, self.path))?;
        row(f, "site", format_args!("{}, as {}", self.site, self.host))?;
        row(f, "time", &self.time)?;
        let place = &self.place;
        let known = [place.country.as_deref(), place.city.as_deref()];
        let mut words: Vec<String> = known.into_iter().flatten().map(str::to_owned).collect();
        words.extend(place.asn.map(|asn| format!("AS{asn}")));
        words.push(format!("network {}", place.network.word()));
        row(f, "client", format_args!("{}: {}", self.client, words.join(", ")))?;
        let credential = self.person.credential.as_ref().map(|it| format!(" ({it})"));
        let who = self
            .person
            .account
            .as_ref()
            .map(|who| format!("{who}{}, ", credential.unwrap_or_default()));
        row(f, "account", format_args!("{}{}", who.unwrap_or_default(), self.person.how))?;
        let carries = match self.person.carries.as_slice() {
            [] => format!("none; looked at {}", self.person.could_carry.join(", ")),
            some => format!("found at {}", some.join(", ")),
        };
        row(f, "credential", carries)?;
        let history = match self.history {
            "live" => "as the running gateway has it",
            _ => {
                "taken as empty: no places, counters, addresses, holds; factors as asked for (--live asks the gateway)"
            }
        };
        row(f, "history", history)?;
        if !self.assumed.is_empty() {
            row(f, "put in", self.assumed.join(", "))?;
        }
        if !self.set.is_empty() {
            row(f, "set", self.set.join(", "))?;
        }
        Ok(())
    }

    fn checked(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nlooked at")?;
        let rows = self.checks.iter().map(|check| {
            let word = if check.passed { "passed" } else { "refused" };
            (format!("{word:<8}{}", check.check), check.said.clone())
        });
        table(f, rows)?;
        if let Some(kind) = self.refused {
            writeln!(f)?;
            row(f, "refused", kind)?;
        }
        for like in &self.could_be {
            let said =
                format!("read as {} it is `{}` ({})", like.read_as, like.action, like.origin);
            row(f, "", said)?;
        }
        Ok(())
    }

    fn meant(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(action) = &self.action else { return Ok(()) };
        writeln!(f)?;
        row(f, "action", action)?;
        for (at, fields) in self.fields.iter().enumerate() {
            if self.fields.len() > 1 {
                writeln!(f, "  element {}", at + 1)?;
            }
            let width = fields.iter().map(|field| field.name.len()).max().unwrap_or(0);
            let rows = fields.iter().map(|field| {
                let text = field
                    .text
                    .as_deref()
                    .map_or("unreadable".to_owned(), |text| format!("{text:?}"));
                (format!("{:<width$}  {text}", field.name), field.source.clone())
            });
            table(f, rows)?;
        }
        if !self.shown.is_empty() {
            writeln!(f, "\nshown to the owner")?;
            let rows =
                self.shown.iter().map(|line| (line.name.to_string(), line.value.to_string()));
            table(f, rows)?;
        }
        self.bound(f)
    }

    fn bound(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(intent) = &self.intent else { return Ok(()) };
        let digest = intent.digest.as_deref().unwrap_or("without an account there is none");
        writeln!(f, "\nbound by an approval (intent {digest})")?;
        let mut rows = vec![
            ("account, credential".to_owned(), String::new()),
            (
                "line".to_owned(),
                format!("{} {} at {}", intent.method, intent.path, intent.authority),
            ),
        ];
        let parameters = intent.parameters.iter().filter(|(_, text)| text != "{" && text != "[");
        rows.extend(parameters.cloned());
        table(f, rows)?;
        if !intent.volatile.is_empty() {
            writeln!(f, "not bound (volatile)")?;
            let rows = intent.volatile.iter().map(|it| {
                (
                    it.place.clone(),
                    it.text.clone().unwrap_or_else(|| "not in the request".to_owned()),
                )
            });
            table(f, rows)?;
        }
        Ok(())
    }

    fn weighed(&self, f: &mut Formatter<'_>, element: &Element, title: &str) -> fmt::Result {
        writeln!(f, "\nfacts{title}")?;
        facts(f, &element.facts)?;
        writeln!(f, "\nrules{title} ({})", self.policy_file)?;
        write!(f, "{}", element.explanation)
    }

    fn answered(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let customer = &self.customer;
        let status = customer.status.map(|status| format!(", {status}")).unwrap_or_default();
        row(f, "customer", format_args!("{}{status}", customer.says))?;
        for (name, value) in &customer.headers {
            row(f, "", format_args!("{name}: {value}"))?;
        }
        match &customer.body {
            Some(body) if !body.is_empty() => row(f, "", body),
            _ => Ok(()),
        }
    }
}

/// Facts and why they have no value. Counters that are zero are said in one row.
pub(super) fn facts(f: &mut Formatter<'_>, facts: &[FactReason]) -> fmt::Result {
    let row = |fact: &FactReason| {
        let why = if fact.why.is_empty() { String::new() } else { format!(": {}", fact.why) };
        (fact.name.to_string(), format!("{}{why}", legible(&fact.value)))
    };
    let others = match facts.iter().any(|fact| &*fact.name == COUNTERS) {
        true => None,
        false => Some(("other counters".to_owned(), "0".to_owned())),
    };
    table(f, facts.iter().map(row).chain(others))
}
