//! `<exchange>.actions.cases.toml`: what a pack must take requests for, beside the pack.
//!
//! Never touches a live gateway. Invariant: a case that does not come out as written is a fault at its `expect`, with
//! what was expected and what was read.
//!
//! ```toml
//! version = 1
//!
//! [[case]]
//! name = "a withdrawal on chain"
//! request = '''
//! POST /api/v5/asset/withdrawal
//! Content-Type: application/json
//!
//! {"ccy":"USDT","amt":"5","dest":"4","toAddr":"TX"}
//! '''
//! expect = { action = "withdrawal", fields = { amount = "5", asset = "USDT", fee = "absent" } }
//! ```
//!
//! A message of a WebSocket is written `WS /path`, an empty line and the message. `expect` has one of `action` (guarded,
//! and read), `ordinary` (streams through: true, or the name of the action that it is), `unlisted` (allow, require or
//! deny) and `refused` (true, or words of the reason). `fields` may be `absent` or `unreadable`, and a list of tables for a
//! batch; `shown` has lines such as `amount = 5`. What is left out is not compared.

use std::cell::RefCell;

use http::header::CONTENT_LENGTH;

use super::case_file::{self, Expect, Wanted};
use super::detect::{ActionSet, Detected, Unclassified};
use super::written::Keys;
use super::{Action, compile, frame_method};
use crate::fault::{Fault, Source};
use crate::rawhttp;
use crate::types::{ActionName, FieldValue, Fields};

/// Runs all cases against the packs of one site; answers how many ran. Every failure is a fault.
pub fn run(cases: &Source, set: &ActionSet, faults: &mut Vec<Fault>) -> usize {
    checked(cases, Some(set), faults)
}

/// The same while the packs have faults: whether the cases are written properly, and nothing of what they say.
pub fn proofread(cases: &Source, faults: &mut Vec<Fault>) {
    checked(cases, None, faults);
}

fn checked(cases: &Source, set: Option<&ActionSet>, faults: &mut Vec<Fault>) -> usize {
    let found = RefCell::new(Vec::new());
    let ran = run_all(cases, set, &found);
    let mut found = found.into_inner();
    found.sort_by_key(|fault: &Fault| fault.span.start);
    faults.append(&mut found);
    ran
}

fn run_all(source: &Source, set: Option<&ActionSet>, faults: &RefCell<Vec<Fault>>) -> usize {
    let Some(table) = crate::fault::read_toml(source, &mut faults.borrow_mut()) else { return 0 };
    let keys = Keys::new(source, table.get_ref(), 0..0, faults);
    keys.only(&["version", "case"]);
    compile::version(&keys);
    let mut ran = 0;
    for case in keys.tables("case").iter().filter_map(|keys| case_file::case(keys, set)) {
        let Some(set) = set else {
            if let Err(why) = rawhttp::read(&case.request.value) {
                keys.fault(case.request.span, format!("this is no request: {why}"));
            }
            continue;
        };
        ran += 1;
        let reading = match read(set, &case.request.value) {
            Ok(reading) => reading,
            Err(why) => {
                keys.fault(case.request.span, format!("this is no request: {why}"));
                continue;
            }
        };
        let differences = reading.differences(&case.expect);
        if !differences.is_empty() {
            let message = format!("case \"{}\": {}", case.name, differences.join("; "));
            keys.fault_with(case.span, message, reading.told());
        }
    }
    ran
}

/// What the packs make of a request.
enum Reading {
    Action(Action),
    Ordinary(Option<ActionName>),
    Unlisted(Unclassified),
    Refused(String),
}

