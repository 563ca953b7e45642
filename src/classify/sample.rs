//! The request that an action's `sample` stands for, one for every `match` of it.
//!
//! Never sent anywhere: it is read at load, so that a pack whose places do not fit its exchange's requests is refused
//! before it guards anything. Invariant: in a set that is loaded every sample is exactly its action, with all that it
//! needs.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Version};

use super::detect::{ActionSet, Detected};
use super::pattern::Pattern;
use super::place::Place;
use super::rule::ActionRule;
use crate::fault::{Fault, Source};
use crate::inbound::Inbound;
use crate::types::{RequestId, UnixMs};

/// What stands for every parameter of a path and every header that the action reads.
pub(super) const FILLING: &str = "1";

/// Where one action of a pack stands, and its `sample`.
pub(super) struct Origin {
    pub source: Source,
    /// The head of the action.
    pub span: Range<usize>,
    /// None if the action is not guarded and has none.
    pub sample: Option<Sample>,
}

/// `sample` of one action and where it stands. An action without parameters has an empty one.
pub(super) struct Sample {
    pub text: String,
    pub carrier: Carrier,
    pub span: Range<usize>,
}

/// Where the text of a sample goes: the action's first declared kind of body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Json,
    Form,
    Query,
    None,
}

/// A sample as a request for one of the action's patterns.
#[derive(Clone)]
pub(super) struct SampleRequest {
    pub head: Inbound,
    pub body: Vec<u8>,
}

impl Sample {
    pub fn request(&self, rule: &ActionRule, pattern: &Pattern) -> SampleRequest {
        let mut target = pattern.filled(FILLING);
        let mut headers = HeaderMap::new();
        for place in rule.bound_places() {
            if let Place::Header(name) = place {
                headers.insert(name, HeaderValue::from_static(FILLING));
            }
        }
        let mut body = Vec::new();
        let media_type = match self.carrier {
            Carrier::Json => Some("application/json"),
            Carrier::Form => Some("application/x-www-form-urlencoded"),
            Carrier::Query | Carrier::None => None,
        };
        match media_type {
            Some(media_type) => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
                body.extend_from_slice(self.body(pattern).as_bytes());
            }
            None if self.text.is_empty() => {}
            None => target = format!("{target}?{}", self.text),
        }
        SampleRequest { head: head(pattern, &target, headers), body }
    }

    /// The text; `{operation}` in it stands for the one of the pattern.
    fn body(&self, pattern: &Pattern) -> String {
        match &pattern.operation {
            Some(operation) => self.text.replace("{operation}", &operation.example()),
            None => self.text.clone(),
        }
    }
}

fn head(pattern: &Pattern, target: &str, headers: HeaderMap) -> Inbound {
    Inbound {
        request: RequestId::new("sample"),
        method: pattern.method.clone(),
        host: "sample.invalid".into(),
        authority: "sample.invalid".into(),
        target: target.into(),
        version: Version::HTTP_11,
        headers,
        client: IpAddr::V4(Ipv4Addr::LOCALHOST),
        received: UnixMs(0),
    }
}

/// Reads every sample with the set it belongs to; `origins` are those of `set.rules()`, in order.
pub(super) fn check(set: &ActionSet, origins: &[Origin], faults: &mut Vec<Fault>) {
    for (rule, origin) in set.rules().iter().zip(origins) {
        let Some(sample) = &origin.sample else { continue };
        for pattern in &rule.patterns {
            let Err(why) = tell(set, rule, &sample.request(rule, pattern)) else { continue };
            let at = format!("{} {}", pattern.method, pattern.text);
            let message =
                format!("the sample of `{}` is no such request at `{at}`: {why}", rule.name);
            let fault = Fault::new(&origin.source, sample.span.clone(), message);
            faults.push(fault.help(
                "write a request here that the exchange would accept, or correct the action's places",
            ));
            break;
        }
    }
}

