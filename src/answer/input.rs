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
        let text = std::str::from_utf8(body)
            .map_err(|_| Rejection::BadRequest("the form is not readable"))?;
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
        let mut take = |name: &str| {
            let at = seen.iter().position(|(known, _)| *known == name)?;
            Some(seen.swap_remove(at).1)
        };
        Ok(Self {
            factor: factor(take("factor").as_deref())?,
            code: take("code").unwrap_or_default(),
            assertion: take("assertion").unwrap_or_default(),
            freeze: take("freeze").is_some(),
            csrf: take("csrf").unwrap_or_default(),
        })
    }
}

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
    fn a_form_gives_each_field_once() {
        let input = Input::from_form(b"factor=sms&code=+123456+&csrf=a%2Db&freeze=on").unwrap();
        assert_eq!(input.code, " 123456 ");
        assert_eq!(input.csrf, "a-b");
        assert!(input.freeze);
        assert!(Input::from_form(b"code=111111&code=222222").is_err());
        assert!(Input::from_form(b"code=%ff").is_err());
    }
}
