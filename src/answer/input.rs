//! What a client posts to a challenge: JSON from programs, a form from the page.
//!
//! Never takes a code from the query, nor more than one. Invariant: every field at most once, and a code is a string.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::inbound::Inbound;
use crate::pages::csrf::PostKind;
use crate::rejection::Rejection;
use crate::types::Factor;

/// The fields of a POST to `send`, `answer`, `reject` or `release`; each step uses its own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Input {
    pub factor: Option<Factor>,
    pub code: String,
    /// JSON of a passkey's answer, as it was posted.
    pub assertion: String,
    pub freeze: bool,
    /// The page's form token.
    pub csrf: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Json {
    factor: Option<String>,
    code: Option<String>,
    assertion: Option<Box<RawValue>>,
    freeze: bool,
}

impl Input {
    pub(super) fn read(head: &Inbound, kind: PostKind, body: &[u8]) -> Result<Self, Rejection> {
        if head.query().is_some() {
            return Err(Rejection::BadRequest("a code belongs in the body"));
        }
        match kind {
            PostKind::Json => Self::from_json(body),
            PostKind::Form => Self::from_form(body),
        }
    }

    fn from_json(body: &[u8]) -> Result<Self, Rejection> {
        let refused = Rejection::BadRequest(
            "the JSON has `factor` and `code` as strings, `assertion` or `freeze`",
        );
        // serde would read an array as the fields in order.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(refused);
        }
        let json: Json = serde_json::from_slice(body).map_err(|_| refused)?;
        Ok(Self {
            factor: factor(json.factor.as_deref())?,
            code: json.code.unwrap_or_default(),
            assertion: json.assertion.map_or_else(String::new, |it| it.get().to_owned()),
            freeze: json.freeze,
            ..Self::default()
        })
    }

    fn from_form(body: &[u8]) -> Result<Self, Rejection> {
        let mut pairs = pairs(body)?;
        let mut take = |name: &str| take(&mut pairs, name);
        Ok(Self {
            factor: factor(take("factor").as_deref())?,
            code: take("code").unwrap_or_default(),
            assertion: take("assertion").unwrap_or_default(),
            freeze: take("freeze").is_some(),
            csrf: take("csrf").unwrap_or_default(),
        })
    }
}

/// The fields of a POST to `factors/…`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct FactorInput {
    pub number: String,
    /// Where on this site its owner came from.
    pub return_to: Option<String>,
    pub csrf: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FactorJson {
    number: String,
    return_to: Option<String>,
}

impl FactorInput {
    pub(super) fn read(head: &Inbound, kind: PostKind, body: &[u8]) -> Result<Self, Rejection> {
        if head.query().is_some() {
            return Err(Rejection::BadRequest("a change of factors has no query"));
        }
        let input = match kind {
            PostKind::Json if body.trim_ascii().is_empty() => Self::default(),
            PostKind::Json => {
                let refused = Rejection::BadRequest("the JSON may have `number` and `return_to`");
                if !body.trim_ascii_start().starts_with(b"{") {
                    return Err(refused);
                }
                let json: FactorJson = serde_json::from_slice(body).map_err(|_| refused)?;
                Self { number: json.number, return_to: json.return_to, csrf: String::new() }
            }
            PostKind::Form => {
                let mut pairs = pairs(body)?;
                let mut take = |name: &str| take(&mut pairs, name);
                Self {
                    number: take("number").unwrap_or_default(),
                    return_to: take("return_to"),
                    csrf: take("csrf").unwrap_or_default(),
                }
            }
        };
        let return_to = input.return_to.filter(|path| is_way_back(path));
        Ok(Self { return_to, ..input })
    }

    /// The same from the query of the page with the forms.
    pub(super) fn return_to(query: Option<&str>) -> Option<String> {
        let value = query?.split('&').find_map(|pair| pair.strip_prefix("return_to="))?;
        let path = percent_encoding::percent_decode_str(value).decode_utf8().ok()?.into_owned();
        Some(path).filter(|path| is_way_back(path))
    }
}