/// # Errors
/// Why the text is no request.
fn read(set: &ActionSet, raw: &str) -> Result<Reading, String> {
    let (mut head, body) = rawhttp::read(raw)?;
    let refused = |why: super::Refused| Ok(Reading::Refused(why.to_string()));
    let mut names = None;
    let frame = head.method == frame_method();
    if frame {
        head.headers.remove(CONTENT_LENGTH);
        let Some(socket) = set.socket(head.path()) else {
            return Err(format!("the packs read no WebSocket at `{}`", head.path()));
        };
        if socket.is_plain(&body) {
            return Ok(Reading::Ordinary(None));
        }
        match socket.open(&body) {
            Ok(envelope) => names = envelope.names,
            Err(why) => return refused(why),
        }
    }
    let detected = match set.detect_whole(&head, &body) {
        Ok(detected) => detected,
        Err(why) => return refused(why),
    };
    Ok(match detected {
        Detected::Ordinary => Reading::Ordinary(None),
        Detected::Unlisted { say, .. } => Reading::Unlisted(say),
        Detected::NotCanonical(why) => Reading::Refused(why.to_owned()),
        Detected::Selected => Reading::Refused("no operation is named".to_owned()),
        Detected::Action(rule) => {
            if frame && let Err(why) = rule.named(&body, names) {
                return refused(why);
            }
            match rule.guarded {
                false => Reading::Ordinary(Some(rule.name.clone())),
                true => match rule.read(&head, &body) {
                    Ok(action) => Reading::Action(action),
                    Err(why) => return refused(why),
                },
            }
        }
    })
}

impl Reading {
    fn differences(&self, expect: &Expect) -> Vec<String> {
        let wanted = match (expect, self) {
            (Expect::Action { name, elements, shown }, Self::Action(action))
                if *name == *action.name.as_str() =>
            {
                return differences(action, elements.as_deref(), shown.as_deref());
            }
            (Expect::Ordinary(None), Self::Ordinary(_)) => return Vec::new(),
            (Expect::Ordinary(Some(name)), Self::Ordinary(Some(read)))
                if *name == *read.as_str() =>
            {
                return Vec::new();
            }
            (Expect::Unlisted(wanted), Self::Unlisted(say)) if wanted == say => return Vec::new(),
            (Expect::Refused(None), Self::Refused(_)) => return Vec::new(),
            (Expect::Refused(Some(words)), Self::Refused(why)) if why.contains(words.as_str()) => {
                return Vec::new();
            }
            (Expect::Action { name, .. }, _) => format!("the guarded action `{name}`"),
            (Expect::Ordinary(None), _) => "ordinary traffic".to_owned(),
            (Expect::Ordinary(Some(name)), _) => format!("`{name}`, which is not guarded"),
            (Expect::Unlisted(say), _) => unlisted(*say),
            (Expect::Refused(None), _) => "a refusal".to_owned(),
            (Expect::Refused(Some(words)), _) => format!("a refusal: …{words}…"),
        };
        vec![format!("expected {wanted}, the packs read {}", self.kind())]
    }

    fn kind(&self) -> String {
        match self {
            Self::Action(action) => format!("the guarded action `{}`", action.name),
            Self::Ordinary(None) => "ordinary traffic".to_owned(),
            Self::Ordinary(Some(name)) => format!("`{name}`, which is not guarded"),
            Self::Unlisted(say) => unlisted(*say),
            Self::Refused(why) => format!("a refusal: {why}"),
        }
    }

    /// Nothing but an action has more to it than its kind.
    fn told(&self) -> Option<String> {
        let Self::Action(action) = self else { return None };
        let element = |fields: &Fields| -> String {
            let said =
                fields.iter().map(|(name, value)| format!("{name} = {}", spelt(Some(value))));
            said.collect::<Vec<_>>().join(", ")
        };
        let elements: Vec<String> = action.elements.iter().map(element).collect();
        let elements = elements.join(" }, { ");
        Some(format!("what was read: `{}` with {{ {elements} }}", action.name))
    }
}

fn differences(
    action: &Action,
    elements: Option<&[Vec<Wanted>]>,
    shown: Option<&[String]>,
) -> Vec<String> {
    let mut differences = Vec::new();
    let mut differ = |what: &str, wanted: String, read: String| {
        if wanted != read {
            differences.push(format!("expected {what} {wanted}, the packs read {read}"));
        }
    };
    if let Some(elements) = elements {
        differ("elements", elements.len().to_string(), action.elements.len().to_string());
        for (at, (wanted, fields)) in elements.iter().zip(&action.elements).enumerate() {
            for Wanted { field, value } in wanted {
                let what = match action.elements.len() {
                    1 => field.clone(),
                    _ => format!("{field}[{}]", at + 1),
                };
                differ(&what, spelt(value.as_ref()), spelt(fields.find(field)));
            }
        }
    }
    if let Some(wanted) = shown {
        let lines = action.shown.iter().map(|line| format!("{} = {}", line.name, line.value));
        differ("shown", format!("{wanted:?}"), format!("{:?}", lines.collect::<Vec<_>>()));
    }
    differences
}

