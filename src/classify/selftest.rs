//! A pack is tried against known attacks before it guards anything: every guarded action's sample in every other
//! spelling, and every ordinary action's path against the guarded ones.
//!
//! Never lets a pack load under which one of them is ordinary traffic. Invariant: in a set that is loaded each mutant of
//! a sample is the action itself or refused.

use super::detect::{ActionSet, Detected, Unclassified};
use super::mutants::{self, Must};
use super::pattern::Pattern;
use super::rule::ActionRule;
use super::sample::{FILLING, Origin, SampleRequest};
use crate::fault::Fault;
use crate::types::Fields;

/// What a fault prints of a target and of a body.
const PRINTED_MAX: usize = 160;

/// At most one fault for each action; `origins` are those of `set.rules()`, in order.
pub(super) fn check(set: &ActionSet, origins: &[Origin], faults: &mut Vec<Fault>) {
    for (rule, origin) in set.rules().iter().zip(origins) {
        let found = match rule.guarded {
            true => second_door(set, rule, origin),
            false => look_alike(set, rule),
        };
        if let Some((message, help)) = found {
            faults.push(Fault::new(&origin.source, origin.span.clone(), message).help(help));
        }
    }
}

/// What is wrong and what to do about it.
type Hole = (String, String);

/// The first mutant of an action's sample that would get past it.
fn second_door(set: &ActionSet, rule: &ActionRule, origin: &Origin) -> Option<Hole> {
    let sample = origin.sample.as_ref()?;
    let mut hole = None;
    for (at, pattern) in rule.patterns.iter().enumerate() {
        let request = sample.request(rule, pattern);
        let values = rule.read(&request.head, &request.body).map(|action| action.elements);
        let trial = Trial { set, rule, path: request.head.path(), values: &values.ok()? };
        // A body is read the same way whichever of the action's paths it came to.
        let bodies = at == 0 || pattern.is_frame();
        mutants::each(rule, sample.carrier, &request, bodies, &mut |what, must, mutant| {
            if hole.is_none() {
                let read_as = trial.reading(must, &mutant);
                hole = read_as.map(|read_as| trial.describe(what, &mutant, &read_as));
            }
        });
        if hole.is_some() {
            break;
        }
    }
    hole
}

/// One sample request that is being mutated.
struct Trial<'t> {
    set: &'t ActionSet,
    rule: &'t ActionRule,
    path: &'t str,
    values: &'t [Fields],
}

/// What a mutant was wrongly read as.
enum ReadAs {
    Unnamed,
    Ordinary(String),
    OtherAction(String),
    OtherValues,
    /// Accepted, though two servers would read two things.
    Accepted,
}

impl Trial<'_> {
    /// None if the mutant is met as it must be.
    fn reading(&self, must: Must, mutant: &SampleRequest) -> Option<ReadAs> {
        let SampleRequest { head, body } = mutant;
        match self.set.detect_whole(head, body).ok()? {
            Detected::NotCanonical(_) | Detected::Selected => None,
            Detected::Unlisted { say, .. } => {
                (say == Unclassified::Allow).then_some(ReadAs::Unnamed)
            }
            Detected::Ordinary => Some(ReadAs::Unnamed),
            Detected::Action(other) if !std::ptr::eq(other, self.rule) => {
                self.other(must, other, mutant)
            }
            Detected::Action(rule) => {
                let action = rule.read(head, body).ok()?;
                match must {
                    Must::StayGuarded | Must::StayGuardedUnlessNamed => None,
                    Must::BeRefused => Some(ReadAs::Accepted),
                    Must::ReadTheSame => {
                        (action.elements != self.values).then_some(ReadAs::OtherValues)
                    }
                }
            }
        }
    }

    fn other(&self, must: Must, other: &ActionRule, mutant: &SampleRequest) -> Option<ReadAs> {
        let path = mutant.head.path();
        let own_path = path == self.path;
        let named = other.patterns.iter().any(|pattern| match own_path {
            // A template that happens to take this path in was written for other paths.
            true => pattern.filled(FILLING) == path,
            false => pattern.fits(path),
        });
        let may_be_named = must == Must::StayGuardedUnlessNamed;
        match other.guarded {
            _ if other.name == self.rule.name || (may_be_named && (named || other.guarded)) => None,
            true => {
                let read = other.read(&mutant.head, &mutant.body);
                read.is_ok().then(|| ReadAs::OtherAction(other.name.to_string()))
            }
            false => Some(ReadAs::Ordinary(other.name.to_string())),
        }
    }

    fn describe(&self, what: &str, mutant: &SampleRequest, read_as: &ReadAs) -> Hole {
        let head = &mutant.head;
        let mut request = format!("{} {}", head.method, printed(head.target.as_bytes()));
        for (name, value) in &head.headers {
            request += &format!(", {name}: {}", printed(value.as_bytes()));
        }
        if !mutant.body.is_empty() {
            request += &format!(", body {}", printed(&mutant.body));
        }
        let (read_as, help) = match read_as {
            ReadAs::Unnamed => (
                "traffic that no action names".to_owned(),
                "put its path below a `sensitive` prefix, or set `unclassified.write` to \"require\" or \"deny\"".to_owned(),
            ),
            ReadAs::Ordinary(name) => (
                format!("`{name}`, which is not guarded"),
                format!("take that path out of `{name}`, guard `{name}`, or declare the one kind of body that it takes"),
            ),
            ReadAs::OtherAction(name) => (
                format!("`{name}`"),
                format!("take that path out of `{name}`"),
            ),
            ReadAs::OtherValues => (
                "this action with other values".to_owned(),
                "list in `need` what the action cannot do without".to_owned(),
            ),
            ReadAs::Accepted => (
                "this action, though servers would disagree on its values".to_owned(),
                "let `body` and `fields` name one place for each value".to_owned(),
            ),
        };
        let name = &self.rule.name;
        (
            format!(
                "`{name}` could be reached another way ({what}): `{request}` is read as {read_as}"
            ),
            help,
        )
    }
}