/// A path of this site and nothing else.
fn is_way_back(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= BACK_BYTES_MAX
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// Each field once.
fn pairs(body: &[u8]) -> Result<Vec<(&str, String)>, Rejection> {
    let text =
        std::str::from_utf8(body).map_err(|_| Rejection::BadRequest("the form is not readable"))?;
    let mut seen: Vec<(&str, String)> = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()).take(16) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if seen.iter().any(|(known, _)| *known == name) {
            return Err(Rejection::BadRequest("a form field is given twice"));
        }
        let value = value.replace('+', " ");
        let value = percent_encoding::percent_decode_str(&value).decode_utf8();
        let value = value.map_err(|_| Rejection::BadRequest("the form is not readable"))?;
        seen.push((name, value.into_owned()));
    }
    Ok(seen)
}

fn take(pairs: &mut Vec<(&str, String)>, name: &str) -> Option<String> {
    let at = pairs.iter().position(|(known, _)| *known == name)?;
    Some(pairs.swap_remove(at).1)
}

const BACK_BYTES_MAX: usize = 1024;

fn factor(word: Option<&str>) -> Result<Option<Factor>, Rejection> {
    match word {
        None => Ok(None),
        Some(word) => match Factor::from_word(word) {
            Some(factor) => Ok(Some(factor)),
            None => Err(Rejection::BadRequest("unknown factor")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_codes_are_strings_and_single() {
        let read = |text: &str| Input::from_json(text.as_bytes());
        let input = read(r#"{"factor":"totp","code":"012345"}"#).unwrap();
        assert_eq!((input.factor, input.code.as_str()), (Some(Factor::Totp), "012345"));
        for bad in [
            r#"{"factor":"totp","code":12345}"#,
            r#"{"factor":"totp","code":["1","2"]}"#,
            r#"{"factor":"totp","code":{"$ne":""}}"#,
            r#"{"factor":"totp","code":"1","code":"2"}"#,
            r#"{"factor":"password","code":"1"}"#,
            r#"{"codes":["1"]}"#,
            "[]",
            "",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_assertion_is_kept_as_it_was_posted() {
        let json = |text: &str| Input::from_json(text.as_bytes()).map(|input| input.assertion);
        let posted = r#"{"factor":"webauthn","assertion": {"a":[1, "}"]} }"#;
        assert_eq!(json(posted).unwrap(), r#"{"a":[1, "}"]}"#);
        assert!(json(r#"{"assertion":{},"assertion":{}}"#).is_err());
        let deep = format!(r#"{{"assertion":{}1{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
        assert_eq!(json(&deep).unwrap().len(), 40_001);
        let form =
            Input::from_form(b"factor=webauthn&assertion=%7B%22a%22%3A%22%2B%22%7D").unwrap();
        assert_eq!(form.assertion, r#"{"a":"+"}"#);
    }

    #[test]
    fn a_way_back_is_a_path_of_this_site() {
        let asked = |query: &str| FactorInput::return_to(Some(query));
        assert_eq!(asked("lang=en&return_to=%2Fwallet%3Fa%3D1").as_deref(), Some("/wallet?a=1"));
        for bad in ["%2F%2Fevil.example", "https%3A%2F%2Fevil", "%2F%5Cevil", "%2Fa%0Ab", "x", ""] {
            assert_eq!(asked(&format!("return_to={bad}")), None, "{bad}");
        }
    }

    #[test]
    fn a_form_gives_each_field_once() {
        let input = Input::from_form(b"factor=sms&code=+123456+&csrf=a%2Db&freeze=on").unwrap();
        assert_eq!(input.code, " 123456 ");
        assert_eq!(input.csrf, "a-b");
        assert!(input.freeze);
        assert!(Input::from_form(b"code=111111&code=222222").is_err());
        assert!(Input::from_form(b"code=%ff").is_err());
    }
}
