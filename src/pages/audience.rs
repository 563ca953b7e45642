//! Who reads an answer: a person in a browser, or a program.
//!
//! Never guesses in favour of a page: a program that takes HTML for data is worse off than a person who sees JSON.

use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName};

use super::language::thousandths;
use crate::inbound::Inbound;

/// Who reads the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A browser that goes to a page or submits a form.
    Page,
    Api,
}

/// A page only for what a person navigates to: anything else would take HTML for data.
pub fn audience(inbound: &Inbound) -> Audience {
    let headers = &inbound.headers;
    // What most programs do not say comes first: every request that is forwarded is asked this.
    if !accepts_html(headers) {
        return Audience::Api;
    }
    let goes = match inbound.method {
        Method::GET | Method::HEAD => true,
        Method::POST => is_form(headers),
        _ => false,
    };
    let navigates = headers.get(SEC_FETCH_MODE).is_none_or(|mode| mode == "navigate");
    match goes && navigates && !headers.contains_key(X_REQUESTED_WITH) {
        true => Audience::Page,
        false => Audience::Api,
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = media_type.split(';').next().unwrap_or("").trim();
    ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]
        .iter()
        .any(|form| essence.eq_ignore_ascii_case(form))
}

/// `text/html` is named with a weight above 0; `*/*` is what programs send.
fn accepts_html(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').take(ACCEPT_MAX)).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts.next().is_some_and(|media| media.eq_ignore_ascii_case("text/html"))
            && parts.find_map(|part| part.strip_prefix("q=")).is_none_or(|q| thousandths(q) > 0)
    })
}

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
const ACCEPT_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::types::{RequestId, UnixMs};

    fn inbound(method: Method, headers: &[(&'static str, &'static str)]) -> Inbound {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        Inbound {
            request: RequestId::new("r"),
            method,
            host: "exchange.example".into(),
            authority: "exchange.example".into(),
            target: "/".into(),
            version: http::Version::HTTP_11,
            headers,
            client: [192, 0, 2, 1].into(),
            received: UnixMs(0),
        }
    }

    #[test]
    fn navigations_and_form_posts_of_browsers_are_pages() {
        let html = ("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let navigate = ("sec-fetch-mode", "navigate");
        assert_eq!(audience(&inbound(Method::GET, &[html, navigate])), Audience::Page);
        assert_eq!(audience(&inbound(Method::GET, &[html])), Audience::Page);
        assert_eq!(audience(&inbound(Method::POST, &[html, form, navigate])), Audience::Page);
        assert_eq!(audience(&inbound(Method::POST, &[html, form])), Audience::Page);
    }

    #[test]
    fn everything_else_is_a_program() {
        let html = ("accept", "text/html");
        let programs: [(Method, &[(&'static str, &'static str)]); 8] = [
            (Method::GET, &[]),
            (Method::GET, &[("accept", "*/*")]),
            (Method::GET, &[("accept", "text/html;q=0, application/json")]),
            (Method::GET, &[html, ("sec-fetch-mode", "cors")]),
            (Method::GET, &[html, ("x-requested-with", "XMLHttpRequest")]),
            (Method::POST, &[html, ("content-type", "application/json")]),
            (Method::POST, &[html]),
            (Method::DELETE, &[html]),
        ];
        for (method, headers) in programs {
            assert_eq!(audience(&inbound(method, headers)), Audience::Api, "{headers:?}");
        }
    }
}