/// Whether the request is exactly this action.
fn tell(set: &ActionSet, rule: &ActionRule, request: &SampleRequest) -> Result<(), String> {
    let SampleRequest { head, body } = request;
    match set.detect_whole(head, body).map_err(|refused| refused.to_string())? {
        Detected::Action(found) if std::ptr::eq(found, rule) => {
            found.read(head, body).map(drop).map_err(|refused| refused.to_string())
        }
        Detected::Action(other) => Err(format!("it is `{}`", other.name)),
        Detected::NotCanonical(why) => Err(why.to_owned()),
        Detected::Ordinary | Detected::Unlisted { .. } | Detected::Selected => {
            Err("no action names it".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::classify::load;
    use crate::fault::Source;

    const HEAD: &str = "version = 1\nexchange = \"t\"\n[[action]]\nname = \"a\"\n";

    fn faults(action: &str) -> Vec<String> {
        let mut faults = Vec::new();
        let set = load(&[Source::new("t.toml", format!("{HEAD}{action}"))], &mut faults);
        assert_eq!(set.is_none(), !faults.is_empty());
        let said = |fault: &crate::fault::Fault| {
            let (line, column) = fault.position();
            format!("{line}:{column}: {}", fault.message)
        };
        faults.iter().map(said).collect()
    }

    #[test]
    fn a_guarded_action_with_parameters_has_a_sample() {
        for kind in ["json", "form", "query"] {
            let found = faults(&format!("match = \"POST /a\"\nbody = \"{kind}\""));
            assert_eq!(found, ["3:1: `sample` is missing"], "{kind}");
        }
        for none in [
            "match = \"DELETE /a/{id}\"\nfields = { id = \"path.id\" }\nneed = [\"id\"]",
            "match = \"POST /a\"\nbody = \"none\"",
            "match = \"POST /a\"\nbody = \"json\"\nguarded = false",
        ] {
            assert_eq!(faults(none), Vec::<String>::new(), "{none}");
        }
    }

    #[test]
    fn a_sample_goes_where_the_first_kind_of_body_says() {
        for fine in [
            "body = \"json\"\nfields = { x = \"json.x\" }\nsample = '{\"x\":1}'",
            "body = [\"form\", \"json\"]\nfields = { x = \"form.x\" }\nsample = 'x=1'",
            "body = [\"query\", \"form\"]\nfields = { x = \"form.x\" }\nsample = 'x=1'",
            "body = [\"none\", \"form\"]\nfields = { x = \"form.x\" }\nsample = 'x=1'",
            "body = \"query\"\nfields = { x = \"query.x\", h = \"header.x-h\", p = \"path.p\" }\n\
             need = [\"x\", \"h\", \"p\"]\nsample = 'x=1'",
        ] {
            let matches = "match = [\"POST /a/{p}\", \"PUT /b/{p}/c\"]\n";
            let need = if fine.contains("need") { "" } else { "need = [\"x\"]\n" };
            assert_eq!(faults(&format!("{matches}{need}{fine}")), Vec::<String>::new(), "{fine}");
        }
    }

    #[test]
    fn a_sample_says_each_operation_of_its_action() {
        let selected =
            "match = [\"POST /a op=x/*\", \"WS /b op=y\"]\nselect = \"json.op\"\nbody = \"json\"\n";
        let socket = "[websocket]\nprivate = \"/b\"\nerror = '{\"m\":\"{message}\"}'\n";
        let fine = format!("{selected}sample = '{{\"op\":\"{{operation}}\"}}'\n{socket}");
        assert_eq!(faults(&fine), Vec::<String>::new());
        let one = format!("{selected}sample = '{{\"op\":\"y\"}}'\n{socket}");
        assert!(faults(&one)[0].contains("no action names it"), "{:?}", faults(&one));
    }

    #[test]
    fn a_sample_that_is_not_the_action_is_refused_where_it_stands() {
        let json =
            "match = [\"POST /a\"]\nbody = \"json\"\nfields = { x = \"json.x\" }\nneed = [\"x\"]\n";
        for (sample, says) in [
            (r#"{"y":1}"#, "needs is missing"),
            (r#"{"x":1,"X":2}"#, "variant"),
            ("x=1", "not one JSON text"),
            ("", "not one JSON text"),
        ] {
            let found = faults(&format!("{json}sample = '{sample}'"));
            let [only] = found.as_slice() else { panic!("{sample}: {found:?}") };
            assert!(only.starts_with("9:10: the sample of `a` is no such request at `POST /a`"));
            assert!(only.contains(says), "{only}");
        }
        let none = faults("match = \"POST /a\"\nsample = 'x=1'");
        assert_eq!(none, ["6:10: `sample`, but `body` declares no kind that could hold it"]);
    }
}