/// Bytes as a person can read them in a terminal.
fn printed(bytes: &[u8]) -> String {
    let start = bytes.get(..PRINTED_MAX).unwrap_or(bytes);
    let more = if start.len() < bytes.len() { "…" } else { "" };
    format!("{}{more}", start.escape_ascii())
}

/// An ordinary action whose own path some server takes for a guarded one.
fn look_alike(set: &ActionSet, rule: &ActionRule) -> Option<Hole> {
    let guarded = || set.rules().iter().filter(|rule| rule.guarded).flat_map(|rule| &rule.patterns);
    let path = rule.patterns.iter().find_map(|pattern| {
        let nearly = |path: &String| set.is_nearly_guarded(&pattern.method, path);
        match pattern.is_literal() {
            true => Some(pattern.text.clone()).filter(nearly),
            false => {
                guarded().filter_map(|other: &Pattern| pattern.filled_from(other)).find(nearly)
            }
        }
    })?;
    let message = format!(
        "some servers take `{}`, which `{}` names and does not guard, for a guarded path",
        printed(path.as_bytes()),
        rule.name
    );
    Some((message, "guard this action, or leave that path out of it".to_owned()))
}

#[cfg(test)]
mod tests {
    use crate::classify::load;
    use crate::fault::Source;

    const GUARDED: &str = r#"[[action]]
name = "withdrawal"
match = ["POST /api/withdraw"]
body = "json"
fields = { amount = "json.amt", address = "json.to" }
need = ["amount", "address"]
sample = '{"amt":"1","to":"GOOD"}'
"#;
    const KEY: &str = r#"[[action]]
name = "key.delete"
match = "DELETE /api/keys"
body = "query"
fields = { key = "query.key" }
need = ["key"]
sample = "key=1"
"#;

    fn head(unclassified: &str) -> String {
        format!(
            "version = 1\nexchange = \"t\"\nunclassified = {{ read = \"allow\", write = \"{unclassified}\" }}\n"
        )
    }

    fn ordinary(name: &str, rest: &str) -> String {
        format!("[[action]]\nname = \"{name}\"\nguarded = false\n{rest}\n")
    }

    fn faults(packs: &[String]) -> Vec<String> {
        let sources: Vec<_> = packs
            .iter()
            .enumerate()
            .map(|(at, text)| Source::new(format!("{at}.toml"), text.as_str()))
            .collect();
        let mut faults = Vec::new();
        let set = load(&sources, &mut faults);
        assert_eq!(set.is_none(), !faults.is_empty());
        let said = |fault: &crate::fault::Fault| {
            let (line, _) = fault.position();
            let help = fault.help.as_deref().unwrap_or("");
            format!("{}:{line}: {} ({help})", fault.source.path.display(), fault.message)
        };
        faults.iter().map(said).collect()
    }

    /// A pack with `withdrawal`, `key.delete` and this is refused, and the fault says these words.
    fn refused(extra: &str, says: &[&str]) {
        let found = faults(&[format!("{}{GUARDED}{KEY}{extra}", head("allow"))]);
        assert!(!found.is_empty(), "{extra}");
        for word in says {
            assert!(found.iter().any(|fault| fault.contains(word)), "{extra}: {word}: {found:#?}");
        }
    }