fn spelt(value: Option<&FieldValue>) -> String {
    match value {
        Some(FieldValue::Text(text)) => format!("{text:?}"),
        Some(FieldValue::Unreadable) => "unreadable".to_owned(),
        None => "absent".to_owned(),
    }
}

fn unlisted(say: Unclassified) -> String {
    format!("a request that no action names ({})", say.word())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::load;

    const PACK: &str = r#"
version = 1
exchange = "t"
unclassified = { read = "allow", write = "require" }
[websocket]
private = ["/ws"]
plain = ["ping"]
credentials = { "json.key" = "API-Key: {value}" }
error = '{"m":"{message}"}'
[[action]]
name = "withdrawal"
match = ["POST /w"]
body = "json"
fields = { amount = "json[].amt", address = "json[].to", tag = "json[].tag" }
need = ["address"]
show = ["amount", "address"]
sample = '[{"amt":"1","to":"a"}]'
[[action]]
name = "order"
match = "WS /ws op=order"
select = "json.op"
body = "json"
guarded = false
[[action]]
name = "mass_cancel"
match = "WS /ws op=cancel"
select = "json.op"
body = "json"
sample = '{"op":"cancel"}'
"#;

    fn told(request: &str, expect: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let set = load(&[Source::new("t.actions.toml", PACK)], &mut faults);
        let set = set.unwrap_or_else(|| panic!("{faults:#?}"));
        let case = format!(
            "version = 1\n[[case]]\nname = \"x\"\nrequest = '''{request}'''\nexpect = {expect}\n"
        );
        run(&Source::new("t.actions.cases.toml", case), &set, &mut faults);
        let said = |fault: &Fault| {
            let (line, column) = fault.position();
            let help = fault.help.as_deref().unwrap_or("");
            format!("{line}:{column}: {} ({help})", fault.message)
        };
        faults.iter().map(said).collect()
    }

    fn differs(request: &str, expect: &str, says: &[&str]) {
        let told = told(request, expect);
        let [only] = told.as_slice() else { panic!("{request} {expect}: {told:#?}") };
        for words in says {
            assert!(only.contains(words), "{words}: {only}");
        }
    }

    const TWO: &str = "POST /w\nContent-Type: application/json\n\n\
        [{\"amt\":\"1\",\"to\":\"a\"},{\"to\":\"b\",\"tag\":\"7\"}]\n";

    #[test]
    fn a_case_that_comes_out_says_nothing() {
        for (request, expect) in [
            (TWO, "{ action = \"withdrawal\" }"),
            (
                TWO,
                "{ action = \"withdrawal\", fields = [{ tag = \"absent\" }, { amount = \"unreadable\", tag = \"7\" }] }",
            ),
            (
                TWO,
                "{ action = \"withdrawal\", shown = [\"amount[1] = 1\", \"address[1] = a\", \"amount[2] = ?\", \"address[2] = b\"] }",
            ),
            ("GET /x", "{ ordinary = true }"),
            ("WS /ws\n\nping", "{ ordinary = true }"),
            ("WS /ws\n\n{\"op\":\"order\"}", "{ ordinary = \"order\" }"),
            ("WS /ws\n\n{\"op\":\"order\"}", "{ ordinary = true }"),
            ("WS /ws\n\n{\"op\":\"cancel\"}", "{ action = \"mass_cancel\", shown = [] }"),
            ("WS /ws\n\n{\"op\":\"other\"}", "{ unlisted = \"require\" }"),
            (
                "WS /ws\n\n{\"op\":\"cancel\",\"Key\":\"k\"}",
                "{ refused = \"variant of a credential\" }",
            ),
            ("POST /x", "{ unlisted = \"require\" }"),
            ("POST /W", "{ refused = true }"),
            ("GET /w\n\n{}", "{ refused = true }"),
        ] {
            assert_eq!(told(request, expect), Vec::<String>::new(), "{request} {expect}");
        }
    }

    #[test]
    fn what_was_expected_and_what_was_read_are_told_at_the_expectation() {
        let action = "{ action = \"withdrawal\" }";
        let ordinary = "ordinary traffic";
        differs(
            "GET /x",
            action,
            &[
                ": case \"x\": expected the guarded action `withdrawal`, the packs read ordinary traffic",
            ],
        );
        differs("POST /W", action, &["the packs read a refusal: nearly"]);
        differs(
            "POST /x",
            "{ unlisted = \"deny\" }",
            &["names (deny), the packs read", "names (require)"],
        );
        differs("POST /x", "{ ordinary = true }", &[ordinary]);
        differs("GET /x", "{ ordinary = \"order\" }", &["`order`, which is not guarded", ordinary]);
        differs("GET /x", "{ refused = true }", &["expected a refusal", ordinary]);
        differs("POST /W", "{ refused = \"twice\" }", &["a refusal: …twice…"]);
        let order = "WS /ws\n\n{\"op\":\"order\"}";
        differs(order, "{ action = \"order\" }", &["read `order`, which is not guarded"]);
        differs(order, "{ ordinary = \"withdrawal\" }", &["expected `withdrawal`"]);
        differs(
            TWO,
            "{ action = \"mass_cancel\" }",
            &["the packs read the guarded action `withdrawal`"],
        );
        differs(TWO, "{ ordinary = true }", &["expected ordinary traffic"]);
    }

    #[test]
    fn every_difference_of_an_action_is_told_at_once() {
        let expect = "{ action = \"withdrawal\", fields = [{ amount = \"2\", tag = \"7\" }], shown = [\"amount = 2\"] }";
        differs(
            TWO,
            expect,
            &[
                "expected elements 1, the packs read 2; expected ",
                "expected amount[1] \"2\", the packs read \"1\"",
                "expected tag[1] \"7\", the packs read absent",
                "expected shown [\"amount = 2\"], the packs read [\"amount[1] = 1\"",
                "what was read: `withdrawal` with { address = \"a\", amount = \"1\" }, { address = \"b\", amount = unreadable",
            ],
        );
    }

    #[test]
    fn a_case_that_is_not_written_properly_is_told_where() {
        for (request, expect, says) in [
            ("", "{ ordinary = true }", "4:11: this is no request: the first line"),
            ("WS /other\n\n{}", "{ refused = true }", "no WebSocket at `/other`"),
            ("GET /x", "{}", "5:10: a case expects one of action, ordinary"),
            ("GET /x", "{ refused = true, ordinary = true }", "a case expects one of"),
            ("GET /x", "{ refused = false }", "`refused` is true or a text"),
            ("GET /x", "{ refused = 3 }", "`refused` is true or false, not integer"),
            (
                "GET /x",
                "{ unlisted = \"never\" }",
                "5:23: `unlisted` is one of allow, require, deny",
            ),
            (
                "GET /x",
                "{ action = \"withdraw\" }",
                "no action `withdraw` (did you mean `withdrawal`?)",
            ),
            ("GET /x", "{ ordinary = \"ordr\" }", "no action `ordr` (did you mean `order`?)"),
            (
                "GET /x",
                "{ ordinary = true, shown = [] }",
                "only an action has `fields` and `shown`",
            ),
            (
                "GET /x",
                "{ action = \"withdrawal\", fields = { adress = \"absent\" } }",
                "5:46: `withdrawal` has no field `adress` (did you mean `address`?)",
            ),
            (
                "GET /x",
                "{ action = \"withdrawal\", fields = { tag = [] } }",
                "a field has one value",
            ),
            ("GET /x", "{ verdict = \"deny\", refused = true }", "unknown key `verdict`"),
        ] {
            differs(request, expect, &[says]);
        }
    }
}