    #[test]
    fn a_pack_without_a_second_door_loads_even_if_every_other_write_passes() {
        let harmless = [
            ordinary("order", "match = [\"POST /api/orders\", \"DELETE /api/orders/{id}\"]"),
            ordinary("status", "match = [\"GET /api/withdraw\", \"GET /api/keys\"]"),
            ordinary("key.add", "match = \"POST /api/keys\"\nbody = \"json\""),
            ordinary("key.use", "match = \"POST /api/keys/{key}\""),
        ];
        let pack = format!("{}{GUARDED}{KEY}{}", head("allow"), harmless.concat());
        assert_eq!(faults(&[pack]), Vec::<String>::new());
    }

    #[test]
    fn an_ordinary_action_that_some_server_takes_for_a_guarded_one_is_refused() {
        for (path, shown) in [
            ("/API/WITHDRAW", "/API/WITHDRAW"),
            ("/aPi/wIthdraw", "/aPi/wIthdraw"),
            ("/aPI/{what}", "/aPI/withdraw"),
            ("/api/withdraw.json", "/api/withdraw.json"),
            ("/api/withdraw.html", "/api/withdraw.html"),
        ] {
            for method in ["POST", "PUT"] {
                let says = format!("0.toml:18: some servers take `{shown}`, which `page` names");
                refused(&ordinary("page", &format!("match = \"{method} {path}\"")), &[&says]);
            }
        }
    }

    #[test]
    fn an_ordinary_template_of_another_method_must_not_take_a_guarded_path_in() {
        for method in ["PUT", "PATCH"] {
            refused(
                &ordinary("item", &format!("match = \"{method} /api/{{item}}\"\nbody = \"json\"")),
                &["(another method)", "is read as `item`, which is not guarded"],
            );
        }
    }

    #[test]
    fn a_form_on_the_path_of_a_guarded_delete_could_override_the_method() {
        refused(
            &ordinary("key.add", "match = \"POST /api/keys\"\nbody = \"form\""),
            &[
                "`key.delete` could be reached another way (a form that overrides the method)",
                "body _method=DELETE",
                "declare the one kind of body that it takes",
            ],
        );
    }

    #[test]
    fn two_guarded_actions_must_not_be_spellings_of_one_another() {
        refused(
            "[[action]]\nname = \"preview\"\nmatch = \"POST /api/Withdraw\"\nbody = \"json\"\nsample = '{}'\n",
            &[
                "the sample of `preview` is no such request at `POST /api/Withdraw`: nearly a guarded",
            ],
        );
    }

    #[test]
    fn two_kinds_of_body_and_nothing_needed_would_lose_the_values() {
        refused(
            "[[action]]\nname = \"transfer\"\nmatch = \"POST /api/transfer\"\nbody = [\"json\", \"form\"]\n\
             fields = { \"transfer.from\" = \"json.from\" }\nsample = '{\"from\":\"contract\"}'\n",
            &["(another media type)", "is read as this action with other values", "list in `need`"],
        );
    }

    #[test]
    fn packs_of_one_site_are_tried_together() {
        let site = head("allow") + &ordinary("page", "match = \"POST /Api/{page}\"");
        let found = faults(&[head("deny") + GUARDED, site]);
        assert!(
            found.iter().any(|fault| fault.starts_with("1.toml:4: some servers")),
            "{found:#?}"
        );
    }

    #[test]
    fn every_sample_has_its_mutants_of_each_kind() {
        let source = Source::new("t.toml", head("deny") + GUARDED);
        let set = load(&[source], &mut Vec::new()).unwrap();
        let rule = &set.rules()[0];
        let sample = crate::classify::sample::Sample {
            text: r#"{"amt":"1","to":"GOOD"}"#.into(),
            carrier: crate::classify::sample::Carrier::Json,
            span: 0..0,
        };
        let request = sample.request(rule, &rule.patterns[0]);
        let mut kinds = std::collections::BTreeMap::new();
        super::mutants::each(rule, sample.carrier, &request, true, &mut |what, _, mutant| {
            let same = *mutant.head.target == *request.head.target
                && mutant.head.method == request.head.method
                && mutant.head.headers.len() <= request.head.headers.len()
                && mutant.body == request.body;
            assert!(!same || what.contains("media type"), "{what} changed nothing");
            *kinds.entry(what).or_insert(0) += 1;
        });
        assert!(kinds.len() > 60 && kinds.values().sum::<i32>() > 110, "{kinds:?}");
    }
}
